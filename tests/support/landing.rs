//! Where calls land, and whether they do, while a fleet and its rules change below them.

use super::{
    envoy::Envoy,
    netns,
    portolan::Portolan,
    programs::{Consumer, Program},
    until,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(90);

/// Waits until a host has an instance at each of these ports, each once and no other.
pub async fn until_instances(portolan: &Portolan, host: &str, ports: &[u16]) {
    let mut expected = ports.to_vec();
    expected.sort_unstable();
    until(host, LIMIT, async || {
        let (status, body) = portolan.get(&format!("/api/v1/services/{host}")).await;
        let detail: serde_json::Value = serde_json::from_str(&body).map_err(|_| format!("{status} {body}"))?;
        let port = |instance: &serde_json::Value| {
            instance["ports"].as_object().into_iter().flatten().filter_map(|(_, port)| port.as_u64()).next()
        };
        let mut found: Vec<u16> =
            detail["instances"].as_array().into_iter().flatten().filter_map(|i| Some(port(i)? as u16)).collect();
        found.sort_unstable();
        if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}: {body}")) }
    })
    .await;
}

/// The endpoints that an Envoy has in a cluster: ports with weights.
pub async fn hosts(envoy: &Envoy, cluster: &str) -> BTreeMap<u64, u64> {
    let hosts = envoy.hosts(cluster).await;
    let host = |host: &serde_json::Value| {
        let address = &host["address"]["socket_address"];
        assert_eq!(address["address"], netns::ADDRESS);
        (address["port_value"].as_u64().unwrap(), host["weight"].as_u64().unwrap())
    };
    hosts.as_array().into_iter().flatten().map(host).collect()
}

/// Waits until an Envoy has exactly these ports and weights in a cluster.
pub async fn until_hosts(what: &str, envoy: &Envoy, cluster: &str, expected: &[(u16, u64)]) {
    let expected: BTreeMap<u64, u64> = expected.iter().map(|(port, weight)| (u64::from(*port), *weight)).collect();
    envoy
        .wait_until(what, LIMIT, async || match hosts(envoy, cluster).await {
            hosts if hosts == expected => Ok(()),
            hosts => Err(format!("{hosts:?}, not {expected:?}")),
        })
        .await;
}

/// Makes so many calls. Returns how many each provider answered, by its name; `FAILED` are those that were not
/// answered.
pub async fn landed(consumer: &mut Consumer, calls: usize) -> BTreeMap<String, usize> {
    let mut landed = BTreeMap::new();
    for number in 0..calls {
        let answer = consumer.call(&number.to_string()).await.unwrap_or_else(|why| format!("FAILED {why}"));
        *landed.entry(answer.split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    landed
}

/// Makes rounds of `calls` calls, until what [`landed`] gives for one round fulfils `holds`.
pub async fn until_landed(
    what: &str,
    consumer: &mut Consumer,
    calls: usize,
    holds: impl Fn(&BTreeMap<String, usize>) -> bool,
) {
    let end = Instant::now() + LIMIT;
    loop {
        let landed = landed(consumer, calls).await;
        if holds(&landed) {
            return;
        }
        assert!(Instant::now() < end, "{what}: {landed:?}");
    }
}

/// An override rule of Dubbo with one item in `configs`. `scope` is `service` or `application`, `key` its name.
pub fn dubbo_rule(scope: &str, key: &str, item: &str) -> String {
    format!("configVersion: v2.7\nscope: {scope}\nkey: {key}\nenabled: true\nconfigs:\n- {item}\n")
}

/// Two providers of `shop.Orders`, which answer as `first` and `second`, behind an Envoy. `put` writes the rule of the
/// service, or takes it away: calls land by the weights that it sets, and not at whom it disables.
pub async fn rules_move_calls(
    envoy: &Envoy,
    cluster: &str,
    (first, second): (&Program, &Program),
    put: impl AsyncFn(Option<&str>),
) {
    until_hosts("no rule", envoy, cluster, &[(first.port, 100), (second.port, 100)]).await;
    let mut consumer = Consumer::start(3, envoy.listener.port(), &["protocol=tri"]).await;
    consumer.answer("0").await;
    let at = format!("'{}:{}'", netns::ADDRESS, first.port);
    let set = async |item: &str| put(Some(&dubbo_rule("service", "shop.Orders", item))).await;
    set(&format!("side: consumer\n  providerAddresses: [{at}]\n  parameters: {{ weight: 900 }}")).await;
    until_hosts("weights", envoy, cluster, &[(first.port, 900), (second.port, 100)]).await;
    let shares = landed(&mut consumer, 200).await;
    // Of 200 calls 180 are expected; fewer than 150 are a chance of one in ten thousand millions.
    assert!(shares["first"] >= 150 && shares.get("second").is_some_and(|second| *second >= 1), "{shares:?}");
    // One is disabled at the providers' side: it says so by itself, too.
    set(&format!("side: provider\n  addresses: [{at}]\n  parameters: {{ disabled: true }}")).await;
    until_hosts("one is disabled", envoy, cluster, &[(second.port, 100)]).await;
    assert_eq!(landed(&mut consumer, 20).await, BTreeMap::from([("second".to_owned(), 20)]));
    put(None).await;
    until_hosts("no rule again", envoy, cluster, &[(first.port, 100), (second.port, 100)]).await;
    assert_eq!(envoy.complaints().await, []);
}

/// A consumer that calls again and again, until [`Calls::end`].
pub struct Calls {
    end: Arc<AtomicBool>,
    last: tokio::sync::watch::Receiver<String>,
    calling: tokio::task::JoinHandle<(usize, Vec<String>)>,
}

impl Calls {
    /// Begins once a first call was answered: a consumer may be ready before its connection is.
    pub async fn begin(mut consumer: Consumer) -> Calls {
        consumer.answer("0").await;
        let (end, (say, last)) = (Arc::new(AtomicBool::new(false)), tokio::sync::watch::channel(String::new()));
        let is_over = end.clone();
        let calling = tokio::spawn(async move {
            let (mut answered, mut failed) = (0, Vec::new());
            while !is_over.load(Ordering::Relaxed) {
                match consumer.call(&answered.to_string()).await {
                    Ok(answer) => {
                        answered += 1;
                        say.send_replace(answer);
                    }
                    Err(why) => failed.push(why),
                }
            }
            (answered, failed)
        });
        Calls { end, last, calling }
    }

    /// Waits until a call is answered by that provider.
    pub async fn until_answered(&self, by: &str) {
        let mut last = self.last.clone();
        let answered = last.wait_for(|answer| answer.starts_with(by));
        tokio::time::timeout(LIMIT, answered).await.expect(by).expect("somebody calls");
    }

    /// Stops calling. Returns how many calls were answered, and why others were not.
    pub async fn end(self) -> (usize, Vec<String>) {
        self.end.store(true, Ordering::Relaxed);
        self.calling.await.unwrap()
    }
}

/// From interfaces to applications, provider by provider, while somebody calls: each provider is there once at any time,
/// and no call fails. `provide` starts one of a mode, which answers as it is told; `withdraw` takes a provider's instance of the
/// application `shop` out of the registry.
pub async fn a_fleet_goes_from_interfaces_to_applications(
    portolan: &Portolan,
    envoy: &Envoy,
    cluster: &str,
    provide: impl AsyncFn(&str, &str) -> Program,
    withdraw: impl AsyncFn(&Program),
) {
    let (interface, application) = ("shop.orders.dubbo", "shop.dubbo");
    let first = provide("interface", "first").await;
    until_instances(portolan, interface, &[first.port]).await;
    let calls = Calls::begin(Consumer::start(3, envoy.listener.port(), &["protocol=tri"]).await).await;
    calls.until_answered("first").await;
    // Both ways, beside the first: by Dubbo's steps the application level counts from now on.
    let second = provide("all", "second").await;
    until_instances(portolan, interface, &[second.port]).await;
    until_instances(portolan, application, &[second.port]).await;
    calls.until_answered("second").await;
    first.stop().await;
    let third = provide("instance", "third").await;
    until_instances(portolan, interface, &[second.port, third.port]).await;
    calls.until_answered("third").await;
    // Triple answers "Service not found" as soon as a provider is told to stop; so it leaves the registry before that.
    withdraw(&second).await;
    until_hosts("the second to leave", envoy, cluster, &[(third.port, 100)]).await;
    second.stop().await;
    until_instances(portolan, interface, &[third.port]).await;
    until_instances(portolan, application, &[third.port]).await;
    calls.until_answered("third").await;
    let (answered, failed) = calls.end().await;
    assert_eq!(failed, Vec::<String>::new(), "of {answered} calls");
    assert_eq!(envoy.complaints().await, []);
}
