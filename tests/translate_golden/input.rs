//! The form of `in.yaml`.

use portolan::{
    model::*,
    translate::envoy::{ClusterName, LbPolicy, Options, Unhealthy},
};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// A service and the options that it is translated with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    #[serde(default)]
    options: InputOptions,
    host: String,
    #[serde(default)]
    aliases: Vec<String>,
    ports: Vec<InputPort>,
    #[serde(default)]
    dns: bool,
    #[serde(default)]
    endpoints: Vec<InputEndpoint>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct InputOptions {
    cluster_name: Option<String>,
    unhealthy: Option<String>,
    connect_timeout_ms: Option<u64>,
    lb_policy: Option<String>,
    #[serde(default)]
    grpc: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputPort {
    name: String,
    number: i64,
    protocol: String,
    host: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEndpoint {
    address: String,
    #[serde(default)]
    ports: BTreeMap<String, i64>,
    weight: Option<f64>,
    health: Option<String>,
    #[serde(default)]
    locality: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    priority: u32,
}

impl Input {
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        if let Some(rule) = &self.options.cluster_name {
            options.cluster_name = ClusterName::parse(rule).unwrap();
        }
        if let Some(word) = &self.options.unhealthy {
            options.unhealthy = Unhealthy::ALL.into_iter().find(|u| u.name() == word).unwrap();
        }
        if let Some(word) = &self.options.lb_policy {
            options.lb_policy = LbPolicy::ALL.into_iter().find(|p| p.name() == word).unwrap();
        }
        if let Some(timeout) = self.options.connect_timeout_ms {
            options.connect_timeout = Duration::from_millis(timeout);
        }
        if self.options.grpc { options.for_grpc() } else { options }
    }

    pub fn service(&self) -> PublishedService {
        let host = Hostname::new(&self.host).unwrap();
        let port = |port: &InputPort| ServicePort {
            name: port.name.as_str().into(),
            number: Port::new(port.number).unwrap(),
            protocol: Protocol::parse(&port.protocol).unwrap(),
            host: port.host.as_ref().map_or_else(|| host.clone(), |h| Hostname::new(h).unwrap()),
        };
        let ports = self.ports.iter().map(port).collect();
        let endpoints = self.endpoints.iter().map(InputEndpoint::endpoint).collect();
        PublishedService {
            aliases: self.aliases.iter().map(|alias| Hostname::new(alias).unwrap()).collect(),
            dns: self.dns,
            ..PublishedService::new(host, ports, endpoints)
        }
    }
}

impl InputEndpoint {
    fn endpoint(&self) -> PublishedEndpoint {
        let ports = self.ports.iter().map(|(n, p)| (n.as_str().into(), Port::new(*p).unwrap())).collect();
        PublishedEndpoint {
            weight: self.weight.map_or(Weight::DEFAULT, |w| Weight::relative(w, 1.0).unwrap()),
            health: self.health.as_ref().map_or(Health::Healthy, |h| Health::parse(h).unwrap()),
            locality: Locality::parse(&self.locality),
            labels: self.labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
            priority: self.priority,
            ..PublishedEndpoint::new(Address::parse(&self.address).unwrap(), ports)
        }
    }
}
