//! The check of a DestinationRule.

use super::{
    Check,
    text::{is_header, is_label, no_header, wildcard_domain},
};
use crate::{
    pb::istio::networking::v1alpha3::{
        ClientTlsSettings, ConnectionPoolSettings, DestinationRule, LoadBalancerSettings, LocalityLoadBalancerSetting,
        OutlierDetection, Subset, TrafficPolicy,
        client_tls_settings::TlSmode,
        connection_pool_settings::{HttpSettings, TcpSettings, http_settings::H2UpgradePolicy},
        load_balancer_settings::{
            ConsistentHashLb, LbPolicy, SimpleLb,
            consistent_hash_lb::{HashAlgorithm, HashKey},
        },
        traffic_policy::PortTrafficPolicy,
    },
    resource::Kind,
    translate::traffic::{finding::Finding, object::Object},
};
use std::collections::BTreeSet;

/// Envoy takes no larger table for MAGLEV.
const LARGEST_TABLE: u64 = 5_000_011;

/// The labels that say where an endpoint is.
const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

/// Envoy takes no larger ring by default.
const LARGEST_RING: u64 = 8 << 20;

/// The reasons to refuse the DestinationRule, and what in it has no effect. Empty: it is good.
pub(in crate::translate::traffic) fn destination_rule(object: &Object<DestinationRule>) -> Vec<Finding> {
    let (spec, mut check) = (&object.spec, Check::new(Kind::DestinationRule, &object.id));
    check.at("host", |c| c.outcome(wildcard_domain(&spec.host)));
    check.at("trafficPolicy", |c| c.policy(spec.traffic_policy.as_ref()));
    let mut names = BTreeSet::new();
    check.each("subsets", &spec.subsets, |c, subset| {
        c.require(names.insert(subset.name.clone()), || format!("the subset {:?} is there twice", subset.name));
        c.subset(subset);
    });
    check.export_to(&object.id.namespace, &spec.export_to, spec.workload_selector.is_some());
    if let Some(selector) = &spec.workload_selector {
        check.labels("workloadSelector.matchLabels", &selector.match_labels);
    }
    check.finish()
}

impl Check<'_> {
    fn subset(&mut self, subset: &Subset) {
        let fine = is_label(&subset.name);
        let text = || format!("{:?} is no name of a subset: it must be a label of DNS, so no dots", subset.name);
        self.at("name", |c| c.require(fine, text));
        self.labels("labels", &subset.labels);
        self.at("trafficPolicy", |c| c.policy(subset.traffic_policy.as_ref()));
    }

    fn policy(&mut self, policy: Option<&TrafficPolicy>) {
        let Some(policy) = policy else { return };
        self.require(*policy != TrafficPolicy::default(), || "it must say something".into());
        let (balancer, outlier) = (policy.load_balancer.as_ref(), policy.outlier_detection.as_ref());
        self.blocks(balancer, policy.connection_pool.as_ref(), outlier, policy.tls.as_ref());
        self.each("portLevelSettings", &policy.port_level_settings, |c, port| c.port_policy(port));
        if policy.tunnel.is_some() {
            self.at("tunnel", |c| c.refused("tunnels are not supported"));
        }
        if let Some(protocol) = &policy.proxy_protocol {
            let fine = (0..=1).contains(&protocol.version);
            self.at("proxyProtocol", |c| c.require(fine, || "the version is V1 or V2".into()));
        }
        if let Some(budget) = &policy.retry_budget {
            if budget.budget_interval.is_some() {
                self.at("retryBudget", |c| c.refused("Envoy has no `budgetInterval`; leave it out"));
            }
            let percent = budget.percent.as_ref().map_or(0.0, |percent| percent.value);
            let fine = (0.0..=100.0).contains(&percent);
            self.at("retryBudget.percent", |c| c.require(fine, || format!("a percentage is 0 to 100, not {percent}")));
        }
    }

    fn port_policy(&mut self, policy: &PortTrafficPolicy) {
        let PortTrafficPolicy { port, load_balancer, connection_pool, outlier_detection, tls } = policy;
        self.require(port.is_some(), || "it has no `port`".into());
        let any = load_balancer.is_some() || connection_pool.is_some() || outlier_detection.is_some() || tls.is_some();
        self.require(any, || "it must say something".into());
        self.blocks(load_balancer.as_ref(), connection_pool.as_ref(), outlier_detection.as_ref(), tls.as_ref());
    }

    fn blocks(
        &mut self,
        balancer: Option<&LoadBalancerSettings>,
        pool: Option<&ConnectionPoolSettings>,
        outlier: Option<&OutlierDetection>,
        tls: Option<&ClientTlsSettings>,
    ) {
        if let Some(balancer) = balancer {
            self.at("loadBalancer", |c| c.load_balancer(balancer, outlier.is_some()));
        }
        if let Some(pool) = pool {
            self.at("connectionPool", |c| c.pool(pool));
        }
        if let Some(outlier) = outlier {
            self.at("outlierDetection", |c| c.outlier(outlier));
        }
        if let Some(tls) = tls {
            self.at("tls", |c| c.client_tls(tls));
        }
    }

    fn load_balancer(&mut self, balancer: &LoadBalancerSettings, has_outlier: bool) {
        match &balancer.lb_policy {
            Some(LbPolicy::Simple(simple)) if *simple == SimpleLb::Passthrough as i32 => {
                self.refused(
                    "PASSTHROUGH sends connections where they were meant to go, which a gateway does not know",
                );
            }
            Some(LbPolicy::ConsistentHash(hash)) => self.at("consistentHash", |c| c.consistent_hash(hash)),
            _ => {}
        }
        if let Some(warmup) = &balancer.warmup {
            self.at("warmup", |c| {
                c.require(warmup.duration.is_some(), || "it has no `duration`".into());
                c.duration("duration", warmup.duration.as_ref());
                let percent = warmup.minimum_percent.as_ref().map_or(0.0, |percent| percent.value);
                c.require((0.0..=100.0).contains(&percent), || format!("`minimumPercent` is 0 to 100, not {percent}"));
                let aggression = warmup.aggression.as_ref().map_or(1.0, |aggression| aggression.value);
                c.require(aggression > 0.0, || "`aggression` must be above 0".into());
            });
        }
        let both = balancer.locality_lb_setting.is_some() && balancer.zone_aware_lb_setting.is_some();
        self.require(!both, || "`localityLbSetting` cannot stand beside `zoneAwareLbSetting`".into());
        if balancer.zone_aware_lb_setting.is_some() {
            self.refused("`zoneAwareLbSetting` is not supported; use `localityLbSetting`");
        }
        if let Some(setting) = &balancer.locality_lb_setting {
            self.at("localityLbSetting", |c| c.locality(setting, has_outlier));
        }
    }

    fn consistent_hash(&mut self, hash: &ConsistentHashLb) {
        match &hash.hash_key {
            Some(HashKey::HttpCookie(cookie)) => {
                self.require(!cookie.name.is_empty(), || "a cookie needs a `name`".into());
                let mut names = BTreeSet::new();
                for attribute in &cookie.attributes {
                    self.require(!attribute.name.is_empty(), || "an attribute needs a `name`".into());
                    let name = &attribute.name;
                    self.require(names.insert(name), || format!("the attribute {name:?} is there twice"));
                }
            }
            Some(HashKey::HttpHeaderName(name)) if !is_header(name) => self.refused(no_header(name)),
            Some(HashKey::HttpQueryParameterName(name)) if name.is_empty() => {
                self.refused("a parameter's name must not be empty");
            }
            None => self.ignored("it does not say what is hashed, so any endpoint is chosen"),
            _ => {}
        }
        let old = hash.minimum_ring_size;
        self.require(old == 0 || hash.hash_algorithm.is_none(), || {
            "`minimumRingSize` cannot stand beside `ringHash`".into()
        });
        let ring = match &hash.hash_algorithm {
            Some(HashAlgorithm::Maglev(maglev)) => {
                let size = maglev.table_size;
                let fine = size < LARGEST_TABLE && is_prime(size);
                self.require(fine, || format!("`tableSize` is a prime number below {LARGEST_TABLE}, not {size}"));
                0
            }
            Some(HashAlgorithm::RingHash(ring)) => ring.minimum_ring_size,
            None => old,
        };
        if ring > LARGEST_RING {
            self.refused(format!("Envoy takes a ring of at most {LARGEST_RING}"));
        }
    }

    fn locality(&mut self, setting: &LocalityLoadBalancerSetting, has_outlier: bool) {
        let LocalityLoadBalancerSetting { distribute, failover, enabled, failover_priority } = setting;
        let both = !distribute.is_empty() && !failover.is_empty();
        self.require(!both, || "`distribute` cannot stand beside `failover`".into());
        let topology = |label: &&String| TOPOLOGY.contains(&label.as_str());
        let doubled = !failover.is_empty() && failover_priority.iter().any(|label| topology(&label));
        self.require(!doubled, || "`failover` cannot stand beside a label of topology in `failoverPriority`".into());
        for rule in distribute {
            let sum: u64 = rule.to.values().map(|weight| u64::from(*weight)).sum();
            let fine = sum == 100 && rule.to.values().all(|weight| (1..=100).contains(weight));
            self.require(fine, || format!("the shares of {:?} are 1 to 100 and come to 100", rule.from));
            self.outcome(places(rule.to.keys()));
        }
        self.outcome(places(distribute.iter().map(|rule| &rule.from)));
        for rule in failover {
            self.require(rule.from != rule.to, || "`failover` leads from a region to another".into());
            let plain = !rule.from.contains(['/', '*']) && !rule.to.contains(['/', '*']);
            self.require(plain, || "`failover` names regions, without zones and wildcards".into());
        }
        let is_off = enabled.as_ref().is_some_and(|enabled| !enabled.value);
        if !is_off && distribute.is_empty() && !has_outlier {
            self.ignored("without `outlierDetection` it has no effect");
        }
    }

    fn pool(&mut self, pool: &ConnectionPoolSettings) {
        self.require(pool.http.is_some() || pool.tcp.is_some(), || "it must say something".into());
        if let Some(http) = &pool.http {
            self.at("http", |c| c.http_pool(http));
        }
        if let Some(tcp) = &pool.tcp {
            self.at("tcp", |c| c.tcp_pool(tcp));
        }
    }

    fn http_pool(&mut self, http: &HttpSettings) {
        let numbers = [
            http.http1_max_pending_requests,
            http.http2_max_requests,
            http.max_requests_per_connection,
            http.max_retries,
            http.max_concurrent_streams,
        ];
        self.require(numbers.iter().all(|number| *number >= 0), || "numbers must not be negative".into());
        self.duration("idleTimeout", http.idle_timeout.as_ref());
        let both = http.h2_upgrade_policy == H2UpgradePolicy::Upgrade as i32 && http.use_client_protocol;
        self.require(!both, || "`useClientProtocol` cannot stand beside `h2UpgradePolicy: UPGRADE`".into());
        if let Some(alive) = &http.http2_keep_alive {
            let whole = alive.interval.is_some() && alive.timeout.is_some();
            self.require(whole, || "`http2KeepAlive` needs `interval` and `timeout`".into());
            self.duration("http2KeepAlive.interval", alive.interval.as_ref());
            self.duration("http2KeepAlive.timeout", alive.timeout.as_ref());
        }
    }

    fn tcp_pool(&mut self, tcp: &TcpSettings) {
        self.require(tcp.max_connections >= 0, || "`maxConnections` must not be negative".into());
        self.duration("connectTimeout", tcp.connect_timeout.as_ref());
        self.duration("maxConnectionDuration", tcp.max_connection_duration.as_ref());
        let is_some = |time: &&crate::pb::google::protobuf::Duration| time.seconds != 0 || time.nanos >= 1_000_000;
        self.duration("idleTimeout", tcp.idle_timeout.as_ref().filter(is_some));
        if let Some(alive) = &tcp.tcp_keepalive {
            self.duration("tcpKeepalive.time", alive.time.as_ref());
            self.duration("tcpKeepalive.interval", alive.interval.as_ref());
        }
    }

    fn outlier(&mut self, outlier: &OutlierDetection) {
        self.duration("baseEjectionTime", outlier.base_ejection_time.as_ref());
        self.duration("interval", outlier.interval.as_ref());
        if outlier.consecutive_errors != 0 {
            self.ignored("`consecutiveErrors` has no effect; use `consecutive5xxErrors` or `consecutiveGatewayErrors`");
        }
        let local = outlier.consecutive_local_origin_failures.as_ref().map_or(0, |failures| failures.value);
        let fine = outlier.split_external_local_origin_errors || local == 0;
        self.require(fine, || "`consecutiveLocalOriginFailures` needs `splitExternalLocalOriginErrors`".into());
        for percent in [outlier.max_ejection_percent, outlier.min_health_percent] {
            self.require((0..=100).contains(&percent), || format!("a percentage is 0 to 100, not {percent}"));
        }
        if !outlier.outlier_detection_http_error_codes.is_empty() {
            self.refused("`outlierDetectionHttpErrorCodes` is not supported; what counts as an error is 5xx");
        }
    }

    fn client_tls(&mut self, tls: &ClientTlsSettings) {
        let mode = TlSmode::try_from(tls.mode).unwrap_or_default();
        if mode == TlSmode::IstioMutual {
            return self.refused("ISTIO_MUTUAL needs the certificates of Istio's agent; use MUTUAL with files");
        }
        if !tls.credential_name.is_empty() {
            return self.refused(
                "`credentialName` is a Secret of Kubernetes; use `caCertificates`, `clientCertificate` and `privateKey`, files on the proxy",
            );
        }
        if tls.insecure_skip_verify.as_ref().is_some_and(|skip| skip.value) {
            let none = tls.ca_certificates.is_empty() && tls.subject_alt_names.is_empty();
            self.require(none, || "with `insecureSkipVerify` nothing is checked: no CA, no names".into());
        }
        if mode == TlSmode::Mutual {
            self.require(!tls.client_certificate.is_empty(), || "MUTUAL needs `clientCertificate`".into());
            self.require(!tls.private_key.is_empty(), || "MUTUAL needs `privateKey`".into());
        }
        if !tls.ca_crl.is_empty() && tls.ca_certificates.is_empty() {
            self.refused("`caCrl` needs `caCertificates`, without which Envoy does not take it");
        }
    }
}

/// Checks that places are written as `region/zone/sub-zone`, each once; `*` stands for all others at its level.
fn places<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut known = BTreeSet::<Vec<&str>>::new();
    for name in names {
        let stars = name.matches('*').count();
        if stars > 1 || stars == 1 && !name.ends_with('*') {
            return Err(format!("in the place {name:?} one `*` may stand, at its end"));
        }
        let mut parts: Vec<&str> = name.splitn(3, '/').collect();
        if parts.contains(&"") {
            return Err(format!("a part of the place {name:?} is empty"));
        }
        // What stands for everything below is as good as the place above.
        if parts.len() > 1 && parts.last() == Some(&"*") {
            parts.pop();
        }
        let above = (1..=parts.len()).any(|level| known.contains(&parts[..level]));
        let below = known.range(parts.clone()..).next().is_some_and(|other| other.starts_with(&parts));
        if above || below || known.contains(&["*"][..]) {
            return Err(format!("the place {name:?} overlaps with another one"));
        }
        known.insert(parts);
    }
    Ok(())
}

/// Whether the number is prime, with Envoy's own test.
fn is_prime(number: u64) -> bool {
    match number {
        0 => false,
        1..=3 => true,
        _ => {
            number % 2 == 1
                && (3..)
                    .step_by(2)
                    .take_while(|factor| factor * factor <= number)
                    .all(|factor| !number.is_multiple_of(factor))
        }
    }
}
