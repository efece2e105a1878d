//! `istio:`: how services become ServiceEntries, for all registries; and for one registry, where its own differ.

use crate::{
    model::{Hostname, Template, Text},
    translate::istio::{Addresses, HostTexts, Location, Options, Ports, Rules},
    util::{
        label::is_label,
        yaml::{Section, Value},
    },
};
use ipnet::{IpNet, Ipv4Net};
use std::{collections::BTreeMap, net::Ipv4Addr, time::UNIX_EPOCH};

/// The network from which Istio itself allocates virtual addresses.
const ISTIOS_OWN: (Ipv4Addr, u8) = (Ipv4Addr::new(240, 240, 0, 0), 16);

/// Keys: those of [`read_rules`], `create_time` (2020-01-01T00:00:00Z), `vip` (241.0.0.0/8), `addresses` (`tcp` or `all`)
/// and `mark_empty` (true).
pub(super) fn read(section: &mut Section<'_>) -> Option<Options> {
    let default = Options::default();
    let addresses = Addresses::ALL.map(|a| (a.name(), a));
    Some(Options {
        rules: read_rules(section, default.rules),
        create_time: section.get("create_time", time).unwrap_or(default.create_time),
        vip: section.get("vip", vip).unwrap_or(default.vip),
        addresses: section.get("addresses", |v| v.word(&addresses)).unwrap_or(default.addresses),
        mark_empty: section.get("mark_empty", Value::bool).unwrap_or(default.mark_empty),
        registries: BTreeMap::new(),
    })
}

/// Keys: `namespace`, `name`, `export_to`, `location`, `ports`, `labels`, `annotations`, `subject_alt_names`, `weights`,
/// `network` and `service_account`. What is not there is as `default` has it.
pub(super) fn read_rules(section: &mut Section<'_>, default: Rules) -> Rules {
    let locations = Location::ALL.map(|l| (l.name(), l));
    let ports = Ports::ALL.map(|p| (p.name(), p));
    Rules {
        namespace: section.get("namespace", template).unwrap_or(default.namespace),
        name: section.get("name", name).unwrap_or(default.name),
        export_to: section.get("export_to", export_to).unwrap_or(default.export_to),
        location: section.get("location", |v| v.word(&locations)).unwrap_or(default.location),
        ports: section.get("ports", |v| v.word(&ports)).unwrap_or(default.ports),
        labels: section.get("labels", templates).unwrap_or(default.labels),
        annotations: section.get("annotations", templates).unwrap_or(default.annotations),
        hosts: section.get("hosts", hosts).unwrap_or(default.hosts),
        subject_alt_names: section
            .get("subject_alt_names", |v| v.one_or_each(template))
            .unwrap_or(default.subject_alt_names),
        weights: section.get("weights", Value::bool).unwrap_or(default.weights),
        network: section.get("network", template).or(default.network),
        service_account: section.get("service_account", template).or(default.service_account),
        endpoint_labels: default.endpoint_labels,
    }
}

fn template(value: &Value<'_>) -> Option<Template> {
    let text = value.string()?;
    value.check(Template::parse_of_host(&text))
}

fn name(value: &Value<'_>) -> Option<Template> {
    let name = template(value)?;
    if !name.tells_services_apart() {
        return value.problem(format!("\"{name}\" gives all services one name; put {{host}} or {{service}} into it"));
    }
    Some(name)
}

fn templates(value: &Value<'_>) -> Option<BTreeMap<Text, Template>> {
    let entries = value.entries()?.into_iter();
    Some(entries.filter_map(|(key, value)| Some((key.into(), template(&value)?))).collect())
}

/// `labels` and `annotations` by host.
fn hosts(value: &Value<'_>) -> Option<BTreeMap<Text, HostTexts>> {
    let mut all = BTreeMap::new();
    for (host, value) in value.entries()? {
        let texts = value.section(|section| {
            let labels = section.get("labels", Value::texts).unwrap_or_default();
            Some(HostTexts { labels, annotations: section.get("annotations", Value::texts).unwrap_or_default() })
        });
        let host = value.check(Hostname::new(&host.to_ascii_lowercase()));
        if let Some((host, texts)) = host.zip(texts) {
            all.insert(host.text().clone(), texts);
        }
    }
    Some(all)
}

/// Namespaces, `.`, `*` or `~`. Istio refuses an entry with `*` or `~` beside others, or with one twice.
fn export_to(value: &Value<'_>) -> Option<Vec<Text>> {
    let mut all: Vec<Text> = Vec::new();
    let items = if value.is_list() { value.list()? } else { vec![value.clone()] };
    let several = items.len() > 1;
    for item in items {
        let who = item.string()?;
        match &*who {
            "*" | "~" if several => item.problem(format!("{who:?} and others exclude each other; write it alone")),
            "*" | "~" | "." => Some(()),
            _ if is_label(&who) => Some(()),
            _ => item.problem(format!("{who:?} is no namespace, `.` (the entry's own), `*` (all) or `~` (none)")),
        }?;
        if all.iter().any(|other| **other == *who) {
            return item.problem(format!("{who:?} is there twice"));
        }
        all.push(who.into());
    }
    Some(all)
}

fn time(value: &Value<'_>) -> Option<i64> {
    value.parse(|text| {
        let time = humantime::parse_rfc3339_weak(text).ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let seconds = time.and_then(|since| i64::try_from(since.as_secs()).ok());
        seconds.ok_or_else(|| format!("must be a time such as 2020-01-01T00:00:00Z, not {text:?}"))
    })
}

/// `none`, or at most one network of each family.
fn vip(value: &Value<'_>) -> Option<Vec<IpNet>> {
    if !value.is_list() && value.text().as_deref() == Some("none") {
        return Some(Vec::new());
    }
    let networks = value.one_or_each(|v| v.parse(vip_network))?;
    if networks.iter().filter(|n| matches!(n, IpNet::V4(_))).count() > 1 || networks.len() > 2 {
        return value.problem("at most one network of IPv4 and one of IPv6");
    }
    Some(networks)
}

fn vip_network(text: &str) -> Result<IpNet, String> {
    let own = Ipv4Net::new_assert(ISTIOS_OWN.0, ISTIOS_OWN.1);
    match text.parse::<IpNet>() {
        Ok(IpNet::V4(v4)) if own.contains(&v4.network()) || v4.contains(&own.network()) => Err(format!(
            "{text} has addresses of {own}, which Istio gives out itself; take another one, such as 241.0.0.0/8"
        )),
        Ok(IpNet::V4(v4)) if v4.prefix_len() > 24 => {
            Err(format!("{text} has few addresses: hosts would collide often; take at least a /24"))
        }
        Ok(IpNet::V6(v6)) if v6.prefix_len() != 64 => Err(format!("{text} must be a /64")),
        Ok(network) => Ok(network),
        Err(_) => Err(format!("must be `none`, or a network such as 241.0.0.0/8 or fd00:1:2:3::/64, not {text:?}")),
    }
}
