//! Nacos is killed: Envoys go on. It comes back with its data: nothing happens. It comes back empty: Envoys go on for as
//! long as the policy says, or until the instances have registered again.

use super::{LIMIT, content, envoys, registry};
use crate::support::{envoy::Envoy, nacos::Nacos, portolan::Portolan, traffic::Traffic, until, upstream::Upstream};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longer than every timeout in the configuration, and than what the catalog takes for a lost packet.
const OUTAGE: Duration = Duration::from_secs(6);
/// Hold of the registries whose instances stay away; long enough to be seen on a busy machine.
const HOLD: Duration = Duration::from_secs(12);
/// Registry, service and how many instances. Each registry has a hold of its own.
const SERVICES: [(&str, &str, usize); 4] =
    [("few", "few", 5), ("many", "many", 50), ("again", "again", 5), ("again", "last", 1)];

/// The servers of this case. The instances of each service answer with its name.
struct Scene<'a> {
    nacos: &'a mut Nacos,
    upstreams: BTreeMap<&'static str, Vec<Upstream>>,
    portolan: Portolan,
    envoys: [Arc<Envoy>; 2],
}

pub async fn is_survived(nacos: &mut Nacos) {
    let mut upstreams: BTreeMap<&str, Vec<Upstream>> = BTreeMap::new();
    for (group, service, count) in SERVICES {
        for _ in 0..count {
            let upstream = Upstream::start(service).await;
            nacos.register(service, &upstream.address.to_string(), &persistent(group)).await;
            upstreams.entry(service).or_default().push(upstream);
        }
    }
    let mut config = String::from("envoy: { cluster_name: '{host}' }\nregistries:\n");
    for (name, hold) in [("few", HOLD), ("many", HOLD), ("again", Duration::from_secs(60))] {
        config += &registry(nacos, name, "400ms", &format!("port: 80, hold: {}s", hold.as_secs()));
    }
    let portolan = Portolan::start(&config).await;
    portolan.ready().await;
    let Some(envoys) = envoys("authority.yaml", &portolan).await else { return };
    let mut scene = Scene { nacos, upstreams, portolan, envoys };
    scene.until_all_are("synced").await;
    for (_, service, count) in SERVICES {
        scene.until_counts(service, count).await;
    }
    let traffic = SERVICES.map(|(_, service, _)| scene.traffic(service));
    scene.comes_back_with_its_data().await;
    scene.comes_back_empty(traffic).await;
    content(&scene.envoys).await;
}

impl Scene<'_> {
    async fn comes_back_with_its_data(&mut self) {
        self.nacos.kill().await;
        self.until_all_are("stale").await;
        tokio::time::sleep(OUTAGE).await;
        self.until_all_are("stale").await;
        let refused = format!("cannot reach {}", self.nacos.url());
        for registry in ["few", "many", "again"] {
            let status = self.status(registry).await;
            assert!(status["scopes"][0]["error"].to_string().contains(&refused), "{status}");
        }
        self.all_are_there().await;
        self.nacos.restart().await;
        self.until_all_are("synced").await;
        for (registry, count) in [("few", 5), ("many", 50), ("again", 6)] {
            let status = self.status(registry).await;
            assert_eq!((&status["endpoints"], &status["hold"]), (&count.into(), &Value::Null), "{status}");
        }
        self.all_are_there().await;
    }

    /// `few` and `many` stay away for good; the instances in `again` register again one by one.
    async fn comes_back_empty(&mut self, [few, many, again, last]: [Vec<Traffic>; 4]) {
        self.nacos.kill().await;
        self.until_all_are("stale").await;
        tokio::time::sleep(OUTAGE).await;
        self.all_are_there().await;
        self.nacos.restart_empty().await;
        tokio::join!(
            self.is_held_for_its_time("few", 5, few),
            self.is_held_for_its_time("many", 50, many),
            self.registers_again(again.into_iter().chain(last)),
        );
    }

    async fn is_held_for_its_time(&self, name: &'static str, count: usize, steady: Vec<Traffic>) {
        self.held(name, count).await;
        let started = Instant::now();
        let mut steady = Some(steady);
        loop {
            // Counted before the hold is asked for: as long as that lasts, all were there.
            let counts = self.counts(name).await;
            if self.status(name).await["hold"].is_null() {
                break;
            }
            assert_eq!(counts, [count, count], "{:?} into the hold", started.elapsed());
            if started.elapsed() > HOLD / 2 {
                // The traffic ends while all are there, on a busy machine, too.
                for traffic in steady.take().into_iter().flatten() {
                    traffic.stop_unharmed(50).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(steady.is_none(), "the hold was over before half of its time");
        self.until_counts(name, 0).await;
    }

    async fn registers_again(&self, steady: impl Iterator<Item = Traffic>) {
        self.held("again", 6).await;
        for upstream in &self.upstreams["again"] {
            self.nacos.register_patiently("again", &upstream.address.to_string(), &persistent("again")).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        // Enough are back, and yet nobody has been cut off who registers late.
        self.until_again("again", 5, Some(1)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let late = self.upstreams["last"][0].address.to_string();
        self.nacos.register_patiently("last", &late, &persistent("again")).await;
        self.until_again("again", 6, None).await;
        self.until_counts("again", 5).await;
        self.until_counts("last", 1).await;
        for traffic in steady {
            traffic.stop_unharmed(100).await;
        }
    }

    /// What a registry's line in the admin interface says.
    async fn status(&self, name: &str) -> Value {
        let all = self.portolan.json("/api/v1/registries").await;
        all.as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone()
    }

    async fn until_all_are(&self, state: &str) {
        until(&format!("all registries to be {state}"), LIMIT, || async {
            let all = self.portolan.json("/api/v1/registries").await;
            let right = all.as_array().unwrap().iter().all(|registry| registry["state"] == state);
            if right { Ok(()) } else { Err(all.to_string()) }
        })
        .await;
    }

    /// Waits until a registry holds so many instances.
    async fn held(&self, name: &str, count: usize) {
        until(&format!("{name} to be held"), LIMIT, || async {
            let status = self.status(name).await;
            if status["hold"]["endpoints"] == count { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// Waits until a registry has so many instances, and so many are held back.
    async fn until_again(&self, name: &str, registered: usize, held: Option<usize>) {
        until(&format!("{registered} instances to be registered again"), LIMIT, || async {
            let status = self.status(name).await;
            let held = held.map_or(Value::Null, Value::from);
            let right = status["endpoints"] == registered && status["hold"]["endpoints"] == held;
            if right { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// How many instances of a service each Envoy has.
    async fn counts(&self, service: &str) -> Vec<usize> {
        let mut counts = Vec::new();
        for envoy in &self.envoys {
            counts.push(envoy.hosts(&host(service)).await.as_array().map_or(0, Vec::len));
        }
        counts
    }

    async fn until_counts(&self, service: &str, expected: usize) {
        until(&format!("{expected} instances of {service}"), LIMIT, || async {
            let counts = self.counts(service).await;
            if counts.iter().all(|count| *count == expected) { Ok(()) } else { Err(counts) }
        })
        .await;
    }

    async fn all_are_there(&self) {
        for (_, service, count) in SERVICES {
            assert_eq!(self.counts(service).await, [count, count], "{service}");
        }
    }

    /// Steady traffic to a service through both Envoys.
    fn traffic(&self, service: &'static str) -> Vec<Traffic> {
        self.envoys.iter().map(|envoy| Traffic::start(envoy, host(service), service)).collect()
    }
}

fn host(service: &str) -> String {
    format!("{service}.example")
}

fn persistent(group: &str) -> String {
    format!("groupName={group}&ephemeral=false")
}
