//! Our messages mean to others what they mean to us: xds-api reads what we write, and the reverse.

use portolan::pb::{
    envoy::{
        config::{cluster::v3 as cluster, core::v3 as core, endpoint::v3 as endpoint},
        extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options::ExplicitHttpConfig},
        r#type::v3::Percent,
    },
    google::protobuf as google,
};
use prost::{Message, Name};
use std::fmt::Debug;
use xds_api::pb::{envoy::config as theirs, google::protobuf as their_google};

/// Both sides read what the other writes, and nothing is lost either way.
fn check<O, T>(ours: O, theirs: T)
where
    O: Message + Name + Default + PartialEq + Debug,
    T: Message + Name + Default + PartialEq + Debug,
{
    assert_eq!(T::decode(&*ours.encode_to_vec()).unwrap(), theirs);
    assert_eq!(O::decode(&*theirs.encode_to_vec()).unwrap(), ours);
    assert_eq!(O::type_url(), T::type_url());
}

fn our_assignment() -> endpoint::ClusterLoadAssignment {
    let text = |text: &str| google::Value { string_value: Some(text.into()) };
    let labels = google::Struct { fields: [("a".into(), text("1")), ("b".into(), text(""))].into() };
    let at = |address, health: core::HealthStatus| endpoint::LbEndpoint {
        endpoint: Some(endpoint::Endpoint { address: Some(core::Address { address: Some(address) }) }),
        health_status: health.into(),
        metadata: Some(core::Metadata { filter_metadata: [("envoy.lb".into(), labels.clone())].into() }),
        load_balancing_weight: Some(google::UInt32Value { value: 7 }),
    };
    let socket = core::SocketAddress { address: "::1".into(), port_value: 65_535 };
    endpoint::ClusterLoadAssignment {
        cluster_name: "c".into(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            locality: Some(core::Locality { region: "r".into(), zone: "z".into(), sub_zone: "s".into() }),
            lb_endpoints: vec![
                at(core::address::Address::SocketAddress(socket), core::HealthStatus::Draining),
                at(core::address::Address::Pipe(core::Pipe { path: "/x".into() }), core::HealthStatus::Unhealthy),
            ],
            load_balancing_weight: Some(google::UInt32Value { value: 14 }),
            priority: 1,
        }],
    }
}

fn their_assignment() -> theirs::endpoint::v3::ClusterLoadAssignment {
    use theirs::{core::v3::*, endpoint::v3::*};
    let text = |text: &str| their_google::Value { kind: Some(their_google::value::Kind::StringValue(text.into())) };
    let labels = their_google::Struct { fields: [("a".into(), text("1")), ("b".into(), text(""))].into() };
    let at = |address, health: HealthStatus| LbEndpoint {
        health_status: health.into(),
        metadata: Some(Metadata {
            filter_metadata: [("envoy.lb".into(), labels.clone())].into(),
            ..Default::default()
        }),
        load_balancing_weight: Some(their_google::UInt32Value { value: 7 }),
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(Address { address: Some(address) }),
            ..Default::default()
        })),
    };
    let socket = SocketAddress {
        address: "::1".into(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(65_535)),
        ..Default::default()
    };
    ClusterLoadAssignment {
        cluster_name: "c".into(),
        endpoints: vec![LocalityLbEndpoints {
            locality: Some(Locality { region: "r".into(), zone: "z".into(), sub_zone: "s".into() }),
            lb_endpoints: vec![
                at(address::Address::SocketAddress(socket), HealthStatus::Draining),
                at(address::Address::Pipe(Pipe { path: "/x".into(), ..Default::default() }), HealthStatus::Unhealthy),
            ],
            load_balancing_weight: Some(their_google::UInt32Value { value: 14 }),
            priority: 1,
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn assignments_mean_the_same_to_others() {
    check(our_assignment(), their_assignment());
}

#[test]
fn clusters_mean_the_same_to_others() {
    use cluster::cluster::{CommonLbConfig, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy};
    use theirs::{cluster::v3::cluster as their, core::v3 as their_core};
    let ours = cluster::Cluster {
        name: "n".into(),
        r#type: DiscoveryType::Eds.into(),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(core::ConfigSource {
                ads: Some(core::AggregatedConfigSource {}),
                resource_api_version: core::ApiVersion::V3.into(),
            }),
            service_name: "s".into(),
        }),
        connect_timeout: Some(google::Duration { seconds: 5, nanos: 1 }),
        lb_policy: LbPolicy::Maglev.into(),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        common_lb_config: Some(CommonLbConfig { healthy_panic_threshold: Some(Percent { value: 1.5 }) }),
        alt_stat_name: "a".into(),
        load_assignment: Some(our_assignment()),
        typed_extension_protocol_options: [("x".into(), google::Any { type_url: "t".into(), value: "v".into() })]
            .into(),
    };
    let eds_config = their_core::ConfigSource {
        resource_api_version: their_core::ApiVersion::V3.into(),
        config_source_specifier: Some(their_core::config_source::ConfigSourceSpecifier::Ads(Default::default())),
        ..Default::default()
    };
    let options = their_google::Any { type_url: "t".into(), value: "v".into() };
    let theirs = theirs::cluster::v3::Cluster {
        name: "n".into(),
        cluster_discovery_type: Some(their::ClusterDiscoveryType::Type(their::DiscoveryType::Eds.into())),
        eds_cluster_config: Some(their::EdsClusterConfig { eds_config: Some(eds_config), service_name: "s".into() }),
        connect_timeout: Some(their_google::Duration { seconds: 5, nanos: 1 }),
        lb_policy: their::LbPolicy::Maglev.into(),
        dns_lookup_family: their::DnsLookupFamily::V4Preferred.into(),
        common_lb_config: Some(their::CommonLbConfig {
            healthy_panic_threshold: Some(xds_api::pb::envoy::r#type::v3::Percent { value: 1.5 }),
            ..Default::default()
        }),
        alt_stat_name: "a".into(),
        load_assignment: Some(their_assignment()),
        typed_extension_protocol_options: [("x".into(), options)].into(),
        ..Default::default()
    };
    check(ours, theirs);
}

/// xds-api lacks this message; the bytes are what Envoy's own definition gives: field 3, in it field 2, empty.
#[test]
fn http_options_have_the_fields_that_envoy_reads() {
    let http2 = ExplicitHttpConfig { http2_protocol_options: Some(core::Http2ProtocolOptions {}) };
    let options = HttpProtocolOptions { explicit_http_config: Some(http2) };
    assert_eq!(options.encode_to_vec(), [3 << 3 | 2, 2, 2 << 3 | 2, 0]);
    assert_eq!(
        HttpProtocolOptions::type_url(),
        "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    );
}
