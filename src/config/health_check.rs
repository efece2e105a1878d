//! `health_check:`, how proxies find out by themselves which instances serve.

use super::bounds::DAY;
use crate::{
    model::{Port, Text},
    translate::{CheckWay, HealthCheck},
    util::yaml::{Section, Value},
};
use std::time::Duration;

/// The words of `protocol`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Protocol {
    Http,
    Tcp,
    Grpc,
}

/// Keys: `protocol` (`http`, `tcp` or `grpc`), `path` (HTTP), `service` (gRPC), `host`, `port`, `interval` (10 s), `timeout` (2 s),
/// `unhealthy_threshold` (3) and `healthy_threshold` (2).
pub(super) fn read(section: &mut Section<'_>) -> Option<HealthCheck> {
    let words = [("http", Protocol::Http), ("tcp", Protocol::Tcp), ("grpc", Protocol::Grpc)];
    let protocol = section.get("protocol", |v| v.word(&words)).unwrap_or(Protocol::Http);
    let only = |v: &Value<'_>, of: &[Protocol], who: &str| {
        let text = v.string()?;
        match of.contains(&protocol) {
            true => Some(Text::from(text)),
            false => v.problem(format!("is for {who} only")),
        }
    };
    let path = section.get("path", |v| {
        let path = only(v, &[Protocol::Http], "`protocol: http`")?;
        let fits = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Some(path) } else { v.problem("must be a path: '/', and what can be seen of ASCII") }
    });
    let service = section.get("service", |v| only(v, &[Protocol::Grpc], "`protocol: grpc`"));
    let host = section.get("host", |v| {
        let host = only(v, &[Protocol::Http, Protocol::Grpc], "`protocol: http` and `grpc`")?;
        let fits = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Some(host) } else { v.problem("must be a host, with or without a port") }
    });
    let port = section.get("port", |v| v.check(Port::new(v.integer(1..=65_535_i64)?)));
    let times = Duration::from_millis(100)..=DAY / 24;
    let interval = section.get("interval", |v| v.duration(times.clone())).unwrap_or(Duration::from_secs(10));
    let timeout = section.get("timeout", |v| v.duration(times.clone())).unwrap_or(Duration::from_secs(2));
    let unhealthy_threshold = section.get("unhealthy_threshold", |v| v.integer(1..=100_u32)).unwrap_or(3);
    let healthy_threshold = section.get("healthy_threshold", |v| v.integer(1..=100_u32)).unwrap_or(2);
    let way = match protocol {
        Protocol::Http => match path {
            Some(path) => CheckWay::Http { path, host },
            None => return section.value().problem("has no `path`; say what is asked for, or `protocol: tcp`"),
        },
        Protocol::Tcp => CheckWay::Tcp,
        Protocol::Grpc => CheckWay::Grpc { service: service.unwrap_or_else(|| "".into()), host },
    };
    Some(HealthCheck { way, port, interval, timeout, unhealthy_threshold, healthy_threshold })
}
