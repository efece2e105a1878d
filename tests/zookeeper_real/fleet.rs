//! A measurement: a large fleet of Dubbo 3 in a real ZooKeeper, read by a whole process.

use super::{
    applications::instance,
    support::{portolan::Portolan, until, zookeeper::ZooKeeper},
};
use futures_util::{StreamExt, stream};
use std::{
    fs,
    time::{Duration, Instant},
};

const APPLICATIONS: usize = 2_000;
const INTERFACES: usize = 20;
const INSTANCES: usize = 5;
const LIMIT: Duration = Duration::from_secs(600);

fn address(application: usize, instance: usize) -> String {
    format!("10.{}.{}.{instance}:20880", application / 250, application % 250)
}

/// Metadata as a provider writes it, with the parameters that 3.2 has.
fn metadata(application: usize, revision: &str) -> String {
    let service = |number: usize| {
        let name = format!("com.foo.app{application}.Service{number}");
        format!(
            r#""{name}:dubbo":{{"name":"{name}","params":{{"side":"provider","release":"3.2.13","methods":"find,list,save",
            "deprecated":"false","dubbo":"2.0.2","interface":"{name}","weight":"50","dynamic":"true","generic":"false",
            "prefer.serialization":"fastjson2,hessian2","service-name-mapping":"true","timestamp":"1795196016730"}},
            "path":"{name}","port":20880,"protocol":"dubbo"}}"#
        )
    };
    let services: Vec<String> = (0..INTERFACES).map(service).collect();
    format!(r#"{{"app":"app{application}","revision":"{revision}","services":{{{}}}}}"#, services.join(","))
}

/// The process's memory: now and at most, in MiB.
fn memory(portolan: &Portolan) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", portolan.pid())).unwrap_or_default();
    let mib = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
    };
    format!("{:?} MiB, at most {:?} MiB", mib("VmRSS:"), mib("VmHWM:"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: run by tests/long/dubbo"]
async fn two_thousand_applications_in_a_whole_process() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let writer = server.writer().await;
    let started = Instant::now();
    let fleet = (0..APPLICATIONS).map(|number| {
        let writer = &writer;
        async move {
            let application = format!("app{number}");
            writer.create(&format!("/dubbo/metadata/{application}/r"), &metadata(number, "r")).await;
            for place in (0..INSTANCES).map(|n| address(number, n)) {
                let path = format!("/services/{application}/{place}");
                writer.create(&path, &instance(&application, &place, "r")).await;
            }
        }
    });
    stream::iter(fleet.collect::<Vec<_>>()).buffer_unordered(64).collect::<Vec<()>>().await;
    println!("{APPLICATIONS} applications written in {:.1?}", started.elapsed());
    let started = Instant::now();
    let address_of_server = server.address();
    let portolan = Portolan::start(&format!(
        "registries:\n- name: dubbo\n  zookeeper: {{ servers: ['{address_of_server}'], dubbo: {{ applications: {{}}, overrides: true }} }}\n"
    ))
    .await;
    portolan.ready().await;
    until("all services", LIMIT, async || {
        let total = portolan.json("/api/v1/services?published=true&limit=1").await["total"].clone();
        if total == APPLICATIONS * INTERFACES { Ok(()) } else { Err(total.to_string()) }
    })
    .await;
    println!("ready with all after {:.1?}: {}", started.elapsed(), memory(&portolan));
    let host = "com.foo.app77.service7.dubbo";
    let count = async || portolan.json(&format!("/api/v1/services/{host}")).await["instances"].as_array().map(Vec::len);
    assert_eq!(count().await, Some(INSTANCES));
    println!("once admin was asked for one service: {}", memory(&portolan));
    let started = Instant::now();
    writer.delete(&format!("/services/app77/{}", address(77, 0))).await;
    until("one instance to leave", LIMIT, async || match count().await {
        Some(4) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let memory_then = memory(&portolan);
    println!("one instance of 20 interfaces left within {:.1?} (as HTTP shows it): {memory_then}", started.elapsed());
    let started = Instant::now();
    let rule = "configVersion: v2.7\nscope: application\nkey: app77\nconfigs:\n- side: provider\n  parameters: { weight: 25 }\n";
    writer.create("/dubbo/config/dubbo/app77.configurators", rule).await;
    until("the rule", LIMIT, async || {
        let weight = portolan.json(&format!("/api/v1/services/{host}")).await["instances"][0]["weight"].clone();
        if weight == 0.25 { Ok(()) } else { Err(weight.to_string()) }
    })
    .await;
    println!("a rule of one application held within {:.1?}; {}", started.elapsed(), memory(&portolan));
}
