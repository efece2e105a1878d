//! What users copy out of `envoy-examples/` is what a real Envoy takes, without a warning.

mod support;

use std::{fs, net::SocketAddr, path::Path};
use support::{
    envoy::{ADMIN, Envoy, LISTENER, XDS, validate},
    mesh,
};
use tempfile::TempDir;

/// The bootstraps; the other files are Portolan's.
fn bootstraps() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy-examples");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| name.ends_with(".yaml") && !name.contains(".portolan.") && !name.contains(".services."))
        .collect();
    names.sort();
    names
}

/// The text of an example, with its documents and files of certificates and tokens in a folder.
fn prepared(name: &str) -> (String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().display().to_string();
    for (name, from) in
        [("ca.crt", "shop.pem"), ("tls.crt", "cart.pem"), ("tls.key", "cart.key"), ("token", "none-revoked.crl")]
    {
        fs::write(folder.path().join(name), mesh::text(from)).unwrap();
    }
    for name in ["authority", "certificate", "token"].map(|name| format!("portolan-{name}.yaml")) {
        let document = Envoy::example(&format!("sds/{name}")).replace("/etc/envoy/tls", &own);
        fs::write(folder.path().join(name), document).unwrap();
    }
    (Envoy::example(name).replace("envoy-examples/sds", &own), folder)
}

#[tokio::test]
async fn a_real_envoy_takes_every_example() {
    let names = bootstraps();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let (text, _folder) = prepared(&name);
        let Some(answer) = validate(&text).await else { return };
        assert_eq!(answer, Ok(()), "{name}");
    }
}

#[test]
fn every_example_uses_the_default_ports_and_says_how_to_try_it() {
    for name in bootstraps() {
        let text = Envoy::example(&name);
        let ports = if name == "socket.yaml" { &[LISTENER, ADMIN][..] } else { &[XDS, LISTENER, ADMIN] };
        for port in ports {
            port.replaced(&text, SocketAddr::from(([127, 0, 0, 1], 1)));
        }
        for line in ["cargo run --release", &format!("envoy -c envoy-examples/{name}"), "curl -i "] {
            assert!(text.contains(line), "{name} does not say {line:?}");
        }
    }
}

#[test]
fn the_readme_lists_every_example() {
    let readme = Envoy::example("README.md");
    for name in bootstraps() {
        assert!(readme.contains(&format!("[{name}]({name})")), "{name}");
    }
}
