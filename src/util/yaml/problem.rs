//! Mistakes in texts, with their places.

use super::Place;
use std::{fmt, sync::Arc};

/// A mistake in a file: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The name of the file; of the variable or argument if the value is in no file.
    pub file: Arc<str>,
    /// Line and column; line 0 if the problem has no place.
    pub place: Place,
    /// The path of the key, such as `registries[0].nacos.servers[1]`; empty for the whole file.
    pub path: String,
    /// What is wrong, and what to do about it. Never holds a secret.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, place, path, text } = self;
        match place.line {
            0 => write!(f, "{file}: ")?,
            line => write!(f, "{file}:{line}:{}: ", place.column)?,
        }
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(text)
    }
}

impl std::error::Error for Problem {}

/// All mistakes of a reading, by position, each once. Prints one per line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts problems by file and position, and removes doubles.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Problems(problems)
    }

    /// True if nothing was wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds problems of another reading, and sorts all again.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Problem>) {
        let mut all = std::mem::take(&mut self.0);
        all.extend(others);
        *self = Problems::new(all);
    }

    /// All problems, sorted by file and position.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
