//! A secret of the configuration is in nothing that Portolan writes or answers.

use crate::support::{
    fake_nacos::{FakeNacos, Generation, instance},
    portolan::Portolan,
    until,
};
use std::{fs, net::TcpListener, process::Command, time::Duration};

const PLANTED: &str = "pl4nted-s3cret";

#[tokio::test]
async fn a_planted_secret_is_in_no_log_dump_metric_or_output() {
    // A port that accepts and never answers: the login fails, and the failure is logged, too.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = registry.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, format!("{PLANTED}\n")).unwrap();
    let nacos = |name: &str, password: &str| {
        format!(
            "- name: {name}\n  required: false\n  nacos: {{ servers: ['http://{address}'], timeout: 300ms, username: reader, password: '{password}' }}\n"
        )
    };
    // A server that accepts the password and returns a token, which is a secret as well.
    let fake = FakeNacos::start(Generation::V2).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 8080)]);
    fake.model().login = Some(("reader".into(), PLANTED.into(), 18_000));
    fake.model().token = format!("{PLANTED}-token");
    let good = nacos("good", PLANTED).replace(&address.to_string(), &fake.address.to_string());
    let state = folder.path().join("state");
    let config = format!(
        "state: {{ dir: '{}', quiet: 100ms }}\nregistries:\n{}{}{}",
        state.display(),
        nacos("literal", PLANTED),
        nacos("referred", &format!("${{file:{}}}", file.display())),
        good.replace(
            "timeout:",
            &format!("headers: {{ x-key: '{PLANTED}' }}, manifests: {{ group: ISTIO }}, timeout:")
        )
    );
    let portolan = Portolan::start(&config).await;
    portolan.ready().await;
    until("the registry that takes the password", Duration::from_secs(60), || async {
        let services = portolan.json("/api/v1/services").await;
        if services["total"] == 1 { Ok(()) } else { Err(services) }
    })
    .await;
    let mut seen = Vec::new();
    // What is kept on disk: of services, and of what has happened.
    let files = ["good.state", "history.jsonl"].map(|name| state.join(name));
    until("the state on disk", Duration::from_secs(60), || async {
        if files.iter().all(|file| file.exists()) { Ok(()) } else { Err(portolan.log()) }
    })
    .await;
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        // The lock is empty.
        seen.push((path.display().to_string(), format!("{text} ")));
    }
    for path in [
        "/",
        "/healthz",
        "/ready",
        "/metrics",
        "/api/v1/registries",
        "/api/v1/services",
        "/api/v1/manifests",
        "/api/v1/clients",
        "/api/v1/digests",
        "/api/v1/resources/clusters",
        "/api/v1/resources/endpoints",
        "/api/v1/resources/serviceentries",
        "/api/v1/rejected",
        "/api/v1/config",
        "/meshregistry/clients",
        "/meshregistry/nacos",
        "/meshregistry/nacos?registries=true",
    ] {
        let (status, body) = portolan.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        seen.push((path.to_string(), body));
    }
    let admin = format!("http://{}", portolan.admin);
    let path = portolan.config();
    let config = path.to_str().unwrap();
    for arguments in [
        vec!["check", "--config", config],
        vec!["get", "registries", "--admin", &admin],
        vec!["get", "services", "--admin", &admin],
        vec!["get", "manifests", "--admin", &admin],
        vec!["--config", "/nowhere/portolan.yaml", "check"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_portolan")).args(&arguments).output().unwrap();
        seen.push((
            arguments.join(" "),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        ));
    }
    seen.push(("the log".into(), portolan.log()));
    for (what, text) in seen {
        assert!(!text.is_empty(), "{what} is empty");
        assert!(!text.contains(PLANTED), "{what} shows the secret: {text}");
    }
}

/// Configurations that are refused, each with the secret in an address.
const MISTAKEN: [&str; 8] = [
    "nacos: { servers: ['http://nacos:8848?token=pl4nted-s3cret'] }",
    "nacos: { servers: ['http://reader:pl4nted-s3cret@nacos:8848'] }",
    "nacos: { servers: ['nacos:8848/#pl4nted-s3cret'] }",
    "nacos: { address_server: 'http://nacos:8080/list?key=pl4nted-s3cret' }",
    "nacos: { servers: ['http://nacos:8848'], context_path: '/nacos?accessToken=pl4nted-s3cret' }",
    "eureka: { servers: ['http://eureka:8761/eureka?token=pl4nted-s3cret'] }",
    "eureka: { servers: ['http://reader:pl4nted-s3cret@eureka:port'] }",
    "zookeeper: { servers: ['zk:2181?digest=pl4nted-s3cret', 'reader:pl4nted-s3cret@zk:2181'] }",
];

#[test]
fn a_secret_in_an_address_is_in_no_problem() {
    for registry in MISTAKEN {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portolan.yaml");
        fs::write(&path, format!("version: 1\nregistries:\n- name: a\n  {registry}\n")).unwrap();
        for command in ["check", "serve"] {
            let mut process = Command::new(env!("CARGO_BIN_EXE_portolan"));
            let output = process.arg(command).arg("--config").arg(&path).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert!(output.status.code() == Some(1) && text.contains("registries[0]"), "{registry}: {text}");
            assert!(!text.contains(PLANTED), "{registry}: {text}");
        }
    }
}

#[test]
fn a_secret_in_the_address_of_admin_is_in_no_error() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (admin, expected) in [
        (format!("http://reader:{PLANTED}@{nobody}"), nobody.to_string()),
        (format!("http://{nobody}/?token={PLANTED}"), nobody.to_string()),
        (format!("http://reader:{PLANTED}@host:port"), "write it as".into()),
        (format!("host:port?token={PLANTED}"), "write it as".into()),
        (format!("reader:{PLANTED}@host:port"), "write it as".into()),
    ] {
        for (arguments, code, expected) in
            [(vec!["get", "services"], 1, &*expected), (vec!["get", "--help"], 0, "PORTOLAN_ADMIN")]
        {
            let mut process = Command::new(env!("CARGO_BIN_EXE_portolan"));
            let output = process.args(arguments).env("PORTOLAN_ADMIN", &admin).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert!(output.status.code() == Some(code) && text.contains(expected), "{admin}: {text}");
            assert!(!text.contains(PLANTED), "{text}");
        }
    }
}
