//! The type of a single YAML value: text, boolean or number.
//!
//! YAML's versions differ for values without quotes: `no` is text in one and false in the other, `010` is ten or eight.
//! A value that all versions read alike is accepted; any other is refused, and the problem says to put it in quotes.

use crate::util::yaml::{Node, Shape};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    Bool(bool),
    /// A number as JSON writes it.
    Number(&'a str),
    /// A value that versions of YAML read differently.
    Doubtful(&'a str),
}

/// Words that YAML 1.1, which Kubernetes reads, takes for booleans or numbers, and YAML 1.2 for text.
const DOUBTFUL: [&str; 8] = ["y", "n", "yes", "no", "on", "off", ".nan", ".inf"];

impl<'a> Scalar<'a> {
    /// What the value is; `None` if it is nothing, a list or a mapping.
    pub(super) fn of(node: &'a Node) -> Option<Self> {
        match node.shape() {
            Shape::Quoted(text) => Some(Scalar::Text(text)),
            Shape::Plain(text) => Some(Scalar::plain(text)),
            Shape::Null | Shape::List(_) | Shape::Map(_) => None,
        }
    }

    fn plain(text: &'a str) -> Self {
        let cased = |word: &str| {
            let capital = word[..1].to_ascii_uppercase() + &word[1..];
            text == word || text == capital || text == word.to_ascii_uppercase()
        };
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        match text {
            _ if cased("true") => Scalar::Bool(true),
            _ if cased("false") => Scalar::Bool(false),
            _ if DOUBTFUL.into_iter().any(cased) => Scalar::Doubtful(text),
            _ if unsigned.eq_ignore_ascii_case(".inf") => Scalar::Doubtful(text),
            _ if is_number(text) => Scalar::Number(text),
            _ if is_some_number(unsigned) => Scalar::Doubtful(text),
            _ => Scalar::Text(text),
        }
    }

    /// The value and its type, for problems: `5 is a number`.
    pub(super) fn described(self) -> String {
        match self {
            Scalar::Text(text) => format!("{text:?} is text"),
            Scalar::Bool(value) => format!("{value} is a boolean"),
            Scalar::Number(text) => format!("{text} is a number"),
            Scalar::Doubtful(text) => format!("{text} is not the same to all who read YAML"),
        }
    }
}

/// Whether it is a number as JSON writes it.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, part) = mantissa.split_once('.').map_or((mantissa, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && part.is_none_or(digits) && exponent.is_none_or(digits)
}

/// Whether some version of YAML reads it as a number: other bases, leading zeros, underscores, a sign, a dot at an end.
fn is_some_number(unsigned: &str) -> bool {
    let based = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().any(|(prefix, base)| {
        let digits = unsigned.strip_prefix(prefix).or_else(|| unsigned.strip_prefix(&prefix.to_uppercase()));
        digits.is_some_and(|d| !d.is_empty() && d.chars().all(|c| c == '_' || c.is_digit(base)))
    });
    let plain: String = unsigned.chars().filter(|c| *c != '_').collect();
    let leads = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let shaped = plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    based || (leads && shaped && plain.bytes().any(|b| b.is_ascii_digit()) && plain.parse::<f64>().is_ok())
}
