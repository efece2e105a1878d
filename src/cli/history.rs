//! `history`, `diff`, `pin`, `unpin`, `rollback` and `override`: what was published, and overrides of it.

use super::{
    ask::{self, Address, Admin},
    table::{Table, items, text as cell},
};
use clap::{Args, Subcommand};
use reqwest::Url;
use serde_json::Value;
use std::fmt::Write;

#[derive(Debug, Args)]
pub(super) struct History {
    /// Only what happened since then: 10m, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what concerns the service of this host
    #[arg(long)]
    host: Option<String>,
    /// At most so many, the newest
    #[arg(long, default_value = "50")]
    limit: usize,
    /// With every host and endpoint that differs
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    admin: Address,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The number of an entry of the history
    from: u64,
    /// The number of another entry; without it, what is published now
    to: Option<u64>,
    #[command(flatten)]
    admin: Address,
}

/// Who asks, and for how long.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// Who asks, for the audit log
    #[arg(long, env = "USER", value_name = "NAME")]
    by: Option<String>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    admin: Address,
}

#[derive(Debug, Args)]
pub(super) struct Pin {
    /// Only the service of this host; without it everything
    host: Option<String>,
    /// For how long, at most 7d
    #[arg(long = "for", default_value = "1h", value_name = "TIME")]
    time: String,
    #[command(flatten)]
    request: Request,
}

#[derive(Debug, Args)]
pub(super) struct Unpin {
    /// The service of this host; without it the pin of everything
    host: Option<String>,
    #[command(flatten)]
    request: Request,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The number of an entry of the history; without it, to what was published before the last change
    to: Option<u64>,
    /// Only the service of this host
    #[arg(long)]
    host: Option<String>,
    /// For how long, at most 7d: what is rolled back to is pinned
    #[arg(long = "for", default_value = "1h", value_name = "TIME")]
    time: String,
    #[command(flatten)]
    request: Request,
}

#[derive(Debug, Subcommand)]
pub(super) enum Override {
    /// Lists what is laid over what is published
    List {
        #[command(flatten)]
        admin: Address,
    },
    /// Gives no new requests to a service or an instance
    Drain(Edit),
    /// Does not serve a service's instances, or one of them
    Disable(Edit),
    /// Gives a service's instances, or one of them, another weight
    Weight(Weight),
    /// Serves on what a service has now, or one of its instances, even if the registry loses it
    Keep(Edit),
    /// Lifts an override
    Lift {
        /// The number of the override; `override list` shows it
        id: u64,
        #[command(flatten)]
        request: Request,
    },
}

#[derive(Debug, Args)]
pub(super) struct Edit {
    /// The host of the service
    host: String,
    /// The address of an instance, with or without its port; without it all of them
    instance: Option<String>,
    /// For how long, at most 7d
    #[arg(long = "for", default_value = "1h", value_name = "TIME")]
    time: String,
    #[command(flatten)]
    request: Request,
}

#[derive(Debug, Args)]
pub(super) struct Weight {
    /// The weight, relative to 1; 0 gets nothing
    weight: f64,
    #[command(flatten)]
    edit: Edit,
}

/// The entries of the history as a table.
///
/// # Errors
/// If there is no answer.
pub(super) fn history(arguments: &History) -> Result<String, ask::Error> {
    let History { since, host, limit, verbose, admin } = arguments;
    let limit = limit.to_string();
    let given = [("since", since.as_deref()), ("host", host.as_deref()), ("limit", Some(&*limit))];
    let answer = get(admin, "api/v1/history", &given)?;
    let mut table = Table::new(["NUMBER", "AT", "WHAT", "BY", "DETAIL"]);
    let mut details = String::new();
    for entry in items(&answer) {
        let kind = cell(&entry["kind"]);
        let (what, by, detail) = match &*kind {
            "published" => (kind, joined(&entry["causes"]), brief(&entry["difference"])),
            "configuration" => {
                (kind, cell(&entry["cause"]), format!("{} {}", cell(&entry["result"]), joined(&entry["changes"])))
            }
            _ => (
                cell(&entry["action"]),
                cell(&entry["by"]),
                format!("{}: {} {}", cell(&entry["of"]), cell(&entry["result"]), cell(&entry["why"])),
            ),
        };
        table.row([cell(&entry["number"]), cell(&entry["at"]), what, by, detail.trim_end().into()]);
        if *verbose && entry["kind"] == "published" {
            let _ = write!(details, "\n{}:\n{}", cell(&entry["number"]), lines(&entry["difference"]));
        }
    }
    Ok(table.to_string() + &details)
}

/// The difference between two entries of the history, line by line.
///
/// # Errors
/// If there is no answer.
pub(super) fn diff(Diff { from, to, admin }: &Diff) -> Result<String, ask::Error> {
    let (from, to) = (from.to_string(), to.map(|to| to.to_string()));
    let answer = get(admin, "api/v1/diff", &[("from", Some(&*from)), ("to", to.as_deref())])?;
    Ok(match lines(&answer) {
        text if text.is_empty() => "Nothing differs.\n".into(),
        text => format!("{text}{}\n", brief(&answer)),
    })
}

/// Pins everything, or one service: it is served as it is now.
///
/// # Errors
/// If there is no answer, or a refusal.
pub(super) fn pin(Pin { host, time, request }: &Pin) -> Result<String, ask::Error> {
    let answer = request.post("api/v1/pin", &[("host", host.as_deref()), ("for", Some(time))])?;
    Ok(overrides(&[answer]))
}

/// Lifts a pin.
///
/// # Errors
/// If there is no answer, or no pin.
pub(super) fn unpin(Unpin { host, request }: &Unpin) -> Result<String, ask::Error> {
    let answer = request.post("api/v1/unpin", &[("host", host.as_deref())])?;
    Ok(format!("Lifted:\n{}", overrides(items(&answer))))
}

/// Goes back to what was published before, and pins it.
///
/// # Errors
/// If there is no answer, or what was published then is not known.
pub(super) fn rollback(Rollback { to, host, time, request }: &Rollback) -> Result<String, ask::Error> {
    let to = to.map(|to| to.to_string());
    let given = [("to", to.as_deref()), ("host", host.as_deref()), ("for", Some(&**time))];
    Ok(overrides(&[request.post("api/v1/rollback", &given)?]))
}

/// Lays an edit over what is published, lifts one, or lists them.
///
/// # Errors
/// If there is no answer, or a refusal.
pub(super) fn edit(command: &Override) -> Result<String, ask::Error> {
    match command {
        Override::List { admin } => Ok(overrides(items(&get(admin, "api/v1/overrides", &[])?))),
        Override::Drain(edit) => edit.post("drain", None),
        Override::Disable(edit) => edit.post("disable", None),
        Override::Keep(edit) => edit.post("keep", None),
        Override::Weight(Weight { weight, edit }) => edit.post("weight", Some(&weight.to_string())),
        Override::Lift { id, request } => {
            let answer = request.post(&format!("api/v1/overrides/{id}/lift"), &[])?;
            Ok(format!("Lifted:\n{}", overrides(items(&answer))))
        }
    }
}

impl Edit {
    fn post(&self, deed: &str, weight: Option<&str>) -> Result<String, ask::Error> {
        let Edit { host, instance, time, request } = self;
        let given = [
            ("host", Some(&**host)),
            ("instance", instance.as_deref()),
            ("deed", Some(deed)),
            ("weight", weight),
            ("for", Some(time)),
        ];
        Ok(overrides(&[request.post("api/v1/overrides", &given)?]))
    }
}

impl Request {
    /// Sends a POST request with these parameters and `by` and `why`.
    pub(super) fn post(&self, path: &str, given: &[(&str, Option<&str>)]) -> Result<Value, ask::Error> {
        let own = [("by", self.by.as_deref()), ("why", self.why.as_deref())];
        ask::block_on(async {
            let admin = self.admin.client()?;
            admin.post(&with(&admin, path, given.iter().chain(&own))).await
        })
    }
}

pub(super) fn get(address: &Address, path: &str, given: &[(&str, Option<&str>)]) -> Result<Value, ask::Error> {
    ask::block_on(async {
        let admin = address.client()?;
        admin.get(&with(&admin, path, given.iter())).await
    })
}

/// The URL of a path with those parameters that have a value.
fn with<'a>(admin: &Admin, path: &str, given: impl Iterator<Item = &'a (&'a str, Option<&'a str>)>) -> Url {
    let mut url = admin.page(path);
    for (name, value) in given {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url
}

fn overrides(all: &[Value]) -> String {
    let mut table = Table::new(["NUMBER", "DEED", "OF", "UNTIL", "BY", "WHY"]);
    for over in all {
        let of = match (over["host"].as_str(), over["instance"].as_str()) {
            (None, _) => "everything".to_owned(),
            (Some(host), None) => host.to_owned(),
            (Some(host), Some(instance)) => format!("{host} at {instance}"),
        };
        let deed = format!("{} {}", cell(&over["deed"]), cell(&over["weight"])).trim_end().to_owned();
        table.row([cell(&over["id"]), deed, of, cell(&over["until"]), cell(&over["by"]), cell(&over["why"])]);
    }
    table.to_string()
}

/// A difference in one line.
fn brief(difference: &Value) -> String {
    let count = |name: &str| difference[name].as_u64().unwrap_or(0);
    let mut text = format!(
        "{} services, +{} -{} endpoints",
        count("hosts_total"),
        count("endpoints_added"),
        count("endpoints_removed")
    );
    if count("manifests_total") > 0 {
        let _ = write!(text, ", {} of manifests", count("manifests_total"));
    }
    let hosts: Vec<&str> = items(&difference["hosts"]).iter().filter_map(|of| of["host"].as_str()).take(3).collect();
    if !hosts.is_empty() {
        let _ = write!(text, ": {}", hosts.join(" "));
    }
    text
}

/// A difference in full: each host with its endpoints, and each manifest.
fn lines(difference: &Value) -> String {
    let mut text = String::new();
    for of in items(&difference["hosts"]) {
        let also = joined(&of["also"]);
        let also = if also.is_empty() { also } else { format!(" ({also})") };
        let _ = writeln!(text, "{} {}{also}", cell(&of["change"]), cell(&of["host"]));
        for (sign, name) in [("+", "added"), ("-", "removed"), ("~", "changed")] {
            for endpoint in items(&of[name]) {
                let _ = writeln!(text, "  {sign} {}", cell(endpoint));
            }
        }
    }
    for manifest in items(&difference["manifests"]) {
        let _ = writeln!(text, "{}", cell(manifest));
    }
    text
}

fn joined(value: &Value) -> String {
    items(value).iter().map(cell).collect::<Vec<_>>().join(", ")
}
