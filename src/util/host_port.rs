//! A host with a port, as written in configuration, on the command line and in lists of servers: `host`, `host:port`,
//! `10.0.0.1:80`, `[::1]:80`.
//!
//! An IPv6 address stands in brackets, also without a port: of `2001:db8::1:2181` nobody can say whether it has one.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The longest name in DNS, in characters.
const MAX_NAME: usize = 253;
/// The longest part of a name between dots, in characters.
const MAX_LABEL: usize = 63;

/// The host to connect to, or to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address of IPv4 or IPv6.
    Ip(IpAddr),
    /// A name to be resolved, as it was written.
    Name(String),
}

/// A host, and a port if one was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// An address, or a name as it was written.
    pub host: Host,
    /// The port, if one was written. 0 only from [`HostPort::parse_any_port`].
    pub port: Option<u16>,
}

/// Why a text is no host with a port. The message is made to stand behind a colon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// There is nothing before the port.
    #[error("it has no host")]
    NoHost,
    /// The part is neither an address nor a name.
    #[error("{0:?} is neither an IP address nor a host name")]
    Host(String),
    /// The part is no number from 1 to 65535.
    #[error("{0:?} is no port, which is a number from 1 to 65535")]
    Port(String),
    /// An IPv6 address stands without brackets; how to write it.
    #[error("an IPv6 address stands in brackets, such as {0}")]
    Bare(String),
}

impl HostPort {
    /// Reads a host and perhaps a port from 1 to 65535.
    ///
    /// # Errors
    /// If the text is no host with a port; the error says why.
    pub fn parse(text: &str) -> Result<Self, HostPortError> {
        let read = Self::parse_any_port(text)?;
        if read.port == Some(0) { Err(HostPortError::Port("0".into())) } else { Ok(read) }
    }

    /// The same, with port 0 as well, which means any that is free.
    ///
    /// # Errors
    /// If the text is no host with a port; the error says why.
    pub fn parse_any_port(text: &str) -> Result<Self, HostPortError> {
        let (host, port) = split(text)?;
        let port = port.map(read_port).transpose()?;
        Ok(HostPort { host: Host::parse(host)?, port })
    }

    /// Sets the port if none was written.
    #[must_use]
    pub fn or_port(self, port: u16) -> Self {
        HostPort { port: self.port.or(Some(port)), ..self }
    }

    /// The socket, if the host is an address and there is a port.
    pub fn socket(&self) -> Option<SocketAddr> {
        match (&self.host, self.port) {
            (Host::Ip(ip), Some(port)) => Some(SocketAddr::new(*ip, port)),
            _ => None,
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
            Host::Ip(ip) => ip.fmt(f)?,
            Host::Name(name) => f.write_str(name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Host {
    /// Reads a host; an IPv6 address must have brackets.
    fn parse(text: &str) -> Result<Self, HostPortError> {
        let refused = || HostPortError::Host(text.into());
        if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return inside.parse::<Ipv6Addr>().map(|ip| Host::Ip(ip.into())).map_err(|_| refused());
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Host::Ip(ip.into()));
        }
        // An underscore is no part of a host name, but resolvers accept it and container networks use it.
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let fine =
            |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.chars().all(known) && !label.starts_with('-');
        // A dot at the end says that the name is whole.
        let whole = text.strip_suffix('.').unwrap_or(text);
        // As URLs have it, what ends in a number is an address; this one is wrong.
        let numeric = whole.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if text.is_empty() {
            Err(HostPortError::NoHost)
        } else if numeric || text.len() > MAX_NAME || !whole.split('.').all(fine) {
            Err(refused())
        } else {
            Ok(Host::Name(text.into()))
        }
    }
}

/// Splits a text into the host, with its brackets, and the port behind the colon.
fn split(text: &str) -> Result<(&str, Option<&str>), HostPortError> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or_else(|| HostPortError::Host(text.into()))? + 1;
        return match text.split_at(end) {
            (host, "") => Ok((host, None)),
            (host, rest) => match rest.strip_prefix(':') {
                Some(port) => Ok((host, Some(port))),
                None => Err(HostPortError::Host(text.into())),
            },
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => Err(bare(text)),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

/// The error for a text with more than one colon and no brackets; it shows how to write it.
fn bare(text: &str) -> HostPortError {
    let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    let parts = text.rsplit_once(':').filter(|(host, port)| is_address(host) && read_port(port).is_ok());
    match parts {
        Some((host, port)) if is_address(text) => HostPortError::Bare(format!("[{text}] or [{host}]:{port}")),
        Some((host, port)) => HostPortError::Bare(format!("[{host}]:{port}")),
        None if is_address(text) => HostPortError::Bare(format!("[{text}]")),
        None => HostPortError::Host(text.into()),
    }
}

fn read_port(text: &str) -> Result<u16, HostPortError> {
    // `parse` takes a sign, too.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| HostPortError::Port(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read_and_printed() {
        for text in [
            "10.0.0.1",
            "10.0.0.1:80",
            "[::1]",
            "[::1]:80",
            "[2001:db8::1]:2181",
            "nacos",
            "nacos:8848",
            "Nacos.internal:1",
            "zk_1.internal.:65535",
            "1-2.example:80",
        ] {
            let read = HostPort::parse(text).unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(matches!(read.host, Host::Ip(_)), text.starts_with(['[', '1']) && !text.ends_with("example:80"));
        }
        assert_eq!(HostPort::parse("[::1]").unwrap().or_port(2181).to_string(), "[::1]:2181");
        assert_eq!(HostPort::parse("a:1").unwrap().or_port(2181).to_string(), "a:1");
        assert_eq!(HostPort::parse_any_port("[::1]:0").unwrap().socket(), "[::1]:0".parse().ok());
    }

    #[test]
    fn what_is_none_is_refused_with_the_reason() {
        let host = |text: &str| HostPortError::Host(text.into());
        let port = |text: &str| HostPortError::Port(text.into());
        let bare = |text: &str| HostPortError::Bare(text.into());
        for (text, expected) in [
            ("", HostPortError::NoHost),
            (":80", HostPortError::NoHost),
            ("127.0.0,1:8848", host("127.0.0,1")),
            ("127.0.0:8848", host("127.0.0")),
            ("127.0.0.256", host("127.0.0.256")),
            ("10.0.0.1.", host("10.0.0.1.")),
            ("a b", host("a b")),
            ("a..b", host("a..b")),
            ("-a", host("-a")),
            ("nacos。internal", host("nacos。internal")),
            ("[10.0.0.1]:80", host("[10.0.0.1]")),
            ("[::1", host("[::1")),
            ("[::1]80", host("[::1]80")),
            ("[::1%eth0]:80", host("[::1%eth0]")),
            ("a:", port("")),
            ("a:0", port("0")),
            ("a:+1", port("+1")),
            ("a:65536", port("65536")),
            ("a:x", port("x")),
            ("a:1:2", host("a:1:2")),
            ("::1", bare("[::1]")),
            ("2001:db8::1:2181", bare("[2001:db8::1:2181] or [2001:db8::1]:2181")),
            ("2409:8c28:e00:0:a005:26:27:110:2181", bare("[2409:8c28:e00:0:a005:26:27:110]:2181")),
        ] {
            assert_eq!(HostPort::parse(text), Err(expected), "{text}");
        }
    }
}
