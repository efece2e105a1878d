//! Envoy's HTTP connection manager, its filters and its access log; and filters of listeners.

use super::{
    limit,
    mesh::{LogFormat, Mesh, PathNormalization},
    message::{NO_TIME, ads, any, boolean, number},
    protocol::Protocol,
};
use crate::pb::{
    envoy::{
        config::{
            accesslog::v3::AccessLog,
            core::v3::{DataSource, SubstitutionFormatString, data_source, substitution_format_string},
            listener::v3::{Filter, ListenerFilter},
        },
        extensions::{
            access_loggers::file::v3::FileAccessLog,
            filters::{
                http::{cors::v3::Cors, fault::v3::HttpFault, grpc_web::v3::GrpcWeb, router::v3::Router},
                listener::{
                    http_inspector::v3::HttpInspector, proxy_protocol::v3::ProxyProtocol,
                    tls_inspector::v3::TlsInspector,
                },
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, Rds,
                    http_connection_manager::{
                        ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier,
                        SetCurrentClientCertDetails, UpgradeConfig,
                    },
                },
            },
        },
    },
    google::protobuf::{Any, Struct, Value},
};
use prost::{Message, Name};

/// Who sends the requests that a connection manager reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Anybody, at a gateway.
    Outside,
    /// The program beside a sidecar.
    Program,
    /// The program beside a sidecar, which it uses as an HTTP proxy: requests have absolute URLs.
    ProgramByProxy,
}

/// The connection manager. `routes` is the name of its route configuration.
pub(super) fn http(routes: &str, stat_prefix: &str, from: From, protocol: Protocol, mesh: &Mesh) -> Filter {
    let is_gateway = from == From::Outside;
    let details =
        SetCurrentClientCertDetails { subject: boolean(true), cert: true, chain: false, dns: true, uri: true };
    let forward = if is_gateway { ForwardClientCertDetails::SanitizeSet } else { ForwardClientCertDetails::Sanitize };
    let mut manager = HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(),
        route_specifier: Some(RouteSpecifier::Rds(Rds { config_source: ads(), route_config_name: routes.to_owned() })),
        http_filters: filters(protocol == Protocol::GrpcWeb),
        access_log: access_log(mesh),
        use_remote_address: boolean(is_gateway),
        xff_num_trusted_hops: if is_gateway { mesh.trusted_proxies } else { 0 },
        forward_client_cert_details: forward.into(),
        set_current_client_cert_details: is_gateway.then_some(details),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), enabled: None }],
        stream_idle_timeout: Some(NO_TIME),
        proxy_100_continue: true,
        server_name: mesh.server_name.iter().filter(|_| is_gateway).map(ToString::to_string).collect(),
        ..HttpConnectionManager::default()
    };
    if from == From::ProgramByProxy {
        manager.http_protocol_options.get_or_insert_default().allow_absolute_url = boolean(true);
    }
    normalize(&mut manager, mesh.path_normalization);
    let name = "envoy.filters.network.http_connection_manager".to_owned();
    Filter { name, typed_config: Some(any(&manager)) }
}

/// The connection manager of a gRPC program's `api_listener`, which only needs filters and the name of its routes.
pub(super) fn api(routes: &str) -> Any {
    any(&HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(Rds { config_source: ads(), route_config_name: routes.to_owned() })),
        http_filters: vec![
            filter("envoy.filters.http.fault", &HttpFault::default()),
            filter("envoy.filters.http.router", &Router {}),
        ],
        ..HttpConnectionManager::default()
    })
}

fn filters(grpc_web: bool) -> Vec<HttpFilter> {
    let web = grpc_web.then(|| filter("envoy.filters.http.grpc_web", &GrpcWeb {}));
    let others = [
        filter("envoy.filters.http.fault", &HttpFault::default()),
        filter("envoy.filters.http.cors", &Cors {}),
        filter(limit::FILTER, &limit::filter()),
        filter("envoy.filters.http.router", &Router {}),
    ];
    web.into_iter().chain(others).collect()
}

fn filter<M: Message + Name>(name: &str, message: &M) -> HttpFilter {
    HttpFilter { name: name.to_owned(), typed_config: Some(any(message)), is_optional: false }
}

fn normalize(manager: &mut HttpConnectionManager, how: PathNormalization) {
    let merge = matches!(how, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes);
    manager.normalize_path = boolean(how != PathNormalization::None);
    manager.merge_slashes = merge;
    if how == PathNormalization::DecodeAndMergeSlashes {
        manager.path_with_escaped_slashes_action = PathWithEscapedSlashesAction::UnescapeAndForward.into();
    }
}

/// The access log of the mesh; empty: none is written.
pub(super) fn access_log(mesh: &Mesh) -> Vec<AccessLog> {
    let Some(log) = &mesh.access_log else { return Vec::new() };
    let format = match &log.format {
        LogFormat::Envoy => None,
        LogFormat::Text(text) => {
            // As with Istio a format needs not say where its line ends.
            let line = if text.ends_with('\n') { text.to_string() } else { format!("{text}\n") };
            let line = DataSource { specifier: Some(data_source::Specifier::InlineString(line)) };
            Some(substitution_format_string::Format::TextFormatSource(line))
        }
        LogFormat::Json(fields) => {
            let value = |(key, text): (&String, &String)| {
                (key.clone(), Value { string_value: Some(text.clone()), ..Value::default() })
            };
            let fields = fields.iter().map(value).collect();
            Some(substitution_format_string::Format::JsonFormat(Struct { fields }))
        }
    };
    let format = format.map(|format| SubstitutionFormatString { format: Some(format) });
    let file = FileAccessLog { path: log.path.to_string(), log_format: format };
    vec![AccessLog { name: "envoy.access_loggers.file".to_owned(), typed_config: Some(any(&file)) }]
}

fn listener_filter<M: Message + Name>(name: &str, message: &M) -> ListenerFilter {
    ListenerFilter { name: format!("envoy.filters.listener.{name}"), typed_config: Some(any(message)) }
}

/// The listener filter that detects TLS, and the name in its handshake (SNI).
pub(super) fn tls_inspector() -> ListenerFilter {
    listener_filter("tls_inspector", &TlsInspector { initial_read_buffer_size: number(512) })
}

/// The listener filter that tells HTTP from other protocols by the first bytes.
pub(super) fn http_inspector() -> ListenerFilter {
    listener_filter("http_inspector", &HttpInspector {})
}

/// The listener filter that reads the client's address from the PROXY protocol of a load balancer.
pub(super) fn proxy_protocol() -> ListenerFilter {
    listener_filter("proxy_protocol", &ProxyProtocol::default())
}
