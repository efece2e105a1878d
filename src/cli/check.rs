//! `check`: a summary of a valid configuration. (Loading reports what is wrong with one.)

use super::{ask::Address, reload, table::Table};
use crate::{
    catalog::Select,
    config::{Listener, Loaded, RegistryConfig, Sources},
    model::Nearness,
    scope::Rule,
};
use clap::Args;
use std::{fmt::Write, path::Path};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also says what the running Portolan at --admin would do with it
    #[arg(long)]
    reload: bool,
    #[command(flatten)]
    admin: Address,
}

/// The summary of the configuration, and with `--reload` what a running Portolan would change.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> anyhow::Result<String> {
    let loaded = sources.read().result?;
    let summary = summary(sources.path(), &loaded);
    Ok(if arguments.reload { summary + &reload::plan(&arguments.admin, &loaded)? } else { summary })
}

/// The address of a listener, with its protection in brackets.
fn listener(listener: &Listener) -> String {
    let credentials = &listener.credentials;
    let certificates =
        credentials.tls.as_ref().map(|tls| match (tls.asks_for_certificates(), tls.require_client_certificate) {
            (false, _) => "TLS",
            (true, true) => "TLS, client certificates",
            (true, false) => "TLS, client certificates if they have one",
        });
    let tokens = credentials.takes_tokens().then_some("tokens");
    let words: Vec<&str> = certificates.into_iter().chain(tokens).collect();
    let address = &listener.address;
    if words.is_empty() { address.to_string() } else { format!("{address} ({})", words.join(", ")) }
}

/// The column SERVICES of a scope: which services of its registries its clients see.
fn services(rule: &Rule) -> &'static str {
    match (rule.declared.is_some(), rule.calls.is_some(), rule.select == Select::default()) {
        (true, _, true) => "those declared",
        (true, _, false) => "those declared and selected",
        (false, true, true) => "those its application needs",
        (false, true, false) => "those its application needs, of those selected",
        (false, false, true) => "all",
        (false, false, false) => "those selected",
    }
}

/// The warnings and a summary of a valid configuration. It holds no secret.
fn summary(path: Option<&Path>, Loaded { config, warnings, .. }: &Loaded) -> String {
    let mut text = String::new();
    for warning in warnings.iter() {
        let _ = writeln!(text, "warning: {warning}");
    }
    let name = path.map_or("The built-in example".into(), |path| path.display().to_string());
    let _ = writeln!(text, "{name} is good.\n");
    let listeners: Vec<String> = config.xds.listeners.iter().map(listener).collect();
    let _ = writeln!(text, "xDS on {}, admin on http://{}/", listeners.join(", "), config.admin.listen);
    let _ = writeln!(text, "clusters are named {}\n", config.envoy.cluster_name);
    let mut table = Table::new(["REGISTRY", "KIND", "READS", "HOST", "ALIASES"]);
    for registry in &config.registries {
        let RegistryConfig { name, kind, policy, .. } = registry;
        let aliases: Vec<String> = policy.aliases.iter().map(ToString::to_string).collect();
        table.row([
            name.to_string(),
            kind.name().into(),
            kind.adapter().address(),
            policy.host.to_string(),
            aliases.join(" "),
        ]);
    }
    text += &table.to_string();
    if !config.scopes.rules.is_empty() {
        let mut table = Table::new(["SCOPE", "CLIENTS", "REGISTRIES", "SERVICES", "LEVEL", "NEARNESS"]);
        for rule in &config.scopes.rules {
            let clients: Vec<String> = rule.clients.iter().map(ToString::to_string).collect();
            let clients = if clients.is_empty() { "all".into() } else { clients.join(" or ") };
            let registries = rule.registries.as_ref().map_or("all".into(), |all| all.join(" "));
            let nearness = rule.nearness.map_or("the registry's", Nearness::name);
            table.row([
                rule.name.to_string(),
                clients,
                registries,
                services(rule).into(),
                rule.level.name().into(),
                nearness.into(),
            ]);
        }
        let _ = write!(text, "\n{table}clients that fit none get: {}\n", config.scopes.unmatched.name());
    }
    text
}
