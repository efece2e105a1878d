//! Texts as YAML.

/// A text in double quotes. A JSON string is always a YAML string, too.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
