//! Both levels together: who is published, by which level, and what a change touches.

use super::*;
use crate::registry::dubbo::metadata::REVISION;
use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn directory(step: Step, threshold: f64) -> Directory {
    Directory::new(Naming::Path("dubbo".into()), Migration { step, threshold }, false)
}

fn id(namespace: &str, name: &str) -> ServiceId {
    ServiceId::new("zk", namespace, "", name)
}

fn instance(address: &str, ports: &[(i64, &str)], labels: &[(&str, &str)]) -> Endpoint {
    let port = |(at, (number, protocol)): (usize, &(i64, &str))| EndpointPort {
        number: Port::new(*number).unwrap(),
        protocol: Protocol::parse(protocol),
        name: (at > 0).then(|| (*protocol).into()),
    };
    let ports: Vec<EndpointPort> = ports.iter().enumerate().map(port).collect();
    let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    Endpoint { ports: ports.into(), labels, ..Endpoint::new(Address::parse(address).unwrap(), Port::new(1).unwrap()) }
}

/// An application whose instances listen at 20880 for Dubbo; each with its revision.
fn application(name: &str, instances: &[(&str, &str)]) -> Arc<Service> {
    let one = |(address, revision): &(&str, &str)| instance(address, &[(20880, "dubbo")], &[(REVISION, revision)]);
    Arc::new(Service::new(id("services", name), instances.iter().map(one).collect()))
}

/// An interface as providers of it register themselves.
fn interface(name: &str, addresses: &[&str]) -> Arc<Service> {
    let one = |address: &&str| instance(address, &[(20880, "dubbo")], &[]);
    let service = Service::new(id("dubbo", name), addresses.iter().map(one).collect());
    Arc::new(Service { labels: Identity::new(name, "", "").labels(), ..service })
}

/// Metadata of these interfaces, by Dubbo's protocol.
fn text(application: &str, revision: &str, interfaces: &[&str]) -> Vec<u8> {
    let one =
        |name: &&str| format!(r#""{name}:dubbo":{{"name":"{name}","protocol":"dubbo","port":20880,"params":{{}}}}"#);
    let services: Vec<String> = interfaces.iter().map(one).collect();
    format!(r#"{{"app":"{application}","revision":"{revision}","services":{{{}}}}}"#, services.join(",")).into()
}

impl Directory {
    /// Answers all that is wanted: `metadata` has by `APPLICATION REVISION` what is provided; anything else is missing.
    fn fed(&mut self, metadata: &[(&str, &[&str])]) {
        for Wanted { application, revision, .. } in self.wanted() {
            let key = format!("{} {revision}", application.name);
            let found = metadata.iter().find(|(known, _)| *known == key);
            let read = found.map(|(_, interfaces)| text(&application.name, &revision, interfaces));
            self.learn(&application, revision, read.ok_or("no metadata".into()));
        }
    }

    /// What has changed, and then all that is published.
    fn shown(&mut self) -> (String, String) {
        let mut changes: Vec<String> = Vec::new();
        for change in self.settle(NOW) {
            changes.push(match change {
                Change::Applied(service) => format!("+{}", service.id.name),
                Change::Removed(id) => format!("-{}", id.name),
            });
        }
        let mut all = String::new();
        for service in self.services() {
            let at = |e: &Endpoint| format!("{}:{}", e.address, e.ports[0].number);
            let endpoints: Vec<String> = service.endpoints.iter().map(at).collect();
            write!(all, "{} {}; ", service.id.name, endpoints.join(",")).unwrap();
        }
        (changes.join(" "), all.trim_end_matches("; ").to_owned())
    }
}

#[test]
fn a_provider_that_registers_in_both_ways_is_there_once_at_each_step() {
    for (step, threshold, expected) in [
        (Step::ForceInterface, 0.0, "a 10.0.0.1:20880,10.0.0.2:20880; old 10.0.0.9:20880"),
        (Step::ApplicationFirst, 0.0, "a 10.0.0.2:20880; new 10.0.0.2:20880; old 10.0.0.9:20880"),
        // One of two is half of them.
        (Step::ApplicationFirst, 0.5, "a 10.0.0.2:20880; new 10.0.0.2:20880; old 10.0.0.9:20880"),
        (Step::ApplicationFirst, 0.6, "a 10.0.0.1:20880,10.0.0.2:20880; new 10.0.0.2:20880; old 10.0.0.9:20880"),
        (Step::ForceApplication, 0.0, "a 10.0.0.2:20880; new 10.0.0.2:20880"),
    ] {
        let mut directory = directory(step, threshold);
        directory.put_interface(interface("a", &["10.0.0.1", "10.0.0.2"]));
        directory.put_interface(interface("old", &["10.0.0.9"]));
        directory.put_application(application("shop", &[("10.0.0.2", "r")]));
        directory.fed(&[("shop r", &["a", "new"])]);
        assert_eq!(directory.shown().1, expected, "{step:?} {threshold}");
    }
}

#[test]
fn a_change_touches_what_its_application_provides() {
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    let shop = application("shop", &[("10.0.0.1", "r")]);
    directory.put_application(shop.clone());
    directory.put_application(application("cart", &[("10.0.0.2", "r")]));
    let metadata: [(&str, &[&str]); 3] = [("shop r", &["a", "b"]), ("cart r", &["b", "c"]), ("shop s", &["a", "d"])];
    directory.fed(&metadata);
    let both = "a 10.0.0.1:20880; b 10.0.0.1:20880,10.0.0.2:20880; c 10.0.0.2:20880";
    assert_eq!(directory.shown(), ("+a +b +c".into(), both.into()));
    // The same again is none.
    directory.put_application(shop);
    assert_eq!((directory.wanted(), directory.shown().0), (vec![], String::new()));
    directory.put_application(application("shop", &[("10.0.0.1", "r"), ("10.0.0.3", "s")]));
    directory.fed(&metadata);
    let rolling =
        "a 10.0.0.1:20880,10.0.0.3:20880; b 10.0.0.1:20880,10.0.0.2:20880; c 10.0.0.2:20880; d 10.0.0.3:20880";
    assert_eq!(directory.shown(), ("+a +d".into(), rolling.into()));
    directory.put_application(application("shop", &[("10.0.0.3", "s")]));
    assert_eq!(directory.wanted(), [], "what was read once is known");
    let after = "a 10.0.0.3:20880; b 10.0.0.2:20880; c 10.0.0.2:20880; d 10.0.0.3:20880";
    assert_eq!(directory.shown(), ("+a +b".into(), after.into()));
    directory.remove_application(&id("services", "shop"));
    assert_eq!(directory.shown(), ("-a -d".into(), "b 10.0.0.2:20880; c 10.0.0.2:20880".into()));
    directory.replace_applications(vec![], |_| false);
    assert_eq!(directory.shown(), ("-b -c".into(), String::new()));
    assert!(directory.providers.is_empty() && directory.applications.is_empty());
}

#[test]
fn a_rule_of_the_level_that_does_not_count_may_decide_which_one_does() {
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    let old = instance("10.0.0.1", &[(20880, "dubbo")], &[("application", "legacy")]);
    let old = Service { labels: Identity::new("a", "", "").labels(), ..Service::new(id("dubbo", "a"), vec![old]) };
    directory.put_interface(Arc::new(old));
    directory.put_application(application("shop-v3", &[("10.0.0.2", "r")]));
    directory.fed(&[("shop-v3 r", &["a"])]);
    assert_eq!(directory.shown(), ("+a".into(), "a 10.0.0.2:20880".into()));
    let off = |application: &str| {
        format!(
            "configVersion: v2.7\nscope: application\nkey: {application}\n\
             configs:\n- side: provider\n  parameters: {{ disabled: true }}\n"
        )
    };
    let rule = "shop-v3.configurators";
    directory.put_rule(rule, Some(off("shop-v3").as_bytes()));
    assert_eq!(directory.shown(), ("+a".into(), "a 10.0.0.1:20880".into()));
    directory.put_rule(rule, None);
    assert_eq!(directory.shown(), ("+a".into(), "a 10.0.0.2:20880".into()));
    // Nor is one of the interface level passed over while that one does not count.
    directory.put_rule("legacy.configurators", Some(off("legacy").as_bytes()));
    assert_eq!(directory.dirty, BTreeSet::from([id("dubbo", "a")]));
    assert_eq!(directory.shown().1, "a 10.0.0.2:20880");
    // Nothing is kept of what is gone.
    directory.remove_interface(&id("dubbo", "a"));
    directory.remove_application(&id("services", "shop-v3"));
    assert_eq!(directory.shown().0, "-a");
    assert!(directory.concerned.is_empty() && directory.concerns.is_empty());
}

#[test]
fn an_instance_whose_revision_cannot_be_read_provides_what_it_did() {
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    directory.put_application(application("shop", &[("10.0.0.1", "r"), ("10.0.0.2", "r")]));
    let metadata: [(&str, &[&str]); 1] = [("shop r", &["a"])];
    directory.fed(&metadata);
    assert_eq!(directory.shown().1, "a 10.0.0.1:20880,10.0.0.2:20880");
    assert_eq!(directory.problems(), []);
    // One goes to another revision, and one is new with it: of the new one nothing is known.
    directory.put_application(application("shop", &[("10.0.0.1", "r"), ("10.0.0.2", "s"), ("10.0.0.3", "s")]));
    directory.fed(&metadata);
    assert_eq!(directory.shown().1, "a 10.0.0.1:20880,10.0.0.2:20880");
    let problems = directory.problems();
    assert_eq!(&*problems[0].1, "2 of its instances have revision s: no metadata");
    // It is not asked for again and again.
    assert_eq!(directory.wanted(), []);
    assert!(!directory.try_again(Some(&id("services", "cart"))));
    assert_eq!(directory.wanted(), []);
    assert!(directory.try_again(Some(&id("services", "shop"))));
    directory.fed(&[("shop s", &["a", "b"])]);
    let all = "a 10.0.0.1:20880,10.0.0.2:20880,10.0.0.3:20880; b 10.0.0.2:20880,10.0.0.3:20880";
    assert_eq!((directory.shown().1, directory.problems()), (all.into(), vec![]));
}

#[test]
fn metadata_of_another_revision_or_application_is_none() {
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    directory.put_interface(interface("a", &["10.0.0.9"]));
    directory.put_application(application("shop", &[("10.0.0.1", "r"), ("10.0.0.2", "s")]));
    let shop = id("services", "shop");
    directory.learn(&shop, "r".into(), Ok(text("shop", "s", &["a"])));
    directory.learn(&shop, "s".into(), Ok(text("cart", "s", &["a"])));
    directory.learn(&id("services", "nobody"), "r".into(), Ok(text("nobody", "r", &["a"])));
    assert_eq!(directory.shown().1, "a 10.0.0.9:20880", "the interface level stands in");
    let problem = directory.problems().remove(0).1;
    assert!(problem.contains("of revision \"s\"") && problem.contains("of application \"cart\""), "{problem}");
}

#[test]
fn one_interface_of_ten_applications_is_one_service() {
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    for number in 0..10 {
        let (name, address) = (format!("app{number}"), format!("10.0.0.{number}"));
        directory.put_application(application(&name, &[(&address, "r")]));
    }
    for Wanted { application, revision, .. } in directory.wanted() {
        directory.learn(&application, revision.clone(), Ok(text(&application.name, &revision, &["a"])));
    }
    directory.settle(NOW);
    let all: Vec<&Arc<Service>> = directory.services().collect();
    assert_eq!((all.len(), all[0].endpoints.len()), (1, 10));
}

#[test]
fn an_instance_of_several_protocols_is_called_by_each_at_its_port() {
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    let ports = [(20880, "dubbo"), (50051, "tri"), (50052, "tri")];
    let labels = [(REVISION, "r"), ("timestamp", "5"), ("dubbo.endpoints", "[]"), ("zone", "z1")];
    let service = Service::new(id("services", "shop"), vec![instance("10.0.0.1", &ports, &labels)]);
    directory.put_application(Arc::new(service));
    let text = r#"{"services":{
        "a:dubbo":{"name":"a","protocol":"dubbo","port":20880,"params":{"weight":"50","methods":"m"}},
        "a:tri":{"name":"a","protocol":"tri","port":50052,"params":{"disabled":"true"}},
        "g/b:1.0:tri":{"name":"b","group":"g","version":"1.0","protocol":"tri"},
        "c:rest":{"name":"c","protocol":"rest","port":8080}}}"#;
    directory.learn(&id("services", "shop"), "r".into(), Ok(text.into()));
    directory.settle(NOW);
    let mut shown = String::new();
    for service in directory.services() {
        for e in &service.endpoints {
            let (port, on) = (&e.ports[0], if e.enabled { "" } else { " off" });
            let protocol = port.protocol.map_or("-", Protocol::name);
            writeln!(shown, "{} {} {protocol} {}{on}", service.id, port.number, e.weight.get()).unwrap();
        }
    }
    let expected = "zk/dubbo/a 20880 dubbo 0.5\nzk/dubbo/a 50052 tri 1 off\n\
                    zk/dubbo/c 8080 http 1\nzk/dubbo/g/b:1.0 50051 tri 1\n";
    assert_eq!(shown, expected);
    let b = directory.services().find(|service| *service.id.name == *"b:1.0").unwrap();
    let labels: Vec<String> = b.endpoints[0].labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["application=shop", "group=g", "interface=b", "version=1.0", "zone=z1"]);
    assert_eq!(&*b.labels["dubbo.service"], "b:g:1.0");
}

#[test]
fn instances_of_one_revision_share_what_it_says() {
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    let one =
        |n: i64| instance(&format!("10.0.0.{n}"), &[(1, "dubbo")], &[(REVISION, "r"), ("timestamp", &n.to_string())]);
    directory.put_application(Arc::new(Service::new(id("services", "shop"), (1..=5).map(one).collect())));
    directory.fed(&[("shop r", &["a"])]);
    directory.settle(NOW);
    let service = directory.services().next().unwrap();
    let first: *const _ = &*service.endpoints[0].labels;
    assert!(service.endpoints.iter().all(|endpoint| std::ptr::eq(first, &*endpoint.labels)));
}

#[test]
fn a_weight_grows_from_the_start_of_the_instance() {
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    let labels = [(REVISION, "r"), ("timestamp", "1000")];
    let service = Service::new(id("services", "shop"), vec![instance("10.0.0.1", &[(1, "dubbo")], &labels)]);
    directory.put_application(Arc::new(service));
    let text = r#"{"services":{"a:dubbo":{"name":"a","protocol":"dubbo","params":{"warmup":"1000","timestamp":"1"}}}}"#;
    directory.learn(&id("services", "shop"), "r".into(), Ok(text.into()));
    let at = |millis| NOW + Duration::from_millis(millis);
    directory.settle(at(1000));
    let weight = |directory: &Directory| directory.services().next().unwrap().endpoints[0].weight.get();
    assert_eq!((weight(&directory), directory.until()), (0.1, Some(at(1100))));
    assert_eq!(directory.settle(at(1099)), []);
    assert_eq!(directory.settle(at(1550)).len(), 1);
    assert_eq!(weight(&directory), 0.6);
    directory.settle(at(2000));
    assert_eq!((weight(&directory), directory.until()), (1.0, None));
}

#[test]
fn an_interface_stands_below_its_root_or_beside_its_application() {
    let identity = Identity::new("a.B$C", "g", "1.0");
    let application = ServiceId::new("zk", "services", "", "shop");
    assert_eq!(
        Naming::Path("dubbo".into()).id(&identity, &application),
        ServiceId::new("zk", "dubbo", "g", "a.B$C:1.0")
    );
    let application = ServiceId::new("n", "public", "DEFAULT_GROUP", "shop");
    let expected = ServiceId::new("n", "public", "DEFAULT_GROUP", "providers:a.B___C:1.0:g");
    assert_eq!(Naming::Nacos.id(&identity, &application), expected);
}

/// Prints how long a large fleet takes, and one change in it. It judges nothing.
#[test]
#[ignore = "a measurement: run by tests/long/dubbo"]
fn two_thousand_applications_of_twenty_interfaces() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024
    };
    let before = resident();
    let mut directory = directory(Step::ApplicationFirst, 0.0);
    let fleet = |number: usize, revision: &str| {
        let address = |n: usize| format!("10.{}.{}.{n}", number / 250, number % 250);
        let addresses: Vec<String> = (0..5).map(address).collect();
        let instances: Vec<(&str, &str)> = addresses.iter().map(|address| (&**address, revision)).collect();
        application(&format!("app{number}"), &instances)
    };
    let feed = |directory: &mut Directory| {
        for Wanted { application, revision, .. } in directory.wanted() {
            let names: Vec<String> = (0..20).map(|n| format!("com.foo.{}.Service{n}", application.name)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            directory.learn(&application, revision.clone(), Ok(text(&application.name, &revision, &names)));
        }
    };
    let started = std::time::Instant::now();
    (0..2_000).for_each(|number| directory.put_application(fleet(number, "r")));
    feed(&mut directory);
    let services = directory.settle(NOW).len();
    println!("{services} services in {:?}, {} MiB", started.elapsed(), resident() - before);
    let started = std::time::Instant::now();
    directory.put_application(fleet(77, "s"));
    feed(&mut directory);
    let changed = directory.settle(NOW).len();
    println!("one application of another revision: {changed} changes in {:?}", started.elapsed());
}

#[test]
fn providers_are_asked_only_for_what_they_have_themselves_and_where_that_is_wanted() {
    for (asks, storage, expected) in [(true, "local", true), (true, "remote", false), (false, "local", false)] {
        let mut directory = Directory::new(Naming::Path("dubbo".into()), Migration::default(), asks);
        let mut shop = Service::clone(&application("shop", &[("10.0.0.1", "r"), ("10.0.0.2", "r"), ("10.0.0.3", "s")]));
        for instance in &mut shop.endpoints {
            instance.labels.insert("dubbo.metadata.storage-type".into(), storage.into());
            instance.labels.insert("dubbo.metadata-service.url-params".into(), r#"{"port":"20881"}"#.into());
        }
        directory.put_application(Arc::new(shop));
        let places = |wanted: &Wanted| {
            let places = wanted.places.iter().flatten();
            places.map(|place| place.as_ref().unwrap().address.to_string()).collect::<Vec<_>>().join(" ")
        };
        let asked: Vec<String> = directory.wanted().iter().map(places).collect();
        let expected = if expected { ["10.0.0.1:20881 10.0.0.2:20881", "10.0.0.3:20881"] } else { ["", ""] };
        assert_eq!(asked, expected, "{asks} {storage}");
    }
}
