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

/// A place beside Dubbo's services where something has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Around {
    /// The metadata of the application of this name.
    Metadata(String),
    /// The rule of the configuration centre of this name.
    Rule(String),
    /// The rules beside the providers of an interface; the value is the name of the interface's node.
    Beside(String),
    /// The consumers of an interface; the value is the name of the interface's node.
    Consumers(String),
}

/// A convention for the nodes below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `<root>/<interface>/providers/<URL>`, as Dubbo and SOFARPC write it.
    Dubbo,
    /// `<root>/<service>/<instance>` with JSON in it, as Curator and with it Spring Cloud write it.
    Spring,
    /// The same for applications, as Dubbo 3 writes it; read beside `Dubbo`.
    Applications,
}

impl Layout {
    /// The key of the configuration under which the layout's settings are.
    pub const fn name(self) -> &'static str {
        match self {
            Layout::Dubbo => "dubbo",
            Layout::Spring => "spring",
            Layout::Applications => "applications",
        }
    }

    /// The root that the writers of this layout use by default.
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

    /// True if the data of entries is read. Dubbo says everything in their names, Curator in their data.
    pub(super) const fn reads_data(self) -> bool {
        matches!(self, Layout::Spring | Layout::Applications)
    }

    /// True if a child of a root is the node of a service.
    pub(super) fn is_service(self, node: &str) -> bool {
        self != Layout::Dubbo || !dubbo::RESERVED.contains(&node)
    }

    /// The place beside the services to which `<root>/<node>/<below>/<name>` belongs; `None` if it is no such place.
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

    /// True if a change at `<root>/<node>`, or at `<root>/<node>/<below>`, concerns the entries of a service.
    pub(super) fn concerns(self, node: &str, below: Option<&str>) -> bool {
        match self {
            Layout::Dubbo => self.is_service(node) && below.is_none_or(|folder| folder == "providers"),
            Layout::Spring | Layout::Applications => true,
        }
    }

    /// Converts the sorted entries of a node. `last` has the instances that the node had before.
    pub(super) fn services(self, place: Place<'_>, entries: &[Entry], last: &Known, now: SystemTime) -> Converted {
        match self {
            Layout::Dubbo => dubbo::services(place, entries, now),
            Layout::Spring => curator::service_of(place, entries, last, curator::Writer::Spring),
            Layout::Applications => curator::service_of(place, entries, last, curator::Writer::Dubbo),
        }
    }
}
