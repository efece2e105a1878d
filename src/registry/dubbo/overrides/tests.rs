//! Which rules hold for whom, and what comes out of several.

use super::*;
use crate::registry::dubbo::{Identity, url::Url};

/// The parameters that are set for the provider of `g/a.B:1.0` at 10.0.0.1:20880 of `shop`, which has weight 100 and
/// region eu.
fn changed(overrides: &Overrides, beside: &[&str]) -> String {
    let identity = Identity::new("a.B", "g", "1.0");
    let target = Target { identity: &identity, application: Some("shop"), host: "10.0.0.1", port: 20880 };
    let own = [("weight", "100"), ("region", "eu"), ("application", "shop")];
    let get = |key: &str| own.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
    let rule = |url: &&str| Rule::of_url(&Url::parse_rule(url).unwrap()).unwrap();
    let mut beside: Vec<Rule> = beside.iter().filter_map(rule).collect();
    sort(&mut beside);
    let changes = overrides.changes(&target, &beside, get);
    changes.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// A rule of the configuration centre for the service, with these items.
fn of_service(items: &str) -> Overrides {
    let text = format!("configVersion: v2.7\nscope: service\nkey: g/a.B:1.0\nenabled: true\nconfigs:\n{items}");
    let mut overrides = Overrides::default();
    overrides.put("a.B:1.0:g.configurators", Some(text.as_bytes()));
    overrides
}

fn findings(overrides: &Overrides) -> String {
    overrides.findings().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>().join("\n")
}

#[test]
fn urls_beside_providers_hold_for_one_or_for_all() {
    for (url, expected) in [
        ("override://0.0.0.0/a.B?group=g&version=1.0&category=configurators&dynamic=false&weight=50", "weight=50"),
        ("override://10.0.0.1:20880/a.B?group=g&version=1.0&disabled=true", "disabled=true"),
        ("override://10.0.0.1:20881/a.B?group=g&version=1.0&disabled=true", ""),
        ("override://10.0.0.2:20880/a.B?group=g&version=1.0&disabled=true", ""),
        // Without a port it is for a consumer.
        ("override://10.0.0.1/a.B?group=g&version=1.0&disabled=true", ""),
        ("override://0.0.0.0/a.B?group=g&version=2.0&weight=50", ""),
        ("override://0.0.0.0/a.B?weight=50", ""),
        ("override://0.0.0.0/*?weight=50", "weight=50"),
        ("override://0.0.0.0/a.B?group=g&version=1.0&enabled=false&weight=50", ""),
        ("override://0.0.0.0/a.B?group=g&version=1.0&application=shop&weight=50", "weight=50"),
        ("override://0.0.0.0/a.B?group=g&version=1.0&application=cart&weight=50", ""),
        ("override://0.0.0.0/a.B?group=g&version=1.0&~region=eu&weight=50", "weight=50"),
        ("override://0.0.0.0/a.B?group=g&version=1.0&~region=us&weight=50", ""),
        ("override://0.0.0.0/a.B?group=g&version=1.0&~region=*&weight=50", "weight=50"),
        ("override://0.0.0.0/a.B?group=g&version=1.0&side=consumer&weight=50", "weight=50"),
        ("absent://0.0.0.0/a.B?group=g&version=1.0&weight=50&zone=z", "zone=z"),
        ("override://0.0.0.0/a.B?group=g&version=1.0", ""),
    ] {
        assert_eq!(changed(&Overrides::default(), &[url]), expected, "{url}");
    }
}

#[test]
fn of_those_that_contradict_the_one_for_a_host_counts_then_the_higher_priority() {
    let all = "override://0.0.0.0/a.B?group=g&version=1.0&weight=";
    let one = "override://10.0.0.1:20880/a.B?group=g&version=1.0&weight=";
    for (urls, expected) in [
        ([format!("{one}1"), format!("{all}2")], "weight=1"),
        ([format!("{all}2"), format!("{one}1")], "weight=1"),
        ([format!("{all}1&priority=2"), format!("{all}2&priority=1")], "weight=1"),
        ([format!("{all}1"), format!("{all}2")], "weight=2"),
    ] {
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        assert_eq!(changed(&Overrides::default(), &urls), expected, "{urls:?}");
    }
}

/// As for Dubbo's consumers: what stands beside providers is applied once more over what providers took in.
#[test]
fn of_each_side_a_rule_of_the_service_goes_last_and_the_consumer_s_side_behind_the_provider_s() {
    let url = "override://0.0.0.0/a.B?group=g&version=1.0&weight=1&zone=url&rack=url";
    let application = "configVersion: v2.7\nscope: application\nkey: shop\nconfigs:\n\
                       - side: provider\n  parameters: { weight: 2, zone: application }\n";
    let mut overrides = of_service("- side: provider\n  parameters: { weight: 3 }\n");
    let shop = Some(Affected::Application("shop".into()));
    assert_eq!(overrides.put("shop.configurators", Some(application.as_bytes())), shop);
    assert_eq!(changed(&overrides, &[]), "weight=3 zone=application");
    assert_eq!(changed(&overrides, &[url]), "rack=url weight=1 zone=url");
    assert_eq!(overrides.put("shop.configurators", Some(application.as_bytes())), None, "the same again");
    let service = "configVersion: v2.7\nkey: g/a.B:1.0\nconfigs:\n- side: consumer\n  parameters: { weight: 4 }\n";
    let interface = Some(Affected::Interface("a.B".into()));
    assert_eq!(overrides.put("a.B:1.0:g.configurators", Some(service.as_bytes())), interface);
    assert_eq!(changed(&overrides, &[url]), "rack=url weight=4 zone=url");
    assert_eq!(overrides.put("a.B:1.0:g.configurators", None), interface);
    assert_eq!(changed(&overrides, &[]), "weight=2 zone=application");
    overrides.put("shop.configurators", None);
    assert_eq!((changed(&overrides, &[url]), overrides.names().count()), ("rack=url weight=1 zone=url".into(), 0));
}

#[test]
fn items_hold_by_address_side_and_service() {
    for (item, expected) in [
        ("side: provider\n  addresses: ['0.0.0.0']\n  parameters: { weight: 5 }", "weight=5"),
        ("side: provider\n  addresses: ['10.0.0.1:20880']\n  parameters: { weight: 5 }", "weight=5"),
        ("side: provider\n  addresses: ['10.0.0.1:20881']\n  parameters: { weight: 5 }", ""),
        ("side: provider\n  addresses: ['10.0.0.2']\n  parameters: { weight: 5 }", ""),
        ("side: consumer\n  parameters: { weight: 5, disabled: true }", "disabled=true weight=5"),
        ("side: consumer\n  providerAddresses: ['10.0.0.1:20880']\n  parameters: { weight: 5 }", "weight=5"),
        ("side: consumer\n  providerAddresses: ['0.0.0.0:20880']\n  parameters: { weight: 5 }", "weight=5"),
        ("side: consumer\n  providerAddresses: ['10.0.0.1']\n  parameters: { weight: 5 }", "weight=5"),
        ("side: consumer\n  providerAddresses: ['10.0.0.1:1']\n  parameters: { weight: 5 }", ""),
        ("side: provider\n  applications: [shop]\n  parameters: { weight: 5 }", "weight=5"),
        ("side: provider\n  applications: [cart]\n  parameters: { weight: 5 }", ""),
        ("side: provider\n  enabled: false\n  parameters: { weight: 5 }", "weight=5"),
        ("side: provider\n  type: weight\n  enabled: false\n  parameters: { weight: 5 }", ""),
        ("side: provider\n  type: weight\n  enabled: true\n  parameters: { weight: 5 }", "weight=5"),
    ] {
        assert_eq!(changed(&of_service(&format!("- {item}\n")), &[]), expected, "{item}");
    }
    let disabled = "configVersion: v2.7\nkey: g/a.B:1.0\nenabled: false\nconfigs:\n- side: provider\n  parameters: { weight: 5 }\n";
    let mut overrides = Overrides::default();
    overrides.put("a.B:1.0:g.configurators", Some(disabled.as_bytes()));
    assert_eq!(changed(&overrides, &[]), "");
}

#[test]
fn conditions_of_dubbo_3_are_understood() {
    for (condition, expected) in [
        ("providerAddress: { wildcard: '10.0.0.1:*' }", "weight=5"),
        ("providerAddress: { exact: '10.0.0.1:20880' }", "weight=5"),
        ("providerAddress: { exact: '10.0.0.1:20881' }", ""),
        ("providerAddress: { cird: '10.0.0.0/24' }", "weight=5"),
        ("providerAddress: { cird: '10.0.1.0/24' }", ""),
        ("address: { wildcard: '*' }", "weight=5"),
        ("service: { oneof: [{ exact: x }, { exact: 'g/a.B:1.0' }] }", "weight=5"),
        ("service: { oneof: [{ prefix: 'g/' }] }", "weight=5"),
        ("service: { oneof: [] }", ""),
        ("param: [{ key: region, value: { exact: eu } }]", "weight=5"),
        ("param: [{ key: region, value: { exact: eu } }, { key: zone, value: { noempty: 'true' } }]", ""),
        ("param: [{ key: zone, value: { empty: 'true' } }]", "weight=5"),
    ] {
        let text = format!(
            "configVersion: v3.0\nkey: g/a.B:1.0\nconfigs:\n- side: consumer\n  match: {{ {condition} }}\n  parameters: {{ weight: 5 }}\n"
        );
        let mut overrides = Overrides::default();
        overrides.put("a.B:1.0:g.configurators", Some(text.as_bytes()));
        assert_eq!(changed(&overrides, &[]), expected, "{condition}: {}", findings(&overrides));
    }
}

#[test]
fn a_list_of_urls_is_a_rule_too() {
    let mut overrides = Overrides::default();
    let text = r#"["override://0.0.0.0/a.B?group=g&version=1.0&weight=7", "override://", "route://0.0.0.0/a.B?x=y"]"#;
    overrides.put("a.B:1.0:g.configurators", Some(text.as_bytes()));
    assert_eq!(changed(&overrides, &[]), "weight=7");
    assert!(findings(&overrides).contains("route:// is no configurator"), "{}", findings(&overrides));
}

#[test]
fn what_a_mesh_cannot_have_is_told() {
    for (item, expected) in [
        (
            "side: consumer\n  addresses: ['10.0.9.9']\n  parameters: { weight: 5 }",
            "1 of its rules are for single consumers",
        ),
        (
            "side: consumer\n  applications: [web]\n  parameters: { weight: 5 }",
            "1 of its rules are for single consumers",
        ),
        ("parameters: { weight: 5 }", "item 1: says no `side`"),
        ("side: provider", "item 1: has no `parameters`"),
        ("side: provider\n  parameters: {}", "item 1: has no `parameters`"),
    ] {
        let overrides = of_service(&format!("- {item}\n"));
        assert_eq!(changed(&overrides, &[]), "", "{item}");
        assert!(findings(&overrides).contains(expected), "{item}: {}", findings(&overrides));
    }
    let regex = "configVersion: v3.0\nkey: g/a.B:1.0\nconfigs:\n- side: provider\n  \
                 match: { param: [{ key: a, value: { regex: '.*' } }] }\n  parameters: { weight: 5 }\n\
                 - side: provider\n  parameters: { weight: 6 }\n";
    let mut overrides = Overrides::default();
    overrides.put("a.B:1.0:g.configurators", Some(regex.as_bytes()));
    assert_eq!(changed(&overrides, &[]), "weight=6", "the other item holds");
    assert!(findings(&overrides).contains("the pattern \".*\" of Java"));
}

#[test]
fn texts_are_bounded_and_nonsense_costs_itself() {
    let long = vec![b' '; (1 << 20) + 1];
    for text in [&b"{"[..], b"", b"a: [", b"- 1\n- [", b"key: 1", b"\xff", &long] {
        let mut overrides = Overrides::default();
        overrides.put("a.B:1.0:g.configurators", Some(text));
        assert_eq!(changed(&overrides, &[]), "");
    }
    let megabyte = "x".repeat((1 << 20) - 200);
    let text = format!(
        "configVersion: v2.7\nkey: g/a.B:1.0\nconfigs:\n- side: provider\n  parameters: {{ weight: 5, x: {megabyte} }}\n"
    );
    let mut overrides = Overrides::default();
    overrides.put("a.B:1.0:g.configurators", Some(text.as_bytes()));
    assert!(changed(&overrides, &[]).starts_with("weight=5 x=xxx"));
}

#[test]
fn tags_of_a_rule_are_labels_of_those_whom_it_names() {
    for (tag, expected) in [
        ("addresses: ['10.0.0.1:20880']", "dubbo.tag=gray"),
        ("addresses: ['10.0.0.1']", "dubbo.tag=gray"),
        ("addresses: ['10.0.0.2:20880', '10.0.0.*:20880']", "dubbo.tag=gray"),
        ("addresses: ['10.0.0.1-9']", "dubbo.tag=gray"),
        ("addresses: ['10.0.0.0/24']", "dubbo.tag=gray"),
        ("addresses: ['0.0.0.0:20880']", "dubbo.tag=gray"),
        ("addresses: ['10.0.0.1:20881', '10.0.0.2-9', '10.1.0.0/16', 'x']", "dubbo.untagged=true"),
        ("match: [{ key: region, value: { exact: eu } }]", "dubbo.tag=gray"),
        ("match: [{ key: region, value: { exact: us } }]", "dubbo.untagged=true"),
        ("match: []", "dubbo.untagged=true"),
    ] {
        let text = format!(
            "configVersion: v3.0\nforce: true\nkey: shop\ntags:\n- name: gray\n  {tag}\n- name: rest\n  addresses: []\n"
        );
        let mut overrides = Overrides::default();
        let affected = overrides.put("shop.tag-router", Some(text.as_bytes()));
        assert_eq!(affected, Some(Affected::Application("shop".into())));
        assert_eq!(changed(&overrides, &[]), expected, "{tag}");
        let off = text.replace("force: true", "enabled: false");
        overrides.put("shop.tag-router", Some(off.as_bytes()));
        assert_eq!((&*changed(&overrides, &[]), findings(&overrides)), ("dubbo.untagged=true", String::new()));
        overrides.put("shop.tag-router", Some(text.replace("force: true", "runtime: true").as_bytes()));
        assert!(findings(&overrides).contains("without `force: true`"), "{}", findings(&overrides));
        overrides.put("shop.tag-router", None);
        assert!(overrides.is_empty());
    }
}

#[test]
fn rules_by_which_consumers_choose_are_told() {
    let mut overrides = Overrides::default();
    for name in ["shop.condition-router", "a.B:1.0:g.script-router"] {
        assert!(Overrides::is_one(name));
        assert_eq!(overrides.put(name, Some(b"conditions: ['host = 1 => host = 2']")), None);
    }
    assert!(findings(&overrides).contains("shop.condition-router: conditions of Dubbo are not applied"));
    assert_eq!(overrides.names().count(), 2);
    overrides.put_routers("a.B", 2);
    assert!(findings(&overrides).contains("a.B/routers: 2 routing rules of Dubbo 2.6"), "{}", findings(&overrides));
    overrides.put_routers("a.B", 0);
    overrides.put("shop.condition-router", None);
    overrides.put("a.B:1.0:g.script-router", None);
    assert_eq!(findings(&overrides), "");
}
