//! Istio's resources of the configuration: a gateway for services as they are, as a template of `Gateway` and
//! `VirtualService`s, and policies for services, as `DestinationRule`s, for those who write none.
//!
//! What it gives are Istio's own resources. They can be printed and given to an Istiod, where they mean the same.

use super::{
    istio::enveloped,
    traffic::{Code, Finding},
};
use crate::{
    model::{Hostname, Labels, Port, Protocol, PublishedService, ServiceId, ServicePort, Template, Text},
    pb::{
        google::protobuf::{Any, Timestamp},
        istio::{
            mcp::v1alpha1::Metadata,
            networking::v1alpha3::{
                self as pb, Destination, DestinationRule, HttpMatchRequest, HttpRewrite, HttpRoute,
                HttpRouteDestination, PortSelector, ServerTlsSettings, StringMatch, TrafficPolicy, VirtualService,
                client_tls_settings, server_tls_settings, string_match::MatchType, traffic_policy::PortTrafficPolicy,
            },
        },
    },
    resource::{Kind, Name, Resource},
};
use imbl::OrdMap;
use prost::Message;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

/// A gateway, and how it leads to services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name, and the beginning of the names of all that it gives; a label of DNS.
    pub name: Text,
    /// The address of the listener, as `gateways[].listen` says.
    pub listen: SocketAddr,
    /// Labels of the proxies that it is for; none: of all gateways.
    pub selector: BTreeMap<Text, Text>,
    /// Whether requests for a service's hosts lead to the service.
    pub hosts: bool,
    /// The path below which a service is reached whatever the host, such as `/{service}`; it is not passed on. `None`: there is
    /// none.
    pub paths: Option<Template>,
    /// The certificate that clients get, and whom it asks for theirs; `None`: plain text.
    pub tls: Option<Tls>,
}

/// Certificates for clients: files on the machine of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The chain, with the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key of `certificate`.
    pub key: PathBuf,
    /// Who signs clients' certificates, which are then required.
    pub ca: Option<PathBuf>,
    /// Where it also listens without TLS, to send clients on to `https`.
    pub redirect: Option<SocketAddr>,
}

impl Gateway {
    /// The `Gateway` of Istio for it, in this namespace. `create_time` is in seconds since 1970.
    pub fn resource(&self, namespace: &str, create_time: i64) -> Resource {
        let server = |listen: SocketAddr, name: &str, protocol: &str, tls| pb::Server {
            port: Some(pb::Port {
                number: listen.port().into(),
                name: name.into(),
                protocol: protocol.into(),
                ..Default::default()
            }),
            bind: bind(listen.ip()),
            hosts: vec!["*".into()],
            tls,
            ..Default::default()
        };
        let servers = match &self.tls {
            None => vec![server(self.listen, "http", "HTTP", None)],
            Some(tls) => {
                let redirect = tls.redirect.map(|listen| {
                    let settings = ServerTlsSettings { https_redirect: true, ..Default::default() };
                    server(listen, "http", "HTTP", Some(settings))
                });
                let secure = server(self.listen, "https", "HTTPS", Some(tls.settings()));
                [secure].into_iter().chain(redirect).collect()
            }
        };
        let selector = self.selector.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let spec = pb::Gateway { servers, selector };
        resource(Kind::Gateway, namespace, &self.name, create_time, &spec)
    }

    /// The VirtualServices that lead to a service: one for each port by its hosts, and one by the path. `policy` is how
    /// proxies speak to the service: a port of HTTPS is reached only if it says TLS.
    pub fn virtual_services(
        &self,
        service: &PublishedService,
        policy: Option<&TrafficPolicy>,
        namespace: &str,
        create_time: i64,
    ) -> Vec<Resource> {
        let is_reached = |port: &&ServicePort| match port.protocol {
            Protocol::Https => policy.is_some_and(|policy| speaks_tls(policy, port)),
            protocol => is_http(protocol),
        };
        let made = |name: String, spec: VirtualService| {
            resource(Kind::VirtualService, namespace, &format!("{}.{name}", self.name), create_time, &spec)
        };
        let by_host = service.ports.iter().filter(|port| self.hosts && is_reached(port)).map(|port| {
            let prefix = port.host.as_str().strip_suffix(service.host.as_str()).unwrap_or_default();
            let aliases = service.aliases.iter().map(|alias| format!("{prefix}{alias}"));
            let hosts = std::iter::once(port.host.to_string()).chain(aliases).collect();
            let http = vec![HttpRoute { route: vec![to(service, port)], ..Default::default() }];
            made(format!("host.{}", port.host), self.bound(hosts, http))
        });
        let by_path = service.ports.first().filter(is_reached).zip(self.path(service));
        let by_path = by_path.map(|(port, path)| {
            let matching = |uri: MatchType| HttpMatchRequest {
                uri: Some(StringMatch { match_type: Some(uri) }),
                ..Default::default()
            };
            let http = HttpRoute {
                r#match: vec![
                    matching(MatchType::Exact(path.clone())),
                    matching(MatchType::Prefix(format!("{path}/"))),
                ],
                rewrite: Some(HttpRewrite { uri: "/".into(), ..Default::default() }),
                route: vec![to(service, port)],
                ..Default::default()
            };
            made(format!("path.{}", service.host), self.bound(vec!["*".into()], vec![http]))
        });
        by_host.chain(by_path).collect()
    }

    fn bound(&self, hosts: Vec<String>, http: Vec<HttpRoute>) -> VirtualService {
        VirtualService { hosts, gateways: vec![self.name.to_string()], http, ..Default::default() }
    }

    /// The path below which a service is reached. `None` if there is no template, or what it gives is no path.
    fn path(&self, service: &PublishedService) -> Option<String> {
        let (template, owner) = (self.paths.as_ref()?, service.sources.first());
        let nobody = ServiceId::new("", "", "", service.host.as_str());
        let owner = owner.unwrap_or(&nobody);
        let path = template.render_of_host(service.host.as_str(), owner, &service.labels, &Labels::new());
        let path = path.trim_end_matches('/');
        let fits = path.len() > 1 && path.starts_with('/') && !path.contains("//");
        fits.then(|| path.to_owned())
    }
}

impl Tls {
    fn settings(&self) -> ServerTlsSettings {
        let text = |path: &PathBuf| path.display().to_string();
        let mode = match self.ca {
            Some(_) => server_tls_settings::TlSmode::Mutual,
            None => server_tls_settings::TlSmode::Simple,
        };
        ServerTlsSettings {
            mode: mode.into(),
            server_certificate: text(&self.certificate),
            private_key: text(&self.key),
            ca_certificates: self.ca.as_ref().map(text).unwrap_or_default(),
            ..Default::default()
        }
    }
}

/// A `DestinationRule` with that policy for each host of a service; one that people write for the host goes before it where it
/// stands in the namespace of proxy or service.
pub fn policy(service: &PublishedService, policy: &TrafficPolicy, root: &str, create_time: i64) -> Vec<Resource> {
    let hosts = service.ports.iter().flat_map(|port| {
        let prefix = port.host.as_str().strip_suffix(service.host.as_str()).unwrap_or_default();
        let aliases = service.aliases.iter().map(move |alias| format!("{prefix}{alias}"));
        let own = (port.host.to_string(), service.spelled(&port.host).into_owned());
        std::iter::once(own).chain(aliases.map(|alias| (alias.clone(), alias)))
    });
    // By host: the same as the service's entry has it.
    let hosts: BTreeMap<String, String> = hosts.collect();
    let rule = |(name, host): (String, String)| {
        let name = format!("envoy-services.{name}");
        let spec = DestinationRule { host, traffic_policy: Some(policy.clone()), ..Default::default() };
        resource(Kind::DestinationRule, root, &name, create_time, &spec)
    };
    hosts.into_iter().map(rule).collect()
}

/// A finding for each service whose path another service already has: the first by host keeps it, as in Istio.
/// It is about the VirtualService of the later one, which stands in that namespace.
pub fn contests(
    gateways: &[Gateway],
    services: &OrdMap<Hostname, Arc<PublishedService>>,
    namespace: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for gateway in gateways {
        let mut owners: BTreeMap<String, &Hostname> = BTreeMap::new();
        for service in services.values() {
            let Some(path) = gateway.path(service) else { continue };
            let owner = *owners.entry(path.clone()).or_insert(&service.host);
            if *owner != service.host {
                let text = format!("the path {path} leads to {owner}; let `paths` tell them apart, or use the host");
                let name = Name::from(format!("{namespace}/{}.path.{}", gateway.name, service.host));
                let (kind, place, text) = (Kind::VirtualService, "http[0].match".into(), text.into());
                findings.push(Finding { kind, name, place, code: Code::HostTaken, text });
            }
        }
    }
    findings
}

/// Istio binds to all addresses where nothing is said.
fn bind(ip: IpAddr) -> String {
    if ip.is_unspecified() && ip.is_ipv4() { String::new() } else { ip.to_string() }
}

fn is_http(protocol: Protocol) -> bool {
    match protocol {
        Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Tri => true,
        Protocol::Https | Protocol::Tls | Protocol::Tcp | Protocol::Dubbo => false,
    }
}

/// Whether a policy has TLS for a port. Settings of the port replace those of the whole service.
fn speaks_tls(policy: &TrafficPolicy, port: &ServicePort) -> bool {
    let is_own = |of: &&PortTrafficPolicy| of.port.as_ref().is_some_and(|of| of.number == u32::from(port.number.get()));
    let own = policy.port_level_settings.iter().find(is_own);
    let tls = own.map_or(policy.tls.as_ref(), |own| own.tls.as_ref());
    tls.is_some_and(|tls| tls.mode != client_tls_settings::TlSmode::Disable as i32)
}

/// A destination is named as the service's entry is: an Istiod finds no other.
fn to(service: &PublishedService, port: &ServicePort) -> HttpRouteDestination {
    let destination = Destination {
        host: service.spelled(&port.host).into_owned(),
        port: Some(PortSelector { number: u32::from(Port::get(port.number)) }),
        ..Default::default()
    };
    HttpRouteDestination { destination: Some(destination), ..Default::default() }
}

fn resource<M: Message + prost::Name>(kind: Kind, namespace: &str, name: &str, create_time: i64, spec: &M) -> Resource {
    let metadata = Metadata {
        name: format!("{namespace}/{name}"),
        create_time: Some(Timestamp { seconds: create_time }),
        ..Metadata::default()
    };
    let body = Any { type_url: M::type_url(), value: spec.encode_to_vec().into() };
    enveloped(kind, metadata, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{
        istio::{mcp::v1alpha1::Resource as Envelope, networking::v1alpha3::ClientTlsSettings},
        schema,
    };
    use serde_json::{Value, json};

    fn gateway(listen: &str) -> Gateway {
        Gateway {
            name: "edge".into(),
            listen: listen.parse().unwrap(),
            selector: BTreeMap::new(),
            hosts: true,
            paths: Template::parse_of_host("/{service}").ok(),
            tls: None,
        }
    }

    fn service(name: &str, protocol: Protocol) -> PublishedService {
        let host = Hostname::new(&format!("{name}.example")).unwrap();
        let port = |name: &str, number, host| ServicePort {
            name: name.into(),
            number: Port::new(number).unwrap(),
            protocol,
            host,
        };
        let further = Hostname::new(&format!("grpc.{name}.example")).unwrap();
        let ports = vec![port("http", 80, host.clone()), port("grpc", 9090, further)];
        PublishedService {
            aliases: vec![Hostname::new(name).unwrap()],
            sources: vec![ServiceId::new("nacos", "public", "g", name)],
            ..PublishedService::new(host, ports, Vec::new())
        }
    }

    /// The name of a resource, and its spec as JSON.
    fn shown(resource: &Resource) -> (String, Value) {
        let envelope = Envelope::decode(resource.body()).unwrap();
        let body = envelope.body.unwrap();
        let spec = serde_json::from_str(&schema::json(&body.type_url, &body.value).unwrap()).unwrap();
        (resource.name().to_string(), spec)
    }

    #[test]
    fn a_service_has_its_hosts_and_its_path() {
        let made = gateway("127.0.0.1:8080").virtual_services(&service("orders", Protocol::Http), None, "portolan", 0);
        let route = |host: &str, port: u32| json!([{ "destination": { "host": host, "port": { "number": port } } }]);
        let expected = [
            (
                "portolan/edge.host.orders.example",
                json!({ "hosts": ["orders.example", "orders"], "gateways": ["edge"],
                        "http": [{ "route": route("orders.example", 80) }] }),
            ),
            (
                "portolan/edge.host.grpc.orders.example",
                json!({ "hosts": ["grpc.orders.example", "grpc.orders"], "gateways": ["edge"],
                        "http": [{ "route": route("grpc.orders.example", 9090) }] }),
            ),
            (
                "portolan/edge.path.orders.example",
                json!({ "hosts": ["*"], "gateways": ["edge"], "http": [{
                    "match": [{ "uri": { "exact": "/orders" } }, { "uri": { "prefix": "/orders/" } }],
                    "rewrite": { "uri": "/" }, "route": route("orders.example", 80) }] }),
            ),
        ];
        let shown: Vec<_> = made.iter().map(shown).collect();
        assert_eq!(shown, expected.map(|(name, spec)| (name.to_owned(), spec)));
        let reached = |protocol, policy: Option<&TrafficPolicy>| {
            gateway("127.0.0.1:80").virtual_services(&service("db", protocol), policy, "n", 0).len()
        };
        let simple = client_tls_settings::TlSmode::Simple.into();
        let tls = Some(ClientTlsSettings { mode: simple, ..ClientTlsSettings::default() });
        let policy = TrafficPolicy { tls, ..TrafficPolicy::default() };
        let other = PortTrafficPolicy { port: Some(PortSelector { number: 80 }), ..PortTrafficPolicy::default() };
        let partly = TrafficPolicy { port_level_settings: vec![other], ..policy.clone() };
        assert_eq!((reached(Protocol::Tcp, None), reached(Protocol::Tcp, Some(&policy))), (0, 0));
        assert_eq!((reached(Protocol::Https, None), reached(Protocol::Https, Some(&policy))), (0, 3));
        assert_eq!(reached(Protocol::Https, Some(&partly)), 1, "the second port alone has TLS");
    }

    #[test]
    fn hosts_are_named_as_entries_have_them() {
        let service = PublishedService { spelling: Some("Orders.Example".into()), ..service("orders", Protocol::Http) };
        let routes = gateway("127.0.0.1:8080").virtual_services(&service, None, "n", 0);
        let to = |spec: &Value| spec.pointer("/http/0/route/0/destination/host").cloned();
        let shown_routes: Vec<_> = routes.iter().map(shown).map(|(name, spec)| (name, to(&spec).unwrap())).collect();
        let expected = [
            ("n/edge.host.orders.example", "Orders.Example"),
            ("n/edge.host.grpc.orders.example", "grpc.Orders.Example"),
            ("n/edge.path.orders.example", "Orders.Example"),
        ];
        assert_eq!(shown_routes, expected.map(|(name, host)| (name.to_owned(), json!(host))));
        let rules = policy(&service, &TrafficPolicy::default(), "root", 0);
        let hosts: Vec<_> = rules.iter().map(shown).map(|(name, spec)| (name, spec["host"].clone())).collect();
        let expected = [
            ("root/envoy-services.grpc.orders", "grpc.orders"),
            ("root/envoy-services.grpc.orders.example", "grpc.Orders.Example"),
            ("root/envoy-services.orders", "orders"),
            ("root/envoy-services.orders.example", "Orders.Example"),
        ];
        assert_eq!(hosts, expected.map(|(name, host)| (name.to_owned(), json!(host))));
    }

    #[test]
    fn a_gateway_is_istios() {
        let plain = shown(&gateway("127.0.0.1:8080").resource("portolan", 0));
        let server = json!({ "port": { "number": 8080, "name": "http", "protocol": "HTTP" }, "bind": "127.0.0.1",
                             "hosts": ["*"] });
        assert_eq!(plain, ("portolan/edge".into(), json!({ "servers": [server] })));
        let tls =
            Tls { certificate: "/c.pem".into(), key: "/k.pem".into(), ca: None, redirect: "0.0.0.0:80".parse().ok() };
        let selector = BTreeMap::from([("istio".into(), "edge".into())]);
        let (_, spec) = shown(&Gateway { tls: Some(tls), selector, ..gateway("0.0.0.0:443") }.resource("portolan", 0));
        let secure = json!({ "port": { "number": 443, "name": "https", "protocol": "HTTPS" }, "hosts": ["*"],
            "tls": { "mode": "SIMPLE", "serverCertificate": "/c.pem", "privateKey": "/k.pem" } });
        let redirect = json!({ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"],
            "tls": { "httpsRedirect": true } });
        assert_eq!(spec, json!({ "servers": [secure, redirect], "selector": { "istio": "edge" } }));
    }

    #[test]
    fn a_path_that_two_have_is_told() {
        let mut other = service("orders", Protocol::Http);
        other.host = Hostname::new("orders.other").unwrap();
        let services = [service("orders", Protocol::Http), other].map(|s| (s.host.clone(), Arc::new(s)));
        let findings = contests(&[gateway("127.0.0.1:80")], &services.into_iter().collect(), "portolan");
        assert_eq!(findings.len(), 1);
        assert_eq!(&*findings[0].name, "portolan/edge.path.orders.other");
        assert!(findings[0].text.contains("/orders leads to orders.example"), "{}", findings[0].text);
    }
}
