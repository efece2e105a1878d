//! Health checks by proxies, where the configuration asks for them.

use super::{policy::Policy, settings::speaks_http2};
use crate::{
    model::{Fraction, Protocol, PublishedService, ServicePort, Text},
    pb::envoy::{
        config::{
            cluster::v3::Cluster,
            core::v3::{
                HealthCheck as PbCheck,
                health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck},
            },
        },
        r#type::v3::{CodecClientType, Percent},
    },
    translate::{
        CheckWay, HealthCheck, Why,
        traffic::{
            mesh::Mesh,
            message::{number, time},
        },
    },
};

/// The most time, in percent of the interval, by which a check is delayed, so that not all proxies check at once.
const JITTER: u32 = 10;

/// Puts the check into the cluster of a port.
///
/// # Errors
/// If the port cannot be checked so; then the cluster is as it was.
pub(super) fn apply(
    cluster: &mut Cluster,
    check: &HealthCheck,
    service: &PublishedService,
    port: &ServicePort,
    policy: Option<&Policy<'_>>,
    mesh: &Mesh,
) -> Result<(), Why> {
    let is_http2 = match policy {
        Some(policy) => speaks_http2(port, policy, mesh),
        None => port.protocol.is_http2(),
    };
    let host = |host: &Option<Text>| host.as_ref().unwrap_or(port.host.text()).to_string();
    let checker = match &check.way {
        CheckWay::Http { path, host: of } if check.port.is_some() || is_http(port.protocol) => {
            let codec = if is_http2 && check.port.is_none() { CodecClientType::Http2 } else { CodecClientType::Http1 };
            let (host, path) = (host(of), path.to_string());
            HealthChecker::HttpHealthCheck(HttpHealthCheck { host, path, codec_client_type: codec.into() })
        }
        CheckWay::Http { .. } => return Err(Why::CheckUnfit("HTTP")),
        // Envoy asks for a cluster of HTTP/2, whatever port is checked.
        CheckWay::Grpc { service, host: of } if is_http2 => {
            let (service_name, authority) = (service.to_string(), host(of));
            HealthChecker::GrpcHealthCheck(GrpcHealthCheck { service_name, authority })
        }
        CheckWay::Grpc { .. } => return Err(Why::CheckUnfit("gRPC")),
        CheckWay::Tcp => HealthChecker::TcpHealthCheck(TcpHealthCheck {}),
    };
    cluster.health_checks = vec![PbCheck {
        timeout: Some(time(check.timeout)),
        interval: Some(time(check.interval)),
        unhealthy_threshold: number(check.unhealthy_threshold),
        healthy_threshold: number(check.healthy_threshold),
        alt_port: check.port.and_then(|port| number(port.get().into())),
        health_checker: Some(checker),
        // Envoy's own is a minute, in which an instance of a quiet service may be long gone.
        no_traffic_interval: Some(time(check.interval)),
        interval_jitter_percent: JITTER,
    }];
    // What registries take away is gone, even if it still answers.
    cluster.ignore_health_on_host_removal = true;
    let said = policy.and_then(|policy| policy.outlier).is_some_and(|outlier| outlier.min_health_percent > 0);
    if !said {
        let common = cluster.common_lb_config.get_or_insert_default();
        common.healthy_panic_threshold = Some(Percent { value: panic(service.protect_threshold) });
    }
    Ok(())
}

/// The share of healthy endpoints below which all are used: at or below the service's own protection threshold, as its registry
/// has it, and in any case when none is healthy. Envoy takes whole percents, and compares with `<`, where Nacos has `<=`.
fn panic(threshold: Option<Fraction>) -> f64 {
    let percent = threshold.unwrap_or(Fraction::ZERO).millionths() / 10_000 + 1;
    percent.min(100).into()
}

/// Whether a check by HTTP can be answered at a port of this protocol.
fn is_http(protocol: Protocol) -> bool {
    match protocol {
        Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Tri | Protocol::Https => true,
        Protocol::Tls | Protocol::Tcp | Protocol::Dubbo => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_used_at_or_below_the_threshold_and_when_none_is_healthy() {
        let of = |threshold: f64| panic(Fraction::new(threshold).ok());
        assert_eq!(panic(None), 1.0);
        for (threshold, percent) in [(0.0, 1.0), (0.3, 31.0), (0.505, 51.0), (0.99, 100.0), (1.0, 100.0)] {
            assert_eq!(of(threshold), percent, "{threshold}");
        }
    }
}
