//! The program's commands, run as people run them. (`serve` and `get` against a running one: `tests/feature/`.)

#[path = "support/mod.rs"]
mod support;

use std::process::{Command, Output};
use support::envoy::validate;

fn portolan(arguments: &[&str]) -> (Output, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    let output = command.args(arguments).env_remove("PORTOLAN_CONFIG").output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    (output, out, err)
}

#[tokio::test]
async fn envoy_takes_every_bootstrap_that_is_printed() {
    for arguments in [
        vec![],
        vec!["--sotw"],
        vec!["--xds", "a.example:1,b.example:2", "--node-id", "a\"b: #", "--node-cluster", "'"],
        vec!["--service", "orders.example:9090", "--listen", "[::1]:10000", "--admin-bind", "0.0.0.0:9901"],
    ] {
        let (output, bootstrap, error) = portolan(&[&["bootstrap", "envoy"], arguments.as_slice()].concat());
        assert!(output.status.success(), "{arguments:?}: {error}");
        if let Some(validated) = validate(&bootstrap).await {
            validated.unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{bootstrap}"));
        }
    }
}

#[test]
fn check_tells_all_problems_or_what_the_configuration_means() {
    let (output, out, err) = portolan(&["check", "--config", "tests/golden/config/several-mistakes/in.yaml"]);
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{err}");
    assert!(err.lines().count() > 20 && err.lines().all(|line| line.starts_with("tests/golden/config/")), "{err}");
    let (output, out, err) = portolan(&["--config", "tests/golden/config/reachable/in.yaml", "check"]);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with("warning: ")).count(), 2, "{out}");
    assert!(out.contains("in.yaml is good") && out.contains("xDS on 0.0.0.0:16010"), "{out}");
    let (output, out, _) = portolan(&["check"]);
    assert!(output.status.success() && out.starts_with("The built-in example is good.\n"), "{out}");
}

#[test]
fn check_tells_which_scopes_go_by_the_call_model_and_whether_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portolan.yaml");
    let summary = |dubbo: &str| {
        let text = format!(
            "version: 1\nregistries: [{{ name: zk, zookeeper: {{ servers: ['127.0.0.1:1'], dubbo: {{ {dubbo} }} }} }}]\n\
             scopes: [{{ name: dubbo, calls: {{ application: cluster }} }}]\n"
        );
        std::fs::write(&file, text).unwrap();
        let (output, out, err) = portolan(&["check", "--config", file.to_str().unwrap()]);
        assert!(output.status.success(), "{err}");
        out
    };
    let out = summary("consumers: true");
    assert!(out.contains("those its application needs") && !out.contains("warning"), "{out}");
    let out = summary("");
    assert!(out.starts_with("warning: ") && out.contains("`calls` narrows nobody"), "{out}");
}

#[test]
fn an_unknown_argument_ends_with_2_and_the_usage() {
    let (output, _, err) = portolan(&["srve"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("serve"), "{err}");
    assert_eq!(portolan(&["--version"]).1, format!("portolan {}\n", env!("CARGO_PKG_VERSION")));
}
