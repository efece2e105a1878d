//! What providers of one service have in common, in its one spelling, and the names that registries have for it. Pure.

use crate::model::{DUBBO_SERVICE, Labels, ServiceId, Text};

/// The beginning of the names that Nacos has for services of providers.
const PROVIDERS: &str = "providers:";

/// How a registry names the services of the interface level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `INTERFACE:VERSION` in its group, with the root's name as its namespace.
    #[cfg_attr(not(feature = "zookeeper"), allow(dead_code, reason = "ZooKeeper alone names them so"))]
    Path(Text),
    /// `providers:INTERFACE:VERSION:GROUP` in the namespace and group of the application.
    Nacos,
}

impl Naming {
    /// The id of the service of this identity, where this application provides it.
    pub(crate) fn id(&self, identity: &Identity, application: &ServiceId) -> ServiceId {
        let registry = application.registry.clone();
        match self {
            Naming::Path(root) => ServiceId::new(registry, root.clone(), identity.group.clone(), identity.versioned()),
            Naming::Nacos => {
                let (namespace, group) = (application.namespace.clone(), application.group.clone());
                ServiceId::new(registry, namespace, group, identity.nacos_name())
            }
        }
    }
}

/// What providers of one service have in common. Dubbo compares all three.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// The Java interface; a nested one with `$`.
    pub(crate) interface: Text,
    /// Empty if there is none.
    pub(crate) group: Text,
    /// Empty if there is none.
    pub(crate) version: Text,
}

impl Identity {
    /// An identity in its one spelling. Dubbo takes version `0.0.0` for none (`BaseServiceMetadata.buildServiceKey`), and
    /// some write `-` for no group.
    pub(crate) fn new(interface: &str, group: &str, version: &str) -> Self {
        let (group, version) = (group.trim(), version.trim());
        Identity {
            interface: interface.trim().into(),
            group: if group == "-" { "" } else { group }.into(),
            version: if version == "0.0.0" { "" } else { version }.into(),
        }
    }

    /// Reads the name of a Nacos service; `None` if it is not that of a provider.
    ///
    /// Dubbo 2.6 leaves out what is absent, so `providers:Y:gray` may mean a version or a group: what the parameters of
    /// its instances say goes before the position.
    pub(crate) fn of_name<'a>(name: &str, parameters: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let mut parts = name.strip_prefix(PROVIDERS)?.split(':').map(str::trim);
        let interface = parts.next()?.replace("___", "$");
        let (version, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (said_group, said_version) = (parameters("group"), parameters("version"));
        let ambiguous = group.is_empty() && said_group == Some(version);
        let version = said_version.unwrap_or(if ambiguous { "" } else { version });
        Some(Identity::new(&interface, said_group.unwrap_or(group), version))
    }

    /// `INTERFACE:GROUP:VERSION` without colons at its end: the name by which Dubbo's users know it.
    pub(crate) fn service(&self) -> String {
        let Identity { interface, group, version } = self;
        format!("{interface}:{group}:{version}").trim_end_matches(':').to_owned()
    }

    /// Reads the labels that [`Identity::labels`] makes.
    pub(crate) fn of_labels(labels: &Labels) -> Self {
        let get = |key: &str| labels.get(key).map_or("", |value| value);
        Identity::new(get("interface"), get("group"), get("version"))
    }

    /// Reads the key that [`Identity::key`] makes.
    pub(crate) fn of_key(key: &str) -> Self {
        let (group, rest) = key.split_once('/').unwrap_or(("", key));
        let (interface, version) = rest.split_once(':').unwrap_or((rest, ""));
        Identity::new(interface, group, version)
    }

    /// Dubbo's own key for it: `GROUP/INTERFACE:VERSION`.
    pub(crate) fn key(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!("{}/", self.group) };
        group + &self.versioned()
    }

    /// The beginning of the names of its rules in a configuration centre: `INTERFACE:VERSION:GROUP`, with all colons.
    pub(crate) fn rule_key(&self) -> String {
        let Identity { interface, group, version } = self;
        format!("{interface}:{version}:{group}")
    }

    /// `INTERFACE:VERSION`, or the interface alone: its name within its group.
    pub(crate) fn versioned(&self) -> String {
        let Identity { interface, version, .. } = self;
        if version.is_empty() { interface.to_string() } else { format!("{interface}:{version}") }
    }

    /// The name that Nacos has for it since Dubbo 2.7: `providers:INTERFACE:VERSION:GROUP`.
    pub(crate) fn nacos_name(&self) -> String {
        let Identity { interface, group, version } = self;
        format!("{PROVIDERS}{}:{version}:{group}", interface.replace('$', "___"))
    }

    /// The identity as labels of the service, with [`DUBBO_SERVICE`]. Empty parts are left out.
    pub(crate) fn labels(&self) -> Labels {
        let service = Text::from(self.service());
        let all = [
            ("interface", &self.interface),
            ("group", &self.group),
            ("version", &self.version),
            (DUBBO_SERVICE, &service),
        ];
        let said = all.into_iter().filter(|(_, value)| !value.is_empty());
        said.map(|(key, value)| (key.into(), value.clone())).collect()
    }
}

/// True if a Nacos service of this name has the providers of an interface.
pub(crate) fn is_provider(name: &str) -> bool {
    name.starts_with(PROVIDERS)
}

/// True if a Nacos service of this name has instances that can be called.
pub(crate) fn serves(name: &str) -> bool {
    !["consumers:", "routers:", "configurators:"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters from `key=value&…`.
    fn of<'a>(query: &'a str) -> impl Fn(&str) -> Option<&'a str> {
        move |key| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    #[test]
    fn one_identity_has_one_spelling() {
        let read = |name: &str, query| Identity::of_name(name, of(query)).map(|identity| identity.service());
        for (name, query, expected) in [
            ("providers:a.B:1.0.0", "", "a.B::1.0.0"),
            ("providers:a.B:1.0.0:", "", "a.B::1.0.0"),
            ("providers:a.B:1.0.0:g", "", "a.B:g:1.0.0"),
            ("providers:a.B::g", "", "a.B:g"),
            ("providers:a.B::-", "", "a.B"),
            ("providers:a.B:0.0.0:", "", "a.B"),
            ("providers:a.B", "", "a.B"),
            ("providers:a.B___C::", "", "a.B$C"),
            ("providers:a.B:gray", "group=gray", "a.B:gray"),
            ("providers:a.B:gray", "version=gray", "a.B::gray"),
            ("providers:a.B:gray", "interface=a.B", "a.B::gray"),
            ("providers:a.B:1.0.0:g", "group=g&version=1.0.0", "a.B:g:1.0.0"),
            ("providers:a.B:1.0.0:1.0.0", "group=1.0.0&version=1.0.0", "a.B:1.0.0:1.0.0"),
        ] {
            assert_eq!(read(name, query).as_deref(), Some(expected), "{name} with {query}");
        }
        for name in ["orders", "consumers:a.B:1.0.0:g", "provider:a.B"] {
            assert_eq!(read(name, ""), None, "{name}");
        }
    }
}
