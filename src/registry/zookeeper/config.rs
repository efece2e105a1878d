//! How a ZooKeeper registry is reached and read: plain values with defaults, read from the section `zookeeper`.

use super::layout::Layout;
use crate::{
    model::Text,
    registry::{Limits, addresses, dubbo, transport::Tls},
    util::{
        host_port::HostPort,
        redact,
        secret::Secret,
        yaml::{Section, Value},
    },
};
use std::time::Duration;

/// The problem that is reported for such a registry in a build without the feature.
pub(super) const LACKING: &str = "this Portolan does not read ZooKeeper; build it with the feature `zookeeper`";
/// The port for clients, where an address has none.
const DEFAULT_PORT: u16 = 2181;

/// Everything about one ZooKeeper registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Servers of one ensemble as `host:port`, tried from a random one on. Never empty; made by [`Config::server`].
    pub servers: Vec<Text>,
    /// The node below which all paths stand; empty if there is none.
    pub chroot: Text,
    /// User and password for ZooKeeper's scheme `digest`.
    pub login: Option<Login>,
    /// Settings of TLS; `None` if servers are reached without it.
    pub tls: Option<Tls>,
    /// How changes are noticed.
    pub mode: Mode,
    /// When polling, the time from one list to the next. When watching, the time until what could not be read is tried
    /// again.
    pub period: Duration,
    /// When watching, the time after which everything is read again. A server reports no change of nodes that the user
    /// must not read, though it lists them.
    pub resync: Duration,
    /// The time without a sign of life after which a session ends; the server may choose another.
    pub session_timeout: Duration,
    /// The most requests that are in flight at the same time.
    pub concurrency: usize,
    /// The most bytes of one packet from a server; a longer one ends the session.
    pub max_packet_bytes: usize,
    /// What one whole reading may bring at most.
    pub limits: Limits,
    /// Who writes below the roots, and so in which form.
    pub layout: Layout,
    /// The nodes below which services stand; each is a scope.
    pub roots: Vec<Text>,
    /// How Dubbo's applications are read beside its interfaces; `None`: they are not.
    pub applications: Option<Applications>,
    /// Dubbo's override rules are applied to its interfaces.
    pub overrides: bool,
    /// Dubbo's consumers are read for the call model.
    pub consumers: bool,
}

/// Dubbo's applications in ZooKeeper, which are read beside its interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applications {
    /// The node below which instances of applications stand; it is a scope.
    pub root: Text,
    /// The node below which the metadata of revisions stands; `None` is `metadata` below the interfaces' root.
    pub metadata: Option<Text>,
    /// How applications are published and put together with interfaces.
    pub reading: dubbo::Applications,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The server reports them, to watches.
    Watch,
    /// They are found by reading everything again each [`Config::period`].
    Poll,
}

/// A user for ZooKeeper's scheme `digest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the user; it has no `:`.
    pub username: Text,
    /// Password of the user; shown nowhere.
    pub password: Secret,
}

impl Default for Applications {
    fn default() -> Self {
        let reading = dubbo::Applications::default();
        Applications { root: Layout::Applications.default_root().into(), metadata: None, reading }
    }
}

impl Config {
    /// Polling more often than this only burdens the server.
    pub const MIN_PERIOD: Duration = Duration::from_millis(200);

    /// A configuration with these servers and the layout's root, and the default for every other key.
    pub fn new(servers: Vec<Text>, layout: Layout) -> Self {
        Config {
            servers,
            chroot: Text::default(),
            login: None,
            tls: None,
            mode: Mode::Watch,
            period: Duration::from_secs(10),
            resync: Duration::from_secs(300),
            session_timeout: Duration::from_secs(10),
            concurrency: 32,
            max_packet_bytes: 64 << 20,
            limits: Limits::default(),
            layout,
            roots: vec![layout.default_root().into()],
            applications: None,
            overrides: false,
            consumers: false,
        }
    }

    /// True if applications are published under their own names.
    pub(super) fn publishes_applications(&self) -> bool {
        self.applications.as_ref().is_some_and(|applications| applications.reading.publish.has_applications())
    }

    /// Reads a server's address: `host`, `host:port`, `[::1]:port`.
    ///
    /// # Errors
    /// If it has no host, a bad port, or anything besides host and port.
    pub fn server(address: &str) -> Result<Text, String> {
        // What stands before an @ may be a password, and not even an error shows it.
        if address.contains('@') {
            return Err("a server's address holds a user name or a password: write them in `auth`".into());
        }
        let shown = redact::address(address);
        if address.contains('/') {
            return Err(format!("server {shown:?} is no address: write host:2181, and a path in `chroot`"));
        }
        // Neither does one show what stands behind these.
        if address.contains(['?', '#']) {
            return Err(format!("server {shown:?} is no address: write host:2181, and nothing behind it"));
        }
        let read = HostPort::parse(address);
        let server = read.map_err(|why| format!("server {shown:?} is no address: {why}; write host:2181"))?;
        Ok(server.or_port(DEFAULT_PORT).to_string().into())
    }

    /// Reads the path of a node; never that of the tree as a whole.
    ///
    /// # Errors
    /// If it is no absolute path, ends with a slash, or is that of the whole tree.
    pub fn path(path: &str) -> Result<Text, String> {
        let names = path.strip_prefix('/').unwrap_or_default();
        let fine = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
        if names.split('/').all(fine) {
            return Ok(path.into());
        }
        Err(format!("{path:?} is no path of a node: write it from the top, without a slash at its end, such as /dubbo"))
    }

    /// Reads the section `zookeeper`: `servers`, `chroot`, `auth` (`username`, `password`), `tls` (`ca`, `cert`,
    /// `key`), `mode` (`watch` or `poll`), `period`, `resync`, `session_timeout`, `concurrency`, `max_packet`,
    /// `limits`, and `dubbo` or `spring` with their `roots`, and `applications`, `overrides` and `consumers` of
    /// `dubbo`.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let seconds = Duration::from_secs;
        let servers = section.need("servers", |v| addresses::read(v, Config::server));
        let chroot = section.get("chroot", |v| v.parse(Config::path));
        let login = section.section("auth", |s| {
            let username = s.need("username", read_username);
            let password = s.need("password", Value::secret);
            Some(Login { username: username?, password: password? })
        });
        let tls = section.section("tls", Tls::read);
        let mode = section.get("mode", |v| v.word(&[("watch", Mode::Watch), ("poll", Mode::Poll)]));
        let period = section.get("period", |v| v.duration(Config::MIN_PERIOD..=seconds(3600)));
        let resync = section.get("resync", |v| v.duration(seconds(1)..=seconds(24 * 3600)));
        let session_timeout = section.get("session_timeout", |v| v.duration(seconds(1)..=seconds(300)));
        let concurrency = section.get("concurrency", |v| v.integer(1..=256_i64));
        let max_packet = section.get("max_packet", |v| v.bytes(64 << 10..=1 << 30));
        let limits = Limits::read(section);
        let Written { layout, roots, applications, overrides, consumers } = read_layout(section)?;
        if !cfg!(feature = "zookeeper") {
            return section.value().problem(LACKING);
        }
        let defaults = Config::new(servers?, layout);
        Some(Config {
            chroot: chroot.unwrap_or(defaults.chroot),
            login,
            tls,
            mode: mode.unwrap_or(defaults.mode),
            period: period.unwrap_or(defaults.period),
            resync: resync.unwrap_or(defaults.resync),
            session_timeout: session_timeout.unwrap_or(defaults.session_timeout),
            concurrency: concurrency.map_or(defaults.concurrency, |n| n as usize),
            max_packet_bytes: max_packet.unwrap_or(defaults.max_packet_bytes),
            limits,
            layout,
            roots: roots.unwrap_or(defaults.roots),
            applications,
            overrides: overrides.unwrap_or(defaults.overrides),
            consumers: consumers.unwrap_or(defaults.consumers),
            servers: defaults.servers,
        })
    }
}

fn read_username(value: &Value<'_>) -> Option<Text> {
    value.parse(|name| match name {
        "" => Err("must not be empty"),
        name if name.contains(':') => Err("must hold no ':', which separates it from the password"),
        name => Ok(Text::from(name)),
    })
}

/// What is read from the section of a layout; `None` is the default.
struct Written {
    layout: Layout,
    roots: Option<Vec<Text>>,
    applications: Option<Applications>,
    overrides: Option<bool>,
    consumers: Option<bool>,
}

/// Reads the one layout that is configured. Names, ports and protocols are a registry's, so there cannot be two.
fn read_layout(section: &mut Section<'_>) -> Option<Written> {
    let mut found = Vec::new();
    for layout in [Layout::Dubbo, Layout::Spring] {
        let key = layout.name();
        let given = section.has(key);
        let read = section.section(key, |s| {
            let roots = s.get("roots", read_roots);
            if layout != Layout::Dubbo {
                return Some((roots, None, None, None));
            }
            let overrides = s.get("overrides", Value::bool);
            if let (Some(true), Some([_, _, ..])) = (overrides, roots.as_deref()) {
                s.value().problem::<()>("overrides and several roots; make a registry of each root");
            }
            let applications = read_applications(s, roots.as_deref());
            let consumers = s.get("consumers", Value::bool);
            if let (Some(true), Some([_, _, ..])) = (consumers, roots.as_deref()) {
                s.value().problem::<()>("consumers and several roots; make a registry of each root");
            }
            if consumers == Some(true) && applications.as_ref().is_some_and(|a| !a.reading.publish.has_interfaces()) {
                s.value().problem::<()>("consumers need interfaces; let `applications` publish `interfaces` or `both`");
            }
            Some((roots, applications, overrides, consumers))
        });
        if given {
            let (roots, applications, overrides, consumers) = read.unwrap_or_default();
            found.push(Written { layout, roots, applications, overrides, consumers });
        }
    }
    match found.len() {
        1 => found.pop(),
        0 => section.value().problem("nothing says what is read; add `dubbo:` or `spring:`"),
        _ => section.value().problem("dubbo and spring at once; make a registry of each"),
    }
}

/// Reads `applications`, which allows one root only: an application provides the interfaces of one root.
fn read_applications(section: &mut Section<'_>, roots: Option<&[Text]>) -> Option<Applications> {
    let read = section.section("applications", |s| {
        let root = s.get("root", |v| v.parse(Config::path));
        let metadata = s.get("metadata", |v| v.parse(Config::path));
        let defaults = Applications::default();
        Some(Applications { root: root.unwrap_or(defaults.root), metadata, reading: dubbo::Applications::read(s) })
    });
    if !section.has("applications") {
        return None;
    }
    // The defaults hold where nothing is behind the key, and there is no more to say where something wrong is.
    let read = read.unwrap_or_default();
    let roots = roots.map_or_else(|| vec![Layout::Dubbo.default_root().into()], <[Text]>::to_vec);
    if let [_, _, ..] = &roots[..] {
        return section.value().problem("applications and several roots; make a registry of each root");
    }
    if let Some(root) = roots.iter().find(|root| overlap(root, &read.root)) {
        return section.value().problem(format!("{root} and {} overlap; each node is read in one root", read.root));
    }
    Some(read)
}

fn overlap(a: &Text, b: &Text) -> bool {
    let inside = |inner: &Text, outer: &Text| inner == outer || inner.starts_with(&format!("{outer}/"));
    inside(a, b) || inside(b, a)
}

fn read_roots(value: &Value<'_>) -> Option<Vec<Text>> {
    let roots: Vec<Text> = value.one_or_each(|v| v.parse(Config::path))?;
    if roots.is_empty() {
        return value.problem("names no root");
    }
    for (i, root) in roots.iter().enumerate() {
        if let Some(other) = roots[..i].iter().find(|other| overlap(root, other)) {
            return value.problem(format!("{root} and {other} overlap; each node is read in one root"));
        }
    }
    Some(roots)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(not(feature = "zookeeper"))]
    fn a_build_without_the_feature_says_what_it_lacks() {
        use super::*;
        use crate::util::yaml::{Document, Limits};
        let text = b"{servers: 'zk:2181', dubbo: {}}";
        let document = Document::parse("c.yaml", text, &Limits::default()).unwrap();
        let problems = document.read(None, |root| root.section(Config::read)).finish().unwrap_err().to_string();
        assert!(problems.contains(LACKING), "{problems}");
    }
}
