//! Settings for all proxies: the part of Istio's mesh configuration that has a meaning here. The configuration makes
//! them.

use crate::{
    model::{Port, Text},
    pb::istio::networking::v1alpha3::HttpRetry,
    translate::Limit,
};
use std::{collections::BTreeMap, time::Duration};

/// Settings for all proxies. The defaults are Istio's.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// The namespace whose DestinationRules and Sidecar are for those who have none. `istio-system` by default.
    pub root_namespace: Text,
    /// What stands behind `.svc.` when a host without a dot is completed. None by default, as for what comes by MCP.
    pub domain_suffix: Option<Text>,
    /// The retries of routes that say nothing of them. `None`: two, for reasons that are safe.
    pub default_retries: Option<HttpRetry>,
    /// What sidecars do with requests to unknown hosts, unless a `Sidecar` says it. [`OutboundPolicy::AllowAny`] by
    /// default.
    pub outbound_policy: OutboundPolicy,
    /// How gateways and sidecars normalize paths before they compare them. [`PathNormalization::Base`] by default.
    pub path_normalization: PathNormalization,
    /// How many proxies before a gateway may say who the client is. 0 by default.
    pub trusted_proxies: u32,
    /// Whether connections to gateways begin with the PROXY protocol of a load balancer.
    pub proxy_protocol: bool,
    /// The log of requests. `None`, the default: no log.
    pub access_log: Option<AccessLog>,
    /// How long a new connection to an endpoint may take. 10 s by default.
    pub connect_timeout: Duration,
    /// The file, on the proxies' machines, of the authorities that they trust where TLS to a service names none.
    /// `/etc/ssl/certs/ca-certificates.crt` by default, as in Envoy's own images.
    pub system_authorities: Text,
    /// Who sees a VirtualService without `exportTo`. `*` by default.
    pub virtual_service_export_to: Vec<Text>,
    /// Who sees a DestinationRule without `exportTo`. `*` by default.
    pub destination_rule_export_to: Vec<Text>,
    /// Who sees a service without `exportTo`. `*` by default.
    pub service_export_to: Vec<Text>,
    /// Whether proxies speak HTTP/2 to services of HTTP/1 that have no rule of their own. No by default.
    pub h2_upgrade: bool,
    /// The port at which sidecars take requests as an HTTP proxy, if their node does not say one.
    pub proxy_http_port: Option<Port>,
    /// Limits of requests, by host of a gateway: in lower case, with wildcards as VirtualServices have them.
    pub limits: BTreeMap<Text, Limit>,
    /// The header `server` of gateways' answers. `None`: Envoy's default, `envoy`.
    pub server_name: Option<Text>,
}

impl Default for Mesh {
    fn default() -> Self {
        let all = || vec!["*".into()];
        Mesh {
            root_namespace: "istio-system".into(),
            domain_suffix: None,
            default_retries: None,
            outbound_policy: OutboundPolicy::default(),
            path_normalization: PathNormalization::default(),
            trusted_proxies: 0,
            proxy_protocol: false,
            access_log: None,
            connect_timeout: Duration::from_secs(10),
            system_authorities: "/etc/ssl/certs/ca-certificates.crt".into(),
            virtual_service_export_to: all(),
            destination_rule_export_to: all(),
            service_export_to: all(),
            h2_upgrade: false,
            proxy_http_port: None,
            limits: BTreeMap::new(),
            server_name: None,
        }
    }
}

/// What sidecars do with requests to hosts that are no known service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutboundPolicy {
    /// They go to the address that the program asked for.
    #[default]
    AllowAny,
    /// They are answered with 502, or reset.
    RegistryOnly,
}

impl OutboundPolicy {
    /// Each once, in the order of their declaration.
    pub const ALL: [OutboundPolicy; 2] = [OutboundPolicy::AllowAny, OutboundPolicy::RegistryOnly];

    /// Istio's word.
    pub const fn name(self) -> &'static str {
        match self {
            OutboundPolicy::AllowAny => "ALLOW_ANY",
            OutboundPolicy::RegistryOnly => "REGISTRY_ONLY",
        }
    }
}

/// How paths are normalized before they are compared with routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathNormalization {
    /// Paths are matched as they come.
    None,
    /// Without `.` and `..`, as RFC 3986 has it.
    #[default]
    Base,
    /// Also without doubled slashes.
    MergeSlashes,
    /// Also with `%2F` and `%5C` decoded.
    DecodeAndMergeSlashes,
}

impl PathNormalization {
    /// Each once, in the order of their declaration.
    pub const ALL: [PathNormalization; 4] = [
        PathNormalization::None,
        PathNormalization::Base,
        PathNormalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes,
    ];

    /// Istio's word.
    pub const fn name(self) -> &'static str {
        match self {
            PathNormalization::None => "NONE",
            PathNormalization::Base => "BASE",
            PathNormalization::MergeSlashes => "MERGE_SLASHES",
            PathNormalization::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        }
    }
}

/// Where and how Envoy logs requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// A file on the proxy's machine; `/dev/stdout` for its standard output.
    pub path: Text,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a line of the access log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Envoy's own format.
    #[default]
    Envoy,
    /// A text with Envoy's commands, such as `%PROTOCOL%`. If it does not end with a line break, one is added.
    Text(Text),
    /// An object of JSON: keys, and texts with Envoy's commands.
    Json(BTreeMap<String, String>),
}
