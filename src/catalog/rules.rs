//! A registry's policy, made ready for use: patterns compiled, its place in the order of ownership known.

use super::{Policy, relabel::Relabeling, select::Selector};
use crate::model::{Protocol, Text};
use std::sync::LazyLock;

/// A [`Policy`] with what is derived from it once.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) policy: Policy,
    pub(super) select: Selector,
    pub(super) relabel: Relabeling,
}

impl Rules {
    pub(super) fn new(policy: Policy) -> Self {
        let (select, relabel) = (Selector::new(&policy.select), Relabeling::new(&policy.relabel));
        Rules { policy, select, relabel }
    }
}

/// A protocol's name as shared text.
pub(super) fn protocol_name(protocol: Protocol) -> Text {
    static NAMES: LazyLock<Vec<(Protocol, Text)>> =
        LazyLock::new(|| Protocol::ALL.into_iter().map(|p| (p, Text::from(p.name()))).collect());
    NAMES.iter().find(|(p, _)| *p == protocol).map_or_else(|| protocol.name().into(), |(_, name)| name.clone())
}
