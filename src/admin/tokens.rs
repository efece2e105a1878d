//! The tokens of the admin API: who may read, and who may change something.

use super::answer::refusal;
use crate::{identity::Digest, model::Text, util::secret::Secret};
use arc_swap::ArcSwap;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use std::sync::Arc;

/// The digests of the tokens of `admin.tokens`. They may change while the API serves; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    held: Arc<ArcSwap<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    read: Vec<Digest>,
    /// The tokens for changes, each with its name.
    change: Vec<(Text, Digest)>,
}

/// The name of the token that allows a request to change something. `None`: it has no such token.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller(pub(super) Option<Text>);

impl Caller {
    /// The name for the history; `somebody` without a token.
    pub(super) fn name(&self) -> Text {
        self.0.clone().unwrap_or_else(|| "somebody".into())
    }
}

impl Tokens {
    /// Sets the tokens that allow to read, and those, with their names, that allow everything. Without any no request
    /// needs a token; where there are some for changes, a change needs one of these.
    pub fn set(&self, read: &[Secret], change: &[(Text, Secret)]) {
        let digest = |token: &Secret| Digest::of(token.expose().as_bytes());
        let change = change.iter().map(|(name, token)| (name.clone(), digest(token))).collect();
        self.held.store(Arc::new(Held { read: read.iter().map(digest).collect(), change }));
    }

    /// The token for changes that these headers have.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Caller {
        let token = bearer(headers).map(|token| Digest::of(token.as_bytes()));
        let held = self.held.load();
        // All are compared, so that the time does not tell which one fits.
        let own =
            held.change.iter().fold(
                None,
                |found, (name, known)| {
                    if token.is_some_and(|token| known.is(&token)) { Some(name) } else { found }
                },
            );
        Caller(own.cloned())
    }

    /// The refusal, if these headers do not allow to read, or with `changes` to change something.
    pub(super) fn refusal(&self, headers: &HeaderMap, changes: bool) -> Option<Response> {
        let held = self.held.load();
        if held.read.is_empty() && (!changes || held.change.is_empty()) {
            return None;
        }
        let token = bearer(headers).map(|token| Digest::of(token.as_bytes()));
        // All are compared, so that the time does not tell which one fits.
        let reads = token.is_some_and(|token| held.read.iter().fold(false, |found, known| found | known.is(&token)));
        let all = self.caller(headers).0.is_some();
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

/// The token of `authorization: Bearer TOKEN`. `None`: there is none, or the header is there twice.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statuses of a request to read, and of one to change something, with this header; 200: not refused.
    fn asked(read: &[&str], change: &[&str], header: Option<&str>) -> [u16; 2] {
        let secrets = |of: &[&str]| of.iter().map(|token| Secret::new(*token)).collect::<Vec<_>>();
        let tokens = Tokens::default();
        let named = secrets(change).into_iter().map(|secret| ("a name".into(), secret)).collect::<Vec<_>>();
        tokens.set(&secrets(read), &named);
        let mut headers = HeaderMap::new();
        headers.extend(header.map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())));
        [false, true].map(|changes| tokens.refusal(&headers, changes).map_or(200, |refused| refused.status().as_u16()))
    }

    #[test]
    fn whose_token_it_is_is_known() {
        let tokens = Tokens::default();
        tokens.set(&[], &[("ann".into(), Secret::new("a")), ("ci".into(), Secret::new("c"))]);
        for (header, expected) in [("Bearer a", Some("ann")), ("bearer c", Some("ci")), ("Bearer x", None), ("", None)]
        {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(header))]);
            assert_eq!(tokens.caller(&headers).0.as_deref(), expected, "{header}");
        }
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
