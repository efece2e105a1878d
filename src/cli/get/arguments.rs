//! What is asked for, and where that is.

use clap::{Args, ValueEnum};
use reqwest::Url;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// What is asked for
    pub(super) what: What,
    /// Only this one: a host, alias or id for services, a part of the name for all others
    pub(super) name: Option<String>,
    /// The admin address of a running Portolan: a URL, or a host with a port
    #[arg(long, env = "PORTOLAN_ADMIN", default_value = "http://127.0.0.1:8081", value_name = "URL", value_parser = address)]
    pub(super) admin: Url,
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
    /// Registries: state, age, last error
    Registries,
    /// Clients, and what they took and refused
    Clients,
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

impl Arguments {
    /// Where the first page of the answer is.
    pub(super) fn url(&self) -> Url {
        let Arguments { what, name, admin, .. } = self;
        let mut url = admin.clone();
        let path = match what {
            What::Services => "api/v1/services",
            What::Endpoints => "api/v1/resources/endpoints",
            What::Clusters => "api/v1/resources/clusters",
            What::Registries => "api/v1/registries",
            What::Clients => "api/v1/clients",
            What::Manifests => "api/v1/manifests",
            What::Digests => "api/v1/digests",
        };
        let base = admin.path().trim_end_matches('/');
        match (what, name) {
            (What::Services, Some(name)) => url.set_path(&format!("{base}/{path}/{name}")),
            _ => url.set_path(&format!("{base}/{path}")),
        }
        match (what, name) {
            (What::Endpoints | What::Clusters, Some(name)) => with_parameter(url, "q", name),
            _ => url,
        }
    }
}

fn address(text: &str) -> Result<Url, String> {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    url.map_err(|error| format!("{error}; write it as http://127.0.0.1:8081"))
}

/// The same with another value of a parameter.
pub(super) fn with_parameter(mut url: Url, name: &str, value: &str) -> Url {
    let others: Vec<(String, String)> =
        url.query_pairs().filter(|(n, _)| n != name).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    url
}
