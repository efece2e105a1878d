//! What the instances of an application provide at one revision: the text that Dubbo 3 writes into its metadata report
//! (`/dubbo/metadata/APPLICATION/REVISION` in ZooKeeper, a configuration in Nacos). A revision is a hash of what it says,
//! so what was read of one stays true. Pure.

use super::{Identity, parts_of_tag};
use crate::model::{Labels, Port, Text};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The most bytes of metadata: a thousand interfaces with twenty parameters each have some hundred thousand bytes.
const MAX_BYTES: usize = 4 << 20;
/// The revision of an application that provides nothing.
const EMPTY: &str = "0";

/// The label under which an instance names its revision.
pub(crate) const REVISION: &str = "dubbo.metadata.revision";

/// What the instances of one revision provide.
#[derive(Debug, PartialEq)]
pub(crate) struct Metadata {
    /// The services that are provided, sorted by identity.
    pub(crate) offers: Vec<Offer>,
    /// Services that cannot be read, with the reason.
    pub(crate) problems: Vec<String>,
}

/// One service, offered by one protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offer {
    pub(crate) identity: Identity,
    /// The scheme that the URL of the service would have, such as `dubbo` or `tri`.
    pub(crate) protocol: Text,
    /// The port in the metadata; `None` if it has none. It is used where an instance has several ports for the
    /// protocol, or none.
    pub(crate) port: Option<Port>,
    /// Parameters of the service, with the application and the identity among them.
    pub(crate) labels: Labels,
}

#[derive(Deserialize)]
struct Written<'a> {
    app: Option<String>,
    revision: Option<String>,
    #[serde(borrow, default)]
    services: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    group: Option<String>,
    version: Option<String>,
    protocol: String,
    #[serde(default)]
    port: i64,
    #[serde(default)]
    params: BTreeMap<String, Option<String>>,
}

/// The revision that an instance names; `None` if it names none, or provides nothing (`0`).
pub(crate) fn revision(metadata: &Labels) -> Option<&Text> {
    metadata.get(REVISION).filter(|revision| !matches!(revision.trim(), "" | EMPTY))
}

impl Metadata {
    /// Reads the metadata of an application at a revision.
    ///
    /// # Errors
    /// If it is too long or no metadata, or says that it is of another application or revision.
    pub(crate) fn parse(application: &str, revision: &str, text: &[u8]) -> Result<Metadata, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("has {} bytes, and more than {MAX_BYTES} are not read", text.len()));
        }
        let written: Written<'_> = serde_json::from_slice(text).map_err(|error| format!("is no metadata: {error}"))?;
        for (key, said, expected) in
            [("application", &written.app, application), ("revision", &written.revision, revision)]
        {
            if let Some(said) = said.as_deref().filter(|said| *said != expected) {
                return Err(format!("says that it is of {key} {said:?}"));
            }
        }
        let (mut offers, mut problems) = (Vec::new(), Vec::new());
        for (key, service) in written.services {
            match serde_json::from_str::<Service>(service.get()) {
                Ok(service) if service.name.trim().is_empty() => problems.push(format!("{key}: it has no name")),
                // What Dubbo adds for other protocols at one port is not for those who look for providers.
                Ok(service) if service.params.contains_key("isExtra") => {}
                Ok(service) => offers.push(offer(service, application)),
                Err(error) => problems.push(format!("{key}: {error}")),
            }
        }
        offers.sort();
        Ok(Metadata { offers, problems })
    }
}

fn offer(service: Service, application: &str) -> Offer {
    let (group, version) =
        (service.group.as_deref().unwrap_or_default(), service.version.as_deref().unwrap_or_default());
    let identity = Identity::new(&service.name, group, version);
    let mut labels: Labels =
        service.params.into_iter().filter_map(|(key, value)| Some((key.into(), value?.into()))).collect();
    let own = [
        ("application", application),
        ("interface", &*identity.interface),
        ("group", &*identity.group),
        ("version", &*identity.version),
    ];
    for (key, value) in own {
        if value.is_empty() {
            labels.remove(key);
        } else {
            labels.insert(key.into(), value.into());
        }
    }
    if let Some(tag) = labels.get("dubbo.tag").cloned() {
        for (key, value) in parts_of_tag(&tag) {
            labels.entry(key.into()).or_insert_with(|| value.into());
        }
    }
    Offer { identity, protocol: service.protocol.trim().into(), port: Port::new(service.port).ok(), labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from Dubbo 3.2.13, shortened.
    const CAPTURED: &str = r#"{"app":"app3","revision":"d05c","services":{
        "Provider$PayService:dubbo":{"name":"Provider$PayService","params":{"side":"provider","release":"3.2.13",
        "methods":"pay","deprecated":"false","dubbo":"2.0.2","interface":"Provider$PayService","weight":"50",
        "timestamp":"1795196016730"},"path":"Provider$PayService","port":25512,"protocol":"dubbo"},
        "g1/a.B:1.0.0:tri":{"name":"a.B","group":"g1","version":"1.0.0","params":{"methods":"b","dubbo.tag":"env=gray"},
        "path":"a.B","port":50051,"protocol":"tri"}}}"#;

    #[test]
    fn captured_metadata_is_read_whole() {
        let metadata = Metadata::parse("app3", "d05c", CAPTURED.as_bytes()).unwrap();
        let shown: Vec<String> = metadata
            .offers
            .iter()
            .map(|o| format!("{} {} {}", o.identity.service(), o.protocol, o.port.unwrap()))
            .collect();
        assert_eq!(shown, ["Provider$PayService dubbo 25512", "a.B:g1:1.0.0 tri 50051"]);
        let labels = &metadata.offers[1].labels;
        let label = |key: &str| labels.get(key).map_or("", |value| value);
        assert_eq!(
            [label("application"), label("group"), label("version"), label("env")],
            ["app3", "g1", "1.0.0", "gray"]
        );
        assert_eq!(metadata.problems, Vec::<String>::new());
    }

    #[test]
    fn what_is_another_s_is_refused() {
        for (app, revision, expected) in [
            ("app4", "d05c", "says that it is of application \"app3\""),
            ("app3", "ffff", "says that it is of revision \"d05c\""),
        ] {
            assert_eq!(Metadata::parse(app, revision, CAPTURED.as_bytes()), Err(expected.into()));
        }
        for (text, expected) in
            [("", "is no metadata"), ("[]", "is no metadata"), ("{\"services\":[]}", "is no metadata")]
        {
            let error = Metadata::parse("a", "1", text.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let long = vec![b' '; MAX_BYTES + 1];
        assert!(Metadata::parse("a", "1", &long).unwrap_err().contains("more than"));
    }

    #[test]
    fn a_service_that_cannot_be_read_costs_itself() {
        let text = r#"{"services":{"a:dubbo":{"name":"a","protocol":"dubbo"},"b:dubbo":{"protocol":"dubbo"},
            "c:tri":{"name":"c","protocol":"tri","params":{"isExtra":"true"}},"d":7,
            "e:dubbo":{"name":"e","protocol":"dubbo","port":-1,"params":{"x":null}}}}"#;
        let metadata = Metadata::parse("app", "1", text.as_bytes()).unwrap();
        let names: Vec<&str> = metadata.offers.iter().map(|offer| &*offer.identity.interface).collect();
        assert_eq!((names, metadata.problems.len()), (vec!["a", "e"], 2), "{:?}", metadata.problems);
    }

    #[test]
    fn some_instances_provide_nothing() {
        let of = |value: &str| Labels::from([(REVISION.into(), value.into())]);
        assert_eq!(revision(&of("d05c")).map(|r| &**r), Some("d05c"));
        assert_eq!((revision(&of("0")), revision(&of("")), revision(&Labels::new())), (None, None, None));
    }
}
