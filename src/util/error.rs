//! Errors as text.

use std::error::Error;

/// An error with all its causes, separated by colons, the outermost first. A cause that its error has printed already
/// is not repeated.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Step {
        text: &'static str,
        source: Option<Box<Step>>,
    }

    #[test]
    fn causes_follow_each_once() {
        let step = |text, source: Option<Step>| Step { text, source: source.map(Box::new) };
        let refused = || step("connection refused", None);
        let error = step("cannot list orders", Some(step("cannot reach the server", Some(refused()))));
        assert_eq!(chain(&error), "cannot list orders: cannot reach the server: connection refused");
        assert_eq!(chain(&step("cannot list: connection refused", Some(refused()))), "cannot list: connection refused");
    }
}
