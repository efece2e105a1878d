//! Texts in YAML.

/// A JSON string is a YAML string, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
