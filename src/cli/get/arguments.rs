//! The arguments of `get`, and the URLs of its answers.

use crate::cli::ask::{Address, Admin};
use clap::{Args, ValueEnum};
use reqwest::Url;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// What is asked for
    pub(super) what: What,
    /// Only this one: a host, alias or id for services, a part of the name for all others
    pub(super) name: Option<String>,
    /// The view whose endpoints, clusters, listeners, routes, entries or digests are shown (`get views` lists them);
    /// without it the one that has everything
    #[arg(long, value_name = "KEY")]
    pub(super) view: Option<String>,
    #[command(flatten)]
    pub(super) admin: Address,
    /// How the answer is shown
    #[arg(short, long, default_value = "table")]
    pub(super) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Services, published or not, with the reasons
    Services,
    /// Endpoints, as they are sent
    Endpoints,
    /// Clusters, as they are sent
    Clusters,
    /// Listeners, as they are sent
    Listeners,
    /// Route configurations, as they are sent
    Routes,
    /// What of Istio's rules has no effect, or another one than is written
    Findings,
    /// Istio's ServiceEntries, as an Istiod is sent them
    Serviceentries,
    /// Views: who sees them, and what is in them
    Views,
    /// Registries: state, age, last error
    Registries,
    /// Clients, and what they acknowledged and refused
    Clients,
    /// Who calls whom: what applications need
    Calls,
    /// What clients refuse and are not sent
    Quarantine,
    /// Manifests: what of each is served, and what is wrong with it
    Manifests,
    /// Digests of everything, to compare replicas
    Digests,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Columns; one service by name is shown as YAML
    Table,
    /// The whole answer as YAML
    Yaml,
    /// The whole answer as JSON
    Json,
}

impl What {
    /// Whether it is a list of `/api/v1/resources`, which has the parameters `view` and `q`.
    fn is_resource(self) -> bool {
        matches!(self, What::Endpoints | What::Clusters | What::Listeners | What::Routes | What::Serviceentries)
    }
}

impl Arguments {
    /// The URL of the first page of the answer.
    pub(super) fn url(&self, admin: &Admin) -> Url {
        let Arguments { what, name, view, .. } = self;
        let path = match what {
            What::Services => "api/v1/services",
            What::Endpoints => "api/v1/resources/endpoints",
            What::Clusters => "api/v1/resources/clusters",
            What::Listeners => "api/v1/resources/listeners",
            What::Routes => "api/v1/resources/routes",
            What::Findings => "api/v1/findings",
            What::Serviceentries => "api/v1/resources/serviceentries",
            What::Views => "api/v1/views",
            What::Registries => "api/v1/registries",
            What::Clients => "api/v1/clients",
            What::Calls => "api/v1/calls",
            What::Quarantine => "api/v1/quarantine",
            What::Manifests => "api/v1/manifests",
            What::Digests => "api/v1/digests",
        };
        let url = match (what, name) {
            (What::Services, Some(name)) => admin.page(&format!("{path}/{name}")),
            (What::Calls, Some(name)) => with_parameter(admin.page(path), "application", name),
            (What::Clients, Some(name)) => with_parameter(admin.page(path), "q", name),
            (what, Some(name)) if what.is_resource() => with_parameter(admin.page(path), "q", name),
            _ => admin.page(path),
        };
        match (what, view) {
            (what, Some(view)) if what.is_resource() || *what == What::Digests => with_parameter(url, "view", view),
            _ => url,
        }
    }
}

/// The URL with a parameter set to this value, in the place of any former one.
pub(super) fn with_parameter(mut url: Url, name: &str, value: &str) -> Url {
    let others: Vec<(String, String)> =
        url.query_pairs().filter(|(n, _)| n != name).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    url
}
