//! Tests of the catalog as a whole: updates in, published services out. One file per area of rules.

mod clock;
mod configure;
mod down;
mod hosts;
mod instances;
mod merging;
mod overrides;
mod parts;
mod removal_guard;
mod task;

use super::{Catalog, Core, Desired, Now, Options, Outcome, Policy, Registry, Template};
use crate::model::{
    Address, Endpoint, Fraction, Health, Hostname, Labels, Note, Port, Protocol, PublishedEndpoint, PublishedService,
    Readiness, Reason, Scope, Service, ServiceId, Text, Update, Weight,
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// A core and its time.
struct World {
    core: Core,
    now: Now,
}

fn world(policies: Vec<Policy>) -> World {
    let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
    let mut world = World { core: Core::new(Options::default().grace, now), now };
    let _ = world.configure(policies);
    world
}

/// A world with one registry, `r`, changed as given.
fn one(change: impl FnOnce(&mut Policy)) -> World {
    let mut policy = policy("r");
    change(&mut policy);
    world(vec![policy])
}

/// A registry whose services are named `<service>.example`.
fn policy(registry: &str) -> Policy {
    Policy::new(registry, "test", template("{service}.example"))
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn id(registry: &str, name: &str) -> ServiceId {
    ServiceId::new(registry, "", "", name)
}

fn all() -> Scope {
    Scope("".into())
}

/// `10.0.0.1:8080`, with further words: `off`, `unhealthy`, `draining`, `w0.5`, `grpc` or another protocol (of the
/// port), `key=value`.
fn endpoint(text: &str) -> Endpoint {
    let mut words = text.split_whitespace();
    let (address, port) = words.next().unwrap().rsplit_once(':').unwrap();
    let port = Port::new(port.parse().unwrap()).unwrap();
    let mut endpoint = Endpoint::new(Address::parse(address).unwrap(), port);
    for word in words {
        if let Some((key, value)) = word.split_once('=') {
            endpoint.labels.insert(key.into(), value.into());
        } else if let Some(health) = Health::parse(word) {
            endpoint.health = health;
        } else if let Some(protocol) = Protocol::parse(word) {
            endpoint.ports[0].protocol = Some(protocol);
        } else if word == "off" {
            endpoint.enabled = false;
        } else {
            endpoint.weight = Weight::relative(word.strip_prefix('w').unwrap().parse().unwrap(), 1.0).unwrap();
        }
    }
    endpoint
}

fn service_of(registry: &str, name: &str, endpoints: &[&str]) -> Service {
    Service::new(id(registry, name), endpoints.iter().map(|text| endpoint(text)).collect())
}

/// The same service, moved to another group.
fn grouped(service: Service, group: &str) -> Service {
    let id = ServiceId::new(service.id.registry.clone(), "", group, service.id.name.clone());
    Service { id, ..service }
}

fn service(name: &str, endpoints: &[&str]) -> Arc<Service> {
    Arc::new(service_of("r", name, endpoints))
}

/// `number` instances of a service, on addresses of their own.
fn fleet(name: &str, first: usize, number: usize) -> Arc<Service> {
    let text: Vec<String> = (first..first + number).map(|i| format!("10.1.{}.{}:80", i / 250, i % 250 + 1)).collect();
    service(name, &text.iter().map(String::as_str).collect::<Vec<_>>())
}

fn listed(services: &[Arc<Service>]) -> Update {
    Update::Listed { scope: all(), services: services.to_vec(), unreadable: Vec::new() }
}

fn failed(error: &str) -> Update {
    Update::Failed { scope: Some(all()), error: error.into() }
}

impl World {
    /// Follows a configuration of these registries, with the connections that they have.
    fn configure(&mut self, policies: Vec<Policy>) -> Outcome {
        self.configure_all(policies.into_iter().map(Registry::from).collect(), false)
    }

    fn configure_all(&mut self, registries: Vec<Registry>, force: bool) -> Outcome {
        self.core.configure(Desired { registries, ..Desired::default() }, force, self.now)
    }

    /// An update of the registry `r`.
    fn update(&mut self, update: Update) {
        self.update_of("r", update);
    }

    fn update_of(&mut self, registry: &str, update: Update) {
        let reading = self.core.reading(registry).expect("the registry is configured");
        self.core.apply(&reading, update, self.now);
    }

    fn list(&mut self, services: &[Arc<Service>]) {
        self.update(listed(services));
    }

    /// Lets time pass, doing what is due in between at its moment.
    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(due) = self.core.due().filter(|due| *due <= end.instant) {
            self.now = self.now.after(due.saturating_duration_since(self.now.instant));
            self.core.tick(self.now);
            assert!(self.core.due().is_none_or(|next| next > self.now.instant), "a tick does what is due");
        }
        self.now = end;
    }

    fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn catalog(&mut self) -> Arc<Catalog> {
        self.core.snapshot()
    }

    /// Everything published, a line each.
    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        let shown: Vec<String> = self.catalog().services.values().map(|service| show(service)).collect();
        assert_eq!(shown, expected);
    }

    /// The codes and subjects of a service's notes in its record.
    #[track_caller]
    fn check_notes(&mut self, id: &ServiceId, expected: &[(Reason, &str)]) {
        let catalog = self.catalog();
        let record = catalog.records.get(id).expect("the service has a record");
        let notes: Vec<(Reason, &str)> = record.notes.iter().map(|note| (note.reason, &*note.subject)).collect();
        assert_eq!(notes, expected, "{:?}", record.notes);
    }

    /// How many endpoints a host has.
    fn count(&mut self, host: &str) -> Option<usize> {
        let host = Hostname::new(host).unwrap();
        self.catalog().services.get(&host).map(|service| service.endpoints.len())
    }
}

/// `host +alias port:number@host | endpoint, endpoint`.
fn show(service: &PublishedService) -> String {
    let mut text = service.host.to_string();
    service.aliases.iter().for_each(|alias| text += &format!(" +{alias}"));
    for port in &service.ports {
        text += &format!(" {}:{}", port.name, port.number);
        if port.host != service.host {
            text += &format!("@{}", port.host);
        }
    }
    let endpoints: Vec<String> = service.endpoints.iter().map(show_endpoint).collect();
    format!("{text} | {}", endpoints.join(", "))
}

/// `address:port`, the name of the port if it is not `http`, and what is not as usual.
fn show_endpoint(endpoint: &PublishedEndpoint) -> String {
    let ports: Vec<String> = endpoint
        .ports
        .iter()
        .map(|(name, port)| match &**name {
            "http" => port.to_string(),
            name => format!("{name}={port}"),
        })
        .collect();
    let mut text = format!("{}:{}", endpoint.address, ports.join("/"));
    if endpoint.health != Health::Healthy {
        text += &format!(" {}", endpoint.health.name());
    }
    if endpoint.weight != Weight::DEFAULT {
        text += &format!(" w{}", endpoint.weight.get());
    }
    if endpoint.priority > 0 {
        text += &format!(" p{}", endpoint.priority);
    }
    endpoint.labels.iter().for_each(|(key, value)| text += &format!(" {key}={value}"));
    text
}
