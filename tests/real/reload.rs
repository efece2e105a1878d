//! A configuration that changes a hundred times between a real Nacos and real Envoys: no request to a service that stays
//! fails, and what concerns no client reaches none.

use crate::{
    nacos::{content, envoys},
    support::{http::client, nacos::Nacos, portolan::Portolan, traffic::Traffic, until, upstream::Upstream},
};
use serde_json::Value;
use std::{fs, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);
const RELOADS: usize = 100;
/// After each reload every traffic makes so many requests before the next.
const BETWEEN: usize = 3;

/// What differs between two configurations.
#[derive(Debug, Clone, Default)]
struct Config {
    comment: usize,
    /// Sent to Envoys with each endpoint.
    label: usize,
    linger_seconds: usize,
    connect_timeout_seconds: usize,
    /// Timeout of the registry `nacos`: another one makes another connection.
    timeout_millis: usize,
    debounce_millis: usize,
    /// A registry of a file that has a service of its own, and an instance of one of Nacos'.
    has_more: bool,
    reversed: bool,
}

impl Config {
    /// Changes one key: which, the last digit of `number` decides.
    fn next(&mut self, number: usize) {
        match number % 10 {
            0 => self.comment = number,
            1 => self.has_more = true,
            2 => self.linger_seconds = number,
            3 => self.reversed = true,
            4 => self.connect_timeout_seconds = 5 + number,
            5 => self.timeout_millis = 3000 + number,
            6 => self.label = number,
            7 => self.debounce_millis = 10 + number,
            8 => self.has_more = false,
            _ => self.reversed = false,
        }
    }

    /// The names of its registries, in order.
    fn registries(&self) -> Vec<&str> {
        let mut names = vec!["steady", "nacos"];
        names.extend(self.has_more.then_some("more"));
        if self.reversed {
            names.reverse();
        }
        names
    }

    fn text(&self, nacos: &Nacos) -> String {
        let Config { comment, label, linger_seconds, connect_timeout_seconds, timeout_millis, debounce_millis, .. } =
            self;
        let registry = |name: &str| {
            let read = match name {
                "nacos" => {
                    format!("nacos: {{ servers: '{}', groups: [reload], timeout: {timeout_millis}ms }}", nacos.url())
                }
                file => format!("file: {{ path: {file}.yaml }}"),
            };
            // What it takes away goes at once: a hold would keep it, and prove nothing.
            let publish = format!(
                "host: '{{service}}.example', merge: host, addresses: {{ loopback: keep }}, linger: {linger_seconds}s, \
                 max_drop: 100%, relabel: [{{ set: number, value: '{label}' }}]"
            );
            format!("- {{ name: {name}, {read}, publish: {{ {publish} }} }}\n")
        };
        let registries: String = self.registries().into_iter().map(registry).collect();
        format!(
            "# {comment}\nenvoy: {{ cluster_name: '{{host}}', connect_timeout: {connect_timeout_seconds}s }}\n\
             catalog: {{ debounce: {debounce_millis}ms, max_debounce: 1s }}\nregistries:\n{registries}"
        )
    }
}

/// Writes it, asks for a reload, and waits until the registries are those of it.
async fn reload(portolan: &Portolan, nacos: &Nacos, config: &Config) {
    portolan.configure(&config.text(nacos));
    let post = client().post(format!("http://{}/api/v1/reload", portolan.admin));
    let answer = post.header("content-type", "application/json").send().await.unwrap();
    let (status, body) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{config:?}: {body}");
    let expected = config.registries();
    until(&format!("the registries {expected:?}"), LIMIT, || async {
        let list = portolan.json("/api/v1/registries").await;
        let names: Vec<&str> =
            list.as_array().unwrap().iter().filter_map(|registry| registry["name"].as_str()).collect();
        let synced = list.as_array().unwrap().iter().all(|registry| registry["state"] == "synced");
        if names == expected && synced { Ok(()) } else { Err(list.to_string()) }
    })
    .await;
}

/// Messages that Envoys were sent, by kind, and the streams that there are.
async fn messages(portolan: &Portolan) -> (Vec<u64>, Vec<u64>) {
    let (_, metrics) = portolan.get("/metrics").await;
    let count = |kind: &str| {
        let start = format!("portolan_xds_answers_total{{kind=\"{kind}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0)
    };
    let clients = portolan.json("/api/v1/clients").await["clients"].take();
    let mut streams: Vec<u64> = clients.as_array().unwrap().iter().filter_map(|c| c["stream"].as_u64()).collect();
    streams.sort_unstable();
    (["clusters", "endpoints"].map(count).into(), streams)
}

/// Whether every client has acknowledged what is served.
async fn all_acknowledged(portolan: &Portolan) -> Result<(), String> {
    let digests = portolan.json("/api/v1/digests").await;
    let clients = portolan.json("/api/v1/clients").await["clients"].take();
    let types = |client: &Value| client["types"].as_array().cloned().unwrap_or_default();
    let up_to_date = |of: &Value| of["sent"]["version"] == of["acknowledged"]["version"] && !of["sent"].is_null();
    let all: Vec<Value> = clients.as_array().unwrap().iter().flat_map(types).collect();
    if all.len() == 4 && all.iter().all(up_to_date) { Ok(()) } else { Err(format!("{digests}\n{clients}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_fail_no_request_and_what_concerns_nobody_reaches_nobody() {
    let Some(nacos) = Nacos::start("nacos3").await else { return };
    let mut upstreams = Vec::new();
    for name in ["orders", "orders", "orders", "users", "stock"] {
        upstreams.push(Upstream::start(name).await);
    }
    let at = |number: usize| upstreams[number].address.to_string();
    let instances = [("orders", at(0)), ("orders", at(1)), ("users", at(3))];
    let borrowed: Vec<(&str, &str)> = instances.iter().map(|(service, address)| (*service, &**address)).collect();
    let _beats = nacos.beats("reload", &borrowed);
    for (service, address) in &borrowed {
        nacos.register_patiently(service, address, "groupName=reload").await;
    }
    let mut config =
        Config { connect_timeout_seconds: 5, timeout_millis: 3000, debounce_millis: 10, ..Config::default() };
    let portolan = Portolan::start(&config.text(&nacos)).await;
    let write = |name: &str, text: String| fs::write(portolan.folder().join(name), text).unwrap();
    write("steady.yaml", format!("services: [{{ name: stock, endpoints: ['{}'] }}]", at(4)));
    write(
        "more.yaml",
        format!(
            "services: [{{ name: extra, endpoints: ['{}'] }}, {{ name: orders, endpoints: ['{}'] }}]",
            at(3),
            at(2)
        ),
    );
    portolan.ready().await;
    let Some(envoys) = envoys("authority.yaml", &portolan).await else { return };
    let mut traffic = Vec::new();
    for envoy in &envoys {
        for service in ["orders", "users", "stock"] {
            let host = format!("{service}.example");
            envoy
                .wait_until(&host, LIMIT, async || match envoy.get(&host, "/").await {
                    (200, _) => Ok(()),
                    other => Err(format!("{other:?}")),
                })
                .await;
            traffic.push(Traffic::start(envoy, host, service));
        }
    }
    for number in 1..=RELOADS {
        config.next(number);
        reload(&portolan, &nacos, &config).await;
        let made: Vec<usize> = traffic.iter().map(Traffic::made).collect();
        until("traffic to go on", LIMIT, || async {
            let now: Vec<usize> = traffic.iter().map(Traffic::made).collect();
            if made.iter().zip(&now).all(|(made, now)| *now >= made + BETWEEN) { Ok(()) } else { Err(now) }
        })
        .await;
        // What it adds and takes away is seen by Envoys, before it is the other way round again.
        let hosts = if config.has_more { 3 } else { 2 };
        for envoy in &envoys {
            envoy
                .wait_until(&format!("{hosts} instances after {config:?}"), LIMIT, async || {
                    let count = envoy.hosts("orders.example").await.as_array().map_or(0, Vec::len);
                    if count == hosts { Ok(()) } else { Err(count.to_string()) }
                })
                .await;
        }
    }
    concerns_nobody(&portolan, &nacos, &mut config).await;
    for traffic in traffic {
        traffic.stop_unharmed(RELOADS * BETWEEN).await;
    }
    content(&envoys).await;
    for envoy in &envoys {
        assert_eq!(envoy.stat("cluster.portolan.upstream_cx_total").await, Some(1), "it has connected again");
    }
}

/// Keys that concern no client: none of them is sent anything, until something comes that does concern it.
async fn concerns_nobody(portolan: &Portolan, nacos: &Nacos, config: &mut Config) {
    until("everything to be acknowledged", LIMIT, || all_acknowledged(portolan)).await;
    let (before, streams) = messages(portolan).await;
    for number in 1..=10 {
        (config.comment, config.debounce_millis, config.linger_seconds) = (1000 + number, 200 + number, 200 + number);
        reload(portolan, nacos, config).await;
    }
    config.timeout_millis += 1;
    reload(portolan, nacos, config).await;
    config.label += 1;
    reload(portolan, nacos, config).await;
    // One message of endpoints to each of the two, which is the first since.
    let expected = vec![before[0], before[1] + 2];
    until("the one message that concerns clients", LIMIT, || async {
        let (now, _) = messages(portolan).await;
        if now == expected { Ok(()) } else { Err((now, expected.clone())) }
    })
    .await;
    until("it to be acknowledged", LIMIT, || all_acknowledged(portolan)).await;
    assert_eq!(messages(portolan).await, (expected, streams), "clusters and endpoints that were sent, streams");
}
