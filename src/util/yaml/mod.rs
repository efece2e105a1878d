//! A typed reader over YAML and JSON that knows where everything stands, used for the configuration and for catalogue
//! files.
//!
//! ```
//! use portolan::util::yaml::{Document, Limits};
//! let document = Document::parse("a.yaml", b"listen: {port: 80}", &Limits::default()).unwrap();
//! let port = document.read(None, |root| {
//!     root.section(|s| s.section("listen", |s| s.need("port", |v| v.integer(1..=65_535))))
//! });
//! assert_eq!(port.finish(), Ok(80));
//! ```
//!
//! A mistake never stops the reading: it goes into the document's list with its line, column and key path, and the
//! getter gives `None`, so that *all* problems are reported at once. A key that is missing or `null` gives `None`, too,
//! without a problem. Keys that no getter asked for are reported when their [`Section`] ends.
//!
//! A struct of configuration has `fn read(section: &mut Section<'_>) -> Option<Self>`. It asks for every key before any
//! `?`, gives defaults with `unwrap_or`, and is called as `parent.section("key", Config::read)`. Where one bad entry must
//! not cost the others (catalogue files), [`Value::attempt`] hands an entry's problems out.

mod merge;
mod node;
mod parse;
mod problem;
mod resolve;
mod section;
#[cfg(test)]
mod tests;
mod value;

pub use merge::{Merge, Step};
pub use node::{Key, Node, Place, Shape};
pub use parse::Limits;
pub use problem::{Problem, Problems};
pub use resolve::{ResolveError, Resolver};
pub use section::Section;
pub use value::Value;

use std::{cell::RefCell, sync::Arc};

/// A parsed text and its name.
#[derive(Debug, Clone)]
pub struct Document {
    file: Arc<str>,
    root: Node,
}

/// The result of reading a document.
#[derive(Debug)]
pub struct Reading<T> {
    /// The value, without the parts that have mistakes. `None`: too much is missing.
    pub value: Option<T>,
    /// All mistakes, by position.
    pub problems: Problems,
    /// What is valid but may not be intended, by position.
    pub warnings: Problems,
}

impl<T> Reading<T> {
    /// The value if there is no problem at all.
    ///
    /// # Errors
    /// All problems that were found, in the order of the file.
    pub fn finish(self) -> Result<T, Problems> {
        match self.value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }
}

impl Document {
    /// Parses a text; `file` is its name in problems.
    ///
    /// # Errors
    /// The first place that is no YAML, or the limit that the text exceeds.
    pub fn parse(file: &str, text: &[u8], limits: &Limits) -> Result<Self, Problem> {
        let file: Arc<str> = file.into();
        let roots = parse::parse(&file, text, limits, 1)?;
        Ok(Document { file, root: roots.into_iter().next().unwrap_or_else(Node::nothing) })
    }

    /// The same for a text with several documents, at most `most`, with `---` between them; empty ones are left out.
    ///
    /// # Errors
    /// As [`Document::parse`].
    pub fn parse_all(file: &str, text: &[u8], limits: &Limits, most: usize) -> Result<Vec<Self>, Problem> {
        let file: Arc<str> = file.into();
        let roots = parse::parse(&file, text, limits, most)?;
        let documents = roots.into_iter().map(|root| Document { file: file.clone(), root });
        Ok(documents.filter(|document| !matches!(document.root.shape(), Shape::Null)).collect())
    }

    /// The root of the tree, for readers that do not use [`Document::read`].
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Reads the tree from its root. With a resolver, `${env:NAME}` and `${file:PATH}` are replaced in scalars.
    pub fn read<T>(&self, resolver: Option<&Resolver>, read: impl FnOnce(&Value<'_>) -> Option<T>) -> Reading<T> {
        let reader =
            Reader { file: self.file.clone(), resolver, problems: RefCell::default(), warnings: RefCell::default() };
        let value = read(&Value::root(&reader, &self.root));
        Reading {
            value,
            problems: Problems::new(reader.problems.into_inner()),
            warnings: Problems::new(reader.warnings.into_inner()),
        }
    }
}

/// What all values of one reading share.
#[derive(Debug)]
struct Reader<'a> {
    file: Arc<str>,
    resolver: Option<&'a Resolver>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}
