//! `publish.preset`: names, ports and labels as other systems have them, to make it easy to replace these.
//!
//! A preset sets defaults for other keys; a key that is written goes before it. `docs/istio.md` says what each preset
//! gives and where it differs from its model.

use crate::{
    catalog::{HostCase, Merge, Policy},
    model::{Protocol, Template, Text},
    registry::Kind,
    translate::istio::{EndpointLabels, Location, Ports, Rules},
    util::yaml::Value,
};
use std::collections::BTreeMap;

/// The system whose names, ports and labels are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    /// The host is the name of the service in its registry.
    Plain,
    /// As Slime's meshregistry publishes the same registry.
    Slime,
    /// As the Istio module of Nacos publishes services.
    Nacos,
    /// As Higress publishes the same registry.
    Higress,
}

/// The suffix of Slime's hosts.
const CLUSTER: &str = ".svc.cluster.local";

impl Preset {
    const ALL: [(&'static str, Preset); 4] =
        [("plain", Preset::Plain), ("slime", Preset::Slime), ("nacos", Preset::Nacos), ("higress", Preset::Higress)];

    /// Reads the word, and sets what it means for a registry of that kind.
    pub(super) fn read(value: &Value<'_>, kind: &Kind, policy: &mut Policy, rules: &mut Rules) -> Option<()> {
        let dubbo = policy.protocol == Protocol::Dubbo;
        match (value.word(&Preset::ALL)?, kind) {
            (Preset::Plain, _) => policy.host = host("{service}"),
            (Preset::Slime, Kind::Zookeeper(_)) if !dubbo => {
                return value.problem("Slime knows Dubbo only; leave it out");
            }
            (Preset::Slime, Kind::Zookeeper(_)) => slime_dubbo(policy, rules),
            (Preset::Slime, Kind::Nacos(_) | Kind::Eureka(_)) => slime(kind.name(), policy, rules),
            (Preset::Nacos, Kind::Nacos(_)) => nacos(policy, rules),
            (Preset::Higress, kind) => higress(kind, dubbo, policy, rules),
            (Preset::Slime, _) => return unfit(value, "nacos, eureka, zookeeper", kind),
            (Preset::Nacos, _) => return unfit(value, "nacos", kind),
        }
        Some(())
    }
}

fn unfit(value: &Value<'_>, kinds: &str, kind: &Kind) -> Option<()> {
    value.problem(format!("this preset is for {kinds}, not for {}; leave it out", kind.name()))
}

/// Slime for Nacos and Eureka: services of one name are merged, whatever their group; the label `k8sNs` of instances is
/// their namespace.
fn slime(kind: &str, policy: &mut Policy, rules: &mut Rules) {
    policy.host = host(&format!("{{service}}.{{label:k8sNs|{kind}}}{CLUSTER}"));
    policy.merge = Merge::Host;
    slime_instances(policy);
    *rules = Rules {
        namespace: of_host(&format!("{{last%{CLUSTER}}}")),
        name: of_host(&format!("{{host%{CLUSTER}}}")),
        labels: texts(&[("app", "{label:app}"), ("registry", kind)]),
        endpoint_labels: if kind == "nacos" { EndpointLabels::SlimeNacos } else { EndpointLabels::Slime },
        ..of_slime(rules)
    };
}

/// Slime for Dubbo. Its hosts are `interface:group:version`, which Istio refuses; as names of entries Istio takes them.
fn slime_dubbo(policy: &mut Policy, rules: &mut Rules) {
    policy.host = host("{label:dubbo.service|{service}}.dubbo");
    slime_instances(policy);
    *rules = Rules {
        namespace: of_host("dubbo"),
        name: of_host("{label:dubbo.service|{service}}"),
        labels: texts(&[("app", "{label:app}"), ("path", "{label:interface}"), ("registry", "zookeeper")]),
        endpoint_labels: EndpointLabels::SlimeDubbo,
        ..of_slime(rules)
    };
}

/// How Slime reads instances: it takes no ports from labels, and the locality only from labels, never from a cluster of
/// Nacos.
fn slime_instances(policy: &mut Policy) {
    policy.ports_from_labels = false;
    policy.locality = Some(host(
        "{label:istio-locality|{label:topology.kubernetes.io/region|{label:failure-domain.beta.kubernetes.io/region}}/\
         {label:topology.kubernetes.io/zone|{label:failure-domain.beta.kubernetes.io/zone}}/\
         {label:topology.istio.io/subzone}}",
    ));
}

fn of_slime(rules: &Rules) -> Rules {
    Rules { location: Location::External, ports: Ports::Instances, weights: false, ..rules.clone() }
}

/// The Istio module of Nacos. The label `istio.hostname` of instances replaces the host.
fn nacos(policy: &mut Policy, rules: &mut Rules) {
    policy.host = host("{label:istio.hostname|{service}.{group}.{namespace}.nacos}");
    policy.host_case = HostCase::Keep;
    rules.namespace = of_host("{namespace}");
    rules.name = of_host("{host%.nacos}");
    rules.labels = texts(&[("registryType", "nacos")]);
    rules.annotations = texts(&[("virtual", "1")]);
}

fn higress(kind: &Kind, dubbo: bool, policy: &mut Policy, rules: &mut Rules) {
    policy.host_case = HostCase::Keep;
    policy.host = host(match kind {
        Kind::Nacos(_) => "{service}.{group}.{namespace}.nacos",
        Kind::Eureka(_) => "{service}.eureka",
        Kind::Consul(_) => "{service}.{namespace}.consul",
        Kind::Dns(_) => "{service}.dns",
        Kind::File(_) | Kind::Http(_) | Kind::Api(_) => "{service}.static",
        Kind::Zookeeper(_) if dubbo => "providers-{label:interface|{service}}-{label:version|0.0.0}-{group}.zookeeper",
        Kind::Zookeeper(_) => "{service}.{namespace}.zookeeper",
    });
    rules.namespace = of_host("mcp");
}

fn host(source: &str) -> Template {
    Template::parse(source).expect("the presets' templates are valid")
}

fn of_host(source: &str) -> Template {
    Template::parse_of_host(source).expect("the presets' templates are valid")
}

fn texts(texts: &[(&str, &str)]) -> BTreeMap<Text, Template> {
    texts.iter().map(|(key, template)| ((*key).into(), of_host(template))).collect()
}

#[cfg(test)]
mod tests;
