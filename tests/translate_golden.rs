//! What a service becomes: `tests/golden/translate/<case>/in.yaml` and `out.txt`. `UPDATE_GOLDEN=1` rewrites the latter.
//!
//! The resources are decoded with xds-api's types and printed whole, without what is at its default. The hashes prove
//! that bytes are the same in every process: each run of this test is another one, with other seeds for hash maps.

use portolan::{
    model::*,
    resource::Kind,
    translate::{
        Encoded, Rejected,
        envoy::{ClusterName, LbPolicy, Options, Unhealthy, translate},
    },
};
use prost::Message;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Write, fs, path::Path, time::Duration};
use xds_api::pb::envoy::config::{cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    #[serde(default)]
    options: InputOptions,
    host: String,
    #[serde(default)]
    aliases: Vec<String>,
    ports: Vec<InputPort>,
    #[serde(default)]
    dns: bool,
    #[serde(default)]
    endpoints: Vec<InputEndpoint>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct InputOptions {
    cluster_name: Option<String>,
    unhealthy: Option<String>,
    connect_timeout_ms: Option<u64>,
    lb_policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputPort {
    name: String,
    number: i64,
    protocol: String,
    host: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEndpoint {
    address: String,
    #[serde(default)]
    ports: BTreeMap<String, i64>,
    weight: Option<f64>,
    health: Option<String>,
    #[serde(default)]
    locality: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    priority: u32,
}

impl Input {
    fn options(&self) -> Options {
        let mut options = Options::default();
        if let Some(rule) = &self.options.cluster_name {
            options.cluster_name = ClusterName::parse(rule).unwrap();
        }
        if let Some(word) = &self.options.unhealthy {
            options.unhealthy = Unhealthy::ALL.into_iter().find(|u| u.name() == word).unwrap();
        }
        if let Some(word) = &self.options.lb_policy {
            options.lb_policy = LbPolicy::ALL.into_iter().find(|p| p.name() == word).unwrap();
        }
        if let Some(timeout) = self.options.connect_timeout_ms {
            options.connect_timeout = Duration::from_millis(timeout);
        }
        options
    }

    fn service(&self) -> PublishedService {
        let host = Hostname::new(&self.host).unwrap();
        let port = |port: &InputPort| ServicePort {
            name: port.name.as_str().into(),
            number: Port::new(port.number).unwrap(),
            protocol: Protocol::parse(&port.protocol).unwrap(),
            host: port.host.as_ref().map_or_else(|| host.clone(), |h| Hostname::new(h).unwrap()),
        };
        PublishedService {
            aliases: self.aliases.iter().map(|alias| Hostname::new(alias).unwrap()).collect(),
            sources: Vec::new(),
            ports: self.ports.iter().map(port).collect(),
            endpoints: self.endpoints.iter().map(InputEndpoint::endpoint).collect(),
            labels: Labels::new(),
            protected: false,
            protect_threshold: None,
            dns: self.dns,
            notes: Vec::new(),
            host,
        }
    }
}

impl InputEndpoint {
    fn endpoint(&self) -> PublishedEndpoint {
        PublishedEndpoint {
            address: Address::parse(&self.address).unwrap(),
            ports: self.ports.iter().map(|(n, p)| (n.as_str().into(), Port::new(*p).unwrap())).collect(),
            weight: self.weight.map_or(Weight::DEFAULT, |w| Weight::relative(w, 1.0).unwrap()),
            health: self.health.as_ref().map_or(Health::Healthy, |h| Health::parse(h).unwrap()),
            locality: Locality::parse(&self.locality),
            labels: self.labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
            secure: false,
            priority: self.priority,
        }
    }
}

/// Everything that translation gives, for people.
fn print((resources, rejected): &(Vec<Encoded>, Vec<Rejected>)) -> String {
    let mut out = String::new();
    for Encoded { kind, name, body, refers_to } in resources {
        let message = match kind {
            Kind::Cluster => dump(&Cluster::decode(&**body).unwrap()),
            Kind::Endpoint => dump(&ClusterLoadAssignment::decode(&**body).unwrap()),
            other => panic!("nothing makes {other:?} yet"),
        };
        let asks = refers_to.as_ref().map(|name| format!(", asks for {name}")).unwrap_or_default();
        let hash = xxh3_64(body);
        writeln!(out, "{} {name} ({} bytes, {hash:016x}{asks})\n{message}", kind.name(), body.len()).unwrap();
    }
    for Rejected { host, subject, why } in rejected {
        writeln!(out, "rejected {host}: {subject}: {}: {why}", why.code()).unwrap();
    }
    out
}

/// The debug form without defaults and brackets, with maps in order, and what has one part on one line.
fn dump(message: &impl std::fmt::Debug) -> String {
    let text = format!("{message:#?}");
    nodes(&mut text.lines().skip(1).map(str::trim)).iter().flat_map(Node::lines).map(|l| format!("  {l}\n")).collect()
}

struct Node {
    head: String,
    children: Vec<Node>,
}

/// Reads up to the closing bracket.
fn nodes<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<Node> {
    let mut all = Vec::new();
    while let Some(line) = lines.next().filter(|l| !l.starts_with(['}', ']', ')'])) {
        let children = if line.ends_with(['{', '[', '(']) { nodes(lines) } else { Vec::new() };
        let head = line.replace("Some(", "");
        all.push(Node { head: head.trim_end_matches([',', ' ', '{', '[', '(']).to_owned(), children });
    }
    // A map's entries begin with their key.
    if all.iter().all(|n| n.head.starts_with('"')) {
        all.sort_by(|a, b| a.head.cmp(&b.head));
    }
    all
}

impl Node {
    fn lines(&self) -> Vec<String> {
        let default = [": None", ": \"\"", ": []", ": {}", ": false", ": 0"].iter().any(|d| self.head.ends_with(d));
        if default {
            return Vec::new();
        }
        let parts: Vec<Vec<String>> = self.children.iter().map(Node::lines).filter(|lines| !lines.is_empty()).collect();
        match parts.as_slice() {
            [only] => {
                let first = format!("{} {}", self.head, only[0]).trim_start().to_owned();
                std::iter::once(first).chain(only[1..].iter().cloned()).collect()
            }
            _ => {
                let below = parts.iter().flatten().map(|line| format!("  {line}"));
                std::iter::once(self.head.clone()).chain(below).collect()
            }
        }
    }
}

#[test]
fn services_become_what_was_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate");
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "golden cases are missing");
    let mut wrong = String::new();
    for case in cases {
        let text = fs::read_to_string(case.join("in.yaml")).unwrap();
        let input: Input = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
        let (service, options) = (input.service(), input.options());
        let translated = translate(&service, &options);
        assert_eq!(translate(&service, &options), translated, "{}: the second time", case.display());
        let mut reversed = service;
        reversed.endpoints.reverse();
        assert_eq!(translate(&reversed, &options).0, translated.0, "{}: the other way round", case.display());

        let (out, path) = (print(&translated), case.join("out.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &out).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != out {
            write!(wrong, "--- {} is not what comes out now:\n{out}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nRead the difference; UPDATE_GOLDEN=1 writes it down.");
}
