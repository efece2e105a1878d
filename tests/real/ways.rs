//! What a gateway of a few lines of configuration takes besides plain requests: websockets, HTTP/2, the PROXY protocol
//! of a load balancer in front of it; and its log.

use crate::support::{envoy::Envoy, local::Local, servers::free_port, until};
use std::{fs, io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Answers requests with their head; one that asks for a websocket gets every byte back.
struct Heads {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Heads {
    async fn start() -> Heads {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // That a client leaves is no failure.
                tokio::spawn(async move { drop(answer(stream).await) });
            }
        });
        Heads { address, task }
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte).await?;
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if text.contains("upgrade: websocket") {
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
                .await?;
            let (mut from, mut to) = stream.split();
            return tokio::io::copy(&mut from, &mut to).await.map(drop);
        }
        let length = text.len();
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}").as_bytes()).await?;
        head.clear();
    }
}

/// Sends these bytes, and reads until the answer has these.
async fn sends(to: SocketAddr, bytes: &str, until_it_has: &str) -> Result<(TcpStream, String), String> {
    let text = |error: io::Error| error.to_string();
    let mut stream = TcpStream::connect(to).await.map_err(text)?;
    stream.write_all(bytes.as_bytes()).await.map_err(text)?;
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    let reading = async {
        loop {
            let read = stream.read(&mut part).await.map_err(text)?;
            answer.extend_from_slice(&part[..read]);
            let so_far = String::from_utf8_lossy(&answer).into_owned();
            match (read, so_far.contains(until_it_has)) {
                (_, true) => return Ok(so_far),
                (0, false) => return Err(so_far),
                _ => {}
            }
        }
    };
    let answer = tokio::time::timeout(LIMIT, reading).await.map_err(|error| error.to_string())??;
    Ok((stream, answer))
}

/// A request over HTTP/2 from the first byte on; its status.
async fn over_http2(to: SocketAddr, host: &str) -> Result<u16, String> {
    let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
    let (send, connection) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{host}/h2")).body(()).unwrap();
    let mut send = send.ready().await.map_err(|error| error.to_string())?;
    let (response, _) = send.send_request(request, true).map_err(|error| error.to_string())?;
    let status = response.await.map_err(|error| error.to_string())?.status().as_u16();
    connection.abort();
    Ok(status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_takes_websockets_http2_and_the_proxy_protocol_and_writes_its_log() {
    let (heads, folder, port) = (Heads::start().await, tempfile::tempdir().unwrap(), free_port());
    let log = folder.path().join("access.log");
    let config = |proxy_protocol: bool| {
        format!(
            "registries: [{{ name: files, file: {{ path: services.yaml }}, publish: {{ addresses: {{ loopback: keep }} }} }}]
gateways: [{{ name: edge, listen: '127.0.0.1:{port}' }}]
traffic:
  proxy_protocol: {proxy_protocol}
  access_log_file: '{}'
  access_log_format: '%PROTOCOL% %REQ(:PATH)% %RESPONSE_CODE%'
",
            log.display()
        )
    };
    let portolan = Local::start(&config(false)).await;
    portolan.put("services.yaml", &format!("services: [{{ host: orders.example, endpoints: ['{}'] }}]", heads.address));
    portolan.ready().await;
    let at = ([127, 0, 0, 1], port).into();
    let Some(envoy) = Envoy::start_dynamic(&["--gateway"], portolan.xds, at).await else { return };
    envoy
        .wait_until("an answer", LIMIT, async || match envoy.get("orders.example", "/first").await {
            (200, body) if body.starts_with("get /first ") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;

    let upgrade = "GET /ws HTTP/1.1\r\nhost: orders.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let (mut stream, head) = sends(at, upgrade, "\r\n\r\n").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    for word in ["there", "and back"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut echo = vec![0; word.len()];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, word.as_bytes());
    }
    drop(stream);
    assert_eq!(over_http2(at, "orders.example").await, Ok(200));
    until("the lines of the log", LIMIT, async || {
        let lines = fs::read_to_string(&log).unwrap_or_default();
        let all = ["HTTP/1.1 /first 200", "HTTP/1.1 /ws 101", "HTTP/2 /h2 200"];
        if all.iter().all(|line| lines.contains(line)) { Ok(()) } else { Err(lines) }
    })
    .await;

    portolan.reconfigure(&config(true));
    let spoken_for = "PROXY TCP4 203.0.113.7 192.0.2.1 1000 80\r\nGET /for HTTP/1.1\r\nhost: orders.example\r\n\r\n";
    envoy
        .wait_until("the client whom the balancer names", LIMIT, async || {
            sends(at, spoken_for, "x-forwarded-for: 203.0.113.7").await.map(drop)
        })
        .await;
    assert_eq!(envoy.complaints().await, []);
}
