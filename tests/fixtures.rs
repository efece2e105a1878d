//! The real programs that other tests build on do what those rely on: they are called, and they register. Without what that
//! needs these tests print `SKIP` and pass; with `PORTOLAN_REAL_SERVERS=required` they fail.

mod support;

use support::{
    netns,
    programs::{Consumer, Program},
};

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

/// Each protocol, each line of Dubbo with the other.
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
