//! An error at the start has its cause, its place and a remedy.

use crate::support::portolan::Portolan;
use std::{
    fs,
    process::{Command, Output},
};

fn run(config: &str, arguments: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portolan.yaml");
    fs::write(&path, config).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_portolan")).args(arguments).arg("--config").arg(&path).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, text)
}

#[test]
fn all_mistakes_are_named_at_once_with_line_and_key_path() {
    let config = "version: 1\nxds: { listen: nowhere }\nregistries:\n- name: a\n  file: { path: x.yaml }\n  publish: { host: '{servce}' }\n- name: a\n  file: { pth: x.yaml }\n";
    for arguments in [vec!["check"], vec![]] {
        let (output, text) = run(config, &arguments);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for part in ["portolan.yaml:2:", "xds.listen", "portolan.yaml:6:", "{servce}", "registries[1].name", "pth"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_remedy() {
    let first = Portolan::start("").await;
    let config = format!("version: 1\nxds: {{ listen: '{}' }}\nadmin: {{ listen: '127.0.0.1:0' }}\n", first.xds);
    let (output, text) = run(&config, &[]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&first.xds.to_string()) && text.contains("xds.listen"), "{text}");
}
