//! Who may ask, and who may change something: by tokens, where the configuration has some.

use super::answer::refusal;
use crate::{identity::Digest, util::secret::Secret};
use arc_swap::ArcSwap;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use std::sync::Arc;

/// The tokens of admin. They may change while it answers; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    held: Arc<ArcSwap<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    read: Vec<Digest>,
    change: Vec<Digest>,
}

impl Tokens {
    /// Those that open everything that is only read, and those that open all. Where there are none at all, nobody needs one;
    /// where there are some, who changes something needs one of the latter.
    pub fn set(&self, read: &[Secret], change: &[Secret]) {
        let digests = |of: &[Secret]| of.iter().map(|token| Digest::of(token.expose().as_bytes())).collect();
        self.held.store(Arc::new(Held { read: digests(read), change: digests(change) }));
    }

    /// The refusal, if whoever sends these headers may not do that.
    pub(super) fn refusal(&self, headers: &HeaderMap, changes: bool) -> Option<Response> {
        let held = self.held.load();
        if held.read.is_empty() && (!changes || held.change.is_empty()) {
            return None;
        }
        let token = bearer(headers).map(|token| Digest::of(token.as_bytes()));
        let is_among = |known: &[Digest]| {
            // All of them, so that the time shows nothing.
            token.is_some_and(|token| known.iter().fold(false, |found, known| found | known.is(&token)))
        };
        let (reads, all) = (is_among(&held.read), is_among(&held.change));
        match (all, reads, changes) {
            (true, ..) | (_, true, false) => None,
            (_, true, true) => Some(refusal(
                StatusCode::FORBIDDEN,
                "this token is for reading; a change needs one of `admin.tokens.change`",
            )),
            _ => {
                let mut refused = refusal(
                    StatusCode::UNAUTHORIZED,
                    "send the header `authorization: Bearer TOKEN` with a token of `admin.tokens`",
                );
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                Some(refused)
            }
        }
    }
}

/// The token in a request's headers.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a request to read, and of one to change something.
    fn asked(read: &[&str], change: &[&str], header: Option<&str>) -> [u16; 2] {
        let secrets = |of: &[&str]| of.iter().map(|token| Secret::new(*token)).collect::<Vec<_>>();
        let tokens = Tokens::default();
        tokens.set(&secrets(read), &secrets(change));
        let mut headers = HeaderMap::new();
        headers.extend(header.map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())));
        [false, true].map(|changes| tokens.refusal(&headers, changes).map_or(200, |refused| refused.status().as_u16()))
    }

    #[test]
    fn reading_and_changing_have_tokens_of_their_own() {
        assert_eq!(asked(&[], &[], None), [200, 200]);
        assert_eq!(asked(&["r"], &["c"], None), [401, 401]);
        assert_eq!(asked(&["r"], &["c"], Some("Bearer x")), [401, 401]);
        assert_eq!(asked(&["r"], &["c"], Some("Bearer r")), [200, 403]);
        assert_eq!(asked(&["r"], &["c"], Some("bearer c")), [200, 200]);
        assert_eq!(asked(&["r"], &["c"], Some("Basic c")), [401, 401]);
        // Only changes are protected, and nothing may be changed.
        assert_eq!(asked(&[], &["c"], None), [200, 401]);
        assert_eq!(asked(&["r"], &[], Some("Bearer r")), [200, 403]);
        assert_eq!(asked(&["r", "new"], &[], Some("Bearer new")), [200, 403]);
    }
}
