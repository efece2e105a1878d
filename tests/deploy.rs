//! What `deploy/` has for those who run Portolan: what the chart gives is what Kubernetes and Portolan take, and the unit fits its
//! socket and its configuration.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use support::servers::{lacking, prepared, script};

/// Long enough for a token.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn printed(output: Output) -> Result<String, String> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// What the chart renders: its documents, and its notes.
struct Rendered(Value);

fn render(values: &str) -> Result<Rendered, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    let output = Command::new(script("helm")).arg("render").arg(deploy("chart")).arg(&file).output().unwrap();
    printed(output).map(|text| Rendered(serde_json::from_str(&text).unwrap()))
}

impl Rendered {
    fn all(&self) -> &[Value] {
        self.0["documents"].as_array().unwrap()
    }

    fn kinds(&self) -> Vec<&str> {
        self.all().iter().map(|document| document["kind"].as_str().unwrap()).collect()
    }

    fn named(&self, kind: &str, name: &str) -> &Value {
        let is = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
        self.all().iter().find(is).unwrap_or_else(|| panic!("{kind} {name} is not among {:?}", self.kinds()))
    }

    /// How Kubernetes asks by HTTP whether a pod is ready, and whether it is alive.
    fn probes(&self) -> [&Value; 2] {
        ["readinessProbe", "livenessProbe"].map(|probe| &self.pod()["containers"][0][probe]["httpGet"])
    }

    fn pod(&self) -> &Value {
        &self.named("StatefulSet", "test-portolan")["spec"]["template"]["spec"]
    }

    /// Name and mount path of each volume of the container.
    fn mounts(&self) -> Vec<(&str, &str)> {
        let mounts = self.pod()["containers"][0]["volumeMounts"].as_array().unwrap();
        mounts.iter().map(|of| (of["name"].as_str().unwrap(), of["mountPath"].as_str().unwrap())).collect()
    }

    /// Has `portolan check` look at its configuration, with what else is in the pod in this folder. What is in force by it.
    fn check(&self) -> Value {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in self.named("ConfigMap", "test-portolan")["data"].as_object().unwrap() {
            fs::write(folder.path().join(name), text.as_str().unwrap()).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args(["check", "--config"]).arg(folder.path()).env("READ", TOKEN).env("CHANGE", TOKEN.to_uppercase());
        printed(command.output().unwrap()).unwrap_or_else(|error| panic!("{error}"));
        let text = self.named("ConfigMap", "test-portolan")["data"]["portolan.yaml"].as_str().unwrap();
        serde_saphyr::from_str(text).unwrap()
    }
}

/// The state is on, whoever deploys it in whichever way; nothing in the pod may be changed but it.
#[tokio::test]
async fn the_chart_gives_what_kubernetes_and_portolan_take() {
    if !prepared(&["helm"]).await {
        return;
    }
    let chart = render("").unwrap();
    let kinds = ["ServiceAccount", "ConfigMap", "PodDisruptionBudget", "StatefulSet", "Service", "Service"];
    assert_eq!(chart.kinds(), kinds);
    let (pod, container) = (chart.pod(), &chart.pod()["containers"][0]);
    let config = chart.check();
    assert!(chart.mounts().contains(&("state", config["state"]["dir"].as_str().unwrap())), "{:?}", chart.mounts());
    assert_eq!(container["args"], serde_json::json!(["--config", "/etc/portolan"]));
    assert!(chart.mounts().contains(&("config", "/etc/portolan")), "{:?}", chart.mounts());
    // A single file of a volume never changes while the pod runs.
    assert!(!container.to_string().contains("subPath"), "{container}");
    assert!(pod["volumes"].as_array().unwrap().iter().any(|volume| volume["emptyDir"]["sizeLimit"] == "1Gi"), "{pod}");
    let own = &container["securityContext"];
    assert_eq!((&own["readOnlyRootFilesystem"], &own["allowPrivilegeEscalation"]), (&true.into(), &false.into()));
    assert_eq!(own["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &pod["automountServiceAccountToken"]),
        (&true.into(), &false.into())
    );
    // Probes and clients come to the port of the configuration.
    let port = config["xds"]["listen"].as_str().unwrap().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    assert_eq!(container["readinessProbe"]["grpc"]["port"], port);
    assert_eq!(container["ports"][0]["containerPort"], port);
    assert_eq!(chart.named("Service", "test-portolan")["spec"]["ports"][0]["port"], port);
    // It has the time that its clients need to leave.
    assert!(pod["terminationGracePeriodSeconds"].as_u64() > Some(10) && config["xds"]["drain"] == "10s", "{config}");
    assert!(chart.0["notes"].as_str().unwrap().contains("No registry is configured"));
    let spec = &chart.named("StatefulSet", "test-portolan")["spec"];
    let labels = spec["template"]["metadata"]["labels"].as_object().unwrap();
    for selector in [&spec["selector"]["matchLabels"], &chart.named("Service", "test-portolan")["spec"]["selector"]] {
        assert!(selector.as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value)), "{selector}");
    }
    assert_eq!(spec["serviceName"], chart.named("Service", "test-portolan-pods")["metadata"]["name"]);
}

#[tokio::test]
async fn the_chart_follows_its_values() {
    if !prepared(&["helm"]).await {
        return;
    }
    let values = "replicas: 1
config:
  xds: { drain: 20s }
  registries: [{ name: shop, file: { path: /etc/portolan-files/shop.list } }]
files: { shop.list: 'services: []' }
state: { storage: 2Gi, storageClass: fast }
secrets: { nacos: nacos-credentials }
serviceAccount: { name: mesh }
topologySpread: false
";
    let chart = render(values).unwrap();
    assert_eq!(
        chart.kinds(),
        ["ConfigMap", "ConfigMap", "StatefulSet", "Service", "Service"],
        "one replica has no budget"
    );
    let config = chart.check();
    assert_eq!((&config["xds"]["listen"], &config["xds"]["drain"]), (&"0.0.0.0:16010".into(), &"20s".into()));
    let claim = &chart.named("StatefulSet", "test-portolan")["spec"]["volumeClaimTemplates"][0];
    assert_eq!((&claim["metadata"]["name"], &claim["spec"]["storageClassName"]), (&"state".into(), &"fast".into()));
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "2Gi");
    assert!(!chart.pod().to_string().contains("emptyDir"), "{}", chart.pod());
    assert!(chart.mounts().contains(&("secret-nacos", "/run/secrets/nacos")), "{:?}", chart.mounts());
    assert!(chart.mounts().contains(&("files", "/etc/portolan-files")), "{:?}", chart.mounts());
    assert!(!chart.0["notes"].as_str().unwrap().contains("No registry"));

    // Admin is asked by others only with tokens.
    let chart = render("admin: { secret: tokens }").unwrap();
    let config: Value =
        serde_saphyr::from_str(chart.named("ConfigMap", "test-portolan")["data"]["portolan.yaml"].as_str().unwrap())
            .unwrap();
    assert_eq!(config["admin"]["listen"], "0.0.0.0:8081");
    let hosts = [0, 1].map(|pod| format!("test-portolan-{pod}.test-portolan-pods.mesh.svc"));
    assert_eq!(config["admin"]["hosts"], serde_json::json!(hosts));
    assert_eq!(config["admin"]["tokens"]["read"], "${file:/run/secrets/portolan-admin/read}");
    assert!(chart.mounts().contains(&("portolan-admin", "/run/secrets/portolan-admin")), "{:?}", chart.mounts());
    let [ready, alive] = chart.probes();
    assert_eq!((&ready["path"], &ready["scheme"]), (&"/ready?for=envoy".into(), &"HTTP".into()));
    assert_eq!((&alive["path"], &alive["scheme"]), (&"/healthz".into(), &"HTTP".into()));
    render(
        "admin: { secret: tokens }\nconfig: { admin: { tokens: { read: '${env:READ}', change: '${env:CHANGE}' } } }",
    )
    .unwrap()
    .check();
}

/// A listener of xDS at this port, with TLS.
fn with_tls(port: u16) -> String {
    format!("{{ name: edge, listen: '0.0.0.0:{port}', tls: {{ certificate: tls.crt, key: tls.key }} }}")
}

#[tokio::test]
async fn what_has_tls_is_probed_with_it_or_not_at_all() {
    if !prepared(&["helm"]).await {
        return;
    }
    let admin = "config: { admin: { tls: { certificate: tls.crt, key: tls.key } } }";
    let chart = render(&format!("admin: {{ secret: tokens }}\nreadyFor: istio\n{admin}")).unwrap();
    let [ready, alive] = chart.probes();
    assert_eq!((&ready["path"], &ready["scheme"]), (&"/ready?for=istio".into(), &"HTTPS".into()));
    assert_eq!((&alive["path"], &alive["scheme"]), (&"/healthz".into(), &"HTTPS".into()));
    assert!(chart.0["notes"].as_str().unwrap().contains("https://test-portolan-0."), "{}", chart.0["notes"]);
    let ports = chart.named("Service", "test-portolan-pods")["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports[1]["name"], "https-admin");

    let xds = |listeners: &str| format!("config: {{ xds: {{ listen: null, listeners: [{listeners}] }} }}\n");
    let refused = render(&xds(&with_tls(16_010))).err().unwrap();
    assert!(refused.contains("set admin.secret"), "{refused}");
    render(&(xds(&with_tls(16_010)) + "admin: { secret: tokens }")).unwrap();
    let plain = "{ name: mesh, listen: '0.0.0.0:16010' }";
    render(&xds(&format!("{plain}, {}", with_tls(16_011)))).unwrap();
}

#[tokio::test]
async fn values_that_mean_nothing_are_refused() {
    if !prepared(&["helm"]).await {
        return;
    }
    for values in [
        "replica: 3",
        "replicas: 0",
        "state: { size: 1Gi }",
        "config: { version: 2 }",
        "image: { repository: '' }",
        "readyFor: pods\nadmin: { secret: tokens }",
        "readyFor: istio",
    ] {
        assert!(render(values).is_err(), "{values}");
    }
}

/// All values of a key in a systemd unit, in whichever section.
fn of_unit<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_fits_its_socket_and_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read_to_string(deploy("systemd").join(name)).unwrap();
    let (service, socket, text) = (read("portolan.service"), read("portolan.socket"), read("portolan.yaml"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(["check", "--config"]).arg(deploy("systemd/portolan.yaml"));
    printed(command.output().unwrap()).unwrap();
    let config: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(of_unit(&socket, "ListenStream"), [config["xds"]["listen"].as_str().unwrap()]);
    let [state] = of_unit(&service, "StateDirectory")[..] else { panic!("{service}") };
    assert_eq!(config["state"]["dir"], format!("/var/lib/{state}"));
    assert_eq!(of_unit(&service, "Type"), ["notify"]);

    let binary = "/usr/local/bin/portolan";
    assert!(service.contains(binary));
    let service = service.replace(binary, env!("CARGO_BIN_EXE_portolan"));
    for (name, text) in [("portolan.service", &service), ("portolan.socket", &socket)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let analyze = |words: &[&str]| Command::new("systemd-analyze").args(words).current_dir(folder.path()).output();
    let Ok(verified) = analyze(&["verify", "--man=no", "./portolan.service", "./portolan.socket"]) else {
        lacking("systemd-analyze", "systemd is not installed");
        return;
    };
    let complaints = String::from_utf8(verified.stderr).unwrap();
    assert!(!complaints.contains("portolan"), "{complaints}");
    // What a service may do that the kernel can keep from it, from 0 to 10.
    let score = analyze(&["security", "--offline=true", "--threshold=20", "./portolan.service"]).unwrap();
    printed(score).unwrap();
}
