//! What distinguishes one view from another: which resources a service becomes.

use crate::{
    model::PublishedService,
    resource::{Kind, Resource},
    translate::{Rejected, envoy, istio},
};

/// How the resources of a view are made.
pub trait Translation: Send {
    /// The view's name, for metrics.
    const VIEW: &'static str;

    /// What it makes.
    const KINDS: &'static [Kind];

    /// The resources of one service, and what of it cannot be sent.
    fn translate(&self, service: &PublishedService) -> (Vec<(Kind, Resource)>, Vec<Rejected>);
}

impl Translation for envoy::Options {
    const VIEW: &'static str = "envoy";
    const KINDS: &'static [Kind] = &[Kind::Cluster, Kind::Endpoint];

    fn translate(&self, service: &PublishedService) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
        envoy::translate(service, self)
    }
}

impl Translation for istio::Options {
    const VIEW: &'static str = "istio";
    const KINDS: &'static [Kind] = &[Kind::ServiceEntry];

    fn translate(&self, service: &PublishedService) -> (Vec<(Kind, Resource)>, Vec<Rejected>) {
        istio::translate(service, self, &|_| Vec::new())
    }
}
