//! What distinguishes one view from another: which resources a service becomes.

use crate::{
    model::{Hostname, PublishedService},
    resource::{Kind, Resource},
    translate::{Rejected, envoy},
};
use imbl::OrdMap;
use std::{collections::BTreeSet, sync::Arc};

/// How the resources of a view are made.
pub trait Translation: Send {
    /// The view's name, for metrics.
    const VIEW: &'static str;

    /// What it makes, and answers for.
    const KINDS: &'static [Kind];

    /// Takes notice that these services have come, changed or gone; returns others whose resources differ for that.
    fn prepare(
        &mut self,
        _services: &OrdMap<Hostname, Arc<PublishedService>>,
        _changed: &BTreeSet<Hostname>,
    ) -> BTreeSet<Hostname> {
        BTreeSet::new()
    }

    /// The resources of one service, and what of it cannot be sent.
    fn translate(&self, service: &PublishedService) -> (Vec<(Kind, Resource)>, Vec<Rejected>);
}

impl Translation for envoy::Options {
    const VIEW: &'static str = "envoy";
    const KINDS: &'static [Kind] = &Kind::ENVOY;

    fn translate(&self, service: &PublishedService) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
        envoy::translate(service, self)
    }
}
