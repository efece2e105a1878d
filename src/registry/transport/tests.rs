//! Files that are not what their keys want, and answers in gzip.

use super::{Connection, Http, Remedies, Tls};
use crate::{
    registry::{Metrics, chain},
    util::yaml::{Document, Limits, Resolver},
};
use flate2::{Compression, write::GzEncoder};
use std::{fs, io::Write, path::Path};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpListener};

const CERT: &str = include_str!("../../../tests/support/certificates/one-client.pem");
const KEY: &str = include_str!("../../../tests/support/certificates/one-client.key");
const OTHER_KEY: &str = include_str!("../../../tests/support/certificates/other-client.key");

/// Reads a `tls` section whose paths start in the folder.
fn read(folder: &Path, text: &str) -> Result<Tls, String> {
    let document = Document::parse("c.yaml", text.as_bytes(), &Limits::default()).unwrap();
    let resolver = Resolver::new(folder);
    let reading = document.read(Some(&resolver), |root| root.section(Tls::read));
    reading.finish().map_err(|problems| problems.to_string())
}

#[test]
fn wrong_files_are_named_with_key_and_path() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("cert.pem", CERT);
    write("key.pem", KEY);
    write("other.pem", OTHER_KEY);
    write("encrypted.pem", &KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"));
    write("broken.pem", &CERT.replace("MII", "!!!"));
    write("empty.pem", "");
    let tls = read(folder.path(), "{ca: cert.pem, cert: cert.pem, key: key.pem}").unwrap();
    assert_eq!((tls.ca.as_deref(), &*tls.identity.unwrap().cert), (Some(CERT), CERT));
    for (text, expected) in [
        ("ca: nowhere.pem", "ca: cannot read "),
        ("ca: nowhere.pem", "nowhere.pem: No such file"),
        ("ca: empty.pem", "empty.pem holds no certificate of an authority"),
        ("ca: key.pem", "key.pem holds no certificate of an authority"),
        ("ca: broken.pem", "broken.pem holds no certificate of an authority"),
        ("cert: cert.pem", "cert: `cert` and `key` go together"),
        ("key: key.pem", "key: `cert` and `key` go together"),
        ("{cert: cert.pem, key: nowhere.pem}", "key: cannot read "),
        ("{cert: key.pem, key: key.pem}", "key.pem holds no private key (without a password) of the certificate"),
        ("{cert: cert.pem, key: cert.pem}", "cert.pem holds no private key"),
        ("{cert: cert.pem, key: other.pem}", "other.pem holds no private key (without a password) of the certificate"),
        ("{cert: cert.pem, key: encrypted.pem}", "encrypted.pem holds no private key"),
        ("insecure_skip_verify: true", "unknown key `insecure_skip_verify`"),
    ] {
        let problems = read(folder.path(), text).unwrap_err();
        assert!(problems.contains(expected), "{text}: {problems}");
        assert!(!problems.contains("BEGIN"), "{text}: {problems}");
    }
}

/// The body of an answer with these headers and this body, and the bytes that were received; or why it is refused.
async fn answer(headers: &str, body: &[u8]) -> Result<(Vec<u8>, u64), String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    let text = [&head, body].concat();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let length = socket.read(&mut asked).await.unwrap();
        socket.write_all(&text).await.unwrap();
        String::from_utf8_lossy(&asked[..length]).to_lowercase()
    });
    let connection = Connection { max_body_bytes: 1000, ..Connection::default() };
    let remedies = Remedies { too_large: "ask for less", status: |_| "" };
    let http = Http::new("r".into(), &connection, remedies, Metrics::default()).unwrap();
    let answer = http.send(http.get(&url), &url).await;
    assert!(server.await.unwrap().contains("accept-encoding: gzip\r\n"));
    let cost = http.take_cost(Default::default());
    assert_eq!(cost.requests, 1);
    answer.map(|answer| (answer.body, cost.bytes)).map_err(|error| chain(&error).to_string())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_undone_within_the_limit_and_counted_as_it_came() {
    let encoded = "content-encoding: gzip\r\n";
    let text = [b'x'; 1000];
    let packed = gzip(&text);
    assert_eq!(answer(encoded, &packed).await, Ok((text.to_vec(), packed.len() as u64)));
    assert_eq!(answer("", &text).await, Ok((text.to_vec(), 1000)));
    for (headers, body, expected) in [
        (encoded, gzip(&[b'x'; 1001]), "is longer than 1000 bytes: ask for less"),
        (encoded, gzip(&vec![b'x'; 10 << 20]), "is longer than 1000 bytes"),
        (encoded, packed[..packed.len() - 4].to_vec(), "is not whole in the gzip"),
        (encoded, b"plain".to_vec(), "is not whole in the gzip"),
        ("", vec![b'x'; 1001], "is longer than 1000 bytes"),
        ("content-length: 70000000000\r\n", Vec::new(), "is longer than 1000 bytes"),
        ("content-length: 9\r\n", b"short".to_vec(), "broke off"),
    ] {
        let error = answer(headers, &body).await.unwrap_err();
        assert!(error.contains(expected), "{headers:?}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_looked_at() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    // Not even gzip: whoever looked into it would fail.
    let text = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\nconnection: close\r\n\r\nabcd";
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let _ = socket.read(&mut asked).await.unwrap();
            socket.write_all(text.as_bytes()).await.unwrap();
        }
    });
    let remedies = Remedies { too_large: "", status: |_| "" };
    let http = Http::new("r".into(), &Connection::default(), remedies, Metrics::default()).unwrap();
    let known = Some(xxhash_rust::xxh3::xxh3_64(b"abcd"));
    assert!(http.send_unless(known, http.get(&url), &url).await.unwrap().is_none());
    assert!(http.send_unless(Some(0), http.get(&url), &url).await.is_err());
    assert_eq!(http.take_cost(Default::default()).bytes, 8);
}
