//! Whole gateways, sidecars and programs: `tests/golden/traffic/<case>.yaml` and what comes out of it in `<case>.txt`.
//! `UPDATE_GOLDEN=1` rewrites the latter.
//!
//! The comments at a case's head say who is served (`# proxy: router,shop`) and which services there are
//! (`# service: orders.example 80`).

use super::*;
use std::{fmt::Write, fs, path::Path};

#[test]
fn whole_cases_become_what_was_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/traffic");
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    assert!(cases.len() >= 4, "golden cases are missing");
    let mut wrong = String::new();
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        let of = |word: &str| text.lines().filter_map(|line| line.strip_prefix(word)).collect::<Vec<_>>();
        let (services, rules) = (of("# service: "), rules(&text));
        let mut out = said(rules.findings());
        for proxy in of("# proxy: ").into_iter().map(proxy) {
            let traffic = traffic(&proxy, &rules, &shapes(&services), &Mesh::default(), &mut Memo::default());
            writeln!(out, "== {proxy}\n{}", said(&traffic.findings)).unwrap();
            for (kind, resource) in &traffic.resources {
                writeln!(out, "-- {} {}\n{:#}", kind.name(), resource.name(), json(*kind, resource)).unwrap();
            }
            let mut clusters = Vec::new();
            for text in &services {
                let (host, ports) = text.split_once(' ').unwrap_or((text, "80"));
                let of = service(host, ports.split('@').next().unwrap_or_default().trim());
                let made =
                    super::super::service(&of, &origin(), &proxy, &rules, &Mesh::default(), &envoy::Options::default());
                clusters.extend(made.0);
            }
            for (kind, resource) in &clusters {
                writeln!(out, "-- {} {}\n{:#}", kind.name(), resource.name(), json(*kind, resource)).unwrap();
            }
        }
        let path = case.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &out).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != out {
            write!(wrong, "--- {} is not what comes out now:\n{out}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nRead the difference; UPDATE_GOLDEN=1 writes it down.");
}

fn said(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let Finding { kind, name, place, code, text } = finding;
        format!("{} {name} {place}: {}: {text}\n", kind.name(), code.name())
    };
    findings.iter().map(line).collect()
}
