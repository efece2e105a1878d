//! The real programs that other tests build on do what those rely on: they are called, and they register. Without what that
//! needs these tests print `SKIP` and pass; with `PORTOLAN_REAL_SERVERS=required` they fail.

mod support;

use serde_json::{Value, json};
use std::time::Duration;
use support::{
    nacos::Nacos,
    netns,
    programs::{Consumer, Program},
    servers::prepared,
    until,
    zookeeper::{ZooKeeper, encoded},
};

const SOON: Duration = Duration::from_secs(60);

/// Waits until a Nacos has that many instances of a service, and gives them.
async fn instances(server: &Nacos, service: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} instances of {service}"), SOON, async || {
        let instances = server.instances(service).await;
        if instances.len() == count { Ok(instances) } else { Err(instances) }
    })
    .await
}

#[tokio::test]
async fn a_network_of_its_own_has_an_address_that_is_no_loopback_address() {
    let name = "a_network_of_its_own_has_an_address_that_is_no_loopback_address";
    if !netns::inside(name, &[]).await {
        return;
    }
    let listener = tokio::net::TcpListener::bind((netns::ADDRESS, 20880)).await.unwrap();
    let (connected, accepted) =
        tokio::join!(tokio::net::TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    assert_eq!(connected.unwrap().local_addr().unwrap(), accepted.unwrap().1);
}

/// Each protocol, and consumers of each line of Dubbo with providers of the other.
#[tokio::test]
async fn dubbo_consumers_have_answers_from_dubbo_providers() {
    if !netns::inside("dubbo_consumers_have_answers_from_dubbo_providers", &["dubbo2", "dubbo3"]).await {
        return;
    }
    let host = format!("host={}", netns::ADDRESS);
    let calls = [(2, 3, "protocol=dubbo"), (3, 2, "protocol=dubbo"), (3, 3, "protocol=tri")];
    for (called, calling, protocol) in calls {
        let provider = Program::dubbo_provider(called, &[protocol, "group=g", "version=1.0", "reply=took"]).await;
        let keys = [protocol, &host, "group=g", "version=1.0"];
        let mut consumer = Consumer::start(calling, provider.port, &keys).await;
        assert_eq!(consumer.call("12 apples").await.as_deref(), Ok("took 12 apples"));
        let port = provider.port;
        provider.kill().await;
        let refused = consumer.call("a pear").await.unwrap_err();
        assert!(refused.starts_with("FAILED"), "{refused}");
        let name = format!("dubbo{called}");
        let words = ["provider", protocol, "group=g", "version=1.0", "reply=again"];
        let _provider = Program::start_on(&name, port, &words).await;
        assert_eq!(consumer.answer("a pear").await, "again a pear");
    }
}

#[tokio::test]
async fn dubbo_and_spring_register_in_nacos() {
    if !prepared(&["dubbo2", "dubbo3", "spring"]).await {
        return;
    }
    let Some(server) = Nacos::start("nacos2").await else { return };
    let address = server.url().replace("http://", "");
    let registry = format!("registry=nacos://{address}");
    let two = [&registry, "application=two", "group=g", "version=1.0", "weight=50"];
    let three = [&registry, "application=three", "protocol=tri"];
    let spring = [&format!("registry={address}"), "spring.cloud.nacos.discovery.metadata.version=v1"];
    let (two, three, spring) = tokio::join!(
        Program::dubbo_provider(2, &two),
        Program::dubbo_provider(3, &three),
        Program::spring("nacos", &spring),
    );
    let at = |instance: &Value| format!("{}:{}", instance["ip"].as_str().unwrap(), instance["port"]);
    let interface = instances(&server, "providers:shop.Orders:1.0:g", 1).await;
    assert_eq!(at(&interface[0]), format!("192.0.2.10:{}", two.port));
    assert_eq!([&interface[0]["metadata"]["weight"], &interface[0]["metadata"]["protocol"]], ["50", "dubbo"]);
    let interface = instances(&server, "providers:shop.Orders::", 1).await;
    assert_eq!(interface[0]["metadata"]["protocol"], "tri");
    let application = instances(&server, "three", 1).await;
    assert_eq!(at(&application[0]), format!("192.0.2.10:{}", three.port));
    let shop = instances(&server, "shop", 1).await;
    assert_eq!(at(&shop[0]), format!("127.0.0.1:{}", spring.port));
    assert_eq!(shop[0]["metadata"]["version"], "v1");
    spring.set_status("DOWN").await;
    instances(&server, "shop", 0).await;
    spring.set_status("UP").await;
    instances(&server, "shop", 1).await;
    // As they end, they deregister.
    tokio::join!(two.stop(), three.stop(), spring.stop());
    for service in ["providers:shop.Orders:1.0:g", "providers:shop.Orders::", "three", "shop"] {
        instances(&server, service, 0).await;
    }
}

#[tokio::test]
async fn dubbo_and_spring_register_in_zookeeper() {
    if !prepared(&["dubbo2", "dubbo3", "spring"]).await {
        return;
    }
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let registry = format!("registry=zookeeper://{}", server.address());
    let two = [&registry, "application=two", "group=g", "version=1.0", "weight=50", "parameters=region=eu"];
    let three = [&registry, "application=three", "protocol=tri", "metadata=remote"];
    let spring = [&format!("registry={}", server.address()), "spring.cloud.zookeeper.discovery.metadata.version=v1"];
    let (two, three, spring) = tokio::join!(
        Program::dubbo_provider(2, &two),
        Program::dubbo_provider(3, &three),
        Program::spring("zookeeper", &spring),
    );
    let consumer = Consumer::start(3, 0, &[&registry, "application=customer"]).await;
    let session = server.writer().await.0;
    let consumers = session.list_children("/dubbo/shop.Orders/consumers").await.unwrap();
    let consuming = encoded("consumer://192.0.2.10/shop.Orders?application=customer&");
    assert!(matches!(&consumers[..], [node] if node.starts_with(&consuming)), "{consumers:#?}");
    drop(consumer);
    let providers = session.list_children("/dubbo/shop.Orders/providers").await.unwrap();
    let has = |parts: &[&str]| providers.iter().any(|node| parts.iter().all(|part| node.contains(&encoded(part))));
    let address = format!("dubbo://192.0.2.10:{}/shop.Orders?", two.port);
    assert!(has(&[&address, "&group=g&", "&version=1.0", "&weight=50", "&region=eu&"]), "{providers:#?}");
    assert!(has(&[&format!("tri://192.0.2.10:{}/shop.Orders?application=three&", three.port)]), "{providers:#?}");
    let applications = session.list_children("/services/three").await.unwrap();
    assert_eq!(applications, [format!("192.0.2.10:{}", three.port)]);
    let shop = async || {
        let nodes = session.list_children("/services/shop").await.unwrap();
        let data = session.get_data(&format!("/services/shop/{}", nodes[0])).await.unwrap().0;
        serde_json::from_slice::<Value>(&data).unwrap()
    };
    let seen = shop().await;
    let metadata = json!({ "version": "v1", "instance_status": "UP" });
    let found = json!([seen["address"], seen["port"], seen["payload"]["metadata"]]);
    assert_eq!(found, json!(["127.0.0.1", spring.port, metadata]));
    spring.set_status("OUT_OF_SERVICE").await;
    until("the status", SOON, async || match shop().await {
        seen if seen["payload"]["metadata"]["instance_status"] == "OUT_OF_SERVICE" => Ok(()),
        seen => Err(seen),
    })
    .await;
    // As they end, they take their nodes out.
    tokio::join!(two.stop(), three.stop(), spring.stop());
    for path in ["/dubbo/shop.Orders/providers", "/services/three", "/services/shop"] {
        until(path, SOON, async || match session.list_children(path).await {
            Ok(left) if !left.is_empty() => Err(left),
            _ => Ok(()),
        })
        .await;
    }
}

/// Go's client speaks gRPC, the client of npm HTTP with beats.
#[tokio::test]
async fn go_and_node_programs_register_in_nacos() {
    if !prepared(&["nacos-go", "nacos-node"]).await {
        return;
    }
    let Some(server) = Nacos::start("nacos2").await else { return };
    let registry = format!("registry={}", server.url().replace("http://", ""));
    for name in ["nacos-go", "nacos-node"] {
        let keys = [
            &registry,
            &format!("name={name}"),
            "ip=10.0.0.1",
            "weight=2.5",
            "cluster=c1",
            "metadata=version=v1&zone=a",
        ];
        let program = Program::start(name, &keys).await;
        let found = &instances(&server, name, 1).await[0];
        let seen = ["ip", "port", "weight", "clusterName", "ephemeral", "metadata"].map(|key| found[key].clone());
        let metadata = json!({ "version": "v1", "zone": "a" });
        assert_eq!(json!(seen), json!(["10.0.0.1", program.port, 2.5, "c1", true, metadata]), "{name}");
        program.stop().await;
        instances(&server, name, 0).await;
    }
}

/// These clients speak gRPC; npm's does not.
#[tokio::test]
async fn dubbo_spring_and_go_register_in_nacos_3_without_its_old_interfaces() {
    if !prepared(&["dubbo3", "spring", "nacos-go"]).await {
        return;
    }
    let Some(server) = Nacos::start("nacos3").await else { return };
    let address = server.url().replace("http://", "");
    let (registry, dubbo) = (format!("registry={address}"), format!("registry=nacos://{address}"));
    let (dubbo, spring) = ([&dubbo, "application=three", "mode=instance"], [&*registry]);
    let go = [&registry, "name=go"];
    let programs = tokio::join!(
        Program::dubbo_provider(3, &dubbo),
        Program::spring("nacos", &spring),
        Program::start("nacos-go", &go),
    );
    for (service, program) in [("three", &programs.0), ("shop", &programs.1), ("go", &programs.2)] {
        assert_eq!(instances(&server, service, 1).await[0]["port"], program.port, "{service}");
    }
    assert_eq!(server.instances("providers:shop.Orders::").await, [] as [Value; 0]);
    tokio::join!(programs.0.stop(), programs.1.stop(), programs.2.stop());
    for service in ["three", "shop", "go"] {
        instances(&server, service, 0).await;
    }
}

#[tokio::test]
async fn the_java_client_of_nacos_shows_how_it_signs() {
    if !prepared(&["nacos-sign"]).await {
        return;
    }
    let keys = async |words: &[&str]| {
        let printed = Program::output("nacos-sign", words).await;
        printed.lines().map(|line| line.split_once('=').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    let given = ["key=ak", "secret=sk", "group=g", "resource=orders"];
    assert_eq!(keys(&given).await, ["ak", "data", "signature"]);
    assert_eq!(keys(&[&given[..], &["kind=config"]].concat()).await, ["Spas-AccessKey", "Spas-Signature", "Timestamp"]);
    let by_region = keys(&[&given[..], &["region=cn-hangzhou"]].concat()).await;
    assert_eq!(by_region, ["ak", "data", "signature", "signatureVersion"]);
}
