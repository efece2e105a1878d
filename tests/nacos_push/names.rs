//! Which services there are: said by Nacos 3, and by lists where it does not say so.

use super::NEVER;
use crate::support::{nacos::Nacos, reading::Reading, tcp_proxy::TcpProxy, until};
use portolan::registry::{
    Kind,
    nacos::{Config, Mode},
};
use std::time::Duration;

/// How long anything may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Names are listed once an hour, so that what comes was pushed.
fn settings(server: &Nacos) -> Config {
    let servers = vec![Config::server(&server.url()).unwrap()];
    Config { mode: Mode::Push, period: NEVER, resync: NEVER, ..Config::new(servers) }
}

fn has(name: &str) -> impl Fn(&Reading) -> bool {
    let name = name.to_owned();
    move |h| h.service(&name).is_some_and(|service| !service.endpoints.is_empty())
}

/// How often names were asked for.
fn questions(proxy: &TcpProxy) -> usize {
    proxy.messages().iter().filter(|kind| *kind == "NamingFuzzyWatchRequest").count()
}

async fn comes(server: &Nacos, reading: &mut Reading, name: &str) {
    server.register(name, "10.0.0.1:80", "ephemeral=false").await;
    let took = reading.until(name, has(name)).await;
    println!("{name} was told after {took:.1?}.");
}

#[tokio::test]
async fn nacos_3_says_which_services_come_and_go() {
    let Some(server) = Nacos::start("nacos3").await else { return };
    server.register("first", "10.0.0.1:80", "ephemeral=false").await;
    let proxy = TcpProxy::start(server.grpc()).await;
    let mut reading = Reading::new(Kind::Nacos(Config {
        grpc_port: Some(proxy.address.port()),
        groups: vec!["DEFAULT_*".into(), "shop".into()],
        ..settings(&server)
    }));
    reading.list().await;
    // One that comes while the watch is being set up, and others behind it.
    comes(&server, &mut reading, "second").await;
    comes(&server, &mut reading, "third").await;
    server.register("unwanted", "10.0.0.1:80", "groupName=elsewhere&ephemeral=false").await;
    comes(&server, &mut reading, "fourth").await;
    // What is new is pushed from then on.
    server.register("fourth", "10.0.0.1:80", "ephemeral=false&weight=7").await;
    let weight = |h: &Reading| h.service("fourth").and_then(|s| s.endpoints.first().map(|e| e.weight.get()));
    reading.until("its weight", |h| weight(h) == Some(7.0)).await;
    // And all of it again on the next connection, with what came when there was none.
    proxy.silence(true);
    proxy.cut();
    server.register("fifth", "10.0.0.1:80", "ephemeral=false").await;
    proxy.silence(false);
    reading.until("the one that came meanwhile", has("fifth")).await;
    comes(&server, &mut reading, "sixth").await;
    assert!(reading.service("unwanted").is_none());
    // One that goes: the list that shows it does not wait for its period.
    let listed = reading.listed;
    server.deregister("third", "10.0.0.1:80", "ephemeral=false").await;
    reading.until("it to be empty", |h| h.service("third").is_some_and(|s| s.endpoints.is_empty())).await;
    server.remove_service("third").await;
    let took = reading.until("it to be gone", |h| h.service("third").is_none()).await;
    println!("A service that was removed was gone after {took:.1?}.");
    assert!(reading.listed > listed && reading.removed.is_empty(), "{:?}", reading.removed);
    assert_eq!(reading.failed, 0, "{:?}", reading.errors);
}

/// Beyond the server's limit the names come with their list, and there is no storm of questions.
#[tokio::test]
async fn above_the_limit_of_names_services_come_with_the_list() {
    let Some(server) = Nacos::start_with("nacos3", &[("NACOS_NAMES", "4")]).await else { return };
    server.register("svc-0", "10.0.0.1:80", "ephemeral=false").await;
    let proxy = TcpProxy::start(server.grpc()).await;
    let config = Config { grpc_port: Some(proxy.address.port()), ..settings(&server) };
    let mut reading = Reading::new(Kind::Nacos(Config { period: Duration::from_secs(2), ..config }));
    reading.list().await;
    for n in 1..8 {
        comes(&server, &mut reading, &format!("svc-{n}")).await;
    }
    // The first question, and one after each name that was still told; then none for minutes.
    let asked = questions(&proxy);
    assert!((2..=6).contains(&asked), "{asked} questions: {:?}", proxy.messages());
    // A new connection hears at once that the limit is reached.
    proxy.cut();
    comes(&server, &mut reading, "last").await;
    until("the next connection's question", LIMIT, || async {
        let now = questions(&proxy);
        if now > asked { Ok(()) } else { Err(now) }
    })
    .await;
    assert_eq!(reading.failed, 0, "{:?}", reading.errors);
}

/// Nacos 2 does not know the question: it is asked once for each connection.
#[tokio::test]
async fn nacos_2_is_asked_once_and_lists_names() {
    let Some(server) = Nacos::start("nacos2").await else { return };
    let proxy = TcpProxy::start(server.grpc()).await;
    let config = Config { grpc_port: Some(proxy.address.port()), ..settings(&server) };
    let mut reading = Reading::new(Kind::Nacos(Config { period: Duration::from_secs(2), ..config }));
    reading.list().await;
    for n in 0..3 {
        comes(&server, &mut reading, &format!("svc-{n}")).await;
    }
    let asked = questions(&proxy);
    assert_eq!((asked, reading.failed), (1, 0), "{:?} {:?}", reading.errors, proxy.messages());
}
