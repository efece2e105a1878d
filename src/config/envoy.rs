//! `envoy:`: how services become clusters and assignments.

use super::{bounds::DAY, health_check, limit, select};
use crate::{
    catalog::Select,
    model::Text,
    resource::Variant,
    translate::{
        Beyond,
        envoy::{ClusterName, Eds, LbPolicy, Options, Unhealthy, Zones},
        istio::manifest,
    },
    util::yaml::{Section, Value},
    views::ServicePolicy,
};

use std::time::Duration;

/// Keys: `services`, and those of [`read_options`].
pub(super) fn read(section: &mut Section<'_>) -> Option<(Options, Vec<ServicePolicy>)> {
    let policies = section.get("services", |v| v.each(|v| v.section(policy))).unwrap_or_default();
    read_options(section).map(|options| (options, policies))
}

/// Keys: `match`, `traffic_policy`, which has Istio's own keys, `rate_limit` and `health_check`.
fn policy(section: &mut Section<'_>) -> Option<ServicePolicy> {
    let include = section.need("match", |v| {
        let matchers = select::rule(v)?;
        match matchers.iter().any(|matcher| !matcher.networks.is_empty()) {
            true => v.problem(
                "`networks` are of instances, and a policy is of all instances; give `name`, `group` or `labels`",
            ),
            false => Some(matchers),
        }
    });
    let policy = section.get("traffic_policy", |v| v.check(manifest::traffic_policy(v.node())));
    let beyond = Beyond {
        limit: section.section("rate_limit", limit::read),
        health_check: section.section("health_check", health_check::read),
    };
    if policy.is_none() && beyond == Beyond::default() {
        section.value().problem::<()>("asks for nothing; give `traffic_policy`, `rate_limit` or `health_check`");
    }
    let select = Select { include: include?, exclude: Vec::new() };
    Some(ServicePolicy { select, policy, beyond })
}

/// Keys: `cluster_name` (`outbound|{port}||{host}`), `unhealthy` (`mark` or `omit`), `connect_timeout` (5 s, 1 ms to 10
/// min), `lb_policy` (`least_request`, ...), `eds` (`ads`, or a stream of its own), `zones`.
fn read_options(section: &mut Section<'_>) -> Option<Options> {
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
        zones: section.section("zones", zones).unwrap_or(default.zones),
        grpc: default.grpc,
    })
}

/// `next` (by region the regions that come next), `overprovisioning_factor` (Envoy's 140, 100 to 1000), `min_cluster_size` (Envoy's
/// 6), `own_cluster` (none).
fn zones(section: &mut Section<'_>) -> Option<Zones> {
    let regions = |v: &Value<'_>| v.one_or_each(|v| v.string().map(Text::from));
    let next = section.get("next", |v| {
        let next = v.entries()?.into_iter().filter_map(|(region, value)| Some((region.into(), regions(&value)?)));
        Some(next.collect())
    });
    let own_cluster = section.get("own_cluster", |v| match v.string()? {
        name if name.is_empty() || name == "*" => v.problem("must be the name of a cluster, such as local_cluster"),
        name => Some(Text::from(name)),
    });
    Some(Zones {
        next: next.unwrap_or_default(),
        overprovisioning_factor: section.get("overprovisioning_factor", |v| v.integer(100..=1_000)),
        min_cluster_size: section.get("min_cluster_size", |v| v.integer(1..=1_000_000)),
        own_cluster,
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
