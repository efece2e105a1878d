//! Who may read what: users, and rights that are missing, withdrawn and given back.

use super::{
    config, demo, listed, polling, read,
    support::{
        reading::Reading,
        zookeeper::{Writer, ZooKeeper, provider},
    },
    until_listed,
};
use portolan::{
    registry::zookeeper::{Config, Layout, Login},
    util::secret::Secret,
};
use std::time::Duration;
use zookeeper_client::{Acl, Acls, AuthId, CreateMode, Error, Permission};

const DEMO: &str = "dubbo/com.foo.Demo";
const FIRST: &str = "192.0.2.1:20880 dubbo 1";

/// The user `reader` may read, the user who writes may do all, nobody else anything. ZooKeeper's digest of
/// `reader:secret`.
fn read_only() -> Vec<Acl> {
    let reader = AuthId::new("digest", "reader:TwMYkJISsEPORbrSYGWeRLjeNEk=");
    vec![Acl::new(Permission::ALL, AuthId::authed()), Acl::new(Permission::READ, reader)]
}

fn login(config: Config) -> Config {
    let login = Login { username: "reader".into(), password: Secret::new("secret") };
    Config { login: Some(login), ..config }
}

/// A tree that only `reader` may read and only `admin` may write.
async fn tree(server: &ZooKeeper) -> Writer {
    let admin = server.writer_as(Some("admin:secret")).await;
    for path in ["/dubbo", "/dubbo/com.foo.Demo", "/dubbo/com.foo.Demo/providers"] {
        admin.create_as(path, b"", CreateMode::Persistent, Acls::from(&*read_only())).await;
    }
    provide(&admin, "192.0.2.1:20880").await;
    admin
}

async fn provide(admin: &Writer, address: &str) {
    let path = provider("/dubbo", "com.foo.Demo", &demo(address, ""));
    admin.create_as(&path, b"", CreateMode::Persistent, Acls::from(&*read_only())).await;
}

#[tokio::test]
async fn a_user_who_may_only_read_is_enough() {
    for script in ["zookeeper", "zookeeper35"] {
        let Some(server) = ZooKeeper::start(script).await else { return };
        let admin = tree(&server).await;
        let mut reading = read(login(config(server.address(), Layout::Dubbo)));
        until_listed(&mut reading, "the first", &[(DEMO, &[FIRST])]).await;
        provide(&admin, "192.0.2.2:20880").await;
        until_listed(&mut reading, "the second", &[(DEMO, &[FIRST, "192.0.2.2:20880 dubbo 1"])]).await;
        // What that user may do, it does not depend on: nothing there can be written by it.
        let reader = server.writer_as(Some("reader:secret")).await;
        let leaf = provider("/dubbo", "com.foo.Demo", &demo("192.0.2.1:20880", ""));
        assert_eq!(reader.0.delete(&leaf, None).await, Err(Error::NoAuth));
        assert_eq!(reader.0.set_data(&leaf, b"x", None).await.unwrap_err(), Error::NoAuth);
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        assert_eq!(reader.0.create("/dubbo/mine", b"", &options).await.unwrap_err(), Error::NoAuth);
        assert_eq!(reading.failed, 0);
    }
}

#[tokio::test]
async fn a_root_that_must_not_be_read_fails_alone_and_is_found_when_it_may() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let admin = tree(&server).await;
    admin.create(&provider("/open", "com.foo.Demo", &demo("192.0.2.5:1", "")), "").await;
    let open: (&str, &[&str]) = ("open/com.foo.Demo", &["192.0.2.5:1 dubbo 1"]);
    for polls in [false, true] {
        admin.0.set_acl("/dubbo", &read_only(), None).await.unwrap();
        // Without a user.
        let config = Config { roots: vec!["/dubbo".into(), "/open".into()], ..config(server.address(), Layout::Dubbo) };
        let mut reading = read(if polls { polling(config) } else { config });
        let denied = |h: &Reading| h.errors.get("/dubbo").is_some_and(|e| e.contains("/dubbo must not be read"));
        reading.until("the failure", |h| denied(h) && h.lists.len() == 1).await;
        until_listed(&mut reading, "the open root", &[open]).await;
        for path in ["/dubbo", "/dubbo/com.foo.Demo", "/dubbo/com.foo.Demo/providers"] {
            admin.0.set_acl(path, Acls::anyone_all().as_ref(), None).await.unwrap();
        }
        until_listed(&mut reading, "both roots", &[(DEMO, &[FIRST]), open]).await;
        for path in ["/dubbo/com.foo.Demo/providers", "/dubbo/com.foo.Demo", "/dubbo"] {
            admin.0.set_acl(path, &read_only(), None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_right_that_is_withdrawn_makes_one_service_stale_and_touches_no_other() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let admin = tree(&server).await;
    let providers = "/dubbo/com.foo.Demo/providers";
    for way in ["watch", "poll", "resync"] {
        admin.0.set_acl(providers, &read_only(), None).await.unwrap();
        let config = login(config(server.address(), Layout::Dubbo));
        let mut reading = read(match way {
            "poll" => polling(config),
            "resync" => Config { resync: Duration::from_secs(1), ..config },
            _ => config,
        });
        reading.until("the first", |h| listed(h).get(DEMO).is_some_and(|i| i.contains(&FIRST.to_owned()))).await;
        let only_admin = [Acl::new(Permission::ALL, AuthId::authed())];
        admin.0.set_acl(providers, &only_admin, None).await.unwrap();
        // Watches tell nothing of rights: the next look does, here by a provider that comes.
        let address = format!("192.0.2.{}:20880", 10 + way.len());
        provide(&admin, &address).await;
        let unreadable = |h: &Reading| {
            let all: Vec<String> = h.unreadable.values().flatten().map(|(id, why)| format!("{id}: {why}")).collect();
            all.join("\n")
        };
        let denied = format!("r/{DEMO}: {providers} must not be read");
        reading.until("the service to be unreadable", |h| unreadable(h).starts_with(&denied)).await;
        admin.create(&provider("/dubbo", "com.foo.Other", "tri://192.0.2.9:1/com.foo.Other"), "").await;
        reading.until("its neighbour", |h| h.service("com.foo.Other").is_some()).await;
        admin.0.set_acl(providers, &read_only(), None).await.unwrap();
        let shown = format!("{address} dubbo 1");
        reading.until("both", |h| listed(h).get(DEMO).is_some_and(|i| i.contains(&shown))).await;
        assert_eq!((reading.failed, unreadable(&reading)), (0, String::new()), "{way}");
        admin.delete("/dubbo/com.foo.Other").await;
    }
}

/// Servers from 3.9.2 on tell of changes only at nodes that the user may read.
#[tokio::test]
async fn providers_that_must_not_be_read_themselves_are_found_by_resync_and_by_polling() {
    let Some(server) = ZooKeeper::start("zookeeper").await else { return };
    let admin = tree(&server).await;
    let config = login(config(server.address(), Layout::Dubbo));
    let resync = Config { resync: Duration::from_secs(1), ..config.clone() };
    for (address, config) in [("192.0.2.2:20880", resync), ("192.0.2.3:20880", polling(config))] {
        let mut reading = read(config);
        reading.list().await;
        let path = provider("/dubbo", "com.foo.Demo", &demo(address, ""));
        admin.create_as(&path, b"", CreateMode::Persistent, Acls::creator_all()).await;
        let shown = format!("{address} dubbo 1");
        reading.until("the provider", |h| listed(h).get(DEMO).is_some_and(|i| i.contains(&shown))).await;
        assert_eq!(reading.failed, 0);
    }
}
