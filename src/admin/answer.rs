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
use std::{
    borrow::Cow,
    io,
    iter::once,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

/// Bytes of a piece; more if one item is larger.
const PIECE: usize = 32 << 10;

/// Pieces that are made at once. Others wait, so that xDS keeps the processors.
const MAKERS: usize = 2;

/// Answers without a limit on their items at once.
const WHOLE: usize = 4;

/// How long one more waits to be started.
const PATIENCE: Duration = Duration::from_secs(10);

static MAKING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAKERS)));
static WHOLES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(WHOLE)));

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

/// An array of any length, whose items `make` gives; few are answered at once.
pub(super) async fn array<I: Iterator<Item = Vec<u8>> + Send + 'static>(
    make: impl FnOnce() -> I + Send + 'static,
) -> Response {
    whole(Format::Json, || joined(b"[".to_vec(), b",", make(), b"]")).await
}

/// An answer of any length, whose parts `make` gives; few are answered at once.
pub(super) async fn whole(format: Format, make: impl FnOnce() -> Parts + Send + 'static) -> Response {
    let Ok(Ok(permit)) = timeout(PATIENCE, WHOLES.clone().acquire_owned()).await else {
        let text = "too many long answers at once; ask again, or ask for a page (`limit`)";
        return ([(header::RETRY_AFTER, "5")], refusal(StatusCode::SERVICE_UNAVAILABLE, text)).into_response();
    };
    apart(move || send(format, make(), Some(permit))).await
}

/// Makes a response on a blocking thread: `make` may look at every name.
pub(super) async fn apart(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    let made = spawn_blocking(make).await;
    made.unwrap_or_else(|error| refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

/// The items, with texts before, between and behind them.
pub(super) fn joined(
    start: Vec<u8>,
    between: &'static [u8],
    items: impl Iterator<Item = Vec<u8>> + Send + 'static,
    end: &'static [u8],
) -> Parts {
    let items = items.enumerate().map(move |(place, item)| if place == 0 { item } else { [between, &item].concat() });
    Box::new(once(start).chain(items).chain(once(end.to_vec())))
}

/// An answer of one value, which is not long.
pub(super) fn one(value: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, Format::Json.content_type())], json(value)).into_response()
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(value);
    safe(text.expect("what admin shows has texts as keys, and writing to memory does not fail"))
}

/// A text of JSON or YAML without what a terminal executes: answers are often read in one.
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

/// An answer that is an error.
pub(super) fn refusal(status: StatusCode, text: &str) -> Response {
    (status, one(&json!({ "error": text }))).into_response()
}

fn send(format: Format, parts: Parts, permit: Option<OwnedSemaphorePermit>) -> Response {
    let pieces = stream::unfold(Some((parts, permit)), |state| async {
        let (parts, permit) = state?;
        match piece(parts).await {
            Ok((piece, parts)) if !piece.is_empty() => Some((Ok(Bytes::from(piece)), Some((parts, permit)))),
            Ok(_) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    ([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(pieces)).into_response()
}

/// Makes the next piece; an empty one is the end.
async fn piece(mut parts: Parts) -> io::Result<(Vec<u8>, Parts)> {
    let turn = MAKING.acquire().await.map_err(io::Error::other)?;
    let made = spawn_blocking(move || {
        let mut piece = Vec::with_capacity(PIECE + PIECE / 4);
        while piece.len() < PIECE {
            let Some(part) = parts.next() else { break };
            piece.extend_from_slice(&part);
        }
        (piece, parts)
    });
    let made = made.await.map_err(io::Error::other);
    drop(turn);
    made
}
