//! Labels of endpoints as Slime's meshregistry makes them, for those who move over.

use crate::model::{CLUSTER, Labels, Locality, OTHER_CLUSTER, PublishedEndpoint};
use std::{collections::BTreeMap, fmt::Write};

/// Parameters of Dubbo that Slime leaves out.
const IGNORED: [&str; 3] = ["pid", "timestamp", "dubbo"];

/// The label that says where an instance is, also to an Istiod.
const LOCALITY: &str = "istio-locality";

/// The labels of each instance. `nacos`: without the cluster that the reader of Nacos has added.
pub(super) fn of_instances(endpoints: &[&PublishedEndpoint], nacos: bool) -> Vec<BTreeMap<String, String>> {
    let made = |endpoint: &&PublishedEndpoint| placed(of_instance(&endpoint.labels, nacos), &endpoint.locality);
    endpoints.iter().map(made).collect()
}

/// The labels of each provider of Dubbo.
pub(super) fn of_providers(endpoints: &[&PublishedEndpoint]) -> Vec<BTreeMap<String, String>> {
    let made = |endpoint: &&PublishedEndpoint| placed(of_provider(&endpoint.labels), &endpoint.locality);
    let mut all: Vec<BTreeMap<String, String>> = endpoints.iter().map(made).collect();
    // What all have alike says nothing.
    if all.first().is_some_and(|first| all.iter().all(|labels| labels.get("methods") == first.get("methods"))) {
        all.iter_mut().for_each(|labels| drop(labels.remove("methods")));
    }
    all
}

/// Region, zone and sub-zone, as far as they are known. Without a region there is none.
pub(super) fn locality(locality: &Locality, separator: &str) -> String {
    let parts = [locality.region(), locality.zone(), locality.sub_zone()];
    match parts[0] {
        "" => String::new(),
        _ => parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(separator),
    }
}

/// With the label of the place, whatever labels told it.
fn placed(mut labels: BTreeMap<String, String>, place: &Locality) -> BTreeMap<String, String> {
    let place = locality(place, ".");
    if !place.is_empty() {
        labels.insert(LOCALITY.into(), place);
    }
    labels
}

fn of_instance(labels: &Labels, nacos: bool) -> BTreeMap<String, String> {
    let added = if labels.contains_key(OTHER_CLUSTER) { OTHER_CLUSTER } else { CLUSTER };
    let kept = labels.iter().filter(|(key, _)| !nacos || &***key != added);
    let value = |key: &str, value: &str| if key == "instanceId" { value.replace(':', "_") } else { value.to_owned() };
    kept.map(|(key, text)| (key.to_string(), value(key, text))).collect()
}

fn of_provider(labels: &Labels) -> BTreeMap<String, String> {
    let mut made = BTreeMap::new();
    for (key, value) in labels.iter().filter(|(key, _)| !IGNORED.contains(&&***key)) {
        match &**key {
            "methods" => drop(made.insert(key.to_string(), methods(value))),
            // A tag of pairs has become labels already.
            "dubbo.tag" if value.contains('=') => {}
            "dubbo.tag" => drop(made.insert("dubboTag".to_owned(), value.to_string())),
            _ => drop(made.insert(key.to_string(), value.replace([',', ':'], "_"))),
        }
    }
    made
}

/// In order, with dots between them. Whatever is no letter, digit or `_` becomes its two digits with a dash between.
fn methods(list: &str) -> String {
    let mut names: Vec<&str> = list.split(',').filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let escaped = |name: &str| {
        name.bytes().fold(String::new(), |mut text, byte| {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => text.push(byte.into()),
                _ => write!(text, "{:x}-{:x}", byte >> 4, byte & 15).expect("text takes everything"),
            }
            text
        })
    };
    names.into_iter().map(escaped).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_sorted_and_escaped() {
        assert_eq!(methods("sayHello,sayBye"), "sayBye.sayHello");
        assert_eq!(methods("$invoke"), "2-4invoke");
        assert_eq!(methods(""), "");
    }

    #[test]
    fn parameters_become_labels_that_istio_takes() {
        let given = [("dubbo.tag", "gray"), ("param", "a,b:c"), ("pid", "1"), ("timestamp", "2"), ("dubbo", "3")];
        let given: Labels = given.map(|(key, value)| (key.into(), value.into())).into();
        let expected = [("dubboTag", "gray"), ("param", "a_b_c")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(of_provider(&given), BTreeMap::from(expected));
    }
}
