//! `istio check`: connects as an Istiod does, and shows what an Istiod would receive and refuse.

use super::super::table::Table;
use crate::{
    probe::{Answer, ProbeError, TYPES, Verdict, probe, verdict},
    resource::Kind,
};
use clap::Args;
use serde_json::Value;
use std::{collections::BTreeMap, fs, io, net::SocketAddr, path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The server; without it, where the configuration says
    #[arg(long, value_name = "HOST:PORT")]
    xds: Option<String>,
    /// The revision of the Istiod
    #[arg(long, default_value = "", value_name = "NAME", hide_default_value = true)]
    revision: String,
    /// What an Istiod holds, as its /debug/configz prints it: says what it would take, keep and delete
    #[arg(long, value_name = "FILE")]
    configz: Option<PathBuf>,
    /// How many seconds to wait for answers
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    wait: u64,
}

/// Why an Istiod would not be served well, or the check has failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("cannot start")]
    Start(#[source] io::Error),
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not what an Istiod's /debug/configz prints")]
    Format {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{text}\n{types} of {} types were not answered within {seconds} s: an Istiod that starts waits for them, one that runs keeps what it has; /ready of the admin address says why", TYPES.len())]
    Waits { text: String, types: usize, seconds: u64 },
    #[error("{text}\nan Istiod would not take {count} of the resources")]
    Bad { text: String, count: usize },
}

/// The resources that an Istiod holds: versions by kind and `namespace/name`.
type Held = BTreeMap<(Kind, String), String>;

/// Connects, asks for all types, and returns the text to print.
pub(super) fn run(arguments: &Arguments, configured: SocketAddr) -> Result<String, Error> {
    let held = arguments.configz.as_ref().map(read).transpose()?;
    let address = arguments.xds.clone().unwrap_or_else(|| configured.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let limit = Duration::from_secs(arguments.wait);
    let answers = runtime.block_on(probe(&address, &arguments.revision, limit))?;
    report(&answers, held.as_ref(), arguments.wait)
}

fn read(path: &PathBuf) -> Result<Held, Error> {
    let text = fs::read(path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let all: Vec<Value> =
        serde_json::from_slice(&text).map_err(|source| Error::Format { path: path.clone(), source })?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = |object: &Value| {
        let (version, word, m) = (text(&object["apiVersion"]), text(&object["kind"]), &object["metadata"]);
        let kind = match version.split_once('/') {
            Some((group, _)) => Kind::of_istio(group, &word)?,
            // What was written down by hand may lack it.
            None => Kind::istio().find(|kind| kind.group_and_word().is_some_and(|(_, known)| known == word))?,
        };
        Some(((kind, format!("{}/{}", text(&m["namespace"]), text(&m["name"]))), text(&m["resourceVersion"])))
    };
    Ok(all.iter().filter_map(resource).collect())
}

fn report(answers: &[Answer], held: Option<&Held>, seconds: u64) -> Result<String, Error> {
    let mut types = Table::new(["TYPE", "ANSWERED AFTER", "RESOURCES", "BYTES"]);
    for asked in TYPES {
        let answer = answers.iter().find(|answer| answer.type_url == asked);
        let cell = |show: &dyn Fn(&Answer) -> String| answer.map(show).unwrap_or_default();
        let after = answer.map_or("not at all".into(), |a| format!("{} ms", a.after.as_millis()));
        types.row([asked.into(), after, cell(&|a| a.resources.len().to_string()), cell(&|a| a.bytes.to_string())]);
    }
    let mut text = types.to_string();
    let (mut resources, mut bad) = (table(), 0);
    let held = held.cloned().unwrap_or_default();
    for (asked, kind) in TYPES.iter().filter_map(|asked| Some((asked, Kind::of(asked)?))) {
        let own =
            held.iter().filter(|((of, _), _)| *of == kind).map(|((_, name), version)| (name.clone(), version.clone()));
        match answers.iter().find(|answer| answer.type_url == *asked) {
            Some(list) => bad += judged(&mut resources, kind, list, own.collect()),
            None => waiting(&mut resources, kind, own.collect()),
        }
    }
    text += &format!("\n{resources}");
    let missing = TYPES.iter().filter(|asked| !answers.iter().any(|a| a.type_url == **asked)).count();
    match (missing, bad) {
        (0, 0) => Ok(text),
        (0, count) => Err(Error::Bad { text, count }),
        (types, _) => Err(Error::Waits { text, types, seconds }),
    }
}

fn table() -> Table<4> {
    Table::new(["ENTRY", "VERSION", "ISTIOD", "WHY"])
}

/// The name of a resource in the table: with its kind, except for ServiceEntries, which are most.
fn called(kind: Kind, name: &str) -> String {
    match kind.group_and_word() {
        Some((_, word)) if kind != Kind::ServiceEntry => format!("{word} {name}"),
        _ => name.to_owned(),
    }
}

/// Adds rows for a type that was not answered: the Istiod keeps what it holds.
fn waiting(table: &mut Table<4>, kind: Kind, held: BTreeMap<String, String>) {
    for (name, version) in held {
        table.row([called(kind, &name), version, "keeps it".into(), "no list was sent".into()]);
    }
}

/// Adds a row for each resource of a list: what an Istiod does with it. Returns how many it does not take.
fn judged(table: &mut Table<4>, kind: Kind, list: &Answer, held: BTreeMap<String, String>) -> usize {
    let (mut gone, mut bad) = (held, 0);
    for (type_url, bytes) in &list.resources {
        let (name, version, does, why) = match verdict(kind, type_url, bytes) {
            Verdict::Accepted { name, version } => {
                let does = match gone.remove(&name) {
                    Some(known) if known == version => "has it",
                    Some(_) => "changes it",
                    None => "takes it",
                };
                (name, version, does, String::new())
            }
            Verdict::Refused { name, why } => {
                bad += 1;
                let does = if gone.remove(&name).is_some() { "keeps what it had" } else { "does not take it" };
                (name, String::new(), does, why.to_string())
            }
            Verdict::Unreadable { why } => {
                bad += 1;
                (String::new(), String::new(), "deletes what it had", why.to_owned())
            }
        };
        table.row([called(kind, &name), version, does.into(), why]);
    }
    for (name, version) in gone {
        table.row([called(kind, &name), version, "deletes it".into(), "the list lacks it".into()]);
    }
    bad
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(types: &[&str]) -> Vec<Answer> {
        let answer = |type_url: &&str| Answer {
            type_url: type_url.to_string(),
            resources: Vec::new(),
            bytes: 60,
            after: Duration::from_millis(3),
        };
        types.iter().map(answer).collect()
    }

    #[test]
    fn with_all_types_answered_what_is_held_and_not_listed_is_deleted() {
        let held = Held::from([((Kind::ServiceEntry, "ns/a".into()), "v".into())]);
        let text = report(&answered(&TYPES), Some(&held), 5).unwrap();
        assert!(text.contains("ns/a   v        deletes it  the list lacks it"), "{text}");
    }

    #[test]
    fn without_a_list_everything_is_kept_and_the_check_fails() {
        let held = Held::from([((Kind::ServiceEntry, "ns/a".into()), "v".into())]);
        let others: Vec<&str> = TYPES.into_iter().filter(|t| Kind::of(t) != Some(Kind::ServiceEntry)).collect();
        let error = report(&answered(&others), Some(&held), 5).unwrap_err().to_string();
        assert!(error.contains("keeps it") && error.contains("1 of 16 types were not answered within 5 s"), "{error}");
    }

    #[test]
    fn an_item_that_is_refused_keeps_and_one_that_is_unreadable_deletes() {
        let mut answers = answered(&TYPES);
        let list = answers.iter_mut().find(|a| Kind::of(&a.type_url) == Some(Kind::ServiceEntry)).unwrap();
        list.resources.push(("something".into(), bytes::Bytes::new()));
        let error = report(&answers, None, 5).unwrap_err().to_string();
        assert!(error.contains("deletes what it had") && error.contains("not take 1 of the resources"), "{error}");
    }
}
