//! What holds for all proxies: the part of Istio's mesh configuration that has a meaning here. The configuration makes it.

use crate::{
    model::{Port, Text},
    pb::istio::networking::v1alpha3::HttpRetry,
    translate::Limit,
};
use std::{collections::BTreeMap, time::Duration};

/// What holds for all proxies. The default is Istio's.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// The namespace whose DestinationRules and Sidecar are for those who have none. `istio-system` by default.
    pub root_namespace: Text,
    /// What stands behind `.svc.` when a host without a dot is completed. None by default, as for what comes by MCP.
    pub domain_suffix: Option<Text>,
    /// For routes that say nothing of retries. `None`: two, for what is safe to repeat.
    pub default_retries: Option<HttpRetry>,
    /// What sidecars do with requests to hosts that nobody knows.
    pub outbound_policy: OutboundPolicy,
    /// How gateways and sidecars write paths before they are compared.
    pub path_normalization: PathNormalization,
    /// How many proxies before a gateway may say who the client is. 0 by default.
    pub trusted_proxies: u32,
    /// Whether connections to gateways begin with the PROXY protocol of a load balancer.
    pub proxy_protocol: bool,
    /// Where a line for each request goes. Nowhere by default.
    pub access_log: Option<AccessLog>,
    /// How long a new connection to an endpoint may take. 10 s by default.
    pub connect_timeout: Duration,
    /// Whom proxies trust where TLS to a service names no authority: a file on their machines.
    /// `/etc/ssl/certs/ca-certificates.crt` by default, as Envoy's own images have it.
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
    /// How many requests there may be for hosts of gateways; in lower case, with wildcards as VirtualServices have them.
    pub limits: BTreeMap<Text, Limit>,
    /// What gateways call themselves in answers. Envoy's own name by default.
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

/// What sidecars do with requests to hosts that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutboundPolicy {
    /// They go where the program meant them to go.
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

/// How paths are written before they are compared.
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

/// A line for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// A file on the proxy's machine; `/dev/stdout` for its standard output.
    pub path: Text,
    /// What the line holds.
    pub format: LogFormat,
}

/// What a line of the log holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Envoy's own format.
    #[default]
    Envoy,
    /// A text with Envoy's commands, such as `%PROTOCOL%`. A line break at its end is not added.
    Text(Text),
    /// An object of JSON: keys, and texts with Envoy's commands.
    Json(BTreeMap<String, String>),
}
