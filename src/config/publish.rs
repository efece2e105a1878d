//! `publish:`: how the services of a registry are published. The fields of [`Policy`] say what each key means.

use super::{bounds::DAY, preset::Preset, select};
use crate::{
    catalog::{
        Addresses, Empty, HoldRule, Holding, HostCase, Hostnames, Merge, Owner, Policy, Relabel, Stale, Template,
    },
    model::{DeclaredPort, Fraction, Hostname, Nearness, Port, Protocol, Text, Weight},
    registry::Kind,
    translate::istio::Rules,
    util::yaml::{Section, Value},
};
use std::{collections::BTreeMap, time::Duration};

/// Reads all keys over the defaults. A preset changes the defaults, also those of `rules` for ServiceEntries.
pub(super) fn read(section: &mut Section<'_>, kind: &Kind, policy: &mut Policy, rules: &mut Rules) -> Option<()> {
    section.get("preset", |v| Preset::read(v, kind, policy, rules));
    read_names(section, policy);
    read_ports(section, policy);
    read_merging(section, policy);
    read_going_down(section, policy);
    Some(())
}

fn read_names(section: &mut Section<'_>, policy: &mut Policy) {
    let merge = [("refuse", Merge::Refuse), ("host", Merge::Host)];
    set(&mut policy.merge, section.get("merge", |v| v.word(&merge)));
    let owner = [("smallest", Owner::Smallest), ("first", Owner::First)];
    set(&mut policy.owner, section.get("owner", |v| v.word(&owner)));
    let all_on_one = policy.merge == Merge::Host;
    let host = section.get("host", |v| {
        let host = template(v)?;
        if !host.tells_services_apart() && !all_on_one {
            return v.problem(format!(
                "\"{host}\" gives all services one host; put {{service}} into it, or choose `merge: host`"
            ));
        }
        Some(host)
    });
    set(&mut policy.host, host);
    let cases = [("lower", HostCase::Lower), ("keep", HostCase::Keep)];
    set(&mut policy.host_case, section.get("host_case", |v| v.word(&cases)));
    let aliases = section.get("aliases", |v| {
        v.one_or_each(|v| {
            let alias = template(v)?;
            // Where all share one host, there is one to have the alias.
            if alias.tells_services_apart() || !policy.host.tells_services_apart() {
                return Some(alias);
            }
            v.problem(format!(
                "\"{alias}\" is the same for all services, so none would have it; put {{service}} into it"
            ))
        })
    });
    set(&mut policy.aliases, aliases);
    set(&mut policy.host_aliases, section.get("host_aliases", host_aliases));
    set(&mut policy.relabel, section.get("relabel", |v| v.one_or_each(|v| v.section(relabel))));
    policy.locality = section.get("locality", template).or(policy.locality.take());
}

/// A mapping of hosts to one alias or a list of aliases.
fn host_aliases(value: &Value<'_>) -> Option<BTreeMap<Hostname, Vec<Hostname>>> {
    let mut all: BTreeMap<Hostname, Vec<Hostname>> = BTreeMap::new();
    for (host, value) in value.entries()? {
        let aliases = value.one_or_each(|v| v.check(Hostname::new(&v.string()?.to_ascii_lowercase())));
        let host = value.check(Hostname::new(&host.to_ascii_lowercase()));
        let Some((host, aliases)) = host.zip(aliases) else { continue };
        if all.contains_key(&host) {
            value.problem::<()>(format!("{host} is there twice; hosts that differ in case only are one"));
        }
        all.insert(host, aliases);
    }
    Some(all)
}

fn read_ports(section: &mut Section<'_>, policy: &mut Policy) {
    set(&mut policy.protocol, section.get("protocol", protocol));
    set(&mut policy.ports_from_labels, section.get("ports_from_labels", |v| v.bool()));
    let single = section.get("port", port);
    let several = section.take("ports");
    match (single, several) {
        (Some(_), Some(several)) => {
            several.problem::<()>("`port` and `ports` at once; write all into `ports`");
        }
        (Some(number), None) => {
            let protocol = policy.protocol;
            policy.ports = vec![DeclaredPort { name: protocol.name().into(), number, protocol }];
        }
        (None, several) => set(&mut policy.ports, several.and_then(|v| ports(&v, policy.protocol))),
    }
}

fn read_merging(section: &mut Section<'_>, policy: &mut Policy) {
    let hostnames = [("resolve", Hostnames::Resolve), ("dns", Hostnames::Dns), ("drop", Hostnames::Drop)];
    set(&mut policy.hostnames, section.get("hostnames", |v| v.word(&hostnames)));
    let nearness = Nearness::ALL.map(|nearness| (nearness.name(), nearness));
    set(&mut policy.nearness, section.get("nearness", |v| v.word(&nearness)));
    section.section("addresses", |s| read_addresses(s, &mut policy.addresses));
    // Envoy refuses priorities above 128.
    set(&mut policy.priority, section.get("priority", |v| v.integer(0..=127)));
    policy.share = section.get("share", |v| {
        let share = v.number(0.0..=1_000_000.0)?;
        v.check(Weight::relative(share, 1.0))
    });
}

/// Keys: `loopback` and `link_local`, each `keep` or `drop`.
fn read_addresses(section: &mut Section<'_>, addresses: &mut Addresses) -> Option<()> {
    let words = [("keep", true), ("drop", false)];
    set(&mut addresses.loopback, section.get("loopback", |v| v.word(&words)));
    set(&mut addresses.link_local, section.get("link_local", |v| v.word(&words)));
    Some(())
}

fn read_going_down(section: &mut Section<'_>, policy: &mut Policy) {
    let time = |section: &mut Section<'_>, key| section.get(key, |v| v.duration(Duration::ZERO..=DAY));
    set(&mut policy.absent_lists, section.get("absent_lists", |v| v.integer(1..=100)));
    set(&mut policy.linger, time(section, "linger"));
    read_holding(section, &mut policy.holding);
    let holding = policy.holding;
    set(&mut policy.holds, section.get("holds", |v| v.each(|v| v.section(|s| hold_rule(s, holding)))));
    policy.stale_after = section.get("stale_after", |v| v.duration(DAY / 1440..=DAY * 30)).or(policy.stale_after);
    let stale = [("mark", Stale::Mark), ("drain", Stale::Drain)];
    set(&mut policy.stale, section.get("stale", |v| v.word(&stale)));
}

/// Keys: `max_drop`, `hold` and `empty`. Returns whether one of them is there.
fn read_holding(section: &mut Section<'_>, holding: &mut Holding) -> bool {
    let any = ["max_drop", "hold", "empty"].into_iter().any(|key| section.has(key));
    set(&mut holding.hold, section.get("hold", |v| v.duration(Duration::ZERO..=DAY)));
    let max_drop = section.get("max_drop", |v| {
        let share = v.fraction()?;
        v.check(Fraction::new(share))
    });
    set(&mut holding.max_drop, max_drop);
    let empty = [("follow", Empty::Follow), ("hold", Empty::Hold)];
    set(&mut holding.empty, section.get("empty", |v| v.word(&empty)));
    any
}

/// Keys: `match`, and those of [`read_holding`] that differ for the matching services.
fn hold_rule(section: &mut Section<'_>, mut holding: Holding) -> Option<HoldRule> {
    let services = section.need("match", |v| {
        let matchers = select::rule(v)?;
        match matchers.iter().any(|matcher| !matcher.networks.is_empty() || !matcher.labels.is_empty()) {
            true => v.problem(
                "`labels` and `networks` are of instances, and one that has vanished has none; \
                 give `name`, `namespace` or `group`",
            ),
            false => Some(matchers),
        }
    });
    if !read_holding(section, &mut holding) {
        return section.value().problem("changes nothing; give `max_drop`, `hold` or `empty`");
    }
    Some(HoldRule { services: services?, holding })
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn template(value: &Value<'_>) -> Option<Template> {
    let text = value.string()?;
    value.check(Template::parse(&text))
}

fn port(value: &Value<'_>) -> Option<Port> {
    let number = value.integer(1..=65_535)?;
    value.check(Port::new(number))
}

fn protocol(value: &Value<'_>) -> Option<Protocol> {
    value.parse(|text| {
        Protocol::parse(text).ok_or_else(|| {
            let known = Protocol::ALL.map(Protocol::name).join(", ");
            format!("must be one of {known}, not {text:?}")
        })
    })
}

/// The ports of each service; no name and no number may be there twice.
fn ports(value: &Value<'_>, default: Protocol) -> Option<Vec<DeclaredPort>> {
    let mut ports: Vec<DeclaredPort> = Vec::new();
    for item in value.list()? {
        let Some(declared) = item.section(|s| declared_port(s, default)) else { continue };
        match ports.iter().find(|p| p.name == declared.name || p.number == declared.number) {
            Some(same) => {
                let text = format!("has the name or number of another port ({} {})", same.name, same.number);
                item.problem::<()>(format!("{text}; give each its own"));
            }
            None => ports.push(declared),
        }
    }
    Some(ports)
}

fn declared_port(section: &mut Section<'_>, default: Protocol) -> Option<DeclaredPort> {
    let protocol = section.get("protocol", protocol).unwrap_or(default);
    let name = section.get("name", Value::string).map_or_else(|| protocol.name().into(), Text::from);
    Some(DeclaredPort { name, number: section.need("port", port)?, protocol })
}

/// One step: `{set, value}`, `{rename, to}`, `{map, values}`, `{drop}` or `{keep}`.
fn relabel(section: &mut Section<'_>) -> Option<Relabel> {
    let steps = ["set", "rename", "map", "drop", "keep"];
    let given: Vec<&str> = steps.into_iter().filter(|key| section.has(key)).collect();
    let mut text = |key| section.get(key, Value::string).map(Text::from);
    let (set, rename, map, drop) = (text("set"), text("rename"), text("map"), text("drop"));
    let keep = section.get("keep", |v| v.one_or_each(|v| v.string().map(Text::from)));
    let (value, to, values) = match given.as_slice() {
        ["set"] => (section.need("value", template), None, None),
        ["rename"] => (None, section.need("to", |v| v.string().map(Text::from)), None),
        ["map"] => (None, None, section.need("values", Value::texts)),
        ["drop" | "keep"] => (None, None, None),
        _ => return section.value().problem("must have exactly one of `set`, `rename`, `map`, `drop` and `keep`"),
    };
    let values = values.map(|values| values.into_iter().map(|(from, to)| (from.into(), to.into())).collect());
    set.zip(value)
        .map(|(key, value)| Relabel::Set(key, value))
        .or(rename.zip(to).map(|(from, to)| Relabel::Rename(from, to)))
        .or(map.zip(values).map(|(key, values)| Relabel::Map(key, values)))
        .or(drop.map(Relabel::Drop))
        .or(keep.map(Relabel::Keep))
}
