//! Our messages mean to others what they mean to us: xds-api reads what we write, and the reverse.

use portolan::pb::{
    envoy::{
        config::{cluster::v3 as cluster, core::v3 as core, endpoint::v3 as endpoint},
        extensions::upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions},
        },
        service::discovery::v3 as discovery,
        r#type::v3::{Percent, SemanticVersion},
    },
    google::{protobuf as google, rpc},
};
use prost::{Message, Name};
use prost_of_xds_api as reference;
use std::fmt::Debug;
use xds_api::pb::{
    envoy::{config as theirs, service::discovery::v3 as their_discovery},
    google::{protobuf as their_google, rpc as their_rpc},
};

/// Both sides read what the other writes, and nothing is lost either way.
fn check<O, T>(ours: O, theirs: T)
where
    O: Message + Name + Default + PartialEq + Debug,
    T: reference::Message + reference::Name + Default + PartialEq + Debug,
{
    assert_eq!(T::decode(&*ours.encode_to_vec()).unwrap(), theirs);
    assert_eq!(O::decode(&*theirs.encode_to_vec()).unwrap(), ours);
    assert_eq!(O::type_url(), T::type_url());
}

fn our_assignment() -> endpoint::ClusterLoadAssignment {
    let text = |text: &str| google::Value { string_value: Some(text.into()), ..Default::default() };
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
        policy: None,
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
                ..Default::default()
            }),
            service_name: "s".into(),
        }),
        connect_timeout: Some(google::Duration { seconds: 5, nanos: 1 }),
        lb_policy: LbPolicy::Maglev.into(),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 1.5 }),
            ..Default::default()
        }),
        alt_stat_name: "a".into(),
        load_assignment: Some(our_assignment()),
        typed_extension_protocol_options: [("x".into(), google::Any { type_url: "t".into(), value: "v".into() })]
            .into(),
        ..Default::default()
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

fn our_node(version: core::node::UserAgentVersionType) -> core::Node {
    let text = google::Value { string_value: Some("api".into()), ..Default::default() };
    core::Node {
        id: "i".into(),
        cluster: "c".into(),
        metadata: Some(google::Struct { fields: [("GENERATOR".into(), text)].into() }),
        locality: Some(core::Locality { region: "r".into(), zone: "z".into(), sub_zone: "s".into() }),
        user_agent_name: "envoy".into(),
        user_agent_version_type: Some(version),
    }
}

fn their_node(version: theirs::core::v3::node::UserAgentVersionType) -> theirs::core::v3::Node {
    let text = their_google::Value { kind: Some(their_google::value::Kind::StringValue("api".into())) };
    theirs::core::v3::Node {
        id: "i".into(),
        cluster: "c".into(),
        metadata: Some(their_google::Struct { fields: [("GENERATOR".into(), text)].into() }),
        locality: Some(theirs::core::v3::Locality { region: "r".into(), zone: "z".into(), sub_zone: "s".into() }),
        user_agent_name: "envoy".into(),
        user_agent_version_type: Some(version),
        ..Default::default()
    }
}

#[test]
fn requests_mean_the_same_to_others() {
    use core::node::UserAgentVersionType as Version;
    use theirs::core::v3::node::UserAgentVersionType as TheirVersion;
    let numbers = SemanticVersion { major_number: 1, minor_number: 40, patch: 2 };
    let their_numbers = xds_api::pb::envoy::r#type::v3::SemanticVersion { major_number: 1, minor_number: 40, patch: 2 };
    let build = theirs::core::v3::BuildVersion { version: Some(their_numbers), metadata: None };
    check(
        discovery::DiscoveryRequest {
            version_info: "v".into(),
            node: Some(our_node(Version::UserAgentBuildVersion(core::BuildVersion { version: Some(numbers) }))),
            resource_names: vec!["a".into(), "b".into()],
            type_url: "t".into(),
            response_nonce: "n".into(),
            error_detail: Some(rpc::Status { code: 3, message: "m".into() }),
        },
        their_discovery::DiscoveryRequest {
            version_info: "v".into(),
            node: Some(their_node(TheirVersion::UserAgentBuildVersion(build))),
            resource_names: vec!["a".into(), "b".into()],
            type_url: "t".into(),
            response_nonce: "n".into(),
            error_detail: Some(their_rpc::Status { code: 3, message: "m".into(), details: Vec::new() }),
            ..Default::default()
        },
    );
    check(
        discovery::DeltaDiscoveryRequest {
            node: Some(our_node(Version::UserAgentVersion("1.40".into()))),
            type_url: "t".into(),
            resource_names_subscribe: vec!["a".into()],
            resource_names_unsubscribe: vec!["b".into()],
            initial_resource_versions: [("c".into(), "1".into())].into(),
            response_nonce: "n".into(),
            error_detail: Some(rpc::Status { code: 3, message: "m".into() }),
        },
        their_discovery::DeltaDiscoveryRequest {
            node: Some(their_node(TheirVersion::UserAgentVersion("1.40".into()))),
            type_url: "t".into(),
            resource_names_subscribe: vec!["a".into()],
            resource_names_unsubscribe: vec!["b".into()],
            initial_resource_versions: [("c".into(), "1".into())].into(),
            response_nonce: "n".into(),
            error_detail: Some(their_rpc::Status { code: 3, message: "m".into(), details: Vec::new() }),
            ..Default::default()
        },
    );
}

#[test]
fn responses_mean_the_same_to_others() {
    let (any, their_any) = (
        google::Any { type_url: "t".into(), value: "v".into() },
        their_google::Any { type_url: "t".into(), value: "v".into() },
    );
    let control_plane = Some(core::ControlPlane { identifier: "p".into() });
    let their_control_plane = Some(theirs::core::v3::ControlPlane { identifier: "p".into() });
    check(
        discovery::DiscoveryResponse {
            version_info: "v".into(),
            resources: vec![any.clone()],
            type_url: "t".into(),
            nonce: "n".into(),
            control_plane: control_plane.clone(),
        },
        their_discovery::DiscoveryResponse {
            version_info: "v".into(),
            resources: vec![their_any.clone()],
            type_url: "t".into(),
            nonce: "n".into(),
            control_plane: their_control_plane.clone(),
            ..Default::default()
        },
    );
    check(
        discovery::DeltaDiscoveryResponse {
            system_version_info: "v".into(),
            resources: vec![discovery::Resource { version: "1".into(), resource: Some(any), name: "a".into() }],
            type_url: "t".into(),
            nonce: "n".into(),
            removed_resources: vec!["b".into()],
            control_plane,
        },
        their_discovery::DeltaDiscoveryResponse {
            system_version_info: "v".into(),
            resources: vec![their_discovery::Resource {
                version: "1".into(),
                resource: Some(their_any),
                name: "a".into(),
                ..Default::default()
            }],
            type_url: "t".into(),
            nonce: "n".into(),
            removed_resources: vec!["b".into()],
            control_plane: their_control_plane,
            ..Default::default()
        },
    );
}

/// xds-api lacks this message; the bytes are what Envoy's own definition gives: field 3, in it field 2, empty.
#[test]
fn http_options_have_the_fields_that_envoy_reads() {
    let http2 = ExplicitHttpConfig { http2_protocol_options: Some(Default::default()), ..Default::default() };
    let upstream_protocol_options = Some(UpstreamProtocolOptions::ExplicitHttpConfig(http2));
    let options = HttpProtocolOptions { upstream_protocol_options, ..Default::default() };
    assert_eq!(options.encode_to_vec(), [3 << 3 | 2, 2, 2 << 3 | 2, 0]);
    assert_eq!(
        HttpProtocolOptions::type_url(),
        "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    );
}

#[test]
fn both_places_of_endpoints_mean_the_same_to_others() {
    use theirs::core::v3::{
        ApiConfigSource, ConfigSource, GrpcService,
        api_config_source::ApiType,
        config_source::ConfigSourceSpecifier,
        grpc_service::{EnvoyGrpc, TargetSpecifier},
    };
    let ours = |ads, api_config_source| core::ConfigSource {
        ads,
        api_config_source,
        resource_api_version: core::ApiVersion::V3.into(),
        ..Default::default()
    };
    let stream = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::DeltaGrpc.into(),
        grpc_services: vec![core::GrpcService {
            envoy_grpc: Some(core::grpc_service::EnvoyGrpc { cluster_name: "portolan".into() }),
        }],
        set_node_on_first_message_only: true,
        transport_api_version: core::ApiVersion::V3.into(),
    };
    let envoy_grpc = EnvoyGrpc { cluster_name: "portolan".into(), ..Default::default() };
    let service = GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(envoy_grpc)), ..Default::default() };
    let their_stream = ApiConfigSource {
        api_type: ApiType::DeltaGrpc.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        transport_api_version: theirs::core::v3::ApiVersion::V3.into(),
        ..Default::default()
    };
    for (ours, specifier) in [
        (ours(Some(core::AggregatedConfigSource {}), None), ConfigSourceSpecifier::Ads(Default::default())),
        (ours(None, Some(stream)), ConfigSourceSpecifier::ApiConfigSource(their_stream)),
    ] {
        let resource_api_version = theirs::core::v3::ApiVersion::V3.into();
        check(
            ours,
            ConfigSource { resource_api_version, config_source_specifier: Some(specifier), ..Default::default() },
        );
    }
}
