//! What servers in this process answer on order instead of the truth.

use axum::{
    body::{Body, Bytes},
    http::{Response, StatusCode, header},
};
use std::{io::Write, sync::LazyLock, time::Duration};

static BLANKS: [u8; 1 << 16] = [b' '; 1 << 16];

/// Four MiB of blanks, compressed once: that takes longer than some requests may.
static BOMB: LazyLock<Bytes> = LazyLock::new(|| {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..4 {
        gzip.write_all(&[b' '; 1 << 20]).unwrap();
    }
    gzip.finish().unwrap().into()
});

/// How long requests of tests may take. Long, because what is answered on a busy machine comes late.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP response of a server in this process.
pub type Answer = Response<Body>;

/// What a matching request gets instead of the truth.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status with this body.
    Status(u16, &'static str),
    /// This status without a body for one request; then the truth.
    Once(u16),
    /// Status 429 with this `Retry-After`.
    Busy(&'static str),
    /// Status 302 to `/login`.
    Redirect,
    /// Status 200 with this body.
    Text(&'static str),
    /// No answer for a minute.
    Slow,
    /// Blanks without end.
    Endless,
    /// A small answer that is huge when decompressed.
    GzipBomb,
    /// The first bytes, then nothing and the end.
    Truncated,
    /// A status with everything that was sent, as some gateways show it.
    Echo(u16),
}

impl Fault {
    /// How long requests of a test of this fault may take: short only if no answer comes.
    pub fn timeout(&self) -> Duration {
        match self {
            Fault::Slow => Duration::from_secs(2),
            _ => TIMEOUT,
        }
    }

    /// The response; [`Fault::Slow`] waits before it.
    pub async fn answer(self) -> Answer {
        let chunks = |first: &'static str, then: &'static str| {
            let step = move |n: u32| async move {
                let chunk = if n == 0 { first } else { then };
                if chunk.is_empty() {
                    // What came before is on its way by then.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let chunk = (!chunk.is_empty()).then(|| Bytes::from(chunk)).ok_or("the server broke off");
                Some((chunk, n + 1))
            };
            Response::new(Body::from_stream(futures_util::stream::unfold(0, step)))
        };
        match self {
            Fault::Status(status, text) => with_status(status, text),
            Fault::Once(status) => with_status(status, ""),
            Fault::Busy(seconds) => {
                let mut answer = with_status(429, "slow down");
                answer.headers_mut().insert(header::RETRY_AFTER, seconds.parse().unwrap());
                answer
            }
            Fault::Redirect => {
                let mut answer = with_status(302, "");
                answer.headers_mut().insert(header::LOCATION, "/login".parse().unwrap());
                answer
            }
            Fault::Text(text) => Response::new(text.into()),
            Fault::Slow => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Response::new(Body::empty())
            }
            Fault::Endless => chunks("[", std::str::from_utf8(&BLANKS).unwrap()),
            Fault::Echo(status) => with_status(status, "nothing was sent"),
            Fault::Truncated => chunks("[{\"serviceName\":", ""),
            Fault::GzipBomb => {
                let mut answer = Response::new(Body::from(BOMB.clone()));
                answer.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
                answer
            }
        }
    }
}

/// The first fault whose text is a part of `asked`. [`Fault::Once`] is then removed.
pub fn take(faults: &mut Vec<(String, Fault)>, asked: &str) -> Option<Fault> {
    let at = faults.iter().position(|(part, _)| asked.contains(part.as_str()))?;
    let fault = faults[at].1.clone();
    if matches!(fault, Fault::Once(_)) {
        faults.remove(at);
    }
    Some(fault)
}

/// A response with this status and body.
pub fn with_status(status: u16, text: &'static str) -> Answer {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}
