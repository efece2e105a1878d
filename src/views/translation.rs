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
    /// Settings that hold for all proxies, such as their default retries.
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
    /// The `trafficPolicy` of Istio's DestinationRule for them.
    pub policy: Option<TrafficPolicy>,
    /// Settings for them that Istio has no field for.
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
    /// How proxies are served, besides how services become clusters.
    pub traffic: Traffic,
}

/// The settings by which services become resources, and the revision of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Translation {
    /// They hold for catalogs of this revision.
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
