//! The settings of a DestinationRule, put to a cluster. What it does not say is as in Istio.

use super::{near::Plan, policy::Policy, tls};
use crate::{
    model::ServicePort,
    pb::{
        envoy::{
            config::{
                cluster::v3::{
                    CircuitBreakers, Cluster, LoadBalancingPolicy, OutlierDetection as PbOutlier,
                    UpstreamConnectionOptions,
                    circuit_breakers::{Thresholds, thresholds::RetryBudget},
                    cluster::{
                        LbConfig, LbPolicy as PbLbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
                        RoundRobinLbConfig, SlowStartConfig, common_lb_config::LocalityWeightedLbConfig,
                    },
                    load_balancing_policy,
                },
                core::v3::{
                    Http1ProtocolOptions, Http2ProtocolOptions, KeepaliveSettings, RuntimeDouble, TcpKeepalive,
                    TypedExtensionConfig,
                },
            },
            extensions::{
                load_balancing_policies::{least_request::v3::LeastRequest, round_robin::v3::RoundRobin},
                upstreams::http::v3::{
                    HttpProtocolOptions,
                    http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig},
                },
            },
            r#type::v3::Percent,
        },
        google::protobuf::{DoubleValue, UInt32Value, UInt64Value},
        istio::networking::v1alpha3::{
            ConnectionPoolSettings, LoadBalancerSettings, OutlierDetection,
            connection_pool_settings::{HttpSettings, http_settings::H2UpgradePolicy, tcp_settings},
            load_balancer_settings::{ConsistentHashLb, LbPolicy, SimpleLb, consistent_hash_lb::HashAlgorithm},
        },
    },
    translate::{
        envoy::with_options,
        traffic::{
            mesh::Mesh,
            message::{any, number, time},
            protocol::is_http,
        },
    },
};

/// The smallest ring where a rule says none: Istio's default, and also Envoy's.
const SMALLEST_RING: u64 = 1024;

/// A runtime key, which Envoy requires, for a setting that is never changed at run time. Istio writes the same.
const NO_KEY: &str = "(";

/// Puts the settings of a rule, and Istio's defaults, into the cluster of a port.
pub(super) fn apply(cluster: &mut Cluster, port: &ServicePort, policy: &Policy<'_>, mesh: &Mesh, is_grpc: bool) {
    if let Some(balancer) = policy.load_balancer {
        balance(cluster, balancer, is_grpc);
    }
    if is_grpc {
        // What gRPC programs use of the rest.
        let thresholds = Thresholds { max_requests: requests(policy.pool), ..Thresholds::default() };
        let breakers = CircuitBreakers { thresholds: vec![thresholds] };
        cluster.circuit_breakers = Some(breakers).filter(|breakers| breakers.thresholds[0].max_requests.is_some());
        return;
    }
    let mut options = options(port, policy, mesh);
    cluster.connect_timeout = Some(time(mesh.connect_timeout));
    cluster.circuit_breakers = Some(CircuitBreakers { thresholds: vec![thresholds(policy)] });
    if let Some(tcp) = policy.pool.and_then(|pool| pool.tcp.as_ref()) {
        cluster.connect_timeout = tcp.connect_timeout.or(cluster.connect_timeout);
        let keepalive = tcp.tcp_keepalive.as_ref().map(keepalive);
        cluster.upstream_connection_options =
            keepalive.map(|tcp_keepalive| UpstreamConnectionOptions { tcp_keepalive });
    }
    if Plan::of(policy).is_some_and(|plan| plan.weighs()) {
        let common = cluster.common_lb_config.get_or_insert_default();
        // One kind of balancing by place goes without the other.
        common.locality_weighted_lb_config = Some(LocalityWeightedLbConfig {});
        common.zone_aware_lb_config = None;
    }
    if let Some(outlier) = policy.outlier {
        cluster.outlier_detection = Some(outliers(outlier));
        let threshold = Percent { value: outlier.min_health_percent.into() };
        cluster.common_lb_config.get_or_insert_default().healthy_panic_threshold = Some(threshold);
    }
    cluster.transport_socket = tls::socket(policy, mesh, &mut options);
    if options != HttpProtocolOptions::default() {
        // Envoy takes no options without a version.
        options.upstream_protocol_options.get_or_insert_with(|| {
            let http1 = Some(Http1ProtocolOptions::default());
            UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                http_protocol_options: http1,
                ..ExplicitHttpConfig::default()
            })
        });
        cluster.typed_extension_protocol_options = with_options(&options);
    }
}

fn requests(pool: Option<&ConnectionPoolSettings>) -> Option<UInt32Value> {
    positive(pool?.http.as_ref()?.http2_max_requests)
}

/// `None` for 0, which means unset, and for what is negative.
fn positive(value: i32) -> Option<UInt32Value> {
    u32::try_from(value).ok().filter(|value| *value > 0).and_then(number)
}

fn balance(cluster: &mut Cluster, settings: &LoadBalancerSettings, is_grpc: bool) {
    let slow_start = slow_start(settings);
    let least =
        |slow_start| LbConfig::LeastRequestLbConfig(LeastRequestLbConfig { slow_start_config: Some(slow_start) });
    let turns = |slow_start| LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: Some(slow_start) });
    let simple = match settings.lb_policy {
        Some(LbPolicy::Simple(simple)) => SimpleLb::try_from(simple).unwrap_or_default(),
        _ => SimpleLb::Unspecified,
    };
    let (mut policy, mut config) = match (&settings.lb_policy, simple) {
        (Some(LbPolicy::ConsistentHash(hash)), _) => consistent_hash(hash),
        (_, SimpleLb::Random) => (PbLbPolicy::Random, None),
        (_, SimpleLb::RoundRobin) => (PbLbPolicy::RoundRobin, slow_start.map(turns)),
        _ => (PbLbPolicy::LeastRequest, slow_start.map(least)),
    };
    if is_grpc {
        if policy == PbLbPolicy::LeastRequest && simple != SimpleLb::Unspecified {
            cluster.load_balancing_policy = Some(least_request_or_not());
        }
        // C core takes no other; the list above is for those that do.
        policy = match policy {
            PbLbPolicy::RingHash | PbLbPolicy::Maglev => PbLbPolicy::RingHash,
            _ => PbLbPolicy::RoundRobin,
        };
        config = config.filter(|config| matches!(config, LbConfig::RingHashLbConfig(_)));
    }
    cluster.lb_policy = policy.into();
    cluster.lb_config = config;
}

/// A list of two policies: gRPC programs take the first that they know.
fn least_request_or_not() -> LoadBalancingPolicy {
    let policy = |name: &str, typed_config| load_balancing_policy::Policy {
        typed_extension_config: Some(TypedExtensionConfig { name: name.to_owned(), typed_config: Some(typed_config) }),
    };
    let policies = vec![
        policy("envoy.load_balancing_policies.least_request", any(&LeastRequest {})),
        policy("envoy.load_balancing_policies.round_robin", any(&RoundRobin {})),
    ];
    LoadBalancingPolicy { policies }
}

fn consistent_hash(hash: &ConsistentHashLb) -> (PbLbPolicy, Option<LbConfig>) {
    let size = |value: u64| (value != 0).then_some(UInt64Value { value });
    let ring =
        |minimum_ring_size| LbConfig::RingHashLbConfig(RingHashLbConfig { minimum_ring_size: Some(minimum_ring_size) });
    match &hash.hash_algorithm {
        Some(HashAlgorithm::Maglev(maglev)) => {
            let config = |table_size| LbConfig::MaglevLbConfig(MaglevLbConfig { table_size: Some(table_size) });
            (PbLbPolicy::Maglev, size(maglev.table_size).map(config))
        }
        Some(HashAlgorithm::RingHash(of)) => (PbLbPolicy::RingHash, size(of.minimum_ring_size).map(ring)),
        None => {
            let smallest = size(hash.minimum_ring_size).unwrap_or(UInt64Value { value: SMALLEST_RING });
            (PbLbPolicy::RingHash, Some(ring(smallest)))
        }
    }
}

fn slow_start(settings: &LoadBalancerSettings) -> Option<SlowStartConfig> {
    let value = |value: &Option<DoubleValue>, default| value.as_ref().map_or(default, |value| value.value);
    if let Some(warmup) = &settings.warmup {
        let aggression =
            RuntimeDouble { default_value: value(&warmup.aggression, 1.0), runtime_key: NO_KEY.to_owned() };
        return Some(SlowStartConfig {
            slow_start_window: warmup.duration,
            aggression: Some(aggression),
            min_weight_percent: Some(Percent { value: value(&warmup.minimum_percent, 10.0) }),
        });
    }
    let window = settings.warmup_duration_secs?;
    Some(SlowStartConfig { slow_start_window: Some(window), ..SlowStartConfig::default() })
}

/// No limits: Envoy's own would be 1,024 connections and requests, and 3 retries at a time.
pub(in crate::translate::traffic) fn unlimited() -> Thresholds {
    let none = number(u32::MAX);
    Thresholds {
        max_connections: none,
        max_pending_requests: none,
        max_requests: none,
        max_retries: none,
        ..Thresholds::default()
    }
}

/// The limits that are said, and no others.
fn thresholds(policy: &Policy<'_>) -> Thresholds {
    let (none, mut thresholds) = (number(u32::MAX), unlimited());
    if let Some(http) = policy.pool.and_then(|pool| pool.http.as_ref()) {
        thresholds.max_requests = positive(http.http2_max_requests).or(none);
        thresholds.max_pending_requests = positive(http.http1_max_pending_requests).or(none);
        thresholds.max_retries = positive(http.max_retries).or(none);
    }
    if let Some(tcp) = policy.pool.and_then(|pool| pool.tcp.as_ref()) {
        thresholds.max_connections = positive(tcp.max_connections).or(none);
    }
    thresholds.retry_budget = policy.retry_budget.map(|budget| RetryBudget {
        budget_percent: Some(Percent { value: budget.percent.as_ref().map_or(20.0, |percent| percent.value) }),
        min_retry_concurrency: number(if budget.min_retry_concurrency > 0 { budget.min_retry_concurrency } else { 3 }),
    });
    thresholds
}

fn keepalive(of: &tcp_settings::TcpKeepalive) -> Option<TcpKeepalive> {
    let seconds = |time: &Option<crate::pb::google::protobuf::Duration>| {
        time.as_ref().and_then(|time| u32::try_from(time.seconds).ok()).filter(|seconds| *seconds > 0).and_then(number)
    };
    Some(TcpKeepalive {
        keepalive_probes: if of.probes > 0 { number(of.probes) } else { None },
        keepalive_time: seconds(&of.time),
        keepalive_interval: seconds(&of.interval),
    })
}

fn outliers(of: &OutlierDetection) -> PbOutlier {
    // What is counted is enforced, and 0 switches it off.
    let count = |errors: &Option<UInt32Value>| errors.as_ref().map(|errors| errors.value);
    let enforced = |count: Option<u32>| count.and_then(|count| number(if count > 0 { 100 } else { 0 }));
    let (errors, gateway) = (count(&of.consecutive_5xx_errors), count(&of.consecutive_gateway_errors));
    let split = of.split_external_local_origin_errors;
    let local = count(&of.consecutive_local_origin_failures).filter(|failures| split && *failures > 0);
    PbOutlier {
        enforcing_success_rate: number(0),
        consecutive_5xx: errors.and_then(number),
        enforcing_consecutive_5xx: enforced(errors),
        consecutive_gateway_failure: gateway.and_then(number),
        enforcing_consecutive_gateway_failure: enforced(gateway),
        interval: of.interval,
        base_ejection_time: of.base_ejection_time,
        max_ejection_percent: positive(of.max_ejection_percent),
        split_external_local_origin_errors: split,
        consecutive_local_origin_failure: local.and_then(number),
        enforcing_consecutive_local_origin_failure: enforced(local),
        enforcing_local_origin_success_rate: if split { number(0) } else { None },
        ..PbOutlier::default()
    }
}

/// Whether nothing but HTTP/2 is spoken to the port.
pub(super) fn speaks_http2(port: &ServicePort, policy: &Policy<'_>, mesh: &Mesh) -> bool {
    let http = policy.pool.and_then(|pool| pool.http.as_ref());
    let as_client = http.is_some_and(|http| http.use_client_protocol);
    !as_client && (port.protocol.is_http2() || upgrades(port, http, mesh))
}

/// The HTTP options of the cluster: version of HTTP, idle timeout, limits of a connection.
fn options(port: &ServicePort, policy: &Policy<'_>, mesh: &Mesh) -> HttpProtocolOptions {
    let http = policy.pool.and_then(|pool| pool.http.as_ref());
    let tcp = policy.pool.and_then(|pool| pool.tcp.as_ref());
    let mut options = HttpProtocolOptions::default();
    if port.protocol.is_http2() || upgrades(port, http, mesh) {
        let mut http2 = Http2ProtocolOptions::default();
        if let Some(http) = http {
            http2.max_concurrent_streams = positive(http.max_concurrent_streams);
            let alive = http.http2_keep_alive.as_ref();
            http2.connection_keepalive =
                alive.map(|alive| KeepaliveSettings { interval: alive.interval, timeout: alive.timeout });
        }
        options.upstream_protocol_options = Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            http2_protocol_options: Some(http2),
            ..ExplicitHttpConfig::default()
        }));
    }
    let idle = http.and_then(|http| http.idle_timeout).or(tcp.and_then(|tcp| tcp.idle_timeout));
    let requests = http.and_then(|http| positive(http.max_requests_per_connection));
    let duration = tcp.and_then(|tcp| tcp.max_connection_duration);
    if idle.is_some() || requests.is_some() || duration.is_some() {
        let common = options.common_http_protocol_options.get_or_insert_default();
        common.idle_timeout = idle;
        common.max_requests_per_connection = requests;
        common.max_connection_duration = duration;
    }
    if http.is_some_and(|http| http.use_client_protocol) {
        options.upstream_protocol_options =
            Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(Http2ProtocolOptions::default()),
            }));
    }
    options
}

/// Whether the rule or the mesh asks for HTTP/2 where the port's own protocol does not.
fn upgrades(port: &ServicePort, http: Option<&HttpSettings>, mesh: &Mesh) -> bool {
    let said = http.map(|http| H2UpgradePolicy::try_from(http.h2_upgrade_policy).unwrap_or_default());
    match said {
        _ if http.is_some_and(|http| http.use_client_protocol) => false,
        Some(H2UpgradePolicy::Upgrade) => true,
        Some(H2UpgradePolicy::DoNotUpgrade) => false,
        Some(H2UpgradePolicy::Default) | None => mesh.h2_upgrade && is_http(port.protocol),
    }
}
