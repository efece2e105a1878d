//! Makes text of other parties safe for a terminal, a line of a log and a cell of a table.
//!
//! Node ids, service names, messages of clients and answers of registries may hold newlines, which forge lines, terminal
//! escapes, which run on the reader's screen, and marks that reverse the order of what is shown. They are written as
//! `\n`, `\t` or `\u001b`: visible, and the same character again where the text stands in a JSON or YAML string.

use std::{borrow::Cow, fmt::Write};

/// Escapes everything that is not plain text, newlines too: for one line or cell.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

/// Escapes everything that is not plain text, but keeps newlines: for a text that has lines of its own.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_unsafe(c))
}

/// Whether a character does something else than being shown: controls (C0, DEL, C1), separators of lines and paragraphs,
/// and the invisible marks that change direction or break words.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn escape(text: &str, escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !escaped(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a text does not fail"),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_executes_is_made_visible() {
        for (text, expected) in [
            ("plain, 服务 and \\n", "plain, 服务 and \\n"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\x1b[2J\x07\x7f", "\\u001b[2J\\u0007\\u007f"),
            ("\u{9b}31m", "\\u009b31m"),
            ("a\u{202e}b\u{2066}c\u{2028}d\u{feff}", "a\\u202eb\\u2066c\\u2028d\\ufeff"),
        ] {
            assert_eq!(line(text), expected, "{text:?}");
        }
        assert_eq!(lines("a\nb\x1bc"), "a\nb\\u001bc");
        assert!(matches!(line("nothing to do"), Cow::Borrowed(_)));
    }

    #[test]
    fn inside_json_the_text_stays_the_same() {
        let text = "a\u{9b}b\u{202e}c\x7f\n";
        let json = serde_json::to_string(text).unwrap();
        assert_eq!(serde_json::from_str::<String>(&lines(&json)).unwrap(), text);
    }
}
