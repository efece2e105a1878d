//! Checks regular expressions as RE2 does, which both Istio's validation (Go's `regexp`) and Envoy use.
//!
//! Rust's own `regex` reads another language (`[a&&b]`, `\<`, a brace that stands for itself), so this is a reading of RE2's
//! grammar. It also estimates the size of the program that Envoy makes of it: too large a one makes Envoy refuse the whole
//! configuration in which it stands.

use std::{iter::Peekable, str::CharIndices};

/// The longest regular expression that Istio takes, in bytes.
const LONGEST: usize = 1024;

/// How often something may be repeated; also what nested repetitions come to.
const MOST_REPEATED: u32 = 1000;

/// What Istio's bootstrap, and Portolan's, allow Envoy (`re2.max_program_size.error_level`).
const MOST_STEPS: u64 = 32_768;

/// How deep groups may be nested; Go's limit is 1,000 for all that nests.
const DEEPEST: u32 = 250;

/// The general categories of Unicode. Of the scripts, RE2 knows more than [`SCRIPTS`].
const CATEGORIES: &str = "CLMNPSZ";
const SUBCATEGORIES: [&str; 30] = [
    "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc", "Pd", "Pe", "Pf",
    "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs", "Any",
];
const SCRIPTS: [&str; 22] = [
    "Arabic",
    "Armenian",
    "Bengali",
    "Common",
    "Cyrillic",
    "Devanagari",
    "Ethiopic",
    "Georgian",
    "Greek",
    "Gujarati",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Katakana",
    "Khmer",
    "Latin",
    "Myanmar",
    "Tamil",
    "Telugu",
    "Thai",
    "Tibetan",
];

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Checks a pattern. The error says why RE2, or Envoy, would not take it.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("a regular expression must not be empty".into());
    }
    if pattern.len() > LONGEST {
        return Err(format!("a regular expression has at most {LONGEST} bytes, not {}", pattern.len()));
    }
    let mut reader = Reader { pattern, chars: pattern.char_indices().peekable(), depth: 0 };
    let piece = reader.alternatives().and_then(|piece| match reader.chars.peek() {
        Some(_) => Err("a closing bracket has no opening one"),
        None => Ok(piece),
    });
    match piece {
        Err(why) => Err(format!("{pattern:?} is no regular expression of RE2's: {why}")),
        Ok(piece) if piece.repeated > MOST_REPEATED => {
            Err(format!("{pattern:?} repeats more than {MOST_REPEATED} times, which RE2 does not take"))
        }
        Ok(piece) if piece.steps > MOST_STEPS => Err(format!(
            "{pattern:?} becomes a program of some {} steps; Envoy takes {MOST_STEPS}: repeat less",
            piece.steps
        )),
        Ok(_) => Ok(()),
    }
}

/// The size of a part of an expression.
#[derive(Debug, Clone, Copy, Default)]
struct Piece {
    /// An estimate of the instructions that RE2 compiles it to.
    steps: u64,
    /// The greatest product of the counts of repetitions within each other.
    repeated: u32,
}

impl Piece {
    const fn steps(steps: u64) -> Self {
        Piece { steps, repeated: 1 }
    }

    fn and(self, other: Piece) -> Piece {
        Piece { steps: self.steps.saturating_add(other.steps), repeated: self.repeated.max(other.repeated) }
    }
}

type Read<T> = Result<T, &'static str>;

struct Reader<'a> {
    pattern: &'a str,
    chars: Peekable<CharIndices<'a>>,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<char> {
        self.chars.next().map(|(_, c)| c)
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn take(&mut self, wanted: char) -> bool {
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn rest(&mut self) -> &'a str {
        let start = self.chars.peek().map_or(self.pattern.len(), |(start, _)| *start);
        &self.pattern[start..]
    }

    fn skip(&mut self, bytes: usize) {
        let end = self.chars.peek().map_or(self.pattern.len(), |(start, _)| *start) + bytes;
        while self.chars.next_if(|(start, _)| *start < end).is_some() {}
    }

    fn alternatives(&mut self) -> Read<Piece> {
        let mut all = self.sequence()?;
        while self.take('|') {
            all = all.and(self.sequence()?).and(Piece::steps(1));
        }
        Ok(all)
    }

    fn sequence(&mut self) -> Read<Piece> {
        let mut all = Piece::steps(0);
        // What a repetition can apply to; nothing at the start, and nothing behind a repetition.
        let (mut last, mut is_repeated) = (None::<Piece>, false);
        while let Some(c) = self.peek() {
            let counts = match c {
                '|' | ')' => break,
                '*' | '?' | '+' => {
                    self.next();
                    Some((u32::from(c == '+'), 1))
                }
                '{' => self.counts()?,
                _ => None,
            };
            let Some((least, most)) = counts else {
                all = all.and(last.take().unwrap_or_default());
                (last, is_repeated) = (self.atom()?, false);
                continue;
            };
            if is_repeated {
                return Err("one repetition stands behind another");
            }
            let Some(piece) = last else { return Err("there is nothing to be repeated") };
            self.take('?');
            let times = u64::from(least.max(most).max(1));
            let steps = piece.steps.saturating_add(1).saturating_mul(times);
            let counted = if c == '{' { least.max(most).max(1) } else { 1 };
            last = Some(Piece { steps, repeated: piece.repeated.saturating_mul(counted) });
            is_repeated = true;
        }
        Ok(all.and(last.unwrap_or_default()))
    }

    /// `{n}`, `{n,}` or `{n,m}`. `None`: the brace stands for itself.
    fn counts(&mut self) -> Read<Option<(u32, u32)>> {
        let rest = self.rest();
        let Some((inside, _)) = rest[1..].split_once('}') else { return Ok(None) };
        let number = |text: &str| -> Option<u32> {
            let fine = !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'));
            fine.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let counts = match inside.split_once(',') {
            None => number(inside).map(|n| (n, n)),
            Some((least, "")) => number(least).map(|n| (n, n)),
            Some((least, most)) => number(least).zip(number(most)),
        };
        let Some((least, most)) = counts else { return Ok(None) };
        if least > MOST_REPEATED || most > MOST_REPEATED || most < least {
            return Err("it repeats more than 1000 times, or less often than not");
        }
        self.skip(inside.len() + 2);
        Ok(Some((least, most)))
    }

    /// What can be repeated; `None` for flags, which cannot.
    fn atom(&mut self) -> Read<Option<Piece>> {
        match self.next() {
            Some('(') => self.group(),
            Some('[') => self.class().map(Some),
            Some('\\') => self.escape(false).map(|(piece, _)| piece),
            Some('.') => Ok(Some(Piece::steps(10))),
            Some(c) => Ok(Some(Piece::steps(c.len_utf8() as u64))),
            None => Ok(None),
        }
    }

    fn group(&mut self) -> Read<Option<Piece>> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("its groups are nested too deep");
        }
        let mut captures = 2;
        if self.take('?') {
            captures = 0;
            let named = self.rest().starts_with("P<") || self.rest().starts_with('<');
            if named {
                self.take('P');
                self.next();
                let Some((name, _)) = self.rest().split_once('>') else { return Err("a group's name does not end") };
                if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                    return Err("a group's name has letters, digits and `_`");
                }
                if self.pattern.matches(&format!("<{name}>")).count() > 1 {
                    return Err("two groups have one name");
                }
                self.skip(name.len() + 1);
                captures = 2;
            } else if self.flags()? {
                self.depth -= 1;
                return Ok(None);
            }
        }
        let inside = self.alternatives()?;
        if !self.take(')') {
            return Err("a bracket is not closed");
        }
        self.depth -= 1;
        Ok(Some(inside.and(Piece::steps(captures))))
    }

    /// Reads the flags of a group. True: the group is only flags, such as `(?i)`.
    fn flags(&mut self) -> Read<bool> {
        let (mut negated, mut any) = (false, false);
        loop {
            match self.next() {
                Some('i' | 'm' | 's' | 'U') => any = true,
                Some('-') if !negated => (negated, any) = (true, false),
                Some(':') if any || !negated => return Ok(false),
                Some(')') if any => return Ok(true),
                _ => {
                    return Err(
                        "a group begins with `?` and no known flags; RE2 knows i, m, s and U, and no look-around",
                    );
                }
            }
        }
    }

    /// Reads what stands behind a backslash, and the character if it stands for one. No piece: nothing that can be
    /// repeated.
    fn escape(&mut self, in_class: bool) -> Read<(Option<Piece>, Option<char>)> {
        let class = |steps| Ok((Some(Piece::steps(steps)), None));
        let single = |c: char| Ok((Some(Piece::steps(c.len_utf8() as u64)), Some(c)));
        match self.next() {
            Some('d' | 's' | 'w') => class(3),
            Some('D' | 'S' | 'W') => class(14),
            Some('p' | 'P') => self.property().map(|()| (Some(Piece::steps(200)), None)),
            Some('A' | 'b' | 'B' | 'z') if !in_class => class(1),
            Some('Q') if !in_class => {
                let rest = self.rest();
                let end = rest.find("\\E");
                let literal = end.map_or(rest, |end| &rest[..end]);
                self.skip(literal.len() + if end.is_some() { 2 } else { 0 });
                Ok(((!literal.is_empty()).then(|| Piece::steps(literal.len() as u64)), None))
            }
            Some('a') => single('\x07'),
            Some('f') => single('\x0c'),
            Some('n') => single('\n'),
            Some('r') => single('\r'),
            Some('t') => single('\t'),
            Some('v') => single('\x0b'),
            Some('x') => {
                let digits = if self.take('{') {
                    let Some((digits, _)) = self.rest().split_once('}') else { return Err("a `\\x{` does not end") };
                    self.skip(digits.len() + 1);
                    digits
                } else {
                    let digits = self.rest().get(..2).unwrap_or_default();
                    self.skip(2);
                    digits
                };
                let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let c = u32::from_str_radix(digits, 16).ok().filter(|_| hex).filter(|code| *code <= 0x10_FFFF);
                c.map_or(Err("a `\\x` has two digits, or a character's number in braces"), |code| {
                    single(char::from_u32(code).unwrap_or('\u{fffd}'))
                })
            }
            // Up to three octal digits; one alone that is not 0 would be a back-reference.
            Some(first @ '0'..='7') if first == '0' || self.peek().is_some_and(|c| c.is_digit(8)) => {
                let mut code = u32::from(first) - u32::from('0');
                for _ in 0..2 {
                    let Some((_, digit)) = self.chars.next_if(|(_, c)| c.is_digit(8)) else { break };
                    code = code * 8 + u32::from(digit) - u32::from('0');
                }
                single(char::from_u32(code).unwrap_or('\u{fffd}'))
            }
            Some(c) if c.is_ascii() && !c.is_ascii_alphanumeric() => single(c),
            _ => Err("a backslash stands before something that RE2 does not know; it has no back-references"),
        }
    }

    /// Reads the class of Unicode behind `\p`.
    fn property(&mut self) -> Read<()> {
        let name = if self.take('{') {
            let Some((name, _)) = self.rest().split_once('}') else { return Err("a `\\p{` does not end") };
            self.skip(name.len() + 1);
            name.strip_prefix('^').unwrap_or(name)
        } else {
            let length = self.peek().map_or(0, char::len_utf8);
            let name = &self.rest()[..length];
            self.skip(length);
            name
        };
        let category = name.len() == 1 && CATEGORIES.contains(name);
        match category || SUBCATEGORIES.contains(&name) || SCRIPTS.contains(&name) {
            true => Ok(()),
            false => Err("a class of Unicode in it is not known"),
        }
    }

    /// Reads a class from behind its `[` to its `]`.
    fn class(&mut self) -> Read<Piece> {
        let negated = self.take('^');
        let mut steps = if negated { 12 } else { 1 };
        let mut first = true;
        while first || self.peek() != Some(']') {
            first = false;
            let rest = self.rest();
            if rest.starts_with("[:")
                && let Some((name, _)) = rest[2..].split_once(":]")
            {
                if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return Err("a class such as [:alpha:] in it is not known");
                }
                self.skip(name.len() + 4);
                steps += 3;
                continue;
            }
            if rest.starts_with("\\p") || rest.starts_with("\\P") {
                self.skip(2);
                self.property()?;
                steps += 200;
                continue;
            }
            let (Some(low), is_class) = self.member()? else {
                steps += 4;
                continue;
            };
            let is_range = !is_class && self.rest().starts_with('-') && !self.rest().starts_with("-]");
            if is_range && self.rest().len() > 1 {
                self.next();
                match self.member()? {
                    (Some(high), false) if high >= low => {}
                    _ => return Err("a range in a class ends before it begins"),
                }
            }
            steps += low.len_utf8() as u64;
        }
        self.next();
        Ok(Piece::steps(steps))
    }

    /// Reads a character of a class. `None` and true: it is a class itself, such as `\d`.
    fn member(&mut self) -> Read<(Option<char>, bool)> {
        match self.next() {
            None => Err("a class is not closed"),
            Some('\\') => self.escape(true).map(|(_, c)| (c, c.is_none())),
            Some(c) => Ok((Some(c), false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    /// The verdicts are those of Go 1.24's `regexp.Compile`.
    #[test]
    fn patterns_are_judged_as_re2_does() {
        for fine in [
            "/a.*",
            "^/v[0-9]+/(?:x|y)$",
            "(?i)abc",
            "(?P<id>\\d+)",
            "(?<id>x)",
            "a{2,3}?",
            "a{",
            "a{,3}",
            "x{1000}",
            "[^/]+",
            "[]a]",
            "[a-]",
            "[[:alpha:]_]",
            "\\pL\\p{Greek}",
            "\\Qa.b*\\E",
            "\\x41\\x{1F600}",
            "\\.",
            "a|b|",
            "()",
            "[\\d\\-]",
            "\\012",
            "[A-\\132]",
            "[\\0-\\07]",
            "[\\0123-A]",
            "[\\060-9]",
            "[\\a-\\010]",
            "[\\t-\\r]",
            "\\0123{2}",
            ".*",
            "(?s:.)",
            "a|*b".get(..1).unwrap(),
            "\\z",
            "}",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for wrong in [
            "",
            "*a",
            "a**",
            "a++",
            "(a",
            "a)",
            "[a",
            "[b-a]",
            "[\\132-A]",
            "[\\0123-2]",
            "[\\0-\\7]",
            "[\\n-\\t]",
            "[\\v-\\n]",
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "\\1",
            "\\Z",
            "\\C",
            "\\y",
            "a{1001}",
            "a{3,2}",
            "(?P<a>x)(?P<a>y)",
            "(?x)a",
            "[[:foo:]]",
            "\\p{Foo}",
            "(a{100}){100}",
            "a\\",
            "|*",
            "(?i)*",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert!(check(&"a".repeat(1025)).is_err());
        assert!(check("(\\pL{90}){11}").unwrap_err().contains("program"), "{:?}", check("(\\pL{90}){11}"));
    }
}
