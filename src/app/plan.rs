//! What another configuration means for a running Portolan: for each part whether it goes on, is changed in place, is built
//! anew beside the old one, starts or stops, and what cannot change while Portolan runs. Pure.
//!
//! Printed, a plan is the log line of a reload and the answer to a dry run. It names keys, never values that could be
//! secrets.

use crate::{
    config::{Admin, Config, Listener, Log, RegistryConfig, Xds},
    model::Text,
    translate::istio::{Options, Rules},
};
use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

/// All that differs between two configurations, in the order of the file's sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Each change; a registry may have several.
    pub changes: Vec<Change>,
}

/// A part of Portolan that changes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key of the part, such as `registries[nacos]`, `envoy` or `log.level`.
    pub key: String,
    /// How the part changes.
    pub action: Action,
    /// What differs, where the key does not say it; may be empty.
    pub detail: String,
}

/// How a part changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on with other settings.
    Update,
    /// Another one is built beside it, and takes its place when it is ready.
    Replace,
    /// The old configuration lacks it: it starts.
    Start,
    /// The new configuration lacks it: it ends.
    Stop,
    /// It cannot change while Portolan runs: the whole configuration is refused.
    Restart,
}

impl Action {
    /// The word in the log and in the answers of the admin API.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Update => "update",
            Action::Replace => "replace",
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Restart => "restart",
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action.name(), self.key)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return f.write_str("nothing changes");
        }
        for (i, change) in self.changes.iter().enumerate() {
            write!(f, "{}{change}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl Plan {
    /// The changes that cannot be made while Portolan runs.
    pub fn restarts(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action == Action::Restart)
    }

    fn push(&mut self, key: impl Into<String>, action: Action, detail: impl Into<String>) {
        self.changes.push(Change { key: key.into(), action, detail: detail.into() });
    }

    /// Adds a setting that differs, with both values: they must be no secrets.
    fn setting<T: PartialEq + Display>(&mut self, key: &str, action: Action, old: &T, new: &T) {
        if old != new {
            self.push(key, action, format!("{old} -> {new}"));
        }
    }

    /// Adds a section of output settings that differs. `by` says if a rollout brings it to nodes in steps.
    fn output(&mut self, key: &str, by: &str, differs: bool) {
        if differs {
            self.push(key, Action::Update, by);
        }
    }

    /// Adds a section that differs, without its values.
    fn section(&mut self, key: &str, action: Action, differs: bool) {
        if differs {
            self.push(key, action, "");
        }
    }
}

/// What `new` means for a Portolan that runs with `old`.
pub fn plan(old: &Config, new: &Config) -> Plan {
    let mut plan = Plan::default();
    // All by name, so that a section or a setting that is new cannot be forgotten here.
    let Config {
        xds,
        admin,
        registries: _,
        scopes,
        envoy,
        policies,
        istio,
        traffic,
        gateways,
        catalog,
        calls,
        state,
        log,
        csds,
    } = new;
    let Xds { listeners: _, drain, max_connection_age, unmatched: _, limits, rollout } = xds;
    listeners(&old.xds, xds, &mut plan);
    plan.section("xds.limits", Action::Update, old.xds.limits != *limits);
    plan.section("xds.drain", Action::Update, old.xds.drain != *drain);
    plan.section("xds.max_connection_age", Action::Update, old.xds.max_connection_age != *max_connection_age);
    plan.section("xds.rollout", Action::Update, old.xds.rollout != *rollout);
    let Admin { listen, hosts, read, change, tls } = admin;
    plan.setting("admin.listen", Action::Restart, &old.admin.listen, listen);
    plan.section("admin.hosts", Action::Update, old.admin.hosts != *hosts);
    let tokens = (&old.admin.read, &old.admin.change) != (read, change);
    plan.section("admin.tokens", Action::Update, tokens);
    plan.section("admin.tls", Action::Update, old.admin.tls != *tls);
    registries(old, new, &mut plan);
    // What clients get that no scope fits is one of the rules.
    plan.section("scopes", Action::Update, old.scopes != *scopes);
    let by = if rollout.is_some() { "in steps" } else { "" };
    plan.output("envoy", by, old.envoy != *envoy);
    plan.output("envoy.services", by, old.policies != *policies);
    // Those of registries are named with their registry.
    let general = |istio: &Options| Options { registries: BTreeMap::new(), ..istio.clone() };
    plan.output("istio", by, general(&old.istio) != general(istio));
    let other_files = (&old.traffic.paths, old.traffic.namespace()) != (&traffic.paths, traffic.namespace());
    plan.section("traffic.path", Action::Replace, other_files);
    plan.output("traffic", by, old.traffic.mesh != traffic.mesh);
    plan.output("gateways", by, old.gateways != *gateways);
    plan.section("catalog", Action::Update, old.catalog != *catalog);
    plan.section("calls", Action::Update, old.calls != *calls);
    plan.section("state", Action::Update, old.state != *state);
    plan.section("csds", Action::Restart, old.csds != *csds);
    let Log { level, format } = log;
    plan.setting("log.level", Action::Update, &old.log.level, level);
    plan.section("log.format", Action::Update, old.log.format != *format);
    plan
}

/// The changes of listeners. Their addresses cannot change while Portolan runs; their credentials can.
fn listeners(old: &Xds, new: &Xds, plan: &mut Plan) {
    let find = |xds: &'_ Xds, listener: &Listener| xds.listeners.iter().position(|l| l.name == listener.name);
    for gone in old.listeners.iter().filter(|listener| find(new, listener).is_none()) {
        plan.push(gone.key("listen"), Action::Restart, format!("{} -> none", gone.address));
    }
    for listener in &new.listeners {
        let Some(former) = find(old, listener).map(|at| &old.listeners[at]) else {
            plan.push(listener.key("listen"), Action::Restart, format!("none -> {}", listener.address));
            continue;
        };
        let Listener { name: _, address, clients, networks, credentials } = listener;
        if former.address != *address {
            plan.push(listener.key("listen"), Action::Restart, format!("{} -> {address}", former.address));
        }
        plan.section(&listener.key("for"), Action::Restart, former.clients != *clients);
        plan.section(&listener.key("networks"), Action::Restart, former.networks != *networks);
        let (before, after) = (former.credentials.tls.is_some(), credentials.tls.is_some());
        plan.section(&listener.key("tls"), Action::Restart, before != after);
        plan.section(
            &listener.key("credentials"),
            Action::Update,
            former.credentials != *credentials && before == after,
        );
    }
}

fn registries(old: &Config, new: &Config, plan: &mut Plan) {
    let find = |config: &'_ Config, name: &str| config.registries.iter().position(|r| *r.name == *name);
    let key = |registry: &RegistryConfig| format!("registries[{}]", registry.name);
    for registry in old.registries.iter().filter(|r| find(new, &r.name).is_none()) {
        plan.push(key(registry), Action::Stop, registry.kind.name());
    }
    // Ranks among those that stay: what comes in front of them moves none of them.
    let stays = |config: &Config, other: &Config| -> Vec<_> {
        config.registries.iter().map(|r| r.name.clone()).filter(|name| find(other, name).is_some()).collect()
    };
    let (before, after) = (stays(old, new), stays(new, old));
    for registry in &new.registries {
        let Some(former) = find(old, &registry.name).map(|at| &old.registries[at]) else {
            plan.push(key(registry), Action::Start, registry.kind.name());
            continue;
        };
        if former.kind.name() != registry.kind.name() {
            plan.push(key(registry), Action::Replace, format!("{} -> {}", former.kind.name(), registry.kind.name()));
        } else if former.kind != registry.kind {
            plan.push(key(registry), Action::Replace, "another connection");
        }
        let place = |names: &[Text]| names.iter().position(|name| *name == registry.name);
        let moved = place(&before) != place(&after);
        let policy = former.policy != registry.policy && former.kind.name() == registry.kind.name();
        let entries =
            rules_of(old, &registry.name) != rules_of(new, &registry.name) && old.istio.rules == new.istio.rules;
        let details = [(policy, "publishing"), (entries, "istio"), (moved, "order")];
        let details: Vec<&str> = details.into_iter().filter(|(differs, _)| *differs).map(|(_, word)| word).collect();
        if !details.is_empty() {
            plan.push(key(registry), Action::Update, details.join(", "));
        }
    }
}

/// The rules of a registry's entries, its own or the general ones.
fn rules_of<'c>(config: &'c Config, registry: &str) -> &'c Rules {
    config.istio.registries.get(registry).unwrap_or(&config.istio.rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, util::yaml::Resolver};

    fn read(text: &str) -> Config {
        config::parse("c", format!("version: 1\n{text}").as_bytes(), &Resolver::new("")).unwrap().config
    }

    fn check(old: &str, new: &str, expected: &str) {
        let (before, after) = (read(old), read(new));
        assert_eq!(plan(&before, &after).to_string(), expected, "{old:?} -> {new:?}");
        assert_eq!(plan(&after, &after), Plan::default(), "{new:?}");
    }

    #[test]
    fn registries_are_told_apart_by_their_names() {
        let (a, b, c) = ("- { name: a, file: { path: a } }", "- { name: b, example: }", "- { name: c, example: }");
        let list = |all: &[&str]| format!("registries:\n{}\n", all.join("\n"));
        check(&list(&[a, b]), &list(&[a, b]), "nothing changes");
        check(&list(&[a]), &list(&[c, a]), "start registries[c] (file)");
        check(&list(&[a, b]), &list(&[b]), "stop registries[a] (file)");
        check(&list(&[a, b]), &list(&[b, a]), "update registries[b] (order), update registries[a] (order)");
        let path = "- { name: a, file: { path: b } }";
        check(&list(&[a, b]), &list(&[path, b]), "replace registries[a] (another connection)");
        let kind = "- { name: a, eureka: { servers: 'http://e:8761' } }";
        check(&list(&[a]), &list(&[kind]), "replace registries[a] (file -> eureka)");
        let policy = "- { name: a, file: { path: a }, publish: { port: 8080 }, istio: { namespace: x } }";
        check(&list(&[a]), &list(&[policy]), "update registries[a] (publishing, istio)");
        let renamed = "- { name: z, file: { path: a } }";
        check(&list(&[a]), &list(&[renamed]), "stop registries[a] (file), start registries[z] (file)");
    }

    #[test]
    fn a_secret_that_changes_is_another_connection_and_is_not_shown() {
        let nacos = |password: &str| {
            format!(
                "registries:\n- {{ name: n, nacos: {{ servers: 'http://n:8848', username: u, password: {password} }} }}\n"
            )
        };
        check(&nacos("hunter2"), &nacos("hunter3"), "replace registries[n] (another connection)");
    }

    #[test]
    fn sections_change_in_place_or_need_a_restart() {
        check("", "envoy: { unhealthy: omit }", "update envoy");
        check("", "istio: { namespace: x }", "update istio");
        for key in ["create_time: '2024-01-01T00:00:00Z'", "vip: none", "addresses: all", "mark_empty: false"] {
            check("", &format!("istio: {{ {key} }}"), "update istio");
        }
        check("", "traffic: { path: a.yaml }", "replace traffic.path");
        check("", "traffic: { num_trusted_proxies: 1 }", "update traffic");
        check("", "gateways: [{ name: edge, listen: '127.0.0.1:8080' }]", "update gateways");
        check("", "catalog: { grace: 1s }", "update catalog");
        check("", "csds: { listen: '127.0.0.1:3' }", "restart csds");
        check("log: { level: debug }", "", "update log.level (debug -> info)");
        check("", "log: { format: json }", "update log.format");
        check("", "admin: { hosts: [portolan.example] }", "update admin.hosts");
        check(
            "",
            "xds: { listen: '127.0.0.1:1', drain: 2s, max_connection_age: 1h, limits: { streams: 1 } }",
            "restart xds.listen (127.0.0.1:16010 -> 127.0.0.1:1), update xds.limits, update xds.drain, update xds.max_connection_age",
        );
        check("", "admin: { listen: '127.0.0.1:2' }", "restart admin.listen (127.0.0.1:8081 -> 127.0.0.1:2)");
        check("", "xds: { rollout: {} }", "update xds.rollout");
        let steps = |more: &str| format!("xds: {{ rollout: {{}} }}\n{more}");
        let changed = "envoy: { unhealthy: omit }\ncatalog: { grace: 1s }";
        check(&steps(""), &steps(changed), "update envoy (in steps), update catalog");
        check(&steps(""), changed, "update xds.rollout, update envoy, update catalog");
        let both = plan(&read(""), &read("admin: { listen: '127.0.0.1:2' }\nenvoy: { unhealthy: omit }"));
        assert_eq!(both.restarts().count(), 1);
    }
}
