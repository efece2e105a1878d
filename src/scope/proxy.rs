//! Which class of proxies a client is of, by its own word.
//!
//! A node is read as Istio reads it: an id `TYPE~IP~NAME.NAMESPACE~DOMAIN`, and metadata with `NAMESPACE`, `LABELS`,
//! `INTERCEPTION_MODE` and `HTTP_PROXY_PORT`. `TYPE` in the metadata goes for a node whose id is written otherwise. What no rule asks
//! about does not tell classes apart, so that clients cannot make views as they like.

use super::Client;
use crate::{
    model::{GrpcLibrary, Locality, Port, Proxy, ProxyKind},
    resource::Dialect,
    util::label::is_label,
    views::{Classes, plain},
    xds::{MetadataValue, Node},
};

/// Stands for all namespaces in which no rule stands; none has this name.
const NO_RULES: &str = "-";

/// The class of a client; `None`: it says nothing that tells it from others of its dialect, or it is no proxy. Without any
/// rule all gateways are alike, and all programs.
pub fn class(client: &Client<'_>, classes: &Classes) -> Option<Proxy> {
    let (node, default) = (client.node, &classes.namespace);
    let kind = match client.dialect {
        Dialect::Istio => return None,
        Dialect::Grpc => Some(ProxyKind::Grpc(library(&node.user_agent))),
        Dialect::Envoy => kind(node),
    };
    if !classes.ruled && kind != Some(ProxyKind::Sidecar) {
        return None;
    }
    let namespace = match namespace(node).unwrap_or(default) {
        namespace if classes.all_namespaces || namespace == &**default || classes.namespaces.contains(namespace) => {
            namespace
        }
        _ => NO_RULES,
    };
    let mut proxy = Proxy::new(kind.unwrap_or(ProxyKind::Router), namespace.into());
    proxy.all_clusters = kind.is_none();
    if let Some(MetadataValue::Struct(labels)) = node.metadata.get(["LABELS"]) {
        for (key, value) in labels.iter() {
            let MetadataValue::Text(value) = value else { continue };
            proxy.labels.extend(classes.labels.get(&(key.into(), value.into())).cloned());
            if let Some(key) = classes.keys.get(key) {
                proxy.labels.entry(key.clone()).or_insert_with(|| classes.value(key, value));
            }
        }
    }
    let [region, zone, sub_zone] = node.locality.each_ref().map(|part| part.as_str());
    proxy.locality = classes.place(&Locality::new(region, zone, sub_zone));
    if kind == Some(ProxyKind::Sidecar) {
        proxy.bound = node.metadata.text("INTERCEPTION_MODE") == Some("NONE");
        proxy.http_proxy = port(node);
    }
    (proxy != plain(client.dialect, default)).then_some(proxy)
}

fn kind(node: &Node) -> Option<ProxyKind> {
    let word = node.id.split_once('~').map(|(word, _)| word).filter(|_| !node.cut);
    match word.or_else(|| node.metadata.text("TYPE"))? {
        "router" => Some(ProxyKind::Router),
        "sidecar" => Some(ProxyKind::Sidecar),
        _ => None,
    }
}

/// `gRPC Go`, `gRPC Java`, and `gRPC C-core linux` with its like for the languages upon it.
fn library(user_agent: &str) -> GrpcLibrary {
    match user_agent.split(' ').nth(1) {
        Some("C-core") => GrpcLibrary::Core,
        Some("Go") => GrpcLibrary::Go,
        Some("Java") => GrpcLibrary::Java,
        _ => GrpcLibrary::Other,
    }
}

fn namespace(node: &Node) -> Option<&str> {
    let of_id = || {
        let name = node.id.split('~').nth(2).filter(|_| !node.cut)?;
        name.split_once('.').map(|(_, namespace)| namespace)
    };
    node.metadata.text("NAMESPACE").or_else(of_id).filter(|namespace| is_label(namespace))
}

fn port(node: &Node) -> Option<Port> {
    let number = match node.metadata.get(["HTTP_PROXY_PORT"])? {
        MetadataValue::Text(text) => text.parse().ok()?,
        MetadataValue::Number(number) if number.fract() == 0.0 && (1.0..=65535.0).contains(&number) => number as i64,
        _ => return None,
    };
    Port::new(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xds::Metadata;
    use prost_of_xds_api::Message;
    use xds_api::pb::google::protobuf::{Struct, Value, value::Kind};

    fn text(text: &str) -> Value {
        Value { kind: Some(Kind::StringValue(text.into())) }
    }

    fn node(id: &str, metadata: &[(&str, Value)]) -> Node {
        let fields = metadata.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
        let metadata = Metadata::read(&Struct { fields }.encode_to_vec()).unwrap();
        Node { id: id.into(), metadata, ..Node::default() }
    }

    fn labels(all: &[(&str, &str)]) -> (&'static str, Value) {
        let fields = all.iter().map(|(key, value)| (key.to_string(), text(value))).collect();
        ("LABELS", Value { kind: Some(Kind::StructValue(Struct { fields })) })
    }

    fn check(node: &Node, dialect: Dialect, ruled: bool, expected: &str) {
        let classes = Classes {
            namespace: "portolan".into(),
            ruled,
            labels: std::collections::BTreeSet::from([("istio".into(), "edge".into())]),
            namespaces: std::collections::BTreeSet::from(["shop".into()]),
            ..Classes::default()
        };
        let address = "127.0.0.1".parse().ok();
        let client = Client { node, address, listener: "xds", identity: None, dialect };
        let class = class(&client, &classes);
        assert_eq!(class.map(|proxy| proxy.to_string()).unwrap_or_default(), expected, "{node:?}");
    }

    #[test]
    fn a_node_is_read_as_istio_reads_it() {
        let istio = "router~10.0.0.1~edge-1.shop~shop.svc.cluster.local";
        for (id, metadata, expected) in [
            ("envoy-1", vec![], ""),
            (istio, vec![], "router,shop"),
            (istio, vec![("NAMESPACE", text("portolan"))], "router,portolan"),
            ("e", vec![("TYPE", text("router"))], "router,portolan"),
            ("e", vec![labels(&[("istio", "edge"), ("app", "x")])], "router,portolan,istio=edge,.all"),
            ("e", vec![labels(&[("istio", "other")])], ""),
            ("sidecar~10.0.0.2~a.shop~d", vec![("HTTP_PROXY_PORT", text("15080"))], "sidecar,shop,.http_proxy=15080"),
            ("sidecar~10.0.0.2~a.b~d", vec![("INTERCEPTION_MODE", text("NONE"))], "sidecar,-,.bound"),
            ("waypoint~10.0.0.2~a.b~d", vec![("NAMESPACE", text("Not A Label"))], ""),
        ] {
            check(&node(id, &metadata), Dialect::Envoy, true, expected);
            let is_sidecar = expected.starts_with("sidecar");
            check(&node(id, &metadata), Dialect::Envoy, false, if is_sidecar { expected } else { "" });
        }
    }

    #[test]
    fn programs_are_told_apart_by_their_library() {
        for (user_agent, expected) in [
            ("gRPC Go", "grpc-go,portolan"),
            ("gRPC C-core linux", "grpc-core,portolan"),
            ("gRPC Java", "grpc-java,portolan"),
            ("gRPC Node Pure JS", ""),
        ] {
            let node = Node { user_agent: user_agent.into(), ..node("n", &[]) };
            check(&node, Dialect::Grpc, true, expected);
            check(&node, Dialect::Grpc, false, "");
        }
        check(&node("router~1~a.b~c", &[]), Dialect::Istio, true, "");
    }
}
