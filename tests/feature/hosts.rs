//! Admin answers who asks for it by a name of its own, and no page of another site.

use crate::support::local::Local;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The answer to a request as it stands here, with its head in small letters.
async fn ask(admin: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = request.replace('\n', "\r\n") + "\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "{request}");
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

const LIST: &str = "/api/v1/services";

#[tokio::test]
async fn only_requests_for_a_host_of_ours_are_answered() {
    let portolan = Local::start_with("hosts: [portolan.test, '192.0.2.1']", "").await;
    for (request, expected) in [
        (format!("GET {LIST} HTTP/1.1\nHost: {}", portolan.admin), 200),
        (format!("GET {LIST} HTTP/1.1\nHost: 127.0.0.1"), 200),
        (format!("GET {LIST} HTTP/1.1\nHost: LocalHost:9"), 200),
        (format!("GET {LIST} HTTP/1.1\nHost: [::1]:8081"), 200),
        (format!("GET {LIST} HTTP/1.1\nHost: Portolan.test"), 200),
        (format!("GET {LIST} HTTP/1.1\nHost: 192.0.2.1:80"), 200),
        (format!("GET http://localhost{LIST} HTTP/1.1\nHost: localhost"), 200),
        (format!("GET {LIST} HTTP/1.0"), 200),
        (format!("GET {LIST} HTTP/1.1\nHost: evil.example"), 421),
        (format!("GET {LIST} HTTP/1.1\nHost: evil.example:8081"), 421),
        (format!("GET {LIST} HTTP/1.1\nHost: 127.0.0.1.evil.example"), 421),
        (format!("GET {LIST} HTTP/1.1\nHost: localhost.evil.example"), 421),
        (format!("GET {LIST} HTTP/1.1\nHost: portolan.test.evil.example"), 421),
        (format!("GET {LIST} HTTP/1.1\nHost: 0.0.0.0:8081"), 421),
        (format!("GET {LIST} HTTP/1.1\nHost: evil.example\nX-Forwarded-Host: localhost"), 421),
        (format!("GET http://evil.example{LIST} HTTP/1.1\nHost: localhost"), 421),
        ("GET /nothing HTTP/1.1\nHost: evil.example".into(), 421),
        (format!("GET {LIST} HTTP/1.0\nHost: evil.example"), 421),
        (format!("GET {LIST} HTTP/1.1"), 400),
        (format!("GET {LIST} HTTP/1.1\nHost: localhost\nHost: evil.example"), 400),
        (format!("GET {LIST} HTTP/1.1\nHost: localhost@evil.example"), 400),
        (format!("GET {LIST} HTTP/1.1\nHost: evil.example@localhost"), 400),
        (format!("GET {LIST} HTTP/1.1\nHost: a/b"), 400),
        // Orchestrators and Prometheus ask by whatever address they know; the example's service is asked for by its own.
        ("GET /healthz HTTP/1.1\nHost: 10.0.0.7:8081".into(), 200),
        ("GET /metrics HTTP/1.1\nHost: portolan.monitoring".into(), 200),
        ("GET / HTTP/1.1\nHost: product-service.example".into(), 200),
    ] {
        assert_eq!(status(&ask(portolan.admin, &request).await), expected, "{request}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let portolan = Local::start("").await;
    let own = format!("http://{}", portolan.admin);
    for (headers, expected) in [
        // As far as the registry, of which nothing is held back.
        (String::new(), 409),
        (format!("Origin: {own}\nSec-Fetch-Site: same-origin\n"), 409),
        ("Sec-Fetch-Site: none\n".to_owned(), 409),
        ("Sec-Fetch-Site: cross-site\n".to_owned(), 403),
        ("Sec-Fetch-Site: same-site\n".to_owned(), 403),
        ("Origin: http://evil.example\n".to_owned(), 403),
        (format!("Origin: {own}.evil.example\n"), 403),
        ("Origin: null\n".to_owned(), 403),
        (format!("Origin: {own}\nOrigin: http://evil.example\n"), 403),
    ] {
        let request = |content_type: &str| {
            format!(
                "POST /api/v1/registries/example/release HTTP/1.1\nHost: {}\n{headers}Content-Type: {content_type}\nContent-Length: 0",
                portolan.admin
            )
        };
        for (request, expected) in [
            (request("application/json; charset=utf-8"), expected),
            (request("text/plain"), if expected == 403 { 403 } else { 415 }),
        ] {
            assert_eq!(status(&ask(portolan.admin, &request).await), expected, "{request}");
        }
    }
    let evil = "POST /api/v1/registries/example/release HTTP/1.1\nHost: evil.example\nContent-Type: application/json\nContent-Length: 0";
    assert_eq!(status(&ask(portolan.admin, evil).await), 421);
}

#[tokio::test]
async fn every_answer_forbids_framing_guessing_and_keeping() {
    let portolan = Local::start("").await;
    for (path, host, expected) in
        [("/", "localhost", 200), (LIST, "localhost", 200), ("/nothing", "localhost", 404), (LIST, "evil.example", 421)]
    {
        let answer = ask(portolan.admin, &format!("GET {path} HTTP/1.1\nHost: {host}")).await;
        assert_eq!(status(&answer), expected, "{answer}");
        for header in [
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "x-content-type-options: nosniff\r\n",
            "x-frame-options: deny\r\n",
            "cache-control: no-store\r\n",
            "referrer-policy: no-referrer\r\n",
        ] {
            assert!(answer.contains(header), "{header} is not in {answer}");
        }
        assert!(!answer.contains("access-control"), "{answer}");
    }
}
