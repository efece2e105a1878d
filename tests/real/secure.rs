//! Real Envoys that prove who they are, started on what `portolan bootstrap envoy` prints: by a certificate with a SPIFFE id, by
//! a token, and by a Unix socket. Each holds exactly its own clusters, while certificates, authorities and tokens are
//! replaced under traffic, and who is no longer believed gets nothing new.

use crate::support::{envoy::Envoy, local::Local, mesh, traffic::Traffic, until, upstream::Upstream};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

const REST: &str = "
envoy: { cluster_name: '{host}' }
registries:
- name: public
  file: { path: public.yaml }
  publish: { max_drop: 100%, linger: 0s, addresses: { loopback: keep } }
- name: secret
  file: { path: secret.yaml }
  publish: { max_drop: 100%, linger: 0s, addresses: { loopback: keep } }
scopes:
- { name: cart, match: { name: 'spiffe://shop.example/ns/shop/sa/cart' } }
- { name: batch, match: { name: batch }, registries: public }
- { name: local, match: { listener: local, cluster: envoys }, registries: secret }
";

fn listeners(folder: &Path, token: &str) -> String {
    let tls = "certificate: server.pem, key: server.key";
    format!(
        "listeners: [
    {{ name: mesh, listen: '127.0.0.1:0', for: envoy, tls: {{ {tls}, trust_domains: {{ shop.example: authority.pem }} }}, node_id: '{{4}}-*' }},
    {{ name: tokens, listen: '127.0.0.1:0', tls: {{ {tls} }}, tokens: {{ batch: {token} }} }},
    {{ name: local, listen: 'unix:{}/xds.sock' }},
    ]",
        folder.display()
    )
}

/// Puts a file in the place of another, in one step.
fn put(folder: &Path, name: &str, text: &str) {
    let new = folder.join(format!("{name}.new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join(name)).unwrap();
}

/// An Envoy on what the command prints, with a folder of its own for its files.
struct Client {
    envoy: Arc<Envoy>,
    folder: TempDir,
}

impl Client {
    /// `files` are written before; `FOLDER` in arguments is their folder.
    async fn start(files: &[(&str, &str)], arguments: &[&str]) -> Option<Client> {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| put(folder.path(), name, text));
        let own = folder.path().display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        // The ports that the support for examples looks for.
        command.args(["bootstrap", "envoy", "--admin-bind", "127.0.0.1:9901", "--listen", "127.0.0.1:10000"]);
        command.args(arguments.iter().map(|argument| argument.replace("FOLDER", &own)));
        let output = command.env("PORTOLAN_ENVOY__CLUSTER_NAME", "'{host}'").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bootstrap = String::from_utf8(output.stdout).unwrap();
        let envoy = Envoy::start_on(&bootstrap).await?;
        Some(Client { envoy: Arc::new(envoy), folder })
    }

    fn put(&self, name: &str, text: &str) {
        put(self.folder.path(), name, text);
    }

    /// Waits until it has exactly these clusters of Portolan's.
    async fn has(&self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        let what = format!("exactly {expected:?}");
        self.envoy
            .wait_until(&what, LIMIT, async || {
                let dump = self.envoy.config_dump("dynamic_active_clusters").await;
                let name = |config: &serde_json::Value| config["cluster"]["name"].as_str().map(ToOwned::to_owned);
                let configs = dump["configs"].as_array().cloned().unwrap_or_default();
                let names: BTreeSet<String> = configs.iter().filter_map(name).collect();
                if names == expected { Ok(()) } else { Err(format!("{names:?}")) }
            })
            .await;
    }

    async fn is_connected(&self, expected: u64) {
        self.envoy
            .wait_until("another state of the connection", LIMIT, async || {
                match self.envoy.stat("control_plane.connected_state").await {
                    Some(state) if state == expected => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
    }
}

fn services(hosts: &[&str], address: &str) -> String {
    let services = hosts.iter().map(|host| format!("- {{ host: {host}, endpoints: ['{address}'] }}\n"));
    format!("services:\n{}", services.collect::<String>())
}

async fn portolan(address: &str) -> (Local, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "public.yaml", &services(&["orders.example"], address));
    put(folder.path(), "secret.yaml", &services(&["payroll.example"], address));
    for (name, from) in
        [("server.pem", "shop-server.pem"), ("server.key", "shop-server.key"), ("authority.pem", "shop.pem")]
    {
        put(folder.path(), name, &mesh::text(from));
    }
    let path = folder.path().to_owned();
    let portolan = Local::start_in(folder, &listeners(&path, OLD_TOKEN), "", REST).await;
    portolan.ready().await;
    (portolan, path)
}

const OLD_TOKEN: &str = "batch-0123456789-old";
const NEW_TOKEN: &str = "batch-0123456789-new";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_envoy_has_what_it_has_proved_to_be_and_goes_on_while_credentials_are_replaced() {
    let upstream = Upstream::start("answer").await;
    let address = upstream.address.to_string();
    let (portolan, folder) = portolan(&address).await;
    let [mesh, tokens] = ["mesh", "tokens"].map(|name| portolan.listener(name).to_string());
    let text = mesh::text;
    let both = text("shop.pem") + &text("next.pem");
    let (certificate, key) = (text("cart.pem"), text("cart.key"));

    let files = [("ca.pem", &*both), ("tls.pem", &certificate), ("tls.key", &key)];
    let words = [
        &["--xds", &mesh, "--tls-name", "localhost", "--node-id", "cart-1", "--service", "payroll.example"][..],
        &[
            "--tls-ca",
            "FOLDER/ca.pem",
            "--tls-cert",
            "FOLDER/tls.pem",
            "--tls-key",
            "FOLDER/tls.key",
            "--sds",
            "FOLDER/sds",
        ],
    ];
    let Some(cart) = Client::start(&files, &words.concat()).await else { return };
    let files = [("ca.pem", &*both), ("token", OLD_TOKEN)];
    let words = [
        &["--xds", &tokens, "--tls-name", "localhost", "--node-id", "batch-1", "--service", "orders.example"][..],
        &["--tls-ca", "FOLDER/ca.pem", "--token-file", "FOLDER/token", "--sds", "FOLDER/sds", "--sotw"],
    ];
    let Some(batch) = Client::start(&files, &words.concat()).await else { return };

    cart.has(&["orders.example", "payroll.example"]).await;
    batch.has(&["orders.example"]).await;
    let mut traffic = Vec::new();
    for (client, host) in [(&cart, "payroll.example"), (&batch, "orders.example")] {
        client
            .envoy
            .wait_until("an answer", LIMIT, async || match client.envoy.get(host, "/").await {
                (200, _) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        traffic.push(Traffic::start(&client.envoy, host.into(), "answer"));
    }

    // Both authorities, the client's next certificate, the server's next one.
    portolan.put("authority.pem", &both);
    cart.put("tls.key", &text("next-cart.key"));
    cart.put("tls.pem", &text("next-cart.pem"));
    portolan.put("server.key", &text("next-server.key"));
    portolan.put("server.pem", &text("next-server.pem"));
    // The old authority goes: the connection with the certificate of before is ended, and the next one has the new one.
    let next = until("the new authority", LIMIT, async || {
        portolan.put("authority.pem", &text("next.pem"));
        let clients = portolan.json("/api/v1/clients").await;
        let streams = clients["clients"].as_array().cloned().unwrap_or_default();
        let found =
            streams.into_iter().find(|client| client["listener"] == "mesh" && client["stream"].as_u64() > Some(2));
        found.ok_or_else(|| clients.to_string())
    })
    .await;
    assert_eq!(next["identity"], "spiffe://shop.example/ns/shop/sa/cart");
    put(&folder, "secret.yaml", &services(&["payroll.example", "audit.example"], &address));
    cart.has(&["orders.example", "payroll.example", "audit.example"]).await;

    // A new token beside the old one, then alone.
    let two = listeners(&folder, &format!("[{OLD_TOKEN}, {NEW_TOKEN}]"));
    portolan.reconfigure_with(&two, REST);
    batch.put("token", NEW_TOKEN);
    until("the new token alone", LIMIT, async || {
        portolan.reconfigure_with(&listeners(&folder, NEW_TOKEN), REST);
        let (_, metrics) = portolan.get("/metrics").await;
        let counted = metrics.contains("xds_clients_refused_total{listener=\"tokens\",reason=\"token\"}");
        if counted { Ok(()) } else { Err("its stream goes on") }
    })
    .await;
    batch.is_connected(1).await;
    put(&folder, "public.yaml", &services(&["orders.example", "users.example"], &address));
    batch.has(&["orders.example", "users.example"]).await;
    cart.has(&["orders.example", "users.example", "payroll.example", "audit.example"]).await;

    // Nobody vouches for the cart any more: it is cut off, and carries what it has.
    portolan.put("authority.pem", &text("partner.pem"));
    cart.is_connected(0).await;
    put(&folder, "public.yaml", &services(&["orders.example"], &address));
    batch.has(&["orders.example"]).await;
    cart.has(&["orders.example", "users.example", "payroll.example", "audit.example"]).await;
    for traffic in traffic {
        traffic.stop_unharmed(10).await;
    }
    for client in [&cart, &batch] {
        assert_eq!(client.envoy.complaints().await, []);
    }
}

#[tokio::test]
async fn an_envoy_on_the_same_machine_comes_by_a_socket() {
    let upstream = Upstream::start("answer").await;
    let (portolan, folder) = portolan(&upstream.address.to_string()).await;
    let example =
        Envoy::example("socket.yaml").replace("/run/portolan/xds.sock", &folder.join("xds.sock").display().to_string());
    let Some(envoy) = Envoy::start_on(&example).await else { return };
    let client = Client { envoy: Arc::new(envoy), folder: tempfile::tempdir().unwrap() };
    client.has(&["payroll.example"]).await;
    let clients = portolan.json("/api/v1/clients").await;
    assert_eq!(clients["clients"][0]["listener"], "local");
}
