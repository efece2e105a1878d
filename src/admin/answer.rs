//! Answers that may be long: made piece by piece, as fast as they are read.
//!
//! A list is never in memory as a whole. A piece of some 32 KiB is made on a blocking thread, and the next one when the
//! connection has written it. So an answer of gigabytes needs as much memory as one of kilobytes, and one that is not read
//! needs one piece. An answer that breaks off ends with an error, never as if it were complete.

use crate::util::escape;
use axum::{
    body::Body,
    extract::rejection::QueryRejection,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use std::{borrow::Cow, io, iter::once};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
};

/// The size of a piece, in bytes; a piece with one large item may be longer.
const PIECE: usize = 32 << 10;

/// How many pieces are made at once. Others wait, so that xDS keeps the processors.
const MAKERS: usize = 2;

/// How many answers without a limit on their items, and longer than a piece, are sent at once. Others get 503.
const WHOLE: usize = 4;

static MAKING: Semaphore = Semaphore::const_new(MAKERS);
static WHOLES: Semaphore = Semaphore::const_new(WHOLE);

/// The text of an answer, in parts of any size.
pub(super) type Parts = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// The form in which a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Yaml,
    Text,
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
            Format::Text => "text/plain; charset=utf-8",
        }
    }
}

/// One page of a list: an object with the fields of `head`, which has some, and the items in the field `name` behind them.
pub(super) fn page(
    head: &impl Serialize,
    name: &str,
    items: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> Response {
    let mut start = json(head);
    start.pop();
    start.extend_from_slice(format!(",\"{name}\":[").as_bytes());
    send(Format::Json, joined(start, b",", items, b"]}"), None)
}

/// A JSON array of any length, whose items `make` gives. As with [`whole`] it may be refused with 503.
pub(super) async fn array<I: Iterator<Item = Vec<u8>> + Send + 'static>(
    make: impl FnOnce() -> I + Send + 'static,
) -> Response {
    whole(Format::Json, || joined(b"[".to_vec(), b",", make(), b"]")).await
}

/// An answer of any length, whose parts `make` gives. If it is longer than a piece, and [`WHOLE`] such answers are
/// under way, the answer is 503.
pub(super) async fn whole(format: Format, make: impl FnOnce() -> Parts + Send + 'static) -> Response {
    let (first, rest) = match blocking(move || piece(make())).await {
        Ok(made) => made,
        Err(error) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    if first.len() < PIECE {
        return ([(header::CONTENT_TYPE, format.content_type())], first).into_response();
    }
    let parts: Parts = Box::new(once(first).chain(rest));
    // To wait here would be to hold what the answer is made from.
    let Ok(permit) = WHOLES.try_acquire() else {
        let text = "too many long answers at once; ask again, or ask for a page (`limit`)";
        return ([(header::RETRY_AFTER, "5")], refusal(StatusCode::SERVICE_UNAVAILABLE, text)).into_response();
    };
    send(format, parts, Some(permit))
}

/// Makes a response on a blocking thread, for a `make` that takes long, such as a search of all names.
pub(super) async fn apart(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    let made = blocking(make).await;
    made.unwrap_or_else(|error| refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

/// Runs on a blocking thread, at most [`MAKERS`] at once: each thread has a stack and a heap of its own.
async fn blocking<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let turn = MAKING.acquire().await.map_err(io::Error::other)?;
    let made = spawn_blocking(move || {
        let made = make();
        drop(turn);
        made
    });
    made.await.map_err(io::Error::other)
}

/// The items, with `start` before, `between` between and `end` behind them.
pub(super) fn joined(
    start: Vec<u8>,
    between: &'static [u8],
    items: impl Iterator<Item = Vec<u8>> + Send + 'static,
    end: &'static [u8],
) -> Parts {
    let items = items.enumerate().map(move |(place, item)| if place == 0 { item } else { [between, &item].concat() });
    Box::new(once(start).chain(items).chain(once(end.to_vec())))
}

/// An answer of one value as JSON; it is made at once, so it must be small.
pub(super) fn one(value: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, Format::Json.content_type())], json(value)).into_response()
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(value);
    safe(text.expect("what admin shows has texts as keys, and writing to memory does not fail"))
}

/// A text of JSON or YAML with control characters escaped: answers are often read in a terminal, which would execute
/// them.
pub(super) fn safe(text: String) -> Vec<u8> {
    match escape::lines(&text) {
        Cow::Borrowed(_) => text.into_bytes(),
        Cow::Owned(escaped) => escaped.into_bytes(),
    }
}

/// The answer to a query that cannot be read.
pub(super) fn bad_query(rejection: QueryRejection) -> Response {
    refusal(StatusCode::BAD_REQUEST, &rejection.body_text())
}

/// The error of a handler: a status, and the reason, which becomes the field `error`.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl Refusal {
    /// 400: the request makes no sense.
    pub(super) fn bad(text: &str) -> Self {
        Refusal(StatusCode::BAD_REQUEST, text.into())
    }

    pub(super) fn of_query(rejection: QueryRejection) -> Self {
        Refusal::bad(&rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        refusal(self.0, &self.1)
    }
}

/// An answer with this status, and an object with the field `error`.
pub(super) fn refusal(status: StatusCode, text: &str) -> Response {
    (status, one(&json!({ "error": text }))).into_response()
}

fn send(format: Format, parts: Parts, permit: Option<SemaphorePermit<'static>>) -> Response {
    let pieces = stream::unfold(Some((parts, permit)), |state| async {
        let (parts, permit) = state?;
        match blocking(|| piece(parts)).await {
            Ok((piece, parts)) if !piece.is_empty() => Some((Ok(Bytes::from(piece)), Some((parts, permit)))),
            Ok(_) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    ([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(pieces)).into_response()
}

/// Makes the next piece; one that is shorter than [`PIECE`] is the last.
fn piece(mut parts: Parts) -> (Vec<u8>, Parts) {
    let mut piece = Vec::with_capacity(PIECE + PIECE / 4);
    while piece.len() < PIECE {
        let Some(part) = parts.next() else { break };
        piece.extend_from_slice(&part);
    }
    (piece, parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    #[tokio::test]
    async fn an_answer_is_made_as_fast_as_it_is_read_and_is_whole_at_the_end() {
        const ITEMS: usize = 100_000;
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let items = (0..ITEMS).map(move |n| {
            count.fetch_add(1, Ordering::Relaxed);
            json(&n)
        });
        let mut body = page(&json!({ "total": ITEMS }), "items", items).into_body().into_data_stream();
        assert_eq!(made.load(Ordering::Relaxed), 0);
        let mut text = body.next().await.unwrap().unwrap().to_vec();
        let first = made.load(Ordering::Relaxed);
        assert!((1..=PIECE).contains(&first), "{first}");
        while let Some(piece) = body.next().await {
            text.extend_from_slice(&piece.unwrap());
        }
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&value["total"], value["items"].as_array().unwrap().len()), (&json!(ITEMS), ITEMS));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_ends_with_an_error() {
        let items = (0..100_000).map(|n| if n < 50_000 { json(&n) } else { panic!("no more") });
        let pieces: Vec<_> =
            page(&json!({ "total": 1 }), "items", items).into_body().into_data_stream().collect().await;
        assert!(pieces.len() > 1 && pieces[0].is_ok() && pieces.last().unwrap().is_err());
    }
}
