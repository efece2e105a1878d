//! A push connection that is lost for a while, with servers in this process.

use super::NEVER;
use crate::support::{
    fake_nacos::{FakeNacos, Generation, instance},
    fake_push::{FakePush, Script},
    reading::Reading,
    tcp_proxy::TcpProxy,
};
use portolan::registry::{
    Kind,
    nacos::{Config, Mode},
};
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn push_that_is_back_ends_the_failure() {
    let fake = FakeNacos::start(Generation::V3).await;
    fake.model().put("orders", vec![instance("10.0.0.1", 80)]);
    let push = FakePush::start(Script::Quiet).await;
    let proxy = TcpProxy::start(push.address).await;
    let servers = vec![Config::server(&fake.url()).unwrap()];
    let (period, grpc_port) = (Config::MIN_PERIOD, Some(proxy.address.port()));
    let config = Config { mode: Mode::Push, period, resync: NEVER, grpc_port, ..Config::new(servers) };
    let mut reading = Reading::new(Kind::Nacos(config));
    reading.list().await;
    // So that no other list is due.
    timeout(Duration::from_secs(60), super::rest(&mut reading)).await.expect("lists come to rest");
    proxy.sever();
    let failure = reading.failure().await;
    assert!(failure.contains("nothing is pushed"), "{failure}");
    proxy.heal();
    reading.until("a list", |h| h.errors.is_empty()).await;
    assert_eq!((reading.endpoints()["orders"].len(), reading.removed.len()), (1, 0));
}
