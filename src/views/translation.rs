//! How services become resources, and how proxies are served besides.

use super::{Istio, Metrics, translations::Translator};
use crate::{
    catalog::Select,
    model::Text,
    pb::istio::networking::v1alpha3::TrafficPolicy,
    resource::Dialect,
    translate::{Beyond, envoy, gateway::Gateway, istio, traffic::Mesh},
};

/// How proxies are served, besides how services become clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// What holds for all proxies.
    pub mesh: Mesh,
    /// The namespace of proxies that name none.
    pub namespace: Text,
    /// Gateways for services as they are, without a manifest.
    pub gateways: Vec<Gateway>,
    /// How proxies speak to services, without a manifest. The first that fits one counts.
    pub policies: Vec<ServicePolicy>,
}

/// How proxies speak to some services.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePolicy {
    /// Which services, by what holds for all of their instances.
    pub select: Select,
    /// As a DestinationRule has it.
    pub policy: Option<TrafficPolicy>,
    /// What Istio has no field for.
    pub beyond: Beyond,
}

impl Default for Traffic {
    fn default() -> Self {
        Traffic { mesh: Mesh::default(), namespace: "portolan".into(), gateways: Vec::new(), policies: Vec::new() }
    }
}

/// How what is published becomes resources: all that decides it besides what is published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    /// How services become Envoy's resources.
    pub envoy: envoy::Options,
    /// How services become Istio's entries.
    pub istio: istio::Options,
    /// How proxies are served besides.
    pub traffic: Traffic,
}

/// How services become resources, and since when.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Translation {
    /// Holds for catalogs of this revision.
    pub(super) revision: u64,
    pub(super) outputs: Outputs,
}

impl Translation {
    /// Whether a dialect's resources are made in the same way.
    pub(super) fn same(&self, other: &Translation, dialect: Dialect) -> bool {
        match dialect {
            // Rules ask for the namespace of a service, which is that of its entry.
            Dialect::Envoy | Dialect::Grpc => self.outputs == other.outputs,
            Dialect::Istio => self.outputs.istio == other.outputs.istio,
        }
    }

    pub(super) fn translator(&self, dialect: Dialect, metrics: &Metrics) -> Box<dyn Translator> {
        match dialect {
            Dialect::Envoy => Box::new(self.outputs.envoy.clone()),
            Dialect::Grpc => Box::new(self.outputs.envoy.for_grpc()),
            Dialect::Istio => Box::new(Istio::new(self.outputs.istio.clone(), metrics.clone())),
        }
    }
}
