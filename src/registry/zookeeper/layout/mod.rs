//! What is written below a root, and by whom. All that differs between Dubbo and Curator is here; `read`, `watch` and
//! `tree` are the same for both. Pure.

mod curator;
mod dubbo;
mod entry;

#[cfg(test)]
mod tests;

#[cfg(feature = "zookeeper")]
pub(super) use dubbo::{callers_of, configurators, consumers, routers, routers_of, rules_folder, rules_of};
pub(super) use entry::{Converted, Entry, Known, Place};

use std::time::SystemTime;

/// What Dubbo keeps beside its services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Around {
    /// The metadata of an application.
    Metadata(String),
    /// A rule of the configuration centre.
    Rule(String),
    /// The rules beside the providers of an interface, by the name of its node.
    Beside(String),
    /// The consumers of an interface, by the name of its node.
    Consumers(String),
}

/// A convention for the nodes below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `<root>/<interface>/providers/<URL>`, as Dubbo and SOFARPC write it.
    Dubbo,
    /// `<root>/<service>/<instance>` with JSON in it, as Curator and with it Spring Cloud write it.
    Spring,
    /// The same as Dubbo 3 writes it, for applications; read beside `Dubbo`.
    Applications,
}

impl Layout {
    /// The key of the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Layout::Dubbo => "dubbo",
            Layout::Spring => "spring",
            Layout::Applications => "applications",
        }
    }

    /// Where its writers begin by default.
    pub(super) const fn default_root(self) -> &'static str {
        match self {
            Layout::Dubbo => "/dubbo",
            Layout::Spring | Layout::Applications => "/services",
        }
    }

    /// The node whose children are the entries of a service's node.
    pub(super) fn folder(self, root: &str, node: &str) -> String {
        match self {
            Layout::Dubbo => format!("{root}/{node}/providers"),
            Layout::Spring | Layout::Applications => format!("{root}/{node}"),
        }
    }

    /// Whether entries hold data that matters. Dubbo says everything in their names, Curator in their data.
    pub(super) const fn reads_data(self) -> bool {
        matches!(self, Layout::Spring | Layout::Applications)
    }

    /// Whether a child of a root is the node of a service.
    pub(super) fn is_service(self, node: &str) -> bool {
        self != Layout::Dubbo || !dubbo::RESERVED.contains(&node)
    }

    /// What stands at `<root>/<node>/<below>/<name>` beside the services.
    pub(super) fn around(self, node: &str, below: Option<&str>, name: Option<&str>) -> Option<Around> {
        if self != Layout::Dubbo {
            return None;
        }
        match (node, below?, name) {
            (dubbo::METADATA, application, _) => Some(Around::Metadata(application.into())),
            (dubbo::CONFIG, dubbo::RULES, Some(name)) => Some(Around::Rule(name.into())),
            (dubbo::CONFIG, ..) => None,
            (interface, dubbo::CONFIGURATORS | dubbo::ROUTERS, _) => Some(Around::Beside(interface.into())),
            (interface, dubbo::CONSUMERS, _) => Some(Around::Consumers(interface.into())),
            _ => None,
        }
    }

    /// Whether a change at `<root>/<node>`, or at `<root>/<node>/<below>`, is one of a service's entries.
    pub(super) fn concerns(self, node: &str, below: Option<&str>) -> bool {
        match self {
            Layout::Dubbo => self.is_service(node) && below.is_none_or(|folder| folder == "providers"),
            Layout::Spring | Layout::Applications => true,
        }
    }

    /// The services of a node, whose entries are sorted. `last` has the instances that it had before.
    pub(super) fn services(self, place: Place<'_>, entries: &[Entry], last: &Known, now: SystemTime) -> Converted {
        match self {
            Layout::Dubbo => dubbo::services(place, entries, now),
            Layout::Spring => curator::service_of(place, entries, last, curator::Writer::Spring),
            Layout::Applications => curator::service_of(place, entries, last, curator::Writer::Dubbo),
        }
    }
}
