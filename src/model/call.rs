//! Who calls whom, as consumers that register themselves say it: what they need, and the names by which services are found
//! that have it.

use super::{Labels, Note, Text};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The registry of what is made of calls: none that is configured has this name.
pub const CALLS: &str = "calls";

/// The label of a service that has its name among Dubbo's users: `INTERFACE:GROUP:VERSION` without colons at its end.
pub const DUBBO_SERVICE: &str = "dubbo.service";

/// Stands for every group, or version.
const ANY: &str = "*";

/// A service that a consumer needs, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    /// The Java interface; `*`: all there are.
    pub interface: Text,
    /// Empty: none; `*`: any or none; or several with commas between them.
    pub group: Text,
    /// Its version, in the same form as `group`.
    pub version: Text,
}

/// What the consumers at one place of a registry say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// By name of the application: all that its consumers there need.
    pub needs: BTreeMap<Text, BTreeSet<Need>>,
    /// What could not be read.
    pub notes: Vec<Note>,
}

/// A report on the consumers of one registry, applied in order.
#[derive(Debug, Clone)]
pub enum CallUpdate {
    /// All places, each with what was read there. At those that could not be read it is as it was.
    Listed(BTreeMap<Text, Arc<Needs>>, BTreeSet<Text>),
    /// One place as it is now.
    Applied(Text, Arc<Needs>),
    /// Nothing could be read, and everything is as it was.
    Failed(Text),
}

impl Need {
    /// Whether it stands for every service.
    pub fn is_everything(&self) -> bool {
        &*self.interface == ANY
    }

    /// How many names [`Need::names`] gives.
    pub fn count(&self) -> usize {
        options(&self.group).count().saturating_mul(options(&self.version).count())
    }

    /// The names of the services that have it. As with Dubbo (`ServiceKey.Matcher`, 3.2), an empty item of a list stands for
    /// none.
    pub fn names(&self) -> impl Iterator<Item = Text> {
        let versions = || options(&self.version);
        options(&self.group).flat_map(move |group| versions().map(move |version| name(&self.interface, group, version)))
    }

    /// As Dubbo's users write it: `INTERFACE:GROUP:VERSION` without colons at its end.
    pub fn service(&self) -> String {
        name(&self.interface, &self.group, &self.version).trim_end_matches(':').to_owned()
    }
}

/// The items of a list with commas; a list that has `*` is `*` alone.
fn options(list: &str) -> impl Iterator<Item = &str> + Clone {
    let any = list.split(',').any(|item| item.trim() == ANY);
    let items = if any { ANY } else { list };
    items.split(',').map(str::trim)
}

fn name(interface: &str, group: &str, version: &str) -> Text {
    format!("{interface}:{group}:{version}").into()
}

/// The names by which a service with these labels is needed: with its group and version, and with any. Always with both colons,
/// so that they are no names that a registry has for it.
pub fn needed_as(labels: &Labels) -> Vec<Text> {
    let Some(service) = labels.get(DUBBO_SERVICE) else { return Vec::new() };
    let mut parts = service.splitn(3, ':');
    let [interface, group, version] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let both = [(group, version), (group, ANY), (ANY, version), (ANY, ANY)];
    both.into_iter().map(|(group, version)| name(interface, group, version)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which services of all `(group, version)` have it.
    fn check(group: &str, version: &str, expected: &[&str]) {
        let need = Need { interface: "a.B".into(), group: group.into(), version: version.into() };
        let names: Vec<Text> = need.names().collect();
        assert_eq!(names.len(), need.count());
        let services = ["a.B", "a.B:g", "a.B:h", "a.B::1", "a.B::2", "a.B:g:1", "a.B:h:2", "a.C:g:1"];
        let has = |service: &&str| {
            let labels = Labels::from([(DUBBO_SERVICE.into(), (*service).into())]);
            needed_as(&labels).iter().any(|name| names.contains(name))
        };
        let found: Vec<&str> = services.into_iter().filter(has).collect();
        assert_eq!(found, expected, "group {group:?}, version {version:?}");
    }

    #[test]
    fn groups_and_versions_are_matched_as_by_dubbo() {
        check("", "", &["a.B"]);
        check("g", "", &["a.B:g"]);
        check("g", "1", &["a.B:g:1"]);
        check("*", "", &["a.B", "a.B:g", "a.B:h"]);
        check("*", "1", &["a.B::1", "a.B:g:1"]);
        check("*", "*", &["a.B", "a.B:g", "a.B:h", "a.B::1", "a.B::2", "a.B:g:1", "a.B:h:2"]);
        check("g,h", "1, 2", &["a.B:g:1", "a.B:h:2"]);
        check("", "1,", &["a.B", "a.B::1"]);
        check("g,*", "2", &["a.B::2", "a.B:h:2"]);
        check("h", "*", &["a.B:h", "a.B:h:2"]);
    }

    #[test]
    fn a_service_without_the_label_is_needed_by_nobody() {
        assert_eq!(needed_as(&Labels::from([("interface".into(), "a.B".into())])), Vec::<Text>::new());
    }
}
