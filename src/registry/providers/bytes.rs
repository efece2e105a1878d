//! The question in Dubbo's own protocol: bytes over TCP.

use crate::registry::dubbo::service::{HEAD, Head, Place, answer, head, question};
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The number of the question. A connection carries one question, so it is always the same.
const NUMBER: u64 = 1;

pub(super) async fn ask(place: &Place, application: &str, revision: &str) -> Result<Vec<u8>, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    let mut stream = TcpStream::connect(place.address).await.map_err(failed("connect"))?;
    let question = question(NUMBER, application, revision, &place.version);
    stream.write_all(&question).await.map_err(failed("ask"))?;
    loop {
        let mut bytes = [0; HEAD];
        stream.read_exact(&mut bytes).await.map_err(failed("read the answer"))?;
        let head = head(&bytes)?;
        let (Head::Answer { length, .. } | Head::Other { length }) = head;
        let mut body = Vec::new();
        let read = (&mut stream).take(length as u64).read_to_end(&mut body).await.map_err(failed("read the answer"))?;
        if read < length {
            return Err("it ends in the middle of its answer".into());
        }
        if let Head::Answer { number: NUMBER, is_ok, .. } = head {
            return answer(is_ok, &body);
        }
    }
}
