//! `bootstrap envoy` and `bootstrap grpc`: complete bootstraps for clients that get their configuration from Portolan.

mod node;
mod secure;
mod text;

use crate::{
    config::Config,
    model::{Hostname, HostnameError, Port, Protocol, ServicePort},
    resource::Family,
    util::host_port::{Host, HostPort},
};
use clap::Args;
use node::{Locality, Metadata};
use secure::{Secure, SecureError};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};
use text::quoted;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where Portolan serves, several with commas between them; without it, where the configuration says
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    xds: Vec<Target>,
    /// The id of its node, by which this Envoy is known
    #[arg(long, default_value = "envoy-1", value_name = "ID")]
    node_id: String,
    /// The group of Envoys that it belongs to
    #[arg(long, alias = "cluster", default_value = "envoys", value_name = "NAME")]
    node_cluster: String,
    /// Metadata of its node, may be there several times; dots in the key lead into mappings
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<Metadata>,
    /// The place where it runs
    #[arg(long, value_name = "REGION[/ZONE[/SUB-ZONE]]")]
    locality: Option<Locality>,
    #[command(flatten)]
    secure: Secure,
    /// Where Envoy's own admin page listens
    #[arg(long, default_value = "127.0.0.1:19000", value_name = "IP:PORT")]
    admin_bind: SocketAddr,
    /// Where programs send their requests
    #[arg(long, default_value = "127.0.0.1:10000", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// The service that they reach there
    #[arg(long, default_value = "product-service.example:80", value_name = "HOST[:PORT]")]
    service: Service,
    /// A gateway: its listeners and routes come from Portolan, too. With labels by which a Gateway's `selector` finds it
    #[arg(long, value_name = "KEY=VALUE", num_args = 0.., conflicts_with_all = ["listen", "service", "sidecar"])]
    gateway: Option<Vec<Label>>,
    /// A sidecar: its listeners and routes come from Portolan, too, without redirected connections
    #[arg(long, conflicts_with_all = ["listen", "service"])]
    sidecar: bool,
    /// The port at which a sidecar takes requests as an HTTP proxy
    #[arg(long, value_name = "PORT", requires = "sidecar")]
    http_proxy_port: Option<u16>,
    /// Istio's namespace that it runs in
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Incremental xDS: only what has changed is sent (the default)
    #[arg(long, conflicts_with = "sotw")]
    delta: bool,
    /// State of the world: all is sent with every change of a cluster
    #[arg(long)]
    sotw: bool,
}

/// What `bootstrap grpc` is asked.
#[derive(Debug, Args)]
pub(super) struct Grpc {
    /// Where Portolan serves; without it, where the configuration says
    #[arg(long, value_name = "HOST:PORT")]
    xds: Option<Target>,
    /// The id of its node, by which this program is known
    #[arg(long, default_value = "grpc-1", value_name = "ID")]
    node_id: String,
    /// The group of programs that it belongs to
    #[arg(long, default_value = "grpc", value_name = "NAME")]
    node_cluster: String,
    /// The place where it runs
    #[arg(long, value_name = "REGION[/ZONE[/SUBZONE]]", default_value = "")]
    locality: String,
    /// Istio's namespace that it runs in
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

/// A label of a proxy: its key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Label(String, String);

/// The host and port where a client reaches Portolan.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: String,
    port: Port,
}

/// The host and port of the service that gives the cluster its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    host: Hostname,
    port: Port,
}

/// Why an argument is refused, or there is no bootstrap.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("write a host and a port, such as 127.0.0.1:16010, [::1]:16010 or portolan.example:16010{0}")]
    Target(String),
    #[error("write a label as KEY=VALUE, such as istio=ingressgateway")]
    Label,
    #[error("write a host, and a port if it is not 80, such as orders.example or orders.example:9090")]
    Service,
    #[error(transparent)]
    Host(#[from] HostnameError),
    #[error(
        "the configuration lets Portolan listen on {0}, which does not say where clients reach it; say so with --xds"
    )]
    Unreachable(SocketAddr),
    #[error("the configuration has no listener of TCP for Envoys; say where they reach Portolan with --xds")]
    Nowhere,
    #[error(transparent)]
    Secure(#[from] SecureError),
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let HostPort { host, port } = HostPort::parse(text).map_err(|why| Error::Target(format!(": {why}")))?;
        let port = port.and_then(|port| Port::new(port.into()).ok()).ok_or_else(|| Error::Target(String::new()))?;
        let host = match host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => Hostname::new(&name)?.to_string(),
        };
        Ok(Target { host, port })
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or(Error::Label)?;
        Ok(Label(key.to_owned(), value.to_owned()))
    }
}

impl FromStr for Service {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (host, port) = text.split_once(':').unwrap_or((text, "80"));
        Ok(Service { host: Hostname::new(host)?, port: parse_port(port).ok_or(Error::Service)? })
    }
}

fn parse_port(text: &str) -> Option<Port> {
    Port::new(text.parse().ok()?).ok()
}

/// The bootstrap for an Envoy, in YAML. The route's cluster is named by the rule of the configuration.
pub(super) fn envoy(arguments: &Arguments, config: &Config) -> Result<String, Error> {
    let Arguments { node_id, node_cluster, metadata, locality, secure, admin_bind, listen, service, sotw, .. } =
        arguments;
    let mut xds = arguments.xds.clone();
    if xds.is_empty() {
        xds.push(configured(config.xds.address_for(Family::Envoy).ok_or(Error::Nowhere)?)?);
    }
    let port = ServicePort {
        name: Protocol::Http.name().into(),
        number: service.port,
        protocol: Protocol::Http,
        host: service.host.clone(),
    };
    let cluster = config.envoy.cluster_name.render(service.host.as_str(), &port);
    let dynamic = arguments.gateway.is_some() || arguments.sidecar;
    let literal = xds.iter().all(|target| target.host.parse::<IpAddr>().is_ok());
    let endpoints: String = xds.iter().map(endpoint).collect();
    let parts = secure.parts(xds.first().map_or("", |target| target.host.as_str()))?;
    parts.write()?;
    let metadata: Vec<Metadata> = arguments.proxy().into_iter().chain(metadata.iter().cloned()).collect();
    let listeners = if dynamic { "" } else { LISTENERS };
    Ok((TEMPLATE.to_owned() + listeners)
        .replace("@HEAD@", if dynamic { HEAD_DYNAMIC } else { HEAD_STATIC })
        .replace("@LDS@", if dynamic { LDS } else { "" })
        .replace("@NODE_ID@", &quoted(node_id))
        .replace("@NODE_CLUSTER@", &quoted(node_cluster))
        .replace("@NODE_MORE@", &node::lines(&metadata, locality.as_ref()))
        .replace("@TRANSPORT_SOCKET@", &parts.transport_socket)
        .replace("@UPSTREAM_FILTERS@", &parts.upstream_filters)
        .replace("@MORE_CLUSTERS@", &parts.clusters)
        .replace("@ADMIN@", &socket(*admin_bind))
        .replace("@API_TYPE@", if *sotw { "GRPC" } else { "DELTA_GRPC" })
        .replace("@DISCOVERY@", if literal { "STATIC" } else { "STRICT_DNS" })
        .replace("@ENDPOINTS@", &endpoints)
        .replace("@LISTEN@", &socket(*listen))
        .replace("@CLUSTER@", &quoted(&cluster)))
}

/// The bootstrap for a gRPC program, in JSON, for the file of the variable `GRPC_XDS_BOOTSTRAP`.
pub(super) fn grpc(arguments: &Grpc, config: &Config) -> Result<String, Error> {
    let Grpc { xds, node_id, node_cluster, locality, namespace } = arguments;
    let xds = match xds {
        Some(xds) => xds.clone(),
        None => configured(config.xds.address_for(Family::Envoy).ok_or(Error::Nowhere)?)?,
    };
    let host = if xds.host.contains(':') { format!("[{}]", xds.host) } else { xds.host.clone() };
    let mut parts = locality.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let metadata = namespace.as_ref().map_or(json!({}), |namespace| json!({ "NAMESPACE": namespace }));
    let bootstrap = json!({
        "xds_servers": [{
            "server_uri": format!("{host}:{}", xds.port),
            "channel_creds": [{ "type": "insecure" }],
            "server_features": ["xds_v3"],
        }],
        "node": {
            "id": node_id,
            "cluster": node_cluster,
            "metadata": metadata,
            "locality": { "region": part(), "zone": part(), "sub_zone": part() },
        },
    });
    Ok(format!("{bootstrap:#}\n"))
}

impl Arguments {
    /// The node metadata of a gateway or sidecar, with Istio's keys; empty for other Envoys.
    fn proxy(&self) -> Vec<Metadata> {
        let labels: BTreeMap<&str, &str> =
            self.gateway.iter().flatten().map(|Label(key, value)| (&**key, &**value)).collect();
        let kind = if self.sidecar { "sidecar" } else { "router" };
        let fields = [
            ("TYPE", (self.gateway.is_some() || self.sidecar).then(|| json!(kind))),
            ("NAMESPACE", self.namespace.as_ref().map(|namespace| json!(namespace))),
            ("LABELS", (!labels.is_empty()).then(|| json!(labels))),
            ("INTERCEPTION_MODE", self.sidecar.then(|| json!("NONE"))),
            ("HTTP_PROXY_PORT", self.http_proxy_port.map(|port| json!(port.to_string()))),
        ];
        fields.into_iter().filter_map(|(key, value)| Some(Metadata::of(key, value?))).collect()
    }
}

/// The address on which Portolan listens, if clients can connect to it: not `0.0.0.0`, and not port 0.
fn configured(listen: SocketAddr) -> Result<Target, Error> {
    let port = Port::new(listen.port().into()).ok().filter(|_| !listen.ip().is_unspecified());
    port.map(|port| Target { host: listen.ip().to_string(), port }).ok_or(Error::Unreachable(listen))
}

fn endpoint(target: &Target) -> String {
    let Target { host, port } = target;
    format!(
        "        - endpoint:\n            address:\n              socket_address: {{ address: {}, port_value: {port} }}\n",
        plain_or_quoted(host)
    )
}

fn socket(address: SocketAddr) -> String {
    format!("{{ address: {}, port_value: {} }}", plain_or_quoted(&address.ip().to_string()), address.port())
}

/// An IPv4 address without quotes; anything else in quotes.
fn plain_or_quoted(host: &str) -> String {
    if host.parse::<Ipv4Addr>().is_ok() { host.to_owned() } else { quoted(host) }
}

const HEAD_STATIC: &str = "# Envoy with clusters and endpoints from Portolan. Listener and route are written here.";

const HEAD_DYNAMIC: &str = "# Envoy with everything from Portolan: listeners, routes, clusters and endpoints.";

const LDS: &str = "  lds_config:
    resource_api_version: V3
    ads: {}
";

const TEMPLATE: &str = r#"@HEAD@
node:
  id: @NODE_ID@
  cluster: @NODE_CLUSTER@
@NODE_MORE@
# Istio's limit for patterns; Envoy's own (100) is that of a few repetitions, and refuses all routes for one.
layered_runtime:
  layers:
  - name: static
    static_layer:
      re2.max_program_size.error_level: 32768

# What each cluster costs: statistics and workers' parts are made at its first use.
deferred_stat_options: { enable_deferred_creation_stats: true }
cluster_manager: { enable_deferred_cluster_creation: true }

admin:
  address:
    socket_address: @ADMIN@

dynamic_resources:
  ads_config:
    api_type: @API_TYPE@
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services:
    - envoy_grpc: { cluster_name: portolan }
  cds_config:
    resource_api_version: V3
    ads: {}
@LDS@
static_resources:
  clusters:
  - name: portolan
    type: @DISCOVERY@
    connect_timeout: 1s
    load_assignment:
      cluster_name: portolan
      endpoints:
      - lb_endpoints:
@ENDPOINTS@@TRANSPORT_SOCKET@    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options:
            # A dead connection is noticed, and another one made.
            connection_keepalive: { interval: 30s, timeout: 5s }
@UPSTREAM_FILTERS@@MORE_CLUSTERS@"#;

const LISTENERS: &str = r#"
  listeners:
  - name: outbound
    address:
      socket_address: @LISTEN@
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: outbound
          route_config:
            name: outbound
            # The cluster is not there yet when Envoy reads this; without this line it would not start.
            validate_clusters: false
            virtual_hosts:
            - name: service
              domains: ["*"]
              routes:
              - match: { prefix: / }
                route: { cluster: @CLUSTER@ }
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        util::yaml::{Document, Limits, Resolver},
    };
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn print(words: &[&str], config: &str) -> Result<String, String> {
        let words = ["envoy"].iter().chain(words);
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let config = config::parse("c", config.as_bytes(), &Resolver::new("")).unwrap().config;
        envoy(&line.arguments, &config).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_it_fits_the_example() {
        let text = print(&[], "version: 1").unwrap();
        assert!(Document::parse("b", text.as_bytes(), &Limits::default()).is_ok(), "{text}");
        for part in [
            "api_type: DELTA_GRPC",
            "type: STATIC",
            "socket_address: { address: 127.0.0.1, port_value: 16010 }",
            "socket_address: { address: 127.0.0.1, port_value: 19000 }",
            "socket_address: { address: 127.0.0.1, port_value: 10000 }",
            "cluster: \"outbound|80||product-service.example\"",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.replace("\"@type\"", "").contains('@'), "{text}");
    }

    #[test]
    fn arguments_and_configuration_have_their_places() {
        let words =
            ["--sotw", "--xds", "a.example:1,[::1]:2", "--node-id", "a\"b: #", "--service", "orders.example:9090"];
        let text = print(&words, "version: 1\nenvoy: { cluster_name: '{host}:{port}' }").unwrap();
        assert!(Document::parse("b", text.as_bytes(), &Limits::default()).is_ok(), "{text}");
        for part in [
            "api_type: GRPC",
            "type: STRICT_DNS",
            "{ address: \"a.example\", port_value: 1 }",
            "{ address: \"::1\", port_value: 2 }",
            "id: \"a\\\"b: #\"",
            "cluster: \"orders.example:9090\"",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn gateways_and_sidecars_have_no_listener_of_their_own() {
        let gateway = print(&["--namespace", "shop", "--gateway", "istio=edge", "a=b"], "version: 1").unwrap();
        let sidecar = print(&["--sidecar", "--http-proxy-port", "15080"], "version: 1").unwrap();
        let plain = print(&["--gateway"], "version: 1").unwrap();
        for text in [&gateway, &sidecar, &plain] {
            assert!(Document::parse("b", text.as_bytes(), &Limits::default()).is_ok(), "{text}");
            assert!(text.contains("lds_config") && !text.contains("listeners:"), "{text}");
            assert!(!text.replace("\"@type\"", "").contains('@'), "{text}");
        }
        let metadata = r#"  metadata: {"LABELS":{"a":"b","istio":"edge"},"NAMESPACE":"shop","TYPE":"router"}"#;
        assert!(gateway.contains(metadata), "{gateway}");
        assert!(plain.contains(r#"  metadata: {"TYPE":"router"}"#), "{plain}");
        assert!(
            sidecar.contains(r#"{"HTTP_PROXY_PORT":"15080","INTERCEPTION_MODE":"NONE","TYPE":"sidecar"}"#),
            "{sidecar}"
        );
        let refused = print(&["--gateway", "istio", "--sotw"], "version: 1").unwrap_err();
        assert!(refused.contains("such as istio=ingressgateway"), "{refused}");
    }

    #[test]
    fn certificates_and_tokens_are_found_through_documents_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let sds = folder.path().join("sds").display().to_string();
        let files = ["--tls-ca", "/tls/ca.crt", "--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key"];
        let words =
            [&["--xds", "portolan.example:1", "--token-file", "/token", "--sds", &sds][..], &files[..]].concat();
        let text = print(&words, "version: 1").unwrap();
        assert!(Document::parse("b", text.as_bytes(), &Limits::default()).is_ok(), "{text}");
        let named = format!("path: \"{sds}/portolan-token.yaml\"");
        for part in ["sni: \"portolan.example\"", "san_type: DNS, matcher: { exact: \"portolan.example\" }", &named] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        for (name, part) in [
            ("authority", "watched_directory: { path: \"/tls\" }"),
            ("certificate", "private_key: { filename: \"/tls/tls.key\" }"),
            ("token", "secret: { filename: \"/token\" }"),
        ] {
            let document = std::fs::read_to_string(format!("{sds}/portolan-{name}.yaml")).unwrap();
            assert!(Document::parse("d", document.as_bytes(), &Limits::default()).is_ok(), "{document}");
            assert!(document.contains(part), "{part} is not in:\n{document}");
        }
        assert!(print(&files, "version: 1").unwrap_err().contains("--sds"));
        let spire = print(&["--spire", "/run/agent.sock", "--tls-name", "spiffe://a/portolan"], "version: 1").unwrap();
        assert!(Document::parse("b", spire.as_bytes(), &Limits::default()).is_ok(), "{spire}");
        for part in ["san_type: URI", "pipe: { path: \"/run/agent.sock\" }", "name: ROOTCA"] {
            assert!(spire.contains(part), "{part} is not in:\n{spire}");
        }
        for wrong in [&["--spire", "/a"][..], &["--tls-cert", "/a"], &["--tls-ca", "/a", "--tls-cert", "/b"]] {
            assert!(print(wrong, "version: 1").is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_remedy() {
        let refused = |words: &[&str], config: &str| print(words, config).unwrap_err();
        assert!(refused(&["--xds", "nowhere"], "version: 1").contains("such as 127.0.0.1:16010"));
        assert!(refused(&["--xds", "a:70000"], "version: 1").contains("such as 127.0.0.1:16010"));
        assert!(refused(&["--service", "a_b"], "version: 1").contains("'_'"));
        assert!(refused(&["--service", "a:b"], "version: 1").contains("such as orders.example"));
        assert!(refused(&["--sotw", "--delta"], "version: 1").contains("cannot be used with"));
        assert!(refused(&[], "version: 1\nxds: { listen: '0.0.0.0:16010' }").contains("--xds"));
    }
}
