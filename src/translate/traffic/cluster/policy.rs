//! Which settings of a DestinationRule hold for a port, and for a subset of it.

use crate::pb::istio::networking::v1alpha3::{
    ClientTlsSettings, ConnectionPoolSettings, DestinationRule, LoadBalancerSettings, OutlierDetection, Subset,
    TrafficPolicy,
    client_tls_settings::TlSmode,
    traffic_policy::{PortTrafficPolicy, ProxyProtocol, RetryBudget},
};

/// The settings that hold for a cluster. `None`: the rule does not say it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Policy<'a> {
    pub(super) load_balancer: Option<&'a LoadBalancerSettings>,
    pub(super) pool: Option<&'a ConnectionPoolSettings>,
    pub(super) outlier: Option<&'a OutlierDetection>,
    pub(super) tls: Option<&'a ClientTlsSettings>,
    pub(super) proxy_protocol: Option<&'a ProxyProtocol>,
    pub(super) retry_budget: Option<&'a RetryBudget>,
}

impl<'a> Policy<'a> {
    /// The settings of a port of the whole service. Settings of the port replace all of the service's; nothing is
    /// inherited.
    pub(super) fn of(rule: &'a DestinationRule, port: u32) -> Self {
        rule.traffic_policy.as_ref().map(|policy| level(policy, port).0).unwrap_or_default()
    }

    /// The settings of a port of a subset. Its own go block by block before those of the whole; where it has settings
    /// for the port, all four blocks are the port's.
    pub(super) fn of_subset(rule: &'a DestinationRule, subset: &'a Subset, port: u32) -> Self {
        let Some(own) = &subset.traffic_policy else { return Policy::of(rule, port) };
        let (own, is_port) = level(own, port);
        let Some(whole) = &rule.traffic_policy else { return own };
        let (whole, _) = level(whole, port);
        let inherited = if is_port { Policy::default() } else { whole };
        Policy {
            load_balancer: own.load_balancer.or(inherited.load_balancer),
            pool: own.pool.or(inherited.pool),
            outlier: own.outlier.or(inherited.outlier),
            tls: own.tls.or(inherited.tls),
            proxy_protocol: own.proxy_protocol.or(whole.proxy_protocol),
            retry_budget: own.retry_budget.or(whole.retry_budget),
        }
    }
}

impl Policy<'_> {
    /// Whether the service must not be called without TLS.
    pub(super) fn needs_tls(&self) -> bool {
        self.tls.is_some_and(|tls| tls.mode != TlSmode::Disable as i32)
    }
}

/// The port's own settings and true, or the policy's general ones and false.
fn level(policy: &TrafficPolicy, port: u32) -> (Policy<'_>, bool) {
    let is_of = |of: &&PortTrafficPolicy| of.port.as_ref().is_some_and(|of| of.number == port);
    match policy.port_level_settings.iter().find(is_of) {
        Some(of) => (
            Policy {
                load_balancer: of.load_balancer.as_ref(),
                pool: of.connection_pool.as_ref(),
                outlier: of.outlier_detection.as_ref(),
                tls: of.tls.as_ref(),
                ..Policy::default()
            },
            true,
        ),
        None => (
            Policy {
                load_balancer: policy.load_balancer.as_ref(),
                pool: policy.connection_pool.as_ref(),
                outlier: policy.outlier_detection.as_ref(),
                tls: policy.tls.as_ref(),
                proxy_protocol: policy.proxy_protocol.as_ref(),
                retry_budget: policy.retry_budget.as_ref(),
            },
            false,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::istio::networking::v1alpha3::PortSelector;

    #[test]
    fn a_ports_settings_inherit_nothing_and_a_subsets_go_block_by_block() {
        let tls = ClientTlsSettings { mode: TlSmode::Simple.into(), ..ClientTlsSettings::default() };
        let port = PortTrafficPolicy {
            port: Some(PortSelector { number: 80 }),
            outlier_detection: Some(OutlierDetection::default()),
            ..PortTrafficPolicy::default()
        };
        let whole = TrafficPolicy {
            tls: Some(tls),
            connection_pool: Some(ConnectionPoolSettings::default()),
            port_level_settings: vec![port.clone()],
            ..TrafficPolicy::default()
        };
        let own = TrafficPolicy { load_balancer: Some(LoadBalancerSettings::default()), ..TrafficPolicy::default() };
        let subset = Subset { traffic_policy: Some(own), ..Subset::default() };
        let ported = TrafficPolicy { port_level_settings: vec![port], ..TrafficPolicy::default() };
        let ported = Subset { traffic_policy: Some(ported), ..Subset::default() };
        let rule = DestinationRule { traffic_policy: Some(whole), ..DestinationRule::default() };
        let has = |policy: Policy<'_>| {
            [policy.load_balancer.is_some(), policy.pool.is_some(), policy.outlier.is_some(), policy.tls.is_some()]
        };
        assert_eq!(has(Policy::of(&rule, 80)), [false, false, true, false]);
        assert_eq!(has(Policy::of(&rule, 81)), [false, true, false, true]);
        assert_eq!(has(Policy::of_subset(&rule, &subset, 80)), [true, false, true, false]);
        assert_eq!(has(Policy::of_subset(&rule, &subset, 81)), [true, true, false, true]);
        assert_eq!(has(Policy::of_subset(&rule, &ported, 80)), [false, false, true, false]);
        assert_eq!(has(Policy::of_subset(&rule, &ported, 81)), [false, true, false, true]);
    }
}
