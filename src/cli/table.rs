//! Tables of text, with columns as wide as their cells.

use crate::util::escape;
use serde_json::Value;
use std::fmt;

/// A table, which is shown at once or part by part.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    /// The least width of each column, in characters: that of the rows shown before.
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    pub(super) fn new(head: [&str; N]) -> Self {
        Table { rows: vec![head.map(str::to_owned)], widths: [0; N] }
    }

    /// Adds a row. Empty cells are shown as `-`, so that columns can be counted; control characters are escaped.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".into() } else { escape::line(&cell).into_owned() }));
    }

    /// The text of the rows since the last call; the first time with the head. Columns never get narrower.
    pub(super) fn take(&mut self) -> String {
        self.widths = self.widths();
        let text = self.to_string();
        self.rows = Vec::new();
        text
    }

    fn widths(&self) -> [usize; N] {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        std::array::from_fn(|column| width(column).max(self.widths[column]))
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A JSON value as a cell: texts without quotes, null as empty, items of lists with spaces between them.
pub(in crate::cli) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// The items of a list; empty for anything else.
pub(in crate::cli) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["longer".into(), String::new()]);
        assert_eq!(table.to_string(), "A       LONG\nlonger  -\n");
    }

    #[test]
    fn parts_line_up_with_those_before_and_no_cell_breaks_its_line() {
        let mut table = Table::new(["A", "B"]);
        table.row(["longer".into(), "1".into()]);
        assert_eq!(table.take(), "A       B\nlonger  1\n");
        table.row(["a\n\u{1b}[2J".into(), "2".into()]);
        table.row(["x".into(), "3".into()]);
        assert_eq!(table.take(), "a\\n\\u001b[2J  2\nx             3\n");
        assert_eq!(table.take(), "");
    }
}
