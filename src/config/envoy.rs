//! `envoy:`: how services become clusters and assignments.

use super::bounds::DAY;
use crate::{
    resource::Variant,
    translate::envoy::{ClusterName, Eds, LbPolicy, Options, Unhealthy},
    util::yaml::{Section, Value},
};
use std::time::Duration;

/// Keys: `cluster_name` (`outbound|{port}||{host}`), `unhealthy` (`mark` or `omit`), `connect_timeout` (5 s, 1 ms to 10
/// min), `lb_policy` (`least_request`, ...), `eds` (`ads`, or a stream of its own).
pub(super) fn read(section: &mut Section<'_>) -> Option<Options> {
    let default = Options::default();
    let unhealthy = Unhealthy::ALL.map(|u| (u.name(), u));
    let policies = LbPolicy::ALL.map(|p| (p.name(), p));
    Some(Options {
        cluster_name: section.get("cluster_name", |v| v.parse(ClusterName::parse)).unwrap_or(default.cluster_name),
        unhealthy: section.get("unhealthy", |v| v.word(&unhealthy)).unwrap_or(default.unhealthy),
        connect_timeout: section
            .get("connect_timeout", |v| v.duration(Duration::from_millis(1)..=DAY / 144))
            .unwrap_or(default.connect_timeout),
        eds: section.get("eds", eds).unwrap_or(default.eds),
        lb_policy: section.get("lb_policy", |v| v.word(&policies)).unwrap_or(default.lb_policy),
        grpc: default.grpc,
    })
}

/// `ads`, or a mapping: `cluster` (the one by which Envoys reach Portolan) and `variant` (`delta` or `sotw`).
fn eds(value: &Value<'_>) -> Option<Eds> {
    if !value.is_map() {
        return match &*value.string()? {
            "ads" => Some(Eds::Ads),
            "self" => value.problem(
                "no Envoy takes `self`; write `{ cluster: NAME }` with the cluster by which it reaches Portolan",
            ),
            other => value.problem(format!("must be ads, or {{ cluster: NAME }}, not {other:?}")),
        };
    }
    let variants = [("delta", Variant::Delta), ("sotw", Variant::Sotw)];
    value.section(|section| {
        let cluster = section.need("cluster", Value::string);
        let variant = section.get("variant", |v| v.word(&variants)).unwrap_or(Variant::Delta);
        Some(Eds::Stream { cluster: cluster?, variant })
    })
}
