//! What distinguishes one view from another, and what a view has.

use crate::{
    manifests::Snapshot,
    model::{Proxy, PublishedService, ServiceId},
    resource::{Dialect, Kind, Name},
};
use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

/// The key of a view: all who have the same key see the same. Its text is `[next:]DIALECT[/SCOPE][@PROXY]`, such as
/// `envoy/edge@router,shop,istio=ingressgateway`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewKey {
    /// Which clients it is for, and so the form of its resources.
    pub dialect: Dialect,
    /// Name of the scope whose selection it has; `None`: everything.
    pub scope: Option<Arc<str>>,
    /// The class of clients that it is for, among those of one dialect and scope.
    pub class: Class,
}

/// What clients of one scope are told apart by, where what they are served depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// What Istio's rules tell proxies apart by; `None`: clients that say nothing of themselves.
    pub proxy: Option<Arc<Proxy>>,
    /// True: made by the settings that are being rolled out. False: by those that hold for all others.
    pub next: bool,
}

/// Prefix of a key whose [`Class::next`] is set.
const NEXT: &str = "next:";

impl ViewKey {
    /// The view that has everything.
    pub const fn whole(dialect: Dialect) -> Self {
        ViewKey { dialect, scope: None, class: Class { proxy: None, next: false } }
    }

    /// The view of a scope, for clients of no class of their own.
    pub fn of_scope(dialect: Dialect, scope: impl Into<Arc<str>>) -> Self {
        ViewKey { scope: Some(scope.into()), ..ViewKey::whole(dialect) }
    }

    /// Whether it has everything that its dialect has.
    pub fn is_whole(&self) -> bool {
        self.scope.is_none() && self.class.proxy.is_none()
    }
}

impl fmt::Display for ViewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ViewKey { dialect, scope, class: Class { proxy, next } } = self;
        f.write_str(if *next { NEXT } else { "" })?;
        f.write_str(dialect.name())?;
        scope.as_deref().map_or(Ok(()), |scope| write!(f, "/{scope}"))?;
        proxy.as_deref().map_or(Ok(()), |proxy| write!(f, "@{proxy}"))
    }
}

/// The error for a text that is no [`ViewKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a view is written as `envoy`, `grpc` or `istio`, with a scope as `envoy/SCOPE`, and a class of proxies as \
     `envoy@router,NAMESPACE,KEY=VALUE`; one of a rollout with `next:` before it"
)]
pub struct NoViewKey;

impl FromStr for ViewKey {
    type Err = NoViewKey;

    fn from_str(text: &str) -> Result<Self, NoViewKey> {
        let (text, next) = text.strip_prefix(NEXT).map_or((text, false), |text| (text, true));
        let (text, proxy) = match text.split_once('@') {
            Some((text, proxy)) => (text, Some(Arc::new(proxy.parse().map_err(|_| NoViewKey)?))),
            None => (text, None),
        };
        let (dialect, scope) = match text.split_once('/') {
            Some((dialect, scope)) => (dialect, Some(scope)),
            None => (text, None),
        };
        let dialect = Dialect::named(dialect).ok_or(NoViewKey)?;
        match scope {
            Some("") => Err(NoViewKey),
            scope => Ok(ViewKey { dialect, scope: scope.map(Into::into), class: Class { proxy, next } }),
        }
    }
}

/// Decides what of a service a view has. Equal services must give equal answers, whatever came before.
pub trait Select: fmt::Debug + Send + Sync {
    /// The service, or the part of it that the view has; `None`: nothing of it. The same `Arc` costs no translation of
    /// its own.
    fn select(&self, service: &Arc<PublishedService>) -> Option<Arc<PublishedService>>;

    /// Whether the view has resources of that kind.
    fn has_kind(&self, _kind: Kind) -> bool {
        true
    }

    /// Whether the view may know that a service is that one of a registry.
    fn has_source(&self, _id: &ServiceId) -> bool {
        true
    }

    /// Whether the view has the manifests of that registry.
    fn has_manifests_of(&self, _registry: &str) -> bool {
        true
    }
}

/// Which services a view has. Everything by default.
#[derive(Debug, Clone, Default)]
pub struct Selection(Option<Arc<dyn Select>>);

impl Selection {
    /// The services that this picks.
    pub fn by(select: Arc<dyn Select>) -> Self {
        Selection(Some(select))
    }

    /// Whether both are the same value. Two selections that pick the same services may be different values.
    pub(super) fn is(&self, other: &Selection) -> bool {
        match (&self.0, &other.0) {
            (Some(this), Some(other)) => Arc::ptr_eq(this, other),
            (this, other) => this.is_none() && other.is_none(),
        }
    }

    /// Whether it selects everything.
    pub(super) fn is_all(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn has_kind(&self, kind: Kind) -> bool {
        self.0.as_ref().is_none_or(|select| select.has_kind(kind))
    }

    pub(super) fn has_source(&self, id: &ServiceId) -> bool {
        self.0.as_ref().is_none_or(|select| select.has_source(id))
    }

    /// The resources of manifests that the view lacks.
    pub(super) fn hidden(&self, manifests: &Snapshot) -> BTreeSet<(Kind, Name)> {
        let Some(select) = &self.0 else { return BTreeSet::new() };
        let hidden = manifests.manifests.iter().filter(|status| !select.has_manifests_of(&status.id.registry));
        hidden.flat_map(|status| status.resources.iter().cloned()).collect()
    }

    pub(super) fn of(&self, service: &Arc<PublishedService>) -> Option<Arc<PublishedService>> {
        self.0.as_ref().map_or_else(|| Some(service.clone()), |select| select.select(service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let edge = ViewKey::of_scope(Dialect::Istio, "edge/a");
        let proxy: Proxy = "router,shop,app/a=b".parse().unwrap();
        let class = Class { proxy: Some(Arc::new(proxy)), next: false };
        let next = Class { next: true, ..Class::default() };
        let router = ViewKey { class, ..ViewKey::of_scope(Dialect::Envoy, "edge") };
        for (text, key) in [
            ("envoy", ViewKey::whole(Dialect::Envoy)),
            ("istio/edge/a", edge),
            ("envoy/edge@router,shop,app/a=b", router),
            ("next:grpc", ViewKey { class: next, ..ViewKey::whole(Dialect::Grpc) }),
        ] {
            assert_eq!((key.to_string().as_str(), text.parse()), (text, Ok(key)));
        }
        for wrong in ["", "envoys", "envoy/", "/a", "envoy@", "envoy@gateway,a", "next:", "next:next:envoy"] {
            assert_eq!(wrong.parse::<ViewKey>(), Err(NoViewKey), "{wrong}");
        }
    }
}
