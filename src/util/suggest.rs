//! Suggestions for misspelt words, such as keys.

/// Longer words get no suggestion: no known word has so many bytes.
const LONGEST: usize = 64;

/// The known word that was most likely meant: of those that differ in a third of the letters at most, the nearest.
pub fn suggest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > LONGEST {
        return None;
    }
    let near = |known: &'k str| {
        let distance = strsim::levenshtein(word, known);
        (distance <= known.len().max(word.len()).div_ceil(3)).then_some((distance, known))
    };
    known.into_iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_near_with_a_third_of_its_letters_wrong() {
        for (word, known, expected) in [
            ("prot", &["host", "port", "ports"][..], Some("port")),
            ("perod", &["period"], Some("period")),
            ("knd", &["metadata", "kind"], Some("kind")),
            ("nothing", &["port", "host"], None),
            (&"x".repeat(65), &["x"], None),
        ] {
            assert_eq!(suggest(word, known.iter().copied()), expected, "{word}");
        }
    }
}
