//! Names and metadata that people register: odd ones, long ones, and some that servers read in two ways.

use crate::{
    NEVER, READER, persistent, readers,
    support::{
        nacos::{Nacos, escaped},
        reading::Reading,
    },
    weight,
};
use futures_util::{StreamExt, stream};
use portolan::registry::nacos::Config;
use std::{collections::BTreeSet, net::Ipv4Addr};

/// Names that both generations take. (They refuse blanks, tabs, Chinese, and more than 512 characters: measured.)
const NAMES: [&str; 27] = [
    "A.B",
    "a&b",
    "a=b",
    "a#b",
    "a%b",
    "a%2Fb",
    "a+b",
    "\u{fc}mlaut",
    "a:b",
    "a/b",
    "a?b",
    "a$b",
    "a'b",
    "a\"b",
    "a@b",
    ".dot",
    "a___b",
    "a,b",
    "a;b",
    "a|b",
    "a(b)",
    "a{b}",
    "a[b]",
    "a*b",
    "a<b>",
    "a\\b",
    "-",
];

pub async fn any_name_and_metadata_that_nacos_takes(nacos: &Nacos, script: &str) {
    let metadata = r#"{"k e&y":"v=a#l%u+e \u00fc","empty":"","quote":"a\"b\\c","new\nline":"x\ty","http://x":"{}"}"#;
    let long = "x".repeat(512);
    let names: Vec<&str> = NAMES.into_iter().chain([&*long]).collect();
    let register = async |weight: u32| {
        for name in &names {
            let more = format!("groupName=odd&{}&metadata={}", persistent(weight), escaped(metadata));
            nacos.register(name, "10.0.0.1:80", &more).await;
        }
    };
    register(1).await;
    nacos.create_user("odd", "odd", "public:odd:*").await;
    let expected: BTreeSet<&str> = names.iter().copied().collect();
    // By the bulk list, and one by one.
    let (bulk, single) = match script {
        "nacos2" => ("/v1/ns/catalog/services", "/v2/ns/instance/list"),
        _ => ("/v3/admin/ns/service/list", "/v1/ns/instance/list"),
    };
    for (user, path) in [(READER, bulk), (("odd", "odd"), single)] {
        let odd = |config| Config { groups: vec!["odd".into()], ..config };
        let mut readers = readers(nacos, user, odd).await;
        for (reading, proxy) in &mut readers {
            let all = |h: &Reading| names.iter().all(|name| weight(h, name) == Some(1.0));
            reading.until("all names", all).await;
            let shown: BTreeSet<&str> = reading.lists.values().flatten().map(|s| &*s.id.name).collect();
            assert_eq!(shown, expected);
            assert!(proxy.asked().iter().any(|line| line.contains(path)), "{path}: {:#?}", proxy.asked());
            let labels = &reading.service("a&b").unwrap().endpoints[0].labels;
            let said: serde_json::Value = serde_json::from_str(metadata).unwrap();
            for (key, value) in said.as_object().unwrap() {
                assert_eq!(labels.get(&**key).map(|v| &**v), value.as_str(), "{key:?} of {labels:?}");
            }
            assert_eq!(reading.failed, 0, "{:?}", reading.errors);
        }
        register(2).await;
        for (reading, _) in &mut readers {
            reading.until("all changes", |h| names.iter().all(|name| weight(h, name) == Some(2.0))).await;
        }
        register(1).await;
    }
}

/// What 3.1.0 takes for a name of its group, 2.3.2 takes for the name `b` of the group `a`.
pub async fn a_name_with_a_group_before_it(nacos: &Nacos, script: &str) {
    nacos.register("a@@b", "10.0.0.1:80", &format!("groupName=ats&{}", persistent(1))).await;
    let (group, name) = if script == "nacos2" { ("a", "b") } else { ("ats", "a@@b") };
    for (mut reading, _) in readers(nacos, READER, |config| Config { groups: vec![group.into()], ..config }).await {
        reading.until(name, |h| weight(h, name) == Some(1.0)).await;
    }
}

pub async fn five_thousand_instances(nacos: &Nacos) {
    const INSTANCES: u32 = 5000;
    let address = |n: u32| format!("{}:80", Ipv4Addr::from(0x0a00_0000 + n));
    // Nobody sends beats for them.
    let long = r#"{"preserved.heart.beat.timeout":"3600000","preserved.ip.delete.timeout":"3600000"}"#;
    let register = async |n: u32, weight: u32| {
        nacos.register("huge", &address(n), &format!("groupName=huge&weight={weight}&metadata={long}")).await;
    };
    let started = std::time::Instant::now();
    stream::iter((0..INSTANCES).map(|n| register(n, 1))).buffer_unordered(32).collect::<Vec<()>>().await;
    println!("{INSTANCES} instances registered in {:.1?}", started.elapsed());
    let huge = |config| Config { groups: vec!["huge".into()], resync: NEVER, ..config };
    let mut readers = readers(nacos, READER, huge).await;
    for (reading, _) in &mut readers {
        let all = |h: &Reading| h.service("huge").is_some_and(|s| s.endpoints.len() == INSTANCES as usize);
        reading.until("all instances", all).await;
        reading.round().await;
    }
    register(7, 3).await;
    for (reading, _) in &mut readers {
        let heavy = |h: &Reading| h.service("huge").is_some_and(|s| s.endpoints.iter().any(|e| e.weight.get() == 3.0));
        let took = reading.until("one weight of many", heavy).await;
        let endpoints = reading.service("huge").unwrap().endpoints.len();
        println!("one of {INSTANCES}: {took:.1?}");
        assert_eq!((endpoints, reading.failed), (INSTANCES as usize, 0), "{:?}", reading.errors);
    }
}
