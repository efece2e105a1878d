//! Numbers of protobuf's types, read from the text in a manifest.

use prost_reflect::Kind;

/// A whole number of that type, which may be written as a fraction with nothing behind the point, or with an exponent.
pub(super) fn integer(text: &str, kind: &Kind) -> Result<i128, String> {
    let (least, most) = match kind {
        Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => (0, u64::MAX.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => (i64::MIN.into(), i64::MAX.into()),
        _ => (i32::MIN.into(), i32::MAX.into()),
    };
    let whole = text.parse::<i128>().ok().or_else(|| {
        // Beyond 2^53 a fraction is no exact number.
        let value = text.parse::<f64>().ok()?;
        (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i128)
    });
    let fits = whole.filter(|value| (least..=most).contains(value));
    fits.ok_or_else(|| format!("must be a whole number from {least} to {most}, not {text}"))
}

/// A `double`, or with `single` a `float`. Only a text in quotes may be `NaN`, `Infinity` or `-Infinity`.
pub(super) fn float(text: &str, quoted: bool, single: bool) -> Result<f64, String> {
    let value = match text {
        "NaN" if quoted => Some(f64::NAN),
        "Infinity" if quoted => Some(f64::INFINITY),
        "-Infinity" if quoted => Some(f64::NEG_INFINITY),
        _ => text.parse::<f64>().ok().filter(|v| {
            v.is_finite() && text.bytes().all(|b| !b.is_ascii_alphabetic() || b.eq_ignore_ascii_case(&b'e'))
        }),
    };
    match value {
        Some(value) if single && value.is_finite() && !(value as f32).is_finite() => {
            Err(format!("{text} is more than a number of single precision can be"))
        }
        Some(value) => Ok(value),
        None => Err(format!("must be a number, not {text:?}")),
    }
}
