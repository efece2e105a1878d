//! `calls:`: how consumers that register themselves are used. The fields of [`Options`] and [`Sidecars`] say what each
//! key means.

use super::bounds::DAY;
use crate::{
    calls::{Options, Sidecars},
    model::Text,
    util::{label::is_label, yaml::Section},
};
use std::time::Duration;

/// The hosts that each `Sidecar` always has by default: its own namespace, and Istio's.
const HOSTS: [&str; 2] = ["./*", "istio-system/*"];

/// Why the call model stays empty, and what to do about it.
pub(super) const NO_CONSUMERS: &str = "no registry reads consumers; give one `dubbo: { consumers: true }`";

/// Keys: `keep` (24 h, 0 to 90 days) and `sidecars`.
pub(super) fn read(section: &mut Section<'_>, reads_consumers: bool) -> Option<Options> {
    let default = Options::default();
    if !reads_consumers {
        section.value().warn(format!("it has nothing to work with: {NO_CONSUMERS}"));
    }
    Some(Options {
        keep: section.get("keep", |v| v.duration(Duration::ZERO..=DAY * 90)).unwrap_or(default.keep),
        sidecars: section.section("sidecars", read_sidecars),
    })
}

/// Keys: `namespaces`, `label` (`app`) and `hosts` (`./*`, `istio-system/*`).
fn read_sidecars(section: &mut Section<'_>) -> Option<Sidecars> {
    let namespaces = section.need("namespaces", |v| {
        let mut all = v.one_or_each(|v| v.parse(namespace))?;
        all.sort();
        all.dedup();
        if all.is_empty() { v.problem("names none; a Sidecar holds in its own namespace only") } else { Some(all) }
    });
    let label = section.get("label", |v| v.parse(label)).unwrap_or_else(|| "app".into());
    let hosts = section.get("hosts", |v| v.one_or_each(|v| v.parse(host)));
    let hosts = hosts.unwrap_or_else(|| HOSTS.map(Text::from).to_vec());
    Some(Sidecars { label, namespaces: namespaces?, hosts })
}

fn namespace(text: &str) -> Result<Text, String> {
    if is_label(text) { Ok(text.into()) } else { Err(format!("{text:?} is no namespace")) }
}

fn label(text: &str) -> Result<Text, String> {
    let name = text.rsplit('/').next().unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let is_key = (1..=63).contains(&name.len()) && text.len() <= 317 && text.chars().all(fine);
    if is_key { Ok(text.into()) } else { Err(format!("{text:?} is no key of a label")) }
}

fn host(text: &str) -> Result<Text, String> {
    match text.split_once('/') {
        Some((namespace, host))
            if !host.is_empty() && (matches!(namespace, "." | "*" | "~") || is_label(namespace)) =>
        {
            Ok(text.into())
        }
        _ => Err(format!("{text:?} is none of Istio's egress hosts: write NAMESPACE/HOST, such as ./* or shop/*")),
    }
}
