//! `routes`: where a request goes, and which resource decides it. `gateways`: the gateways of the configuration as
//! Istio's own resources.

use super::{
    ask::{self, Address, Admin},
    table::Table,
};
use clap::Args;
use serde_json::Value;
use std::fmt::Write;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The host, as in the header `host`, with the port of the listener if there are several
    #[arg(value_name = "HOST[:PORT]")]
    host: String,
    /// The path, with its query
    #[arg(default_value = "/")]
    path: String,
    /// A header; may be there several times
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// The method
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// The port that the request comes to, if it is not the one of the host
    #[arg(long)]
    port: Option<u16>,
    /// The id of the client whose view is asked
    #[arg(long, value_name = "ID", conflicts_with = "view")]
    node: Option<String>,
    /// The view that is asked (`get views` lists them); without it the one that has everything
    #[arg(long, value_name = "KEY")]
    view: Option<String>,
    #[command(flatten)]
    admin: Address,
}

/// What `gateways` is asked.
#[derive(Debug, Args)]
pub(super) struct Gateways {
    #[command(flatten)]
    admin: Address,
}

/// Why `routes` or `gateways` has no answer to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Ask(#[from] ask::Error),
    #[error("no client {0:?} is connected; `portolan get clients` lists them")]
    Node(String),
    #[error("the header {0:?} has no colon; write it as NAME:VALUE")]
    Header(String),
    #[error("the answer cannot be shown as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
}

/// The decision of each listener to which the request may come, as tables.
///
/// # Errors
/// If there is no answer.
pub(super) fn run(arguments: &Arguments) -> Result<String, Error> {
    if let Some(wrong) = arguments.headers.iter().find(|header| !header.contains(':')) {
        return Err(Error::Header(wrong.clone()));
    }
    ask::block_on(async {
        let admin = arguments.admin.client()?;
        let view = match &arguments.node {
            Some(node) => Some(view_of(&admin, node).await?),
            None => arguments.view.clone(),
        };
        let mut url = admin.page("api/v1/route");
        let headers = arguments.headers.join("\n");
        let given = [
            ("host", Some(arguments.host.clone())),
            ("path", Some(arguments.path.clone())),
            ("method", Some(arguments.method.clone())),
            ("headers", (!headers.is_empty()).then_some(headers)),
            ("port", arguments.port.map(|port| port.to_string())),
            ("view", view),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        Ok(shown(&admin.get(&url).await?))
    })
}

/// The key of the view of the client with this `node.id`.
async fn view_of(admin: &Admin, node: &str) -> Result<String, Error> {
    let mut url = admin.page("api/v1/clients");
    url.query_pairs_mut().append_pair("q", node);
    let answer = admin.get(&url).await?;
    let clients = answer["clients"].as_array().map_or(&[][..], Vec::as_slice);
    let found = clients.iter().find(|client| client["node"]["id"] == node);
    let view = found.and_then(|client| client["view"].as_str()).filter(|view| !view.is_empty());
    view.map(str::to_owned).ok_or_else(|| Error::Node(node.to_owned()))
}

fn shown(answer: &Value) -> String {
    let decisions = answer.as_array().map_or(&[][..], Vec::as_slice);
    if decisions.is_empty() {
        return "No listener takes it: `portolan get listeners` lists what there is.\n".into();
    }
    let mut text = String::new();
    for decision in decisions {
        let of = |name: &str| decision[name].as_str().unwrap_or_default().to_owned();
        let mut table = Table::new(["LISTENER", &(of("listener") + " " + &of("address"))]);
        for (title, name) in [
            ("chain", "chain"),
            ("route configuration", "route_configuration"),
            ("virtual host", "virtual_host"),
            ("route", "route"),
            ("of", "source"),
            ("gateway", "gateway"),
            ("action", "action"),
            ("", "what"),
        ] {
            let value = of(name);
            if !value.is_empty() {
                table.row([title.into(), value]);
            }
        }
        for share in decision["clusters"].as_array().into_iter().flatten() {
            let endpoints = match (share["known"].as_bool(), share["endpoints"].as_u64()) {
                (Some(false), _) => "unknown: 503".to_owned(),
                (_, Some(count)) => format!("{count} endpoints"),
                (_, None) => String::new(),
            };
            let text = |name: &str| share[name].as_str().unwrap_or_default();
            let of = if text("rule").is_empty() { String::new() } else { format!(", by {}", text("rule")) };
            let percent = share["percent"].as_f64().unwrap_or_default();
            let value = format!("{} {percent}% {endpoints}", text("cluster"));
            table.row(["cluster".into(), value.trim_end().to_owned() + &of]);
        }
        let _ = writeln!(text, "{table}");
    }
    text.trim_end().to_owned() + "\n"
}

/// The gateways of the configuration as YAML documents, which an Istiod takes, too.
///
/// # Errors
/// If there is no answer.
pub(super) fn gateways(arguments: &Gateways) -> Result<String, Error> {
    ask::block_on(async {
        let admin = arguments.admin.client()?;
        let answer = admin.get(&admin.page("api/v1/gateways")).await?;
        let documents = answer.as_array().map_or(&[][..], Vec::as_slice);
        let document = |value| serde_saphyr::to_string(value).map_err(Error::Yaml);
        let documents: Vec<String> = documents.iter().map(document).collect::<Result<_, _>>()?;
        Ok(documents.join("---\n"))
    })
}
