//! Values in JSON that servers, proxies and clients of many makes write in several ways.
//!
//! One rule for all registries: what can be read with certainty is read. A number as text is a number, a truth as text is
//! a truth. What cannot be read costs itself where it is optional, with a note: its default is taken, and a bad weight is the
//! default weight, so that it takes no instance out of service. An instance without a usable address or port is
//! unreadable, and keeps its last good value where it can be known again.

use crate::model::{Port, Weight};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use serde_json::Value;
use std::{borrow::Cow, fmt};

/// A text, a number or a truth, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loose<'a>(pub(super) Cow<'a, str>);

impl<'a> Loose<'a> {
    /// A value that is a text, a number or a truth; `None` of any other.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        Some(Loose(match value {
            Value::String(text) => Cow::Borrowed(text),
            Value::Number(number) => Cow::Owned(number.to_string()),
            Value::Bool(truth) => Cow::Owned(truth.to_string()),
            _ => return None,
        }))
    }

    /// The text without white space around it; `None` if nothing is left.
    pub(super) fn text(&self) -> Option<&str> {
        Some(self.0.trim()).filter(|text| !text.is_empty())
    }

    /// A truth, in any case. `None` if it is none.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.0.trim() {
            text if text.eq_ignore_ascii_case("true") => Some(true),
            text if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A whole number; also one that is written as a decimal, such as `8080.0`.
    pub(super) fn integer(&self) -> Option<i64> {
        let text = self.0.trim();
        text.parse().ok().or_else(|| {
            let decimal: f64 = text.parse().ok()?;
            // Exact up to 2^53, which is more than any port or time has.
            (decimal.fract() == 0.0 && decimal.abs() < 9e15).then_some(decimal as i64)
        })
    }

    /// The value as a port; a text such as `8080` or a decimal such as `8080.0` will do.
    ///
    /// # Errors
    /// If it is no number, or none from 1 to 65535.
    pub(super) fn port(&self) -> Result<Port, String> {
        let number = self.integer().ok_or_else(|| format!("port {:?} is no number", self.0))?;
        Port::new(number).map_err(|error| error.to_string())
    }
}

/// For a field of a struct: what is no text, number or truth is as good as absent, and costs itself only.
///
/// # Errors
/// If the text is no JSON at all.
pub(super) fn optional<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Loose<'a>>, D::Error> {
    struct Optional;

    impl<'de> Visitor<'de> for Optional {
        type Value = Option<Loose<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }

        fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Scalar.visit_borrowed_str(text).map(Some)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Scalar.visit_str(text).map(Some)
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
            Scalar.visit_bool(value).map(Some)
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
            Scalar.visit_i64(value).map(Some)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
            Scalar.visit_u64(value).map(Some)
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
            Scalar.visit_f64(value).map(Some)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<de::IgnoredAny>()?.is_some() {}
            Ok(None)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    }

    from.deserialize_any(Optional)
}

/// An optional value by `read`; one that cannot be read is absent, with a problem in `problems`.
pub(super) fn field<T>(
    key: &str,
    value: Option<&Value>,
    read: impl Fn(&Value) -> Option<T>,
    problems: &mut Vec<String>,
) -> Option<T> {
    let value = value.filter(|value| !value.is_null())?;
    let found = read(value);
    if found.is_none() {
        problems.push(format!("{key} {} cannot be read", short(value)));
    }
    found
}

/// The weight relative to the registry's `default`, which is taken where there is none or a bad one.
pub(super) fn weight(value: Option<&Value>, default: f64, problems: &mut Vec<String>) -> Weight {
    let read = |value: &Value| {
        let number: f64 = Loose::of(value)?.0.trim().parse().ok()?;
        Weight::relative(number, default).ok()
    };
    field("weight", value, read, problems).unwrap_or(Weight::DEFAULT)
}

/// A value as a message shows it: its JSON, cut after 40 characters.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Scalar)
    }
}

struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a truth")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Loose(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Loose(Cow::Owned(value.to_string())))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Loose(Cow::Owned(value.to_string())))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Loose(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Loose(Cow::Owned(value.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(json: &str) -> Loose<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_number_as_text_is_a_number() {
        for json in ["8080", "\"8080\"", "\" 8080 \"", "8080.0", "\"8080.0\""] {
            assert_eq!(read(json).port().map(Port::get), Ok(8080), "{json}");
        }
        for (json, expected) in [
            ("-1", "port -1 is not possible"),
            ("\"http\"", "port \"http\" is no number"),
            ("80.5", "is no number"),
            ("\"NaN\"", "is no number"),
            ("1e300", "is no number"),
            ("true", "is no number"),
        ] {
            let error = read(json).port().unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
        assert_eq!(
            (read("\"TRUE\"").truth(), read("false").truth(), read("1").truth()),
            (Some(true), Some(false), None)
        );
        assert!(serde_json::from_str::<Loose<'_>>("[]").is_err());
    }

    #[test]
    fn an_optional_value_of_another_kind_costs_itself() {
        #[derive(Deserialize)]
        struct Both<'a> {
            #[serde(borrow, default, deserialize_with = "optional")]
            a: Option<Loose<'a>>,
            #[serde(borrow, default, deserialize_with = "optional")]
            b: Option<Loose<'a>>,
        }
        for bad in ["[1, {}]", "{\"x\": [1]}", "null"] {
            let text = format!("{{\"a\": {bad}, \"b\": 1}}");
            let Both { a, b } = serde_json::from_str(&text).unwrap();
            assert_eq!((a, b.and_then(|b| b.integer())), (None, Some(1)), "{bad}");
        }
    }

    #[test]
    fn what_is_certain_is_read() {
        for (value, expected) in [
            (json!(8080), Some(8080)),
            (json!("8080"), Some(8080)),
            (json!(" 8080 "), Some(8080)),
            (json!(8080.0), Some(8080)),
            (json!(8080.5), None),
            (json!("http"), None),
            (json!(true), None),
            (json!(null), None),
            (json!([8080]), None),
        ] {
            assert_eq!(Loose::of(&value).and_then(|value| value.integer()), expected, "{value}");
        }
        for (value, expected) in
            [(json!(true), Some(true)), (json!("TRUE"), Some(true)), (json!("false"), Some(false)), (json!(1), None)]
        {
            assert_eq!(Loose::of(&value).and_then(|value| value.truth()), expected, "{value}");
        }
    }

    #[test]
    fn a_bad_weight_is_the_default_with_a_problem() {
        for (value, expected, good) in [
            (Some(json!(50)), 0.5, true),
            (Some(json!("50")), 0.5, true),
            (Some(json!(0)), 0.0, true),
            (None, 1.0, true),
            (Some(json!(null)), 1.0, true),
            (Some(json!(-1)), 1.0, false),
            (Some(json!("")), 1.0, false),
            (Some(json!("NaN")), 1.0, false),
            (Some(json!("inf")), 1.0, false),
            (Some(json!("heavy")), 1.0, false),
            (Some(json!(true)), 1.0, false),
            (Some(json!(1e300)), 1.0, false),
            (Some(json!([])), 1.0, false),
        ] {
            let mut problems = Vec::new();
            assert_eq!(weight(value.as_ref(), 100.0, &mut problems).get(), expected, "{value:?}");
            assert_eq!(problems.is_empty(), good, "{value:?} {problems:?}");
        }
    }
}
