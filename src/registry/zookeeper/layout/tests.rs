//! The pure parts: entries as they were captured from real providers, and as nobody should write them.

use super::{Converted, Entry, Known, Layout, Place};
use crate::{
    model::{Address, Health, Protocol, Reason, Service, Text, Weight},
    registry::dubbo::{
        Identity,
        overrides::{Overrides, Rule, overridden},
        url::{Url, UrlError},
    },
};
use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Captured from Dubbo 3.2.13; the address is one that documents may use.
const CAPTURED: &str = "dubbo%3A%2F%2F192.0.2.10%3A25512%2FProvider%24PayService%3Fapplication%3Dapp3%26deprecated%3Dfalse\
%26dubbo%3D2.0.2%26dynamic%3Dtrue%26generic%3Dfalse%26interface%3DProvider%24PayService%26logger%3Djdk%26methods%3Dpay\
%26prefer.serialization%3Dfastjson2%2Chessian2%26region%3Deu%26release%3D3.2.13%26side%3Dprovider\
%26timestamp%3D1795196016730%26weight%3D50";

fn entry(name: &str) -> Entry {
    Entry { name: name.into(), data: Vec::new() }
}

fn json(name: &str, data: &str) -> Entry {
    Entry { name: name.into(), data: data.into() }
}

fn converted(layout: Layout, node: &str, entries: &[Entry], now: SystemTime) -> Converted {
    let (registry, namespace): (Text, Text) = ("zk".into(), "root".into());
    layout.services(Place { registry: &registry, namespace: &namespace, node }, entries, &Known::new(), now)
}

/// The services of an interface's node.
fn dubbo(node: &str, urls: &[&str]) -> Vec<Service> {
    let entries: Vec<Entry> = urls.iter().map(|url| entry(url)).collect();
    converted(Layout::Dubbo, node, &entries, SystemTime::UNIX_EPOCH).services
}

fn spring(entries: &[Entry]) -> Option<Service> {
    let mut found = converted(Layout::Spring, "orders", entries, SystemTime::UNIX_EPOCH).services;
    assert!(found.len() <= 1);
    found.pop()
}

/// A service as a few lines: its id, then each endpoint, then each note.
fn shown(services: &[Service]) -> String {
    let mut text = String::new();
    for service in services {
        writeln!(text, "{}", service.id).unwrap();
        for e in &service.endpoints {
            let ports: Vec<String> =
                e.ports.iter().map(|p| format!("{} {}", p.number, p.protocol.map_or("-", Protocol::name))).collect();
            let state = match (e.enabled, e.secure) {
                (false, _) => " disabled",
                (true, true) => " secure",
                (true, false) => "",
            };
            writeln!(text, "  {} {} weight {}{state}", e.address, ports.join(", "), e.weight.get()).unwrap();
        }
        for note in &service.notes {
            writeln!(text, "  {} {}: {}", note.reason, note.subject, note.detail).unwrap();
        }
    }
    text
}

fn check_dubbo(node: &str, urls: &[&str], expected: &str) {
    assert_eq!(shown(&dubbo(node, urls)), expected, "{urls:?}");
}

#[test]
fn a_captured_provider_is_read_whole() {
    let [service] = &dubbo("Provider%24PayService", &[CAPTURED])[..] else { panic!() };
    assert_eq!(service.id.to_string(), "zk/root/Provider$PayService");
    let [endpoint] = &service.endpoints[..] else { panic!("{service:?}") };
    assert_eq!(endpoint.address, Address::parse("192.0.2.10").unwrap());
    assert_eq!((endpoint.weight, endpoint.health), (Weight::relative(0.5, 1.0).unwrap(), Health::Healthy));
    assert_eq!((endpoint.locality.region(), endpoint.enabled, endpoint.secure), ("eu", true, false));
    assert_eq!(&*endpoint.labels["prefer.serialization"], "fastjson2,hessian2");
    assert_eq!((endpoint.labels.len(), &*endpoint.labels["methods"]), (14, "pay"));
    let labels: Vec<String> = service.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["dubbo.service=Provider$PayService", "interface=Provider$PayService"]);
    assert_eq!(service.notes, []);
}

#[test]
fn one_interface_node_holds_services_by_group_and_version() {
    let urls = [
        "dubbo://192.0.2.1:1/a.B?group=g1&version=1.0.0",
        "dubbo://192.0.2.2:1/a.B?default.group=g1&default.version=1.0.0",
        "dubbo://192.0.2.3:1/a.B?group=g1&default.group=g2",
        "dubbo://192.0.2.4:1/a.B?group=&version=2.0.0",
        "dubbo://192.0.2.5:1/a.B",
    ];
    check_dubbo(
        "a.B",
        &urls,
        "zk/root/a.B\n  192.0.2.5 1 dubbo weight 1\n\
         zk/root/a.B:2.0.0\n  192.0.2.4 1 dubbo weight 1\n\
         zk/root/g1/a.B\n  192.0.2.3 1 dubbo weight 1\n\
         zk/root/g1/a.B:1.0.0\n  192.0.2.1 1 dubbo weight 1\n  192.0.2.2 1 dubbo weight 1\n",
    );
    let services = dubbo("a.B", &urls);
    let label = |of: usize, key: &str| services[of].labels.get(key).map_or("", |value| value).to_owned();
    let original = |of| label(of, "dubbo.service");
    assert_eq!([original(0), original(1), original(2), original(3)], ["a.B", "a.B::2.0.0", "a.B:g1", "a.B:g1:1.0.0"]);
    // Where it comes from the defaults, too.
    assert_eq!(&*services[3].endpoints[1].labels["version"], "1.0.0");
    assert_eq!((label(3, "group"), label(3, "interface")), ("g1".into(), "a.B".into()));
}

#[test]
fn every_scheme_has_a_protocol() {
    for (scheme, expected) in [
        ("dubbo", "dubbo"),
        ("tri", "tri"),
        ("grpc", "grpc"),
        ("rest", "http"),
        ("http", "http"),
        ("https", "https"),
        ("hessian", "http"),
        ("webservice", "http"),
        ("bolt", "tcp"),
        ("hsf", "tcp"),
        ("thrift", "tcp"),
        ("rmi", "tcp"),
        ("x-own", "tcp"),
    ] {
        let url = format!("{scheme}://192.0.2.1:1/a.B");
        check_dubbo("a.B", &[&url], &format!("zk/root/a.B\n  192.0.2.1 1 {expected} weight 1\n"));
    }
}

#[test]
fn sofa_providers_have_no_path_and_an_own_id() {
    let url = "bolt%3A%2F%2F192.0.2.1%3A22000%3Fversion%3D1.0%26uniqueId%3Du1%26weight%3D100%26appName%3Dpay";
    check_dubbo("a.B", &[url], "zk/root/u1/a.B:1.0\n  192.0.2.1 22000 tcp weight 1\n");
}

#[test]
fn addresses_of_every_kind_are_taken() {
    for (host, expected) in [
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%25eth0", "fe80::1"),
        ("Node-1.internal", "node-1.internal"),
        ("user:pass@192.0.2.1", "192.0.2.1"),
    ] {
        let url = format!("dubbo://{host}:20880/a.B");
        check_dubbo("a.B", &[&url], &format!("zk/root/a.B\n  {expected} 20880 dubbo weight 1\n"));
    }
}

#[test]
fn odd_parameters_spoil_nothing() {
    let url = |query: &str| format!("dubbo://192.0.2.1:1/a.B?{query}");
    for (query, expected) in [
        ("&&=x&flag&a=b=c", "weight 1\n"),
        ("weight=0", "weight 0\n"),
        ("weight=250", "weight 2.5\n"),
        ("default.weight=50", "weight 0.5\n"),
        ("disabled=true", "weight 1 disabled\n"),
        ("disabled=false&enabled=TRUE", "weight 1\n"),
        ("enabled=false", "weight 1 disabled\n"),
        ("ssl-enabled=true", "weight 1 secure\n"),
        (
            "weight=much",
            "weight 1\n  entry_invalid dubbo://192.0.2.1:1/a.B: weight \"much\" is no number; the default counts\n",
        ),
        (
            "weight=-5",
            "weight 1\n  entry_invalid dubbo://192.0.2.1:1/a.B: weight -5 is not possible: it must be 0 to 1000000 times \
             the default; the default counts\n",
        ),
        ("timestamp=soon&warmup=long", "weight 1\n"),
    ] {
        check_dubbo("a.B", &[&url(query)], &format!("zk/root/a.B\n  192.0.2.1 1 dubbo {expected}"));
    }
    let service = &dubbo("a.B", &[&url("&&=x&flag&a=b=c&dubbo.tag=env=gray,zone=a")])[0];
    let labels: Vec<String> = service.endpoints[0].labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["a=b=c", "dubbo.tag=env=gray,zone=a", "env=gray", "flag=", "zone=a"]);
}

#[test]
fn overrides_replace_what_dubbo_2_6_sets_for_all_services_of_a_provider() {
    let weight_and_state = |query: &str, rule: &str| {
        let service = dubbo("a.B", &[&format!("dubbo://192.0.2.1:20880/a.B?{query}")]).remove(0);
        let rule = Rule::of_url(&Url::parse_rule(&format!("override://0.0.0.0/a.B?{rule}")).unwrap()).unwrap().unwrap();
        let service = overridden(&Arc::new(service), &Identity::new("a.B", "", ""), &Overrides::default(), &[rule]);
        (service.endpoints[0].weight.get(), service.endpoints[0].enabled)
    };
    for (query, rule, expected) in [
        ("default.weight=50", "weight=200", (2.0, true)),
        ("default.weight=50", "zone=z", (0.5, true)),
        ("default.weight=50&default.disabled=true", "disabled=false", (0.5, true)),
        ("default.disabled=true", "weight=200", (2.0, false)),
        // Of a weight that grows the share stays.
        ("default.weight=50&timestamp=0&warmup=1000", "weight=200", (0.2, true)),
    ] {
        assert_eq!(weight_and_state(query, rule), expected, "{query} {rule}");
    }
}

#[test]
fn many_long_parameters_are_kept_whole() {
    let value = "x".repeat(1024);
    let query: Vec<String> = (0..25).map(|i| format!("p{i}={value}")).collect();
    let service = &dubbo("a.B", &[&format!("dubbo://192.0.2.1:1/a.B?{}", query.join("&"))])[0];
    assert_eq!(service.endpoints[0].labels.values().map(|v| v.len()).sum::<usize>(), 25 * 1024);
}

#[test]
fn what_is_no_provider_is_told_and_its_neighbours_serve() {
    let long = "a".repeat(1 << 20);
    for (bad, why) in [
        ("no-url", "no scheme"),
        ("%zz", "no two hexadecimal digits"),
        ("abc%4", "no two hexadecimal digits"),
        ("%FF%FE", "not UTF-8"),
        (long.as_str(), "1048576 bytes"),
        ("dubbo://192.0.2.9/a.B", "no host and port"),
        ("dubbo://:1/a.B", "no host and port"),
        ("dubbo://192.0.2.9:/a.B", "no number"),
        ("dubbo://192.0.2.9:0/a.B", "port 0 is not possible"),
        ("dubbo://192.0.2.9:70000/a.B", "port 70000 is not possible"),
        ("dubbo://192.0.2.999:1/a.B", "neither an address nor a host name"),
        ("dubbo://a b:1/a.B", "neither an address nor a host name"),
        ("consumer://192.0.2.9:1/a.B", "no provider that can be called"),
        ("empty://192.0.2.9:1/a.B", "no provider that can be called"),
        ("override://0.0.0.0:1/a.B", "no provider that can be called"),
        ("dubbo://192.0.2.9:1/a.C?interface=a.C", "provides a.C"),
    ] {
        let [service] = &dubbo("a.B", &[bad, "dubbo://192.0.2.1:1/a.B"])[..] else { panic!("{bad}") };
        assert_eq!(service.endpoints.len(), 1, "{bad}");
        let [note] = &service.notes[..] else { panic!("{bad}: {:?}", service.notes) };
        assert!(note.reason == Reason::EntryInvalid && note.detail.contains(why), "{bad}: {note:?}");
        assert!(note.subject.len() <= 80, "{bad}");
        // Alone it leaves a service without instances, so that somebody can see it; or one that cannot be read.
        let alone = converted(Layout::Dubbo, "a.B", &[entry(bad)], SystemTime::UNIX_EPOCH);
        match alone.unreadable {
            None => assert_eq!((alone.services[0].endpoints.len(), alone.services[0].notes.len()), (0, 1), "{bad}"),
            Some(error) => assert!(error.contains(why) && alone.services.is_empty(), "{bad}: {error}"),
        }
        assert_eq!(unreadable(&[bad]), !why.contains("provide"), "{bad}");
    }
}

/// Whether none of these can be read.
fn unreadable(urls: &[&str]) -> bool {
    let entries: Vec<Entry> = urls.iter().map(|url| entry(url)).collect();
    converted(Layout::Dubbo, "a.B", &entries, SystemTime::UNIX_EPOCH).unreadable.is_some()
}

#[test]
fn a_service_none_of_whose_providers_can_be_read_is_unreadable() {
    assert!(unreadable(&["no-url", "consumer://192.0.2.9:1/a.B"]));
    assert!(!unreadable(&["consumer://192.0.2.9:1/a.B"]), "a consumer is read, and is no provider");
    assert!(!unreadable(&["no-url", "dubbo://192.0.2.1:1/a.B"]));
    assert!(!unreadable(&[]));
}

#[test]
fn one_identity_in_several_spellings_is_one_service() {
    let urls = [
        "dubbo://192.0.2.1:1/a.B?group=-&version=0.0.0",
        "dubbo://192.0.2.2:1/a.B?version=0.0.0",
        "dubbo://192.0.2.3:1/a.B?group=-",
        "dubbo://192.0.2.4:1/a.B",
    ];
    let [service] = &dubbo("a.B", &urls)[..] else { panic!("one service") };
    assert_eq!((service.id.to_string(), service.endpoints.len()), ("zk/root/a.B".into(), 4));
}

#[test]
fn a_consumer_among_providers_is_no_provider() {
    for query in ["category=consumers", "side=consumer"] {
        let [service] = &dubbo("a.B", &[&format!("dubbo://192.0.2.9:1/a.B?{query}"), "dubbo://192.0.2.1:1/a.B"])[..]
        else {
            panic!("{query}")
        };
        assert_eq!(service.endpoints.len(), 1, "{query}");
        assert!(service.notes[0].detail.contains("so it is no provider"), "{query}: {:?}", service.notes);
    }
}

#[test]
fn notes_never_show_what_may_be_a_password() {
    let urls = ["dubbo%3A%2F%2Fuser%3Ahunter2%40192.0.2.1%3A0%2Fa.B", "dubbo://192.0.2.2:1/a.B"];
    let notes = &dubbo("a.B", &urls)[0].notes;
    assert_eq!(&*notes[0].subject, "dubbo://192.0.2.1:0/a.B");
    assert!(!format!("{notes:?}").contains("hunter2"));
}

#[test]
fn of_two_at_one_place_the_one_that_was_started_later_counts() {
    let old = "dubbo://192.0.2.1:1/a.B?timestamp=1000&weight=10";
    let new = "dubbo://192.0.2.1:1/a.B?timestamp=2000&weight=200";
    for urls in [[old, new], [new, old]] {
        check_dubbo(
            "a.B",
            &urls,
            "zk/root/a.B\n  192.0.2.1 1 dubbo weight 2\n  duplicate 192.0.2.1:1: registered twice; the one that was \
             started later counts\n",
        );
    }
    // One port may speak two protocols.
    check_dubbo(
        "a.B",
        &["dubbo://192.0.2.1:1/a.B", "tri://192.0.2.1:1/a.B"],
        "zk/root/a.B\n  192.0.2.1 1 dubbo weight 1\n  192.0.2.1 1 tri weight 1\n",
    );
}

#[test]
fn a_provider_that_asks_for_it_warms_up_in_ten_steps() {
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let weight = |query: &str, now: u64| {
        let entries = [entry(&format!("dubbo://192.0.2.1:1/a.B?{query}"))];
        let Converted { services, until, .. } = converted(Layout::Dubbo, "a.B", &entries, at(now));
        (services[0].endpoints[0].weight.get(), until)
    };
    let warm = "timestamp=1000000&warmup=100000&weight=200";
    for (now, expected) in [
        (1000, (0.2, Some(at(1010)))),
        (1009, (0.2, Some(at(1010)))),
        (1010, (0.4, Some(at(1020)))),
        (1089, (1.8, Some(at(1090)))),
        (1090, (2.0, None)),
        (9999, (2.0, None)),
        // Its clock is ahead of ours.
        (900, (0.2, Some(at(1010)))),
    ] {
        assert_eq!(weight(warm, now), expected, "at {now}");
    }
    for query in ["timestamp=1000000&weight=200", "warmup=100000&weight=200", "timestamp=1000000&warmup=5&weight=200"] {
        assert_eq!(weight(query, 1000), (2.0, None), "{query}");
    }
}

/// Captured from Spring Cloud ZooKeeper 4.2.2, shortened.
fn instance(more: &str, metadata: &str) -> String {
    format!(
        r#"{{"name":"orders","id":"5e0c","address":"192.0.2.1",{more},"payload":{{"@class":
        "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"orders","name":"orders",
        "metadata":{{{metadata}}}}},"registrationTimeUTC":1795196017515,"serviceType":"DYNAMIC",
        "uriSpec":{{"parts":[{{"value":"scheme","variable":true}}]}}}}"#
    )
}

#[test]
fn spring_instances_are_read_with_their_state() {
    let plain = r#""port":8080,"sslPort":null"#;
    for (more, metadata, expected) in [
        (plain, r#""version":"v1","instance_status":"UP""#, "192.0.2.1 8080 - weight 1"),
        (plain, r#""instance_status":"up""#, "192.0.2.1 8080 - weight 1"),
        (plain, r#""instance_status":"OUT_OF_SERVICE""#, "192.0.2.1 8080 - weight 1 disabled"),
        (plain, r#""protocol":"grpc""#, "192.0.2.1 8080 grpc weight 1"),
        (r#""port":8080,"enabled":false"#, "", "192.0.2.1 8080 - weight 1 disabled"),
        (r#""port":null,"sslPort":8443"#, "", "192.0.2.1 8443 https weight 1 secure"),
        (r#""port":8080,"sslPort":8443"#, "", "192.0.2.1 8080 -, 8443 https weight 1"),
    ] {
        let service = spring(&[json("5e0c", &instance(more, metadata))]).unwrap();
        assert_eq!(
            shown(std::slice::from_ref(&service)),
            format!("zk/root/orders\n  {expected}\n"),
            "{more} {metadata}"
        );
    }
    let service = spring(&[json("5e0c", &instance(plain, r#""version":"v1","n":3,"zone":"z""#))]).unwrap();
    let endpoint = &service.endpoints[0];
    assert_eq!(
        endpoint.labels,
        [("n", "3"), ("version", "v1"), ("zone", "z")].map(|(k, v)| (k.into(), v.into())).into()
    );
    assert_eq!(endpoint.locality.zone(), "z");
}

#[test]
fn curator_instances_of_others_are_read_and_those_of_dubbo_are_not() {
    let bare = json("a", r#"{"name":"orders","address":"192.0.2.1","port":80}"#);
    let text = json("b", r#"{"name":"orders","address":"192.0.2.2","port":80,"payload":"free text"}"#);
    let service = spring(&[bare, text]).unwrap();
    assert_eq!(service.endpoints.len(), 2);
    let class = r#"{"address":"192.0.2.10","port":25512,"sslPort":null,"payload":{"@class":
        "org.apache.dubbo.registry.zookeeper.ZookeeperInstance","metadata":{"timestamp":"1"}}}"#;
    let key = r#"{"address":"192.0.2.10","port":25512,"payload":{"metadata":{"dubbo.metadata.revision":"d05c"}}}"#;
    assert_eq!(spring(&[json("a", class), json("b", key)]), None);
    let mixed = spring(&[json("a", class), json("5e0c", &instance(r#""port":8080"#, ""))]).unwrap();
    assert_eq!(mixed.endpoints.len(), 1);
}

#[test]
fn bad_instances_are_told_and_their_neighbours_serve() {
    let long = " ".repeat(1 << 20);
    for (bad, why) in [
        ("", "no service instance in JSON"),
        ("{", "no service instance in JSON"),
        ("[]", "neither an address nor a host name"),
        (r#"{"port":80}"#, "neither an address nor a host name"),
        (r#"{"address":"192.0.2.1"}"#, "neither a port nor an sslPort"),
        (r#"{"address":"192.0.2.1","port":0}"#, "neither a port nor an sslPort"),
        (r#"{"address":"192.0.2.1","port":70000}"#, "port 70000 is not possible"),
        (r#"{"address":"192.0.2.1","port":"http"}"#, "port \"http\" is no number"),
        (r#"{"address":"192.0.2.1","port":-1,"sslPort":0}"#, "port -1 is not possible"),
        (r#"{"address":"/run/x.sock","port":80}"#, "neither an address nor a host name"),
        (long.as_str(), "1048576 bytes"),
    ] {
        let good = json("good", &instance(r#""port":8080"#, ""));
        let service = spring(&[json("bad", bad), good]).unwrap();
        assert_eq!((service.endpoints.len(), service.notes.len()), (1, 1), "{bad}");
        let note = &service.notes[0];
        assert!(&*note.subject == "bad" && note.detail.contains(why), "{bad}: {note:?}");
    }
    let mut binary = json("bad", "");
    binary.data = vec![0xff, 0xfe];
    let alone = converted(Layout::Spring, "orders", &[binary], SystemTime::UNIX_EPOCH);
    assert!(alone.unreadable.unwrap().starts_with("none of its 1 instances can be read: bad is no service instance"));
}

#[test]
fn a_bad_optional_value_costs_itself() {
    for (more, ports, notes) in [
        (r#""port":"8080""#, vec![8080], 0),
        (r#""port":8080.0,"sslPort":null"#, vec![8080], 0),
        (r#""port":-1,"sslPort":8443"#, vec![8443], 1),
        (r#""port":8080,"sslPort":99999"#, vec![8080], 1),
        (r#""port":8080,"sslPort":{}"#, vec![8080], 0),
        (r#""port":8080,"enabled":[]"#, vec![8080], 0),
    ] {
        let service = spring(&[json("a", &instance(more, ""))]).unwrap();
        let read: Vec<u16> = service.endpoints[0].ports.iter().map(|port| port.number.get()).collect();
        assert_eq!((read, service.notes.len()), (ports, notes), "{more}: {:?}", service.notes);
        assert!(service.endpoints[0].enabled, "{more}");
    }
    let off = spring(&[json("a", &instance(r#""port":8080,"enabled":"false""#, ""))]).unwrap();
    assert!(!off.endpoints[0].enabled);
}

#[test]
fn urls_say_why_they_are_none() {
    assert_eq!(Url::parse("a%2"), Err(UrlError::Escape));
    assert_eq!(Url::parse("://192.0.2.1:1"), Err(UrlError::Scheme));
    let url = Url::parse("DUBBO://192.0.2.1:1/a.B/?x=a+b&y=%2B").unwrap();
    assert_eq!((&*url.scheme, &*url.path, url.get("x"), url.get("y")), ("dubbo", "a.B", Some("a b"), Some("+")));
}

#[test]
fn mutated_nodes_are_read_or_told() {
    crate::util::mutate::mutated(&[CAPTURED.as_bytes()], |input| {
        dubbo("Provider$PayService", &[&String::from_utf8_lossy(input)]);
    });
    let good = r#"{"name":"orders","id":"a","address":"10.0.0.1","port":8080,"sslPort":null,
        "payload":{"@class":"x","id":"application-1","name":"orders","metadata":{"zone":"a"}},"serviceType":"DYNAMIC"}"#;
    crate::util::mutate::mutated(&[good.as_bytes()], |input| {
        spring(&[Entry { name: "a".into(), data: input.to_vec() }, json("b", good)]);
    });
}
