//! What the process needs of its machine: its configuration and its ports, and nothing else.

use crate::support::{
    fake_nacos::{FakeNacos, Generation, instance},
    http::client,
    until,
};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn it_needs_no_rights_no_disk_and_no_proxy_of_the_environment() {
    let nacos = FakeNacos::start(Generation::V2).await;
    nacos.model().put("orders", vec![instance("192.0.2.1", 80)]);
    let (folder, admin) = (tempfile::tempdir().unwrap(), free());
    let config = folder.path().join("portolan.yaml");
    let text = format!(
        "version: 1\nxds: {{ listen: '127.0.0.1:0' }}\nadmin: {{ listen: '{admin}' }}\nregistries:\n- name: nacos\n  nacos: {{ servers: ['{}'], mode: poll }}\n",
        nacos.url()
    );
    fs::write(&config, text).unwrap();
    // A byte that it writes into a file ends it, and no program that it becomes has a capability, whoever runs this.
    let mut command = Command::new("prlimit");
    command.args(["--fsize=0:0", "setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]);
    command.arg(env!("CARGO_BIN_EXE_portolan")).arg("--config").arg(&config);
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(proxy, "http://127.0.0.1:9");
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy").current_dir("/");
    let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until("the service to be published", Duration::from_secs(60), || async {
        let asked = client().get(format!("http://{admin}/api/v1/services")).send().await;
        let services = asked.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
        if services.contains("orders.default-group.public.nacos") { Ok(()) } else { Err(services) }
    })
    .await;
    let pid = running.0.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let capabilities = status.lines().find(|line| line.starts_with("CapEff:")).unwrap();
    assert!(capabilities.trim_end().ends_with("0000000000000000"), "{capabilities}");
    assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
    let ended = until("it to end", Duration::from_secs(60), || {
        let ended = running.0.try_wait().unwrap();
        async move { ended.ok_or("it runs") }
    })
    .await;
    assert!(ended.success(), "{ended}");
}
