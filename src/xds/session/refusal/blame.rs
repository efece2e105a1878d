//! Reads out of a refusal's words whom it means.
//!
//! Envoy writes `Error adding/updating cluster(s) NAME: reason, NAME: reason`, and the like for listeners; grpc-go and the C
//! core of gRPC name each resource before a colon as well. Routes and assignments stand somewhere in a sentence. So a name
//! that a colon follows is meant before one that is only spoken of; and of names that begin at the same place the longest is.

use crate::xds::names::LONGEST_NAME;

/// Bytes of a text that are looked at.
const READ: usize = 16 << 10;
/// So often a text is looked up: the client chooses it.
const LOOKED_UP: usize = 50_000;

/// The names that the text means, each once, of those that are known.
pub(in super::super) fn named(text: &str, is_known: impl Fn(&str) -> bool) -> Vec<String> {
    let text = &text[..floor(text, READ)];
    let (mut accused, mut mentioned) = (Vec::new(), Vec::new());
    let (mut at, mut left) = (0, LOOKED_UP);
    while at < text.len() && left > 0 {
        let mut look_up = |name: &str| {
            left = left.saturating_sub(1);
            left > 0 && is_known(name)
        };
        let found = if begins(text, at) { longest(text, at, &mut look_up) } else { None };
        let Some(name) = found else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        at += name.len();
        let list = if is_accused(&text[at..]) { &mut accused } else { &mut mentioned };
        if !list.iter().any(|known| known == name) {
            list.push(name.to_owned());
        }
    }
    if accused.is_empty() { mentioned } else { accused }
}

/// The longest known name that begins here and ends where a name may end. One with a space in it is not found.
fn longest<'t>(text: &'t str, at: usize, is_known: &mut impl FnMut(&str) -> bool) -> Option<&'t str> {
    let rest = text[at..].split(char::is_whitespace).next().unwrap_or_default();
    let rest = &rest[..floor(rest, LONGEST_NAME)];
    let ends = rest.char_indices().map(|(place, _)| place).skip(1).chain([rest.len()]);
    let ends: Vec<usize> = ends.filter(|end| ends_at(text, at + end)).collect();
    ends.into_iter().rev().map(|end| &rest[..end]).find(|name| is_known(name))
}

/// What names are made of, wherever they stand.
fn is_inner(c: char) -> bool {
    c.is_alphanumeric() || "_-|/%@~".contains(c)
}

/// What may stand within a name, and behind it or before it.
fn is_mark(c: char) -> bool {
    ".:".contains(c)
}

fn begins(text: &str, at: usize) -> bool {
    let (before, first) = (text[..at].chars().next_back(), text[at..].chars().next());
    first.is_some_and(|c| !c.is_whitespace()) && !before.is_some_and(|c| is_inner(c) || is_mark(c))
}

/// Behind a mark the name goes on, unless nothing of a name follows.
fn ends_at(text: &str, at: usize) -> bool {
    let mut rest = text[at..].chars().skip_while(|c| is_mark(*c));
    !rest.next().is_some_and(is_inner)
}

/// Whether the name before is what the words are about: `NAME: …`, `"NAME": …`.
fn is_accused(rest: &str) -> bool {
    rest.trim_start_matches(['"', '\'', ']', ')']).starts_with(':')
}

fn floor(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_bounded_and_the_longest_first() {
        let known =
            ["a", "a.example", "outbound|80||a.example", "outbound|80||a.example.org", "b", "0.0.0.0_80", "c:1"];
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(named(text, |name| known.contains(&name)), expected, "{text}");
        };
        check("Error adding/updating cluster(s) a: no, b: neither", &["a", "b"]);
        check("Error adding/updating cluster(s) outbound|80||a.example: strict", &["outbound|80||a.example"]);
        check("cluster outbound|80||a.example.org. See a.", &["outbound|80||a.example.org", "a"]);
        check("Error adding/updating listener(s) 0.0.0.0_80: duplicate of b", &["0.0.0.0_80"]);
        check("Error adding/updating listener(s) 0.0.0.0_80: first\nb: second", &["0.0.0.0_80", "b"]);
        check("error parsing \"CDS\" response: map[\"b\": no]", &["b"]);
        check("resource 'a.example' is unfit; 'a.example' again", &["a.example"]);
        check("INVALID_ARGUMENT: [c:1: too small]", &["c:1"]);
        check("about, ab, b-side, xa.example, a.example.com, a/b, b_", &[]);
        check("", &[]);
        check("größe: a", &["a"]);
        check("b\u{301} b", &["b"]);
    }

    #[test]
    fn a_long_text_is_read_up_to_its_limit_and_its_cost_does_not_depend_on_the_names() {
        for text in ["é ".repeat(READ), "a,".repeat(READ), "a".repeat(READ + 1), "a|b.c:".repeat(READ)] {
            let looked = std::cell::Cell::new(0);
            let found = named(&format!("{text} zzz"), |name| {
                looked.set(looked.get() + 1);
                name == "zzz"
            });
            assert_eq!(found, Vec::<String>::new());
            assert!(looked.get() <= LOOKED_UP);
        }
    }
}
