//! Times as Istio reads them: `1.5s`, `100ms`, `1h30m`, as in Go.

/// The units and their nanoseconds. A unit that begins with another one (`ms`, `m`) stands before it.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds; `None` if it is no time, or more than 292 years.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (rest, 0_i128);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (amount, unit) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (name, factor) = UNITS.into_iter().find(|(name, _)| unit.starts_with(name))?;
        total = total.checked_add(scaled(amount, factor)?)?;
        rest = &unit[name.len()..];
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// A decimal number times the factor; what is finer than a nanosecond is cut off. `None` if it is no number.
fn scaled(amount: &str, factor: i128) -> Option<i128> {
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && part.is_empty() || part.contains('.') || whole.len() > 20 {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let part = &part[..part.len().min(15)];
    let scale = 10_i128.pow(part.len() as u32);
    Some(number(whole)? * factor + number(part)? * factor / scale)
}
