//! Configuration: one typed tree, checked whole.
//!
//! `cli` loads it from its [`Sources`], and `app` builds everything from it. Each source is read to its end whatever is
//! wrong with it, so that *all* problems are reported at once, each with file, line, column and key path; what comes out is
//! valid as a whole. No file at all is a working default: the example catalogue on loopback addresses.

mod bounds;
mod calls;
mod envoy;
mod health_check;
mod istio;
mod limit;
mod listeners;
mod log;
mod names;
mod preset;
mod publish;
mod registry;
mod scopes;
mod select;
mod server;
mod sources;
mod traffic;
mod variables;

pub use listeners::Listener;
pub use log::Log;
pub use registry::RegistryConfig;
pub use server::{Admin, Limits, Xds};
pub use sources::{Files, Reading, Sources, look};
pub use traffic::Traffic;

use self::bounds::DAY;
use crate::{
    calls::Options as CallOptions,
    catalog,
    model::Nearness,
    scope, state,
    translate::{envoy::Options, gateway::Gateway, istio::Options as IstioOptions},
    util::yaml::{self, Document, Problem, Problems, Resolver, Section, Value},
    views::ServicePolicy,
};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use xxhash_rust::xxh3::xxh3_64;

/// The value of `version` that this program reads.
const VERSION: u32 = 1;

/// A whole valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How xDS clients are served (`xds:`).
    pub xds: Xds,
    /// The admin API (`admin:`).
    pub admin: Admin,
    /// The registries that are read (`registries:`). Of several with the same host, the first one here owns it. Without
    /// the key, the built-in example.
    pub registries: Vec<RegistryConfig>,
    /// Which clients see which services (`scopes:`, and `visible_to:` of registries).
    pub scopes: scope::Rules,
    /// How services become clusters and assignments (`envoy:`).
    pub envoy: Options,
    /// Traffic policies, limits and health checks for services (`envoy.services:`).
    pub policies: Vec<ServicePolicy>,
    /// How services become ServiceEntries (`istio:`, and that of registries).
    pub istio: IstioOptions,
    /// Istio's resources in files, and mesh settings for all proxies (`traffic:`).
    pub traffic: Traffic,
    /// Gateways that lead to services by host or path (`gateways:`).
    pub gateways: Vec<Gateway>,
    /// When changes are published: grace and debounce (`catalog:`).
    pub catalog: catalog::Options,
    /// How the call model of consumers is kept and used (`calls:`).
    pub calls: CallOptions,
    /// What is kept on disk over restarts (`state:`).
    pub state: state::Options,
    /// Level and format of the log (`log:`).
    pub log: Log,
    /// The address of the client status service (`csds.listen`). `None`, the default: it is not served.
    pub csds: Option<SocketAddr>,
}

/// A valid configuration, with its warnings and its sources.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration, with the default of each key that no source has.
    pub config: Config,
    /// What is valid but may not be intended, by position.
    pub warnings: Problems,
    /// The hash of the texts that it was read from. Files and variables that these refer to are no part of it.
    pub hash: u64,
    /// The texts as one tree, in which each value knows its file and line.
    pub document: Document,
}

/// Why a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or folder cannot be read.
    #[error("cannot read the configuration {}: {source}; check the path and the permissions", .path.display())]
    Read {
        /// The path of the file or folder, as it was given.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The folder has no file of a configuration.
    #[error("the folder {} holds no *.yaml, *.yml or *.json; put the configuration into it", .path.display())]
    NoFiles {
        /// The path of the file or folder, as it was given.
        path: PathBuf,
    },
    /// The folder has more than 1,000 files, so it is taken for a mistake.
    #[error("the folder {} holds {files} files; this is no folder of configurations", .path.display())]
    ManyFiles {
        /// The path of the file or folder, as it was given.
        path: PathBuf,
        /// How many files it has.
        files: usize,
    },
    /// It was read, and has mistakes: all of them, by position.
    #[error("{0}")]
    Invalid(Problems),
}

/// Reads a file or a folder of files, without variables and `--set`.
///
/// # Errors
/// If it cannot be read, or has mistakes.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    Sources::new(Some(path.into())).read().result
}

/// A hash as it is shown: 16 hexadecimal digits.
pub fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Reads a text; `file` is its name in problems.
///
/// # Errors
/// All mistakes that it has.
pub fn parse(file: &str, text: &[u8], resolver: &Resolver) -> Result<Loaded, Problems> {
    let document = Document::parse(file, text, &yaml::Limits::default())?;
    finish(document, resolver, xxh3_64(text), Vec::new())
}

/// Reads a tree. `problems` are those that were found before.
fn finish(document: Document, resolver: &Resolver, hash: u64, problems: Vec<Problem>) -> Result<Loaded, Problems> {
    let mut reading = document.read(Some(resolver), |root| root.section(Config::read));
    reading.problems.extend(problems);
    let warnings = std::mem::take(&mut reading.warnings);
    reading.finish().map(|config| Loaded { config, warnings, hash, document })
}

impl Default for Config {
    /// The configuration without any file: the built-in example.
    fn default() -> Self {
        Config {
            xds: Xds::default(),
            admin: Admin::default(),
            registries: vec![RegistryConfig::example()],
            scopes: scope::Rules::default(),
            envoy: Options::default(),
            policies: Vec::new(),
            istio: IstioOptions::default(),
            traffic: Traffic::default(),
            gateways: Vec::new(),
            catalog: catalog::Options::default(),
            calls: CallOptions::default(),
            state: state::Options::default(),
            log: Log::default(),
            csds: None,
        }
    }
}

impl Config {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        section.need("version", |v| match v.integer(0..=u32::MAX)? {
            VERSION => Some(()),
            other => v.problem(format!("version {other} is unknown; this Portolan reads version {VERSION}")),
        });
        let addresses = [section.take("xds"), section.take("admin")];
        let xds = section.section("xds", Xds::read).unwrap_or_default();
        let admin = section.section("admin", Admin::read).unwrap_or_default();
        report_shared_address(section.value(), &addresses, &xds, admin.listen);
        let mut istio = section.section("istio", istio::read).unwrap_or_default();
        let names = scopes::names(section.take("scopes").as_ref());
        let registries = section.get("registries", |v| registry::read_all(v, &istio.rules, &names));
        let registries = registries.unwrap_or_else(|| vec![(RegistryConfig::example(), istio.rules.clone())]);
        let own = registries.iter().filter(|(_, rules)| *rules != istio.rules);
        istio.registries = own.map(|(registry, rules)| (registry.name.clone(), rules.clone())).collect();
        let names = registries.iter().map(|(registry, _)| registry.name.clone()).collect();
        let reads_consumers = registries.iter().any(|(registry, _)| registry.kind.adapter().reads_consumers());
        let rules = section.get("scopes", |v| {
            let rules = scopes::read_all(v, &names, &xds.listener_names())?;
            if !reads_consumers && rules.iter().any(|rule| rule.calls.is_some()) {
                v.warn(format!("`calls` narrows nobody: {}", calls::NO_CONSUMERS));
            }
            Some(rules)
        });
        let rules = rules.unwrap_or_default();
        report_locked_out(addresses.first().and_then(Option::as_ref), &xds, &rules);
        let visible = |registry: &RegistryConfig| Some((registry.name.clone(), registry.visible_to.clone()?));
        let visible_to = registries.iter().filter_map(|(registry, _)| visible(registry)).collect();
        let near = rules.iter().filter_map(|rule: &scope::Rule| rule.nearness);
        let mut near = near.chain(registries.iter().map(|(registry, _)| registry.policy.nearness));
        let near = near.any(|nearness| nearness == Nearness::Priority);
        let (envoy, policies) = section.section("envoy", envoy::read).unwrap_or_default();
        let own_cluster = envoy.zones.own_cluster.is_some();
        Some(Config {
            scopes: scope::Rules { rules, unmatched: xds.unmatched, visible_to, near, own_cluster },
            registries: registries.into_iter().map(|(registry, _)| registry).collect(),
            istio,
            envoy,
            policies,
            traffic: section.section("traffic", Traffic::read).unwrap_or_default(),
            gateways: section.get("gateways", traffic::read_gateways).unwrap_or_default(),
            catalog: section.section("catalog", read_catalog).unwrap_or_default(),
            calls: section.section("calls", |section| calls::read(section, reads_consumers)).unwrap_or_default(),
            state: section.section("state", read_state).unwrap_or_default(),
            log: section.section("log", Log::read).unwrap_or_default(),
            csds: section.section("csds", read_csds),
            xds,
            admin,
        })
    }
}

/// Key: `listen`, which must be a loopback address, because it shows every client and there is no authentication.
fn read_csds(section: &mut Section<'_>) -> Option<SocketAddr> {
    section.need("listen", |v| {
        let address = v.socket_address()?;
        match address.ip().is_loopback() {
            true => Some(address),
            false => v.problem(format!(
                "{address} would show all clients to other machines, without authentication; listen on 127.0.0.1"
            )),
        }
    })
}

/// Keys: `grace` (30 s, 0 to 1 h), `debounce` (10 ms, 0 to 10 s) and `max_debounce` (100 ms, `debounce` to 10 s).
fn read_catalog(section: &mut Section<'_>) -> Option<catalog::Options> {
    let default = catalog::Options::default();
    let second = Duration::from_secs(1);
    let min = section.get("debounce", |v| v.duration(Duration::ZERO..=10 * second)).unwrap_or(default.debounce_min);
    let max = section.get("max_debounce", |v| match v.duration(Duration::ZERO..=10 * second)? {
        max if max < min => v.problem("must not be less than `debounce`"),
        max => Some(max),
    });
    Some(catalog::Options {
        grace: section.get("grace", |v| v.duration(Duration::ZERO..=3600 * second)).unwrap_or(default.grace),
        debounce_min: min,
        debounce_max: max.unwrap_or(default.debounce_max.max(min)),
    })
}

/// Keys: `dir`, `max_age` (24 h, 1 min to 30 days) and `quiet` (5 s, 100 ms to 1 h).
fn read_state(section: &mut Section<'_>) -> Option<state::Options> {
    let default = state::Options::default();
    let quiet = Duration::from_millis(100)..=Duration::from_secs(3600);
    Some(state::Options {
        dir: section.get("dir", Value::path),
        max_age: section.get("max_age", |v| v.duration(DAY / 1440..=DAY * 30)).unwrap_or(default.max_age),
        quiet: section.get("quiet", |v| v.duration(quiet)).unwrap_or(default.quiet),
    })
}

/// Reports a port that is used by both xDS and the admin API. Port 0 is any free port, so it never is.
fn report_shared_address(root: &Value<'_>, sections: &[Option<Value<'_>>; 2], xds: &Xds, admin: SocketAddr) {
    let overlap = |a: &SocketAddr, b: &SocketAddr| {
        let same = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() != 0 && a.port() == b.port() && same
    };
    let [xds_section, admin_section] = sections;
    let place = admin_section.as_ref().or(xds_section.as_ref()).unwrap_or(root);
    for (key, address) in xds.tcp().filter(|(_, address)| overlap(address, &admin)) {
        let text = format!("admin.listen {admin} and {key} {address} are one port; give one of them another");
        place.problem::<()>(text);
    }
}

/// Warns if no client would be served: listeners authenticate, and there are no scopes.
fn report_locked_out(xds_section: Option<&Value<'_>>, xds: &Xds, rules: &[scope::Rule]) {
    if let Some(place) = xds_section
        && xds.listeners.iter().any(|listener| listener.credentials.authenticates())
        && xds.unmatched == scope::Unmatched::Refuse
        && rules.is_empty()
    {
        place.warn("no client is served: listeners authenticate, and no scope says who sees what; add `scopes`, or `unmatched: all`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutated_configurations_are_read_or_refused() {
        let everything = include_str!("../../tests/golden/config/everything/in.yaml");
        let short = "version: 1\nregistries: [{ name: a, nacos: { servers: 'http://n:8848' } }, { name: b, example: }]\n\
                     scopes: [{ name: s, match: { cluster: 'a*' } }]\ngateways: [{ name: g, listen: '127.0.0.1:8080' }]\n";
        crate::util::mutate::mutated(&[everything.as_bytes(), short.as_bytes()], |input| {
            drop(parse("c.yaml", input, &Resolver::with_variables("", |_| Some("a-value".into()))));
        });
    }
}
