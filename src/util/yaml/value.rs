//! Typed getters for one value.

use super::{
    Place, Problem, Problems, Reader, Resolver, Section,
    node::{Content, Key, Node},
};
use crate::util::{host_port::HostPort, secret::Secret};
use std::{
    borrow::Cow, collections::BTreeMap, fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, rc::Rc, sync::Arc,
    time::Duration,
};

/// A value and its path. Getters report a mistake and return `None`.
#[derive(Debug, Clone)]
pub struct Value<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) node: &'a Node,
    pub(super) path: Path<'a>,
    /// The name of its file.
    pub(super) file: &'a Arc<str>,
}

/// The path of a value; written out only when there is something to report.
#[derive(Debug, Clone)]
pub(super) enum Path<'a> {
    Root,
    Key(Rc<Path<'a>>, &'a str),
    Index(Rc<Path<'a>>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(parent, key) if matches!(**parent, Path::Root) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn root(reader: &'a Reader<'a>, node: &'a Node) -> Self {
        Value { reader, node, path: Path::Root, file: node.file().unwrap_or(&reader.file) }
    }

    /// A value inside of this one.
    pub(super) fn inner(&self, node: &'a Node, path: Path<'a>) -> Self {
        Value { reader: self.reader, node, path, file: node.file().unwrap_or(self.file) }
    }

    /// The node itself, for readers that walk the tree.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// Where its first character stands in the text.
    pub fn place(&self) -> Place {
        self.node.place
    }

    /// The place of another value, for a problem that is reported here: `on line 3`, or `in a.yaml on line 3`.
    pub fn whereabouts(&self, other: &Value<'_>) -> String {
        whereabouts(self.file, other.file, other.node.place)
    }

    /// Reports a mistake at this value. Always returns `None`, so that getters can end with it.
    pub fn problem<T>(&self, text: impl Into<String>) -> Option<T> {
        self.report(self.node.place, text.into());
        None
    }

    /// Adds a warning at this value.
    pub fn warn(&self, text: impl Into<String>) {
        self.reader.warnings.borrow_mut().push(self.at(self.node.place, text.into()));
    }

    /// Takes the result of another check: its value, or its error as a problem here.
    pub fn check<T, E: fmt::Display>(&self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => self.problem(self.hide(error.to_string())),
        }
    }

    /// Reads something whose mistakes must not concern the rest: they are returned and not reported.
    ///
    /// # Errors
    /// The problems that reading found.
    pub fn attempt<T>(&self, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Result<T, Problems> {
        let before = self.reader.problems.borrow().len();
        let value = read(self);
        let own = self.reader.problems.borrow_mut().split_off(before);
        match value {
            Some(value) if own.is_empty() => Ok(value),
            _ => Err(Problems::new(own)),
        }
    }

    /// Whether it is `null`, `~`, or nothing behind the key.
    pub fn is_null(&self) -> bool {
        matches!(self.node.content(), Content::Null)
    }

    /// Whether it is a list without items, or a mapping without keys.
    pub fn is_empty(&self) -> bool {
        match self.node.content() {
            Content::List(items) => items.is_empty(),
            Content::Map(entries) => entries.is_empty(),
            Content::Null | Content::Scalar(_) | Content::Quoted(_) | Content::Shared(..) => false,
        }
    }

    /// Whether [`Value::list`] would give its items.
    pub fn is_list(&self) -> bool {
        matches!(self.node.content(), Content::List(_))
    }

    /// Whether [`Value::entries`] and [`Value::section`] would read it.
    pub fn is_map(&self) -> bool {
        matches!(self.node.content(), Content::Map(_))
    }

    /// Any single value as text; may be empty.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        let (Content::Scalar(raw) | Content::Quoted(raw)) = self.node.content() else {
            return self.problem(format!("must be a single value, but is {}", self.node.kind()));
        };
        match self.reader.resolver {
            None => Some(Cow::Borrowed(raw)),
            Some(resolver) => self.check(resolver.fill(raw)),
        }
    }

    /// Text that is not empty.
    pub fn string(&self) -> Option<String> {
        self.parse(|text| if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) })
    }

    /// A text that is never shown; it must not be empty.
    pub fn secret(&self) -> Option<Secret> {
        let text = self.text()?;
        if text.is_empty() { self.problem("must not be empty") } else { Some(Secret::new(text)) }
    }

    /// A text that `parse` reads; its error becomes a problem.
    pub fn parse<T, E: fmt::Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        self.check(parse(&text))
    }

    /// Reads `true` or `false`; every other value is a problem.
    pub fn bool(&self) -> Option<bool> {
        self.parse(|text| match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(format!("must be true or false, not {text:?}")),
        })
    }

    /// A whole number within a range.
    pub fn integer<T: TryFrom<i64> + PartialOrd + fmt::Display>(&self, range: RangeInclusive<T>) -> Option<T> {
        self.parse(|text| {
            let number = text.parse::<i64>().ok().and_then(|n| T::try_from(n).ok()).filter(|n| range.contains(n));
            number.ok_or_else(|| {
                format!("must be a whole number from {} to {}, not {text:?}", range.start(), range.end())
            })
        })
    }

    /// A finite number within a range.
    pub fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        self.parse(|text| {
            let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && range.contains(n));
            number.ok_or_else(|| format!("must be a number from {} to {}, not {text:?}", range.start(), range.end()))
        })
    }

    /// A share of a whole, as `30%` or `0.3`.
    pub fn fraction(&self) -> Option<f64> {
        self.parse(|text| {
            let share = match text.strip_suffix('%') {
                Some(percent) => percent.trim_end().parse::<f64>().map(|p| p / 100.0),
                None => text.parse::<f64>(),
            };
            let share = share.ok().filter(|s| (0.0..=1.0).contains(s));
            share.ok_or_else(|| format!("must be a share such as 30% or 0.3, from 0 to 1, not {text:?}"))
        })
    }

    /// A time such as `500ms`, `10m` or `1h 30m`, within a range.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.parse(|text| {
            let time = humantime::parse_duration(text)
                .map_err(|_| format!("must be a time with its unit, such as 500ms, 30s or 10m, not {text:?}"))?;
            if range.contains(&time) {
                return Ok(time);
            }
            let [start, end] = [range.start(), range.end()].map(|d| humantime::format_duration(*d));
            Err(format!("must be a time from {start} to {end}, not {text}"))
        })
    }

    /// An address and port such as `127.0.0.1:8081`; port 0 takes any that is free.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        self.parse(|text| {
            let refused = |why: String| {
                format!("must be an address and port such as 127.0.0.1:8081 or [::1]:8081, not {text:?}: {why}")
            };
            let read = HostPort::parse_any_port(text).map_err(|error| refused(error.to_string()))?;
            read.socket().ok_or_else(|| {
                refused(match read.port {
                    None => "it has no port".into(),
                    Some(_) => "a name is no address to listen on".into(),
                })
            })
        })
    }

    /// A number of bytes such as `64MiB`, `500KiB` or `1024`, within a range.
    pub fn bytes(&self, range: RangeInclusive<usize>) -> Option<usize> {
        self.parse(|text| {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let unit = match text[digits.len()..].trim() {
                "" | "B" => Some(1),
                "KiB" => Some(1 << 10),
                "MiB" => Some(1 << 20),
                "GiB" => Some(1 << 30),
                _ => None,
            };
            let size = unit.and_then(|u| digits.parse::<usize>().ok()?.checked_mul(u)).filter(|s| range.contains(s));
            size.ok_or_else(|| {
                let (start, end) = (range.start(), range.end());
                format!("must be a size such as 64MiB or 500KiB, from {start} to {end} bytes, not {text:?}")
            })
        })
    }

    /// A file or folder; a relative one stands beside the file that is being read.
    pub fn path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.string()?);
        Some(self.reader.resolver.map_or(path.clone(), |resolver| resolver.base().join(path)))
    }

    /// The text of the file that it names, at most `most` bytes. Changes of the file are followed.
    pub fn file_text(&self, most: u64) -> Option<String> {
        self.text_at(&self.path()?, most)
    }

    /// The value of an environment variable that other programs use, too; `None` if it is not set, or empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        Some(self.reader.resolver?.fill(&format!("${{env:{name}}}")).ok()?.into_owned())
    }

    /// The text of a file that is named elsewhere; its changes are followed, and problems with it are reported here.
    pub fn text_at(&self, path: &std::path::Path, most: u64) -> Option<String> {
        let read = match self.reader.resolver {
            Some(resolver) => resolver.read_file(path, most),
            None => Resolver::new("").read_file(path, most),
        };
        let refused = |error| format!("cannot read {}: {error}; check the path and the permissions", path.display());
        self.check(read.map_err(refused))
    }

    /// One of the given words; returns what it stands for.
    pub fn word<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        self.parse(|text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, meaning)| meaning.clone()).ok_or_else(|| {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                format!("must be one of {}, not {text:?}", words.join(", "))
            })
        })
    }

    /// The items of a list; anything else is a problem.
    pub fn list(&self) -> Option<Vec<Value<'a>>> {
        let Content::List(items) = self.node.content() else {
            return self.problem(format!("must be a list, but is {}", self.node.kind()));
        };
        let path = Rc::new(self.path.clone());
        let item = |(i, node)| self.inner(node, Path::Index(path.clone(), i));
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Reads each item of a list; items with mistakes are left out.
    pub fn each<T>(&self, read: impl Fn(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        Some(self.list()?.iter().filter_map(read).collect())
    }

    /// As [`Value::each`], but a single value may stand for a list of one.
    pub fn one_or_each<T>(&self, read: impl Fn(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        if self.is_list() { self.each(read) } else { Some(read(self).into_iter().collect()) }
    }

    /// The entries of a mapping with free keys, in their order; a key that is there twice is a problem.
    pub fn entries(&self) -> Option<Vec<(&'a str, Value<'a>)>> {
        let Content::Map(entries) = self.node.content() else {
            return self.problem(format!("must be a mapping of keys to values, but is {}", self.node.kind()));
        };
        super::section::report_duplicates(self, entries);
        let path = Rc::new(self.path.clone());
        let entry = |(key, node): &'a (Key, Node)| (&*key.text, self.inner(node, Path::Key(path.clone(), &key.text)));
        Some(entries.iter().map(entry).collect())
    }

    /// A mapping of names to texts, which may be empty.
    pub fn texts(&self) -> Option<BTreeMap<String, String>> {
        let entries = self.entries()?.into_iter();
        Some(entries.filter_map(|(key, v)| Some((key.to_owned(), v.text()?.into_owned()))).collect())
    }

    /// Reads a mapping with fixed keys. Keys that `read` did not ask for are reported.
    pub fn section<T>(&self, read: impl FnOnce(&mut Section<'a>) -> Option<T>) -> Option<T> {
        let mut section = Section::open(self.clone())?;
        let value = read(&mut section);
        section.end();
        value
    }

    fn report(&self, place: Place, text: String) {
        self.reader.problems.borrow_mut().push(self.at(place, text));
    }

    /// Reports a mistake at the key of an entry of this mapping.
    pub(super) fn report_key(&self, (key, node): &(Key, Node), text: String) {
        let file = node.file().unwrap_or(self.file);
        let problem = Problem { file: file.clone(), ..self.at(key.place, text) };
        self.reader.problems.borrow_mut().push(problem);
    }

    fn at(&self, place: Place, text: String) -> Problem {
        Problem { file: self.file.clone(), place, path: self.path.to_string(), text }
    }

    /// The error with a reference in the place of its value: errors quote values, and this one may be a secret.
    fn hide(&self, error: String) -> String {
        let (Content::Scalar(raw) | Content::Quoted(raw), Some(resolver)) = (self.node.content(), self.reader.resolver)
        else {
            return error;
        };
        match resolver.fill(raw) {
            Ok(Cow::Owned(filled)) if !filled.is_empty() => {
                let escaped = format!("{filled:?}");
                error.replace(escaped.trim_matches('"'), raw).replace(&filled, raw)
            }
            _ => error,
        }
    }
}

/// A place in words, for a problem in the file `here`.
pub(super) fn whereabouts(here: &Arc<str>, file: &Arc<str>, place: Place) -> String {
    match (here == file, place.line) {
        (_, 0) => format!("in {file}"),
        (true, line) => format!("on line {line}"),
        (false, line) => format!("in {file} on line {line}"),
    }
}
