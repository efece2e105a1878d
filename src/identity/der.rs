//! The two facts of a certificate that the libraries here do not give: until when it holds, and its common name. A reader of
//! DER for that alone. Every length is checked; what is not as expected is `None`.

use std::time::SystemTime;

const INTEGER: u8 = 0x02;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// The object identifier of a common name, `2.5.4.3`, in DER.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// From when and until when a certificate holds (RFC 5280, 4.1.2.5).
pub(super) fn validity(certificate: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let mut certificate = Reader(Reader(certificate).take(SEQUENCE)?);
    let mut body = Reader(certificate.take(SEQUENCE)?);
    if body.next_is(VERSION) {
        body.take(VERSION)?;
    }
    // Serial number, algorithm, issuer.
    body.take(INTEGER)?;
    body.take(SEQUENCE)?;
    body.take(SEQUENCE)?;
    let mut validity = Reader(body.take(SEQUENCE)?);
    Some((validity.time()?, validity.time()?))
}

/// The one common name in a subject, which is a sequence without its own head. `None` as well if there are several.
pub(super) fn common_name(subject: &[u8]) -> Option<String> {
    let (mut parts, mut found) = (Reader(subject), None);
    while !parts.0.is_empty() {
        let mut attributes = Reader(parts.take(SET)?);
        while !attributes.0.is_empty() {
            let mut attribute = Reader(attributes.take(SEQUENCE)?);
            if attribute.take(OBJECT)? != COMMON_NAME {
                continue;
            }
            let (tag, value) = attribute.any()?;
            let text = matches!(tag, UTF8 | PRINTABLE | IA5).then(|| std::str::from_utf8(value).ok())??;
            if found.replace(text.to_owned()).is_some() {
                return None;
            }
        }
    }
    found
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next_is(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The content of the next value, which must have that tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.any()?;
        (found == tag).then_some(content)
    }

    /// Tag and content of the next value. Tags have one byte here, and lengths four at most.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let bytes = usize::from(first & 0x7f);
            let (digits, after) = rest.split_at_checked(bytes).filter(|_| (1..=4).contains(&bytes))?;
            length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// `YYMMDDHHMMSSZ`, where years below 50 are those after 2000, or `YYYYMMDDHHMMSSZ`.
    fn time(&mut self) -> Option<SystemTime> {
        let (tag, text) = self.any()?;
        let text = std::str::from_utf8(text).ok()?;
        let whole = match tag {
            GENERALIZED_TIME => text.to_owned(),
            UTC_TIME if text < "50" => format!("20{text}"),
            UTC_TIME => format!("19{text}"),
            _ => return None,
        };
        if whole.len() != 15 || !whole.is_ascii() {
            return None;
        }
        let part = |from: usize, to: usize| &whole[from..to];
        let (date, time) = ([part(0, 4), part(4, 6), part(6, 8)].join("-"), [part(8, 10), part(10, 12), part(12, 14)]);
        humantime::parse_rfc3339(&format!("{date}T{}{}", time.join(":"), part(14, 15))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(tag: u8, text: &str) -> Option<String> {
        let bytes = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        Reader(&bytes).time().map(|time| humantime::format_rfc3339_seconds(time).to_string())
    }

    #[test]
    fn times_of_both_forms_are_read() {
        assert_eq!(time(UTC_TIME, "260102030405Z").as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(time(UTC_TIME, "700102030405Z").as_deref(), Some("1970-01-02T03:04:05Z"));
        assert_eq!(time(GENERALIZED_TIME, "21260102030405Z").as_deref(), Some("2126-01-02T03:04:05Z"));
        for (tag, text) in [
            (UTC_TIME, "261302030405Z"),
            (UTC_TIME, "2601020304Z"),
            (GENERALIZED_TIME, "20260102030405+"),
            (UTF8, "260102030405Z"),
        ] {
            assert_eq!(time(tag, text), None, "{text}");
        }
    }

    #[test]
    fn a_subject_has_one_common_name_or_none() {
        let attribute = |object: &[u8], tag: u8, text: &str| {
            let inner = [&[OBJECT, 3], object, &[tag, text.len() as u8], text.as_bytes()].concat();
            let pair = [&[SEQUENCE, inner.len() as u8], &inner[..]].concat();
            [&[SET, pair.len() as u8], &pair[..]].concat()
        };
        let name = |tag: u8, text: &str| attribute(&COMMON_NAME, tag, text);
        let organisation = attribute(&[0x55, 0x04, 0x0a], UTF8, "shop");
        assert_eq!(common_name(&[organisation.clone(), name(UTF8, "a")].concat()).as_deref(), Some("a"));
        assert_eq!(common_name(&organisation), None);
        assert_eq!(common_name(&[name(UTF8, "a"), name(UTF8, "b")].concat()), None, "which of them?");
        assert_eq!(common_name(&name(0x1e, "a")), None, "a form that nobody uses any more");
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (validity(&bytes), common_name(&bytes));
        }

        /// Bytes that look like DER at every level.
        #[test]
        fn anything_like_der_is_read_without_a_panic(
            bytes in proptest::collection::vec(prop_oneof![
                Just(SEQUENCE), Just(SET), Just(INTEGER), Just(UTC_TIME), Just(VERSION), 0..20u8, Just(0x84), Just(0xff)
            ], 0..60),
        ) {
            let _ = (validity(&bytes), common_name(&bytes));
        }
    }
}
