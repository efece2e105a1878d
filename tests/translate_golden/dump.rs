//! The form of `out.txt`.

use portolan::{
    resource::{Kind, Resource, version_text},
    translate::Rejected,
};
use prost_of_xds_api::Message;
use std::fmt::Write;
use xds_api::pb::envoy::config::{cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment};

/// The text of `out.txt`: everything that translation gives.
pub fn print((resources, rejected): &(Vec<(Kind, Resource)>, Vec<Rejected>)) -> String {
    let mut out = String::new();
    for (kind, resource) in resources {
        let (name, body) = (resource.name(), resource.body());
        let message = match kind {
            Kind::Cluster => dump(&Cluster::decode(body).unwrap()),
            Kind::Endpoint => dump(&ClusterLoadAssignment::decode(body).unwrap()),
            other => panic!("nothing makes {other:?} yet"),
        };
        let asks = resource.refers_to().map(|name| format!(", asks for {name}")).unwrap_or_default();
        let version = version_text(resource.version());
        writeln!(out, "{} {name} ({} bytes, {version}{asks})\n{message}", kind.name(), body.len()).unwrap();
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
