//! Prints a list of several pages as one document.

use super::{
    arguments::{Arguments, Output, What},
    columns,
    error::Error,
};
use serde_json::{Map, Value};

/// The fields that hold the items of a page.
const LISTS: [&str; 3] = ["services", "resources", "clients"];

/// Turns one page after the other into text.
pub(super) struct Printer {
    form: Form,
    /// Whether no page has been shown yet.
    first: bool,
}

enum Form {
    Columns(columns::Columns),
    Json,
    Yaml,
}

impl Printer {
    pub(super) fn new(arguments: &Arguments) -> Self {
        let single = arguments.what == What::Services && arguments.name.is_some();
        let form = match arguments.output {
            Output::Json => Form::Json,
            Output::Table if !single => Form::Columns(columns::of(arguments.what)),
            Output::Table | Output::Yaml => Form::Yaml,
        };
        Printer { form, first: true }
    }

    /// The text of a page. `last`: no page follows, so the document is closed.
    pub(super) fn page(&mut self, page: Value, last: bool) -> Result<String, Error> {
        let first = std::mem::replace(&mut self.first, false);
        match &mut self.form {
            Form::Columns(columns) => Ok(columns(&page)),
            // The usual case, and the one in which an answer is no list.
            Form::Json if first && last => Ok(format!("{page:#}\n")),
            Form::Yaml if first && last => yaml(&page),
            Form::Json => Ok(json_part(page, first, last)),
            Form::Yaml => yaml_part(page, first),
        }
    }
}

/// The fields of a page without its items, the name of the field of the items, and the items.
fn split(page: Value) -> (Map<String, Value>, &'static str, Vec<Value>) {
    let Value::Object(mut head) = page else { return (Map::new(), LISTS[0], Vec::new()) };
    let name = LISTS.into_iter().find(|name| head.contains_key(*name)).unwrap_or(LISTS[0]);
    let items = match head.remove(name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    (head, name, items)
}

fn json_part(page: Value, first: bool, last: bool) -> String {
    let (head, name, items) = split(page);
    let mut text = String::new();
    if first {
        let head = format!("{:#}", Value::Object(head));
        text += &format!("{},\n  \"{name}\": [", head.trim_end_matches(['\n', '}']));
    }
    for (place, item) in items.iter().enumerate() {
        let comma = if first && place == 0 { "" } else { "," };
        text += &format!("{comma}\n    {}", format!("{item:#}").replace('\n', "\n    "));
    }
    if last {
        text += "\n  ]\n}\n";
    }
    text
}

/// A part of a YAML document: lists that follow each other are one list.
fn yaml_part(page: Value, first: bool) -> Result<String, Error> {
    let (head, name, items) = split(page);
    let head = if first { format!("{}{name}:\n", yaml(&Value::Object(head))?) } else { String::new() };
    Ok(if items.is_empty() { head } else { head + &yaml(&Value::Array(items))? })
}

fn yaml(value: &Value) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(Error::Yaml)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pages_are_one_text_as_if_there_were_one() {
        let page = |items: &[i32]| {
            let items: Vec<Value> = items.iter().map(|n| json!({ "n": n, "of": [n] })).collect();
            json!({ "total": 3, "services": items })
        };
        let text = |form| {
            let mut printer = Printer { form, first: true };
            let pages = [(page(&[1, 2]), false), (page(&[3]), true)];
            pages.map(|(page, last)| printer.page(page, last).unwrap()).concat()
        };
        let whole = page(&[1, 2, 3]);
        assert_eq!(serde_json::from_str::<Value>(&text(Form::Json)).unwrap(), whole);
        let yaml: Value = serde_saphyr::from_str(&text(Form::Yaml)).unwrap();
        assert_eq!(yaml, whole, "{}", text(Form::Yaml));
    }
}
