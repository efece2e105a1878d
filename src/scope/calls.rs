//! What an application needs, for the Envoys beside it: which application a client belongs to, by its own word, and what it
//! gets when that needs nothing that is known.

use super::Unmatched;
use crate::{
    model::Text,
    views::Wanted,
    xds::{MetadataValue, Node},
};

/// How a scope limits clients to what their application needs, by the call model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// Where a node names its application.
    pub application: Way,
    /// What a client gets whose application is not known.
    pub unknown: Unmatched,
    /// Every client has these services, by the names under which they can be declared.
    pub always: Vec<Text>,
}

/// Where a node names its application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// In `node.cluster`, which Envoy takes from `--service-cluster`.
    Cluster,
    /// At this path of keys in `node.metadata`, where a text must be.
    Metadata(Vec<Text>),
}

/// An application that nothing is known of, where such clients are refused. The text is for the client, too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}, and its scope refuses such clients")]
pub struct NotKnown(String);

/// What a client of the scope gets, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The services that it gets; `None`: all that its scope has.
    pub wanted: Option<Wanted>,
    /// The reason, as a part of what the log and the admin API say of a subscription.
    pub why: String,
}

impl Calls {
    /// What a client gets. `names` are of the services that an application needs; `None`: it is not known, or needs all.
    ///
    /// # Errors
    /// If its application is not known, and such clients are refused.
    pub fn of(&self, node: &Node, names: impl Fn(&str) -> Option<Vec<Text>>) -> Result<Called, NotKnown> {
        let always = || self.always.iter().map(|name| (name.clone(), None));
        let unknown = match self.application(node) {
            None => "names no application".to_owned(),
            Some(application) => match names(application) {
                Some(names) => {
                    let count = names.len();
                    let wanted = Wanted::new(always().chain(names.into_iter().map(|name| (name, None))), None);
                    return Ok(Called {
                        wanted: Some(wanted),
                        why: format!("application {application:?} needs {count} services"),
                    });
                }
                None => format!("what application {application:?} needs is not known"),
            },
        };
        match self.unknown {
            Unmatched::All => Ok(Called { wanted: None, why: unknown }),
            Unmatched::None => Ok(Called { wanted: Some(Wanted::new(always(), None)), why: unknown }),
            Unmatched::Refuse => Err(NotKnown(unknown)),
        }
    }

    /// A value that was too long to be kept names nothing.
    fn application<'a>(&self, node: &'a Node) -> Option<&'a str> {
        let name = match &self.application {
            Way::Cluster => Some(node.cluster.as_str()).filter(|_| !node.cut),
            Way::Metadata(way) => match node.metadata.get(way.iter().map(|key| &**key)) {
                Some(MetadataValue::Text(name)) => Some(name),
                _ => None,
            },
        };
        name.filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unknown: Unmatched, cluster: &str, expected: Result<Option<&[&str]>, &str>) {
        let calls = Calls { application: Way::Cluster, unknown, always: vec!["dns".into()] };
        let node = Node { cluster: cluster.into(), ..Node::default() };
        let names = |name: &str| (name == "cart").then(|| vec!["a.B:g:".into(), "a.A::".into()]);
        let called = calls.of(&node, names).map(|called| called.wanted);
        let expected = expected
            .map(|names| names.map(|names| Wanted::new(names.iter().map(|name| (Text::from(*name), None)), None)));
        assert_eq!(called.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{cluster:?}");
    }

    #[test]
    fn a_client_gets_what_its_application_needs() {
        for unknown in Unmatched::ALL {
            check(unknown, "cart", Ok(Some(&["a.A::", "a.B:g:", "dns"])));
        }
        check(Unmatched::All, "other", Ok(None));
        check(Unmatched::None, "other", Ok(Some(&["dns"])));
        let unknown = "what application \"other\" needs is not known, and its scope refuses such clients";
        check(Unmatched::Refuse, "other", Err(unknown));
        check(Unmatched::Refuse, "", Err("names no application, and its scope refuses such clients"));
    }

    #[test]
    fn a_value_that_was_cut_names_nobody() {
        let calls = Calls { application: Way::Cluster, unknown: Unmatched::All, always: Vec::new() };
        let node = Node { cluster: "cart".into(), cut: true, ..Node::default() };
        let called = calls.of(&node, |_| Some(Vec::new())).unwrap();
        assert_eq!((called.wanted, &*called.why), (None, "names no application"));
    }
}
