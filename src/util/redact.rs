//! Blanks known secrets in text from other parties.
//!
//! A peer may echo a password or a token in an error page, and error pages are quoted in logs and on admin pages. Whoever
//! quotes a body does it with [`Redactor::quote`], and whoever quotes an address with [`address`]. A secret is found as
//! it is, and as it stands in JSON, in HTML, in a URL and inside of base64.

use super::{lock::lock, secret::Secret};
use base64::{
    Engine,
    engine::{GeneralPurpose, general_purpose as alphabet},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

/// The text in the place of a secret.
const BLANK: &str = "***";
/// A form with fewer bytes is blanked only where it is a whole word: a blank inside of another word would reveal it.
const MIN_INSIDE: usize = 4;
/// How many secrets that are learned while running (tokens) are kept; the oldest is dropped.
const MAX_LEARNED: usize = 8;
/// The most bytes of a body that are looked at; a longer one is quoted from its beginning only.
const MAX_BODY: usize = 64 << 10;
/// The characters that URLs encode: all but letters, digits, `-`, `.`, `_` and `~`.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The known secrets, in every form in which a peer may write them.
#[derive(Debug, Default)]
pub struct Redactor {
    /// The forms of secrets of the configuration.
    fixed: Vec<Secret>,
    /// The forms of each secret that was learned, the oldest first.
    learned: Mutex<VecDeque<Vec<Secret>>>,
}

impl Redactor {
    /// A redactor that knows the secrets of the configuration.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        Redactor { fixed: secrets.into_iter().flat_map(forms).collect(), learned: Mutex::default() }
    }

    /// Adds a secret, such as a new token; only the newest 8 are kept.
    pub fn learn(&self, secret: &Secret) {
        let mut learned = self.learned();
        if learned.len() == MAX_LEARNED {
            learned.pop_front();
        }
        learned.push_back(forms(secret));
    }

    /// The text with every secret blanked.
    pub fn redact(&self, text: &str) -> String {
        self.blanked(text, usize::MAX, false)
    }

    /// The beginning of a body, in one line of at most so many characters, with every secret blanked: also one that the end
    /// of the quotation would cut in two.
    pub fn quote(&self, body: &[u8], max_chars: usize) -> String {
        let (start, is_cut) = (&body[..body.len().min(MAX_BODY)], body.len() > MAX_BODY);
        self.blanked(&in_one_line(&String::from_utf8_lossy(start)), max_chars, is_cut)
    }

    /// Where the text is cut already, its last characters may be the beginning of a secret and are left out.
    fn blanked(&self, text: &str, max_chars: usize, is_cut: bool) -> String {
        let learned = self.learned();
        let forms: Vec<&str> = self.fixed.iter().chain(learned.iter().flatten()).map(Secret::expose).collect();
        let longest = forms.iter().map(|form| form.len()).max().unwrap_or_default();
        let end = if is_cut { text.len().saturating_sub(longest) } else { text.len() };
        let (mut out, mut count, mut at) = (String::new(), 0, 0);
        while at < end && count < max_chars {
            let found = forms.iter().filter(|form| is_at(text, at, form)).map(|form| form.len()).max();
            let (piece, length) = match (found, text[at..].chars().next()) {
                (Some(length), _) => (BLANK, length),
                (None, Some(next)) => (&text[at..at + next.len_utf8()], next.len_utf8()),
                (None, None) => break,
            };
            out.push_str(piece);
            count += piece.chars().count();
            at += length;
        }
        out
    }

    fn learned(&self) -> MutexGuard<'_, VecDeque<Vec<Secret>>> {
        lock(&self.learned)
    }
}

/// An address as it may be quoted: without user, query and fragment, any of which may hold a secret.
pub fn address(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return bare.into() };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", &rest[authority.len()..])
}

fn is_at(text: &str, at: usize, form: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text[at..].starts_with(form)
        && (form.len() >= MIN_INSIDE
            || !is_word(text[..at].chars().next_back()) && !is_word(text[at + form.len()..].chars().next()))
}

/// The words of a text, with one space between them.
fn in_one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// A secret in every form, also as it stands in one line; the last word of one such as `Bearer abc` is a secret itself.
fn forms(secret: &Secret) -> Vec<Secret> {
    let text = secret.expose();
    let mut forms = Vec::new();
    for plain in [text, &*in_one_line(text), text.rsplit(' ').next().unwrap_or_default()] {
        let json = serde_json::Value::from(plain).to_string();
        let url = utf8_percent_encode(plain, URL).to_string();
        forms.extend([plain.to_owned(), json.trim_matches('"').to_owned(), in_html(plain)]);
        forms.extend([url.replace("%20", "+"), with_small_hex(&url), url]);
        forms.extend(in_base64(plain));
    }
    forms.retain(|form| !form.is_empty());
    forms.sort();
    forms.dedup();
    forms.into_iter().map(Secret::new).collect()
}

fn in_html(plain: &str) -> String {
    let escaped = plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    escaped.replace('"', "&quot;").replace('\'', "&#39;")
}

/// With the digits of escapes in lower case: `%2f` for `%2F`.
fn with_small_hex(url: &str) -> String {
    let mut parts = url.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        let (hex, rest) = part.split_at(part.len().min(2));
        format!("{out}%{}{rest}", hex.to_ascii_lowercase())
    })
}

/// The digits that stand for the text alone wherever it stands in something encoded, such as behind `USER:`: it may begin
/// at each of three positions within a group of four digits.
fn in_base64(plain: &str) -> Vec<String> {
    let alphabets: [&GeneralPurpose; 2] = [&alphabet::STANDARD_NO_PAD, &alphabet::URL_SAFE_NO_PAD];
    let inside = |(before, alphabet): (usize, &GeneralPurpose)| {
        let digits = alphabet.encode([&vec![0; before], plain.as_bytes()].concat());
        let (start, end) = ((before * 8).div_ceil(6), (before + plain.len()) * 8 / 6);
        digits.get(start..end).unwrap_or_default().to_owned()
    };
    let all = (0..3).flat_map(|before| alphabets.map(|alphabet| (before, alphabet)));
    let long = all.map(inside).filter(|form| form.len() >= MIN_INSIDE);
    long.chain(alphabets.map(|alphabet| alphabet.encode(plain))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor(secret: &str) -> Redactor {
        Redactor::new([&Secret::new(secret)])
    }

    #[test]
    fn a_secret_is_blanked_in_every_form() {
        let redactor = redactor("p4ss/w+rd \"&é");
        for (echoed, expected) in [
            ("user=a password=p4ss/w+rd \"&é!", "user=a password=***!"),
            (r#"{"password":"p4ss/w+rd \"&é"}"#, r#"{"password":"***"}"#),
            ("<p>p4ss/w+rd &quot;&amp;é</p>", "<p>***</p>"),
            ("?password=p4ss%2Fw%2Brd%20%22%26%C3%A9&x=1", "?password=***&x=1"),
            ("?password=p4ss%2fw%2brd%20%22%26%c3%a9&x=1", "?password=***&x=1"),
            ("?password=p4ss%2Fw%2Brd+%22%26%C3%A9&x=1", "?password=***&x=1"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(redactor.redact(echoed), expected, "{echoed}");
        }
    }

    #[test]
    fn a_header_is_known_with_and_without_its_scheme() {
        let redactor = redactor("Bearer abcdefgh");
        assert_eq!(redactor.redact("bad: Bearer abcdefgh; token abcdefgh"), "bad: ***; token ***");
    }

    #[test]
    fn short_secrets_are_blanked_where_they_stand_alone() {
        assert_eq!(redactor("a").redact("a bad password: a"), "*** bad password: ***");
    }

    #[test]
    fn what_is_learned_is_known_and_forgotten_in_turn() {
        let redactor = Redactor::default();
        for n in 0..=MAX_LEARNED {
            redactor.learn(&Secret::new(format!("token-{n}")));
        }
        assert_eq!(redactor.redact("token-0 token-1 token-8"), "token-0 *** ***");
    }

    #[test]
    fn a_quotation_is_one_short_line() {
        assert_eq!(redactor("s3cret").quote(b"no\r\n\x1b[31m  s3cret here", 13), "no [31m *** h");
        assert_eq!(Redactor::default().quote("äöü".as_bytes(), 2), "äö");
    }

    #[test]
    fn a_secret_with_white_space_is_not_quoted() {
        for secret in ["two  spaces", "a\ttab", " edge "] {
            let quoted = redactor(secret).quote(format!("is <{secret}> yours?").as_bytes(), 99);
            assert_eq!(quoted.replace(' ', ""), "is<***>yours?", "{secret:?}");
        }
    }

    #[test]
    fn addresses_lose_what_may_be_secret() {
        for (address, expected) in [
            ("http://n:8848/nacos/v1?accessToken=t#x", "http://n:8848/nacos/v1"),
            ("https://u:p@[::1]:8848/a@b", "https://[::1]:8848/a@b"),
            ("http://n?token=t", "http://n"),
            ("gRPC ServiceListRequest", "gRPC ServiceListRequest"),
        ] {
            assert_eq!(super::address(address), expected);
        }
    }

    proptest! {
        /// Wherever it stands and wherever the quotation ends, no form of a secret is quoted.
        #[test]
        fn no_quotation_shows_a_secret(before in "[a-z ]{0,9}", user in "[a-z]{0,6}", max in 0..60_usize, repeat in 1..4_usize) {
            let secret = "hunter2-of-many/words";
            let encoded = alphabet::STANDARD.encode(format!("{user}:{secret}"));
            let body = format!("{before}{secret} {encoded} {}", utf8_percent_encode(secret, URL)).repeat(repeat);
            let quoted = redactor(secret).quote(body.as_bytes(), max);
            prop_assert!(quoted.chars().count() <= max + BLANK.len());
            // Eight digits of the middle, as they stand in each of the three positions.
            for part in ["hunter2", "many", "%2Fwords", "aHVudGVy", "h1bnRlc", "odW50ZX"] {
                prop_assert!(!quoted.contains(part), "{quoted}");
            }
        }

        #[test]
        fn any_text_is_quoted(text in ".{0,80}", secret in ".{1,9}", max in 0..90_usize) {
            redactor(&secret).quote(text.as_bytes(), max);
        }
    }
}
