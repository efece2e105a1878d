//! Who may read what, and for how long.

use crate::{
    ADMIN, logins, persistent, readers,
    support::{nacos::Nacos, reading::Reading},
    weight, while_there,
};
use portolan::registry::nacos::{Config, Mode, Namespaces};
use std::time::Duration;

pub async fn a_wrong_password_is_tried_seldom(nacos: &Nacos) {
    nacos.create_user("typist", "right", "public:*:*").await;
    for (mut reading, proxy) in readers(nacos, ("typist", "wr0ng"), |config| config).await {
        let failure = reading.failure().await;
        assert!(failure.contains("cannot log in as typist") && !failure.contains("wr0ng"), "{failure}");
        let (mut attempts, mut gaps) = (logins(&proxy), Vec::new());
        let mut since = reading.failed;
        while gaps.len() < 3 {
            reading.failure().await;
            if logins(&proxy) > attempts {
                attempts = logins(&proxy);
                gaps.push(reading.failed - since);
                since = reading.failed;
            }
        }
        println!("a wrong password: {attempts} attempts in {} rounds, with {gaps:?} rounds between", reading.failed);
        assert!(attempts <= 5 && reading.failed >= 2 * attempts, "{attempts} attempts in {} rounds", reading.failed);
        assert_eq!(reading.listed, 0);
    }
    let mut late = readers(nacos, ("typist", "typed"), |config| config).await;
    for (reading, _) in &mut late {
        reading.failure().await;
    }
    nacos.delete_user("typist").await;
    nacos.add_user("typist", "typed").await;
    for (reading, _) in &mut late {
        reading.list().await;
    }
}

/// The right goes and comes. (Without its user a token is good for as long as it lives, on both generations: measured.)
pub async fn are_withdrawn_and_given_back(nacos: &Nacos) {
    const SERVICE: &str = "guarded";
    nacos.create_user("guest", "knocks", "public:*:*").await;
    nacos.register(SERVICE, "10.0.0.1:80", &persistent(1)).await;
    // What was refused by push is tried again after half a minute; who may poll meanwhile does. And the right may come
    // back while it is asked for, after the bulk list was tried and before the others are: then that is looked for again.
    let patient = |config: Config| {
        let mode = if config.mode == Mode::Push { Mode::Auto } else { config.mode };
        Config { mode, resync: Duration::from_secs(1), ..config }
    };
    let mut readers = readers(nacos, ("guest", "knocks"), patient).await;
    for (reading, _) in &mut readers {
        reading.until("the first list", |h| weight(h, SERVICE) == Some(1.0)).await;
    }
    nacos.forbid("guest", "public:*:*").await;
    // Push goes on for what is subscribed to; that it cannot be read is noticed when it is.
    nacos.register(SERVICE, "10.0.0.1:80", &persistent(2)).await;
    for (reading, _) in &mut readers {
        while_there(reading, SERVICE, "the right to be gone", |h| !h.errors.is_empty()).await;
        assert!(reading.errors.values().any(|error| error.contains("403")), "{:?}", reading.errors);
    }
    nacos.permit("guest", "public:*:*").await;
    for (reading, _) in &mut readers {
        let back = |h: &Reading| h.errors.is_empty() && weight(h, SERVICE) == Some(2.0);
        while_there(reading, SERVICE, "the right to be back", back).await;
    }
    for (_, proxy) in &readers {
        println!("rights that come and go: {} logins", logins(proxy));
        assert!(logins(proxy) <= 10, "{}", logins(proxy));
    }
}

/// A user who may read one group is then allowed to read all of them.
pub async fn that_are_given_later_lead_to_the_better_interface(nacos: &Nacos) {
    const SERVICE: &str = "narrow";
    nacos.create_user("rising", "rises", "public:narrow:*").await;
    nacos.register(SERVICE, "10.0.0.1:80", "groupName=narrow&ephemeral=false").await;
    nacos.register(SERVICE, "10.0.0.2:80", "groupName=narrow&ephemeral=false&enabled=false").await;
    let narrow = |config| Config { groups: vec!["narrow".into()], ..config };
    let mut readers = readers(nacos, ("rising", "rises"), narrow).await;
    for (reading, _) in &mut readers {
        reading.until("the group", |h| h.service(SERVICE).is_some()).await;
        assert_eq!(reading.scopes, ["public/narrow"]);
        // The lists of single services leave disabled instances out.
        assert_eq!(reading.service(SERVICE).unwrap().endpoints.len(), 1);
    }
    nacos.permit("rising", "public:*:*").await;
    for (reading, _) in &mut readers {
        let there = |h: &Reading| {
            let lists = h.scopes.iter().filter_map(|scope| h.lists.get(scope));
            assert!(lists.flatten().any(|service| &*service.id.name == SERVICE), "{:?}", h.scopes);
            h.scopes == ["public"]
        };
        reading.until("the bulk list", there).await;
        assert_eq!(reading.lists["public"][0].endpoints.len(), 2);
        assert_eq!(reading.failed, 0, "{:?}", reading.errors);
    }
}

/// Without the right to read Dubbo's rules nothing is told; what was read once stays in force.
pub async fn of_rules_come_and_go(nacos: &Nacos) {
    const SERVICE: &str = "providers:a.Ruled::";
    nacos.create_user("judge", "judges", "public:DEFAULT_GROUP:*").await;
    nacos.register(SERVICE, "10.0.0.1:80", "ephemeral=false").await;
    let rule = "configVersion: v3.0\nscope: service\nkey: a.Ruled\nconfigs:\n\
                - side: provider\n  parameters: { weight: 30 }\n";
    nacos.put_config("public", "dubbo", "a.Ruled::.configurators", rule).await;
    let ruled = |config| Config { groups: vec!["DEFAULT_GROUP".into()], overrides: true, ..config };
    let mut readers = readers(nacos, ("judge", "judges"), ruled).await;
    for (reading, _) in &mut readers {
        let failure = reading.failure().await;
        assert!(failure.contains("which `overrides` needs") && failure.contains("dubbo"), "{failure}");
        assert_eq!(reading.listed, 0);
    }
    nacos.permit("judge", "public:dubbo:*").await;
    for (reading, _) in &mut readers {
        reading.until("the rule", |h| weight(h, SERVICE) == Some(0.3)).await;
    }
    nacos.forbid("judge", "public:dubbo:*").await;
    for (reading, _) in &mut readers {
        let is_told = |h: &Reading| {
            h.unreadable.values().flatten().any(|(id, why)| &*id.name == "rules" && why.contains("stay as they were"))
        };
        while_there(reading, SERVICE, "the right to be gone", is_told).await;
        assert_eq!(weight(reading, SERVICE), Some(0.3));
    }
}

/// Nacos keeps the services of a namespace that is removed; whoever named it hears of it and keeps them, too.
pub async fn a_namespace_is_removed(nacos: &Nacos) {
    const SERVICE: &str = "staged";
    nacos.create_namespace("ns-1", "staging").await;
    nacos.register(SERVICE, "10.0.0.1:80", "namespaceId=ns-1&ephemeral=false").await;
    for name in ["ns-1", "staging"] {
        let named = |config| Config { namespaces: Namespaces::Named(vec![name.into()]), ..config };
        let resync = |config| Config { resync: Duration::from_secs(1), ..named(config) };
        let mut readers = readers(nacos, ADMIN, resync).await;
        for (reading, _) in &mut readers {
            reading.until("the namespace", |h| h.service(SERVICE).is_some()).await;
            assert_eq!(reading.scopes, ["ns-1"]);
        }
        nacos.delete_namespace("ns-1").await;
        for (reading, _) in &mut readers {
            while_there(reading, SERVICE, "the namespace to be gone", |h| h.errors.contains_key("ns-1")).await;
            assert!(reading.errors["ns-1"].contains("does not exist"), "{:?}", reading.errors);
            assert_eq!(reading.scopes, ["ns-1"]);
        }
        nacos.create_namespace("ns-1", "staging").await;
        for (reading, _) in &mut readers {
            while_there(reading, SERVICE, "the namespace to be back", |h| h.errors.is_empty()).await;
        }
    }
}
