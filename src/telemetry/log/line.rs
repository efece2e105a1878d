//! A line of the log: its fields, and its two forms.
//!
//! Many fields are texts of clients and registries. [`Fields`] limits their length, and both forms escape them, so that no
//! text forges a line or is executed by a terminal.

use crate::util::{error, escape};
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Debug, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use tracing::{
    Level,
    field::{Field, Visit},
};

/// Bytes of one field's text; what is longer is cut there.
const MAX_TEXT: usize = 4096;

/// What stands for the rest of a text that was cut.
const CUT: &str = "[...]";

/// The form of the log's lines (`log.format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// A line of text per event, to be read by eye (`text`).
    #[default]
    Text,
    /// An object per line, for collectors (`json`).
    Json,
}

/// The form that lines have now; all clones share it.
#[derive(Debug, Clone)]
pub(super) struct Format {
    is_json: Arc<AtomicBool>,
}

impl Format {
    pub(super) fn new(format: LogFormat) -> Self {
        Format { is_json: Arc::new(AtomicBool::new(format == LogFormat::Json)) }
    }

    pub(super) fn set(&self, format: LogFormat) {
        self.is_json.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> LogFormat {
        if self.is_json.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
    }
}

/// The fields of an event or a span.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    message: Option<String>,
    fields: Vec<(&'static str, Value)>,
    /// The module that logged, where the event comes from a library that uses the crate `log`.
    target: Option<String>,
}

pub(super) struct Line<'a> {
    pub(super) at: SystemTime,
    pub(super) level: Level,
    pub(super) target: &'a str,
    /// The spans around it, the outermost first.
    pub(super) spans: Vec<(&'static str, Fields)>,
    pub(super) event: Fields,
}

impl Fields {
    /// A message, and a number of lines as the field `lines`.
    pub(super) fn of(message: &str, lines: u64) -> Self {
        Fields { message: Some(message.to_owned()), fields: vec![("lines", lines.into())], target: None }
    }

    fn add(&mut self, field: &Field, value: Value) {
        let name = field.name();
        match (name, &value) {
            // The macros record the message first; a second field of that name is an ordinary one.
            ("message", Value::String(text)) if self.message.is_none() => self.message = Some(text.clone()),
            ("log.target", Value::String(text)) => self.target = Some(text.clone()),
            _ if name.starts_with("log.") => {}
            _ => self.fields.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = Bounded::default();
        // It fails where the text is cut, as intended.
        let _ = write!(text, "{value:?}");
        self.add(field, text.done().into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Bounded::default();
        let _ = text.write_str(value);
        self.add(field, text.done().into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &error::chain(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

impl Line<'_> {
    /// The line, with its newline. Colours are for text only.
    pub(super) fn render(&self, format: LogFormat, color: bool) -> String {
        let mut line = match format {
            LogFormat::Text => self.text(color),
            LogFormat::Json => self.json(),
        };
        line.push('\n');
        line
    }

    fn text(&self, color: bool) -> String {
        let mut out = String::with_capacity(256);
        let (dim, level, plain) = if color { ("\x1b[2m", color_of(self.level), "\x1b[0m") } else { ("", "", "") };
        let at = humantime::format_rfc3339_micros(self.at);
        let target = self.target();
        let _ = write!(out, "{dim}{at}{plain} {level}{:>5}{plain} ", self.level.as_str());
        for (name, fields) in &self.spans {
            let _ = write!(out, "{name}{{{}}}:", fields.texts().join(" "));
        }
        let gap = if self.spans.is_empty() { "" } else { " " };
        let _ = write!(out, "{gap}{dim}{target}:{plain}");
        for text in self.event.message.iter().map(|text| escape::line(text).into_owned()).chain(self.event.texts()) {
            let _ = write!(out, " {text}");
        }
        out
    }

    /// An object in which no key stands twice.
    fn json(&self) -> String {
        let mut out = Vec::with_capacity(256);
        let written = self.object(&mut serde_json::Serializer::new(&mut out));
        written.expect("writing to memory does not fail");
        escape::lines(&String::from_utf8_lossy(&out)).into_owned()
    }

    fn object(&self, serializer: &mut serde_json::Serializer<&mut Vec<u8>>) -> serde_json::Result<()> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &humantime::format_rfc3339_micros(self.at).to_string())?;
        map.serialize_entry("level", self.level.as_str())?;
        if let Some(message) = &self.event.message {
            map.serialize_entry("message", message)?;
        }
        for (key, value) in unique(&self.event.fields, &["timestamp", "level", "message", "target", "spans"]) {
            map.serialize_entry(&key, value)?;
        }
        map.serialize_entry("target", &self.target())?;
        if !self.spans.is_empty() {
            let span = |(name, fields): &(&'static str, Fields)| {
                let fields = unique(&fields.fields, &["name"]).map(|(key, value)| (key.into_owned(), value.clone()));
                serde_json::Map::from_iter([("name".to_owned(), Value::from(*name))].into_iter().chain(fields))
            };
            map.serialize_entry("spans", &self.spans.iter().map(span).collect::<Vec<_>>())?;
        }
        map.end()
    }

    fn target(&self) -> Cow<'_, str> {
        escape::line(self.event.target.as_deref().unwrap_or(self.target))
    }
}

impl Fields {
    /// `name=value` of each field.
    fn texts(&self) -> Vec<String> {
        let text = |(name, value): &(&'static str, Value)| match value {
            Value::String(text) => format!("{name}={}", escape::line(text)),
            other => format!("{name}={other}"),
        };
        self.fields.iter().map(text).collect()
    }
}

/// The fields with keys that are neither reserved nor given twice: a second `x` is `x_`.
fn unique<'a>(
    fields: &'a [(&'static str, Value)],
    reserved: &[&str],
) -> impl Iterator<Item = (Cow<'static, str>, &'a Value)> {
    let mut keys: Vec<Cow<'static, str>> = reserved.iter().map(|key| Cow::Owned((*key).to_owned())).collect();
    fields.iter().map(move |(name, value)| {
        let mut key = Cow::Borrowed(*name);
        while keys.contains(&key) {
            key.to_mut().push('_');
        }
        keys.push(key.clone());
        (key, value)
    })
}

fn color_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// A text that refuses more than [`MAX_TEXT`], so that a value of hundreds of megabytes is not even formatted.
#[derive(Default)]
struct Bounded {
    text: String,
    cut: bool,
}

impl Bounded {
    fn done(mut self) -> String {
        if self.cut {
            self.text.push_str(CUT);
        }
        self.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_TEXT - self.text.len();
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.text.push_str(&text[..end]);
        self.cut = true;
        Err(fmt::Error)
    }
}
