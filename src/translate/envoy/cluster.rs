//! One cluster.
//!
//! It depends on configuration, the port and the name only, never on which endpoints there are: a change of a cluster
//! makes Envoy warm it again. Settings per service (circuit breakers, outlier detection, TLS, subsets) are put to it in
//! `translate/traffic/cluster`.

use super::{Eds, LbPolicy, Options, Zones, name::stat_name};
use crate::{
    model::{Nearness, ServicePort},
    pb::{
        envoy::{
            config::{
                cluster::v3::{
                    Cluster,
                    cluster::{
                        CommonLbConfig, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy as PbLbPolicy,
                        common_lb_config::ZoneAwareLbConfig,
                    },
                },
                core::v3::{
                    AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource, GrpcService,
                    Http2ProtocolOptions, api_config_source::ApiType, grpc_service::EnvoyGrpc,
                },
                endpoint::v3::ClusterLoadAssignment,
            },
            extensions::upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions},
            },
            r#type::v3::Percent,
        },
        google::protobuf::{Any, Duration, UInt64Value},
    },
    resource::Variant,
};
use prost::{Message, Name};
use std::collections::BTreeMap;

const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Protection is applied before: when it counts all endpoints as healthy, they are sent as healthy. Envoy's own (50 %)
/// must not do it again. `ignore_health_on_host_removal` stays unset, because there are no active checks to be ignored.
const NO_PANIC: Percent = Percent { value: 0.0 };

/// How a cluster's endpoints are found.
pub(in crate::translate) enum Discovery<'a> {
    /// By EDS, under this name.
    Eds(&'a str),
    /// By DNS, from these names.
    Dns(&'a ClusterLoadAssignment),
}

/// The cluster of a port, under one of its names.
pub(in crate::translate) fn cluster(
    name: &str,
    port: &ServicePort,
    discovery: Discovery<'_>,
    nearness: Nearness,
    options: &Options,
) -> Cluster {
    let mut cluster = Cluster {
        name: name.to_owned(),
        alt_stat_name: stat_name(name),
        connect_timeout: Some(Duration {
            seconds: options.connect_timeout.as_secs().cast_signed(),
            nanos: options.connect_timeout.subsec_nanos().cast_signed(),
        }),
        lb_policy: lb_policy(options.lb_policy).into(),
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(NO_PANIC),
            zone_aware_lb_config: zone_aware(nearness, &options.zones),
            ..CommonLbConfig::default()
        }),
        typed_extension_protocol_options: protocol_options(port),
        ..Cluster::default()
    };
    match discovery {
        Discovery::Eds(assignment) => {
            cluster.set_type(DiscoveryType::Eds);
            cluster.eds_cluster_config = Some(EdsClusterConfig {
                eds_config: Some(source(&options.eds)),
                service_name: if assignment == name { String::new() } else { assignment.to_owned() },
            });
        }
        Discovery::Dns(assignment) => {
            cluster.set_type(DiscoveryType::StrictDns);
            cluster.load_assignment = Some(assignment.clone());
            // Names are resolved every 5 s, Envoy's default: `respect_dns_ttl` is deprecated (1.40 warns for each cluster),
            // and Envoys before 1.34 refuse the extension that has replaced it. The family: by default v6 addresses would
            // be taken first, and many networks have the records but not the routes.
            cluster.set_dns_lookup_family(DnsLookupFamily::V4Preferred);
        }
    }
    cluster
}

/// An Envoy that knows its own cluster is zone-aware for every cluster that does not say otherwise.
fn zone_aware(nearness: Nearness, zones: &Zones) -> Option<ZoneAwareLbConfig> {
    zones.own_cluster.as_ref()?;
    Some(match nearness {
        Nearness::ZoneAware => ZoneAwareLbConfig {
            routing_enabled: None,
            min_cluster_size: zones.min_cluster_size.map(|value| UInt64Value { value }),
        },
        Nearness::Off | Nearness::Priority => {
            ZoneAwareLbConfig { routing_enabled: Some(Percent { value: 0.0 }), min_cluster_size: None }
        }
    })
}

fn source(eds: &Eds) -> ConfigSource {
    let resource_api_version = ApiVersion::V3.into();
    let Eds::Stream { cluster, variant } = eds else {
        let ads = Some(AggregatedConfigSource {});
        return ConfigSource { ads, resource_api_version, ..ConfigSource::default() };
    };
    let api_type = match variant {
        Variant::Delta => ApiType::DeltaGrpc,
        Variant::Sotw => ApiType::Grpc,
    };
    let api_config_source = ApiConfigSource {
        api_type: api_type.into(),
        grpc_services: vec![GrpcService { envoy_grpc: Some(EnvoyGrpc { cluster_name: cluster.clone() }) }],
        set_node_on_first_message_only: true,
        transport_api_version: ApiVersion::V3.into(),
    };
    ConfigSource { api_config_source: Some(api_config_source), resource_api_version, ..ConfigSource::default() }
}

fn lb_policy(policy: LbPolicy) -> PbLbPolicy {
    match policy {
        LbPolicy::LeastRequest => PbLbPolicy::LeastRequest,
        LbPolicy::RoundRobin => PbLbPolicy::RoundRobin,
        LbPolicy::Random => PbLbPolicy::Random,
        LbPolicy::RingHash => PbLbPolicy::RingHash,
        LbPolicy::Maglev => PbLbPolicy::Maglev,
    }
}

/// Only HTTP/2 needs options: without any Envoy speaks HTTP/1.1, and for TCP they do not matter.
fn protocol_options(port: &ServicePort) -> BTreeMap<String, Any> {
    if !port.protocol.is_http2() {
        return BTreeMap::new();
    }
    let http2 = Some(Http2ProtocolOptions::default());
    let explicit = ExplicitHttpConfig { http2_protocol_options: http2, ..ExplicitHttpConfig::default() };
    with_options(&HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)),
        ..HttpProtocolOptions::default()
    })
}

/// The value of `Cluster.typed_extension_protocol_options` that holds these options of HTTP.
pub(in crate::translate) fn with_options(options: &HttpProtocolOptions) -> BTreeMap<String, Any> {
    let any = Any { type_url: HttpProtocolOptions::type_url(), value: options.encode_to_vec().into() };
    BTreeMap::from([(HTTP_PROTOCOL_OPTIONS.to_owned(), any)])
}
