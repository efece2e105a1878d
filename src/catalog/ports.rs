//! Which ports a service has on a host, and which of them a port of an instance is.
//!
//! Numbers come from the declaration, the configuration, or the protocol; never from an instance: routes must not move
//! when instances do. What there is beyond the declared ports is learned from every registered instance, healthy or not.

use super::{notes::Notes, rules::protocol_name};
use crate::{
    model::{DeclaredPort, Endpoint, EndpointPort, Protocol, Reason, Text},
    util::sorted_vec::SortedSet,
};
use std::borrow::Cow;

/// The label in which Dubbo's applications tell all their ports.
const DUBBO_ENDPOINTS: &str = "dubbo.endpoints";

/// What was learned from instances: the ports that come first on some instance, then the others, then those that a held
/// instance brought, each in order of name.
pub(super) type LearnedPorts = SortedSet<LearnedPort>;

/// A port's name with what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LearnedPort {
    /// Only held instances have it, and it was not there before them: it takes no number from others.
    pub(super) held: bool,
    /// No instance has it as its first.
    pub(super) beside: bool,
    pub(super) name: Text,
    pub(super) protocol: Protocol,
}

/// Gives each port of an instance its name among the service's ports.
#[derive(Debug)]
pub(super) struct Naming<'a> {
    declared: &'a [DeclaredPort],
    default: Protocol,
    own: Text,
}

impl<'a> Naming<'a> {
    /// For a service with these declared ports, in a registry of that default protocol.
    pub(super) fn new(declared: &'a [DeclaredPort], default: Protocol) -> Self {
        let own = declared.first().map_or_else(|| protocol_name(default), |port| port.name.clone());
        Naming { declared, default, own }
    }

    /// The port's own name; else that of the service's own port if it says nothing at all; else that of the declared
    /// port of its protocol; else its protocol's.
    pub(super) fn name(&self, port: &EndpointPort) -> Text {
        match (&port.name, port.protocol) {
            (Some(name), _) => name.clone(),
            (None, None) => self.own.clone(),
            (None, Some(protocol)) => self
                .declared
                .iter()
                .find(|declared| declared.protocol == protocol)
                .map_or_else(|| protocol_name(protocol), |declared| declared.name.clone()),
        }
    }

    /// What is learned from instances, each with these ports, and perhaps held. `before`: what was known until now.
    pub(super) fn learn<'p>(
        &self,
        instances: impl Iterator<Item = (&'p [EndpointPort], bool)> + Clone,
        before: Option<&LearnedPorts>,
    ) -> LearnedPorts {
        let of = |wanted: bool| instances.clone().filter(move |(_, held)| *held == wanted).map(|(ports, _)| ports);
        let firsts = |held| of(held).filter_map(|ports| ports.first()).map(move |port| (held, false, port));
        let others = |held| of(held).flat_map(|ports| ports.iter().skip(1)).map(move |port| (held, true, port));
        let mut learned = LearnedPorts::default();
        for (held, beside, port) in firsts(false).chain(others(false)).chain(firsts(true)).chain(others(true)) {
            let plain = port.name.is_none() && port.protocol.is_none();
            let own = self.declared.first().filter(|_| plain).map(|own| own.protocol);
            let protocol = own.or(port.protocol).unwrap_or(self.default);
            let name = self.name(port);
            // Most services have one port that all instances agree on.
            let same = |port: &&LearnedPort| port.name == name && port.protocol == protocol;
            if !learned.iter().any(|port| same(&port)) {
                let held = held && before.and_then(|before| before.iter().find(same)).is_none_or(|port| port.held);
                learned.insert(LearnedPort { held, beside, name, protocol });
            }
        }
        learned
    }

    /// The service's ports, its own first, each number once.
    pub(super) fn plan(&self, learned: &LearnedPorts, notes: &mut Notes) -> Vec<DeclaredPort> {
        let mut wanted = self.declared.to_vec();
        if wanted.is_empty() {
            wanted.push(self.own_port(learned));
        }
        for LearnedPort { name, protocol, .. } in learned {
            match wanted.iter().find(|port| port.name == *name) {
                None => wanted.push(standard(name.clone(), *protocol)),
                Some(port) if port.protocol == *protocol => {}
                Some(port) => {
                    let detail = format!("some instances speak {protocol} there; it is published as {}", port.protocol);
                    notes.add(Reason::PortContested, name.clone(), detail);
                }
            }
        }
        let mut ports: Vec<DeclaredPort> = Vec::with_capacity(wanted.len());
        for port in wanted {
            match ports.iter().find(|other| other.number == port.number || other.name == port.name) {
                None => ports.push(port),
                Some(other) => {
                    let detail = format!("port {} is {:?}'s; give it a number of its own", port.number, &*other.name);
                    notes.add(Reason::PortContested, port.name, detail);
                }
            }
        }
        ports
    }

    /// The default protocol's port if some instance has it, or none has any; else the first learned.
    fn own_port(&self, learned: &LearnedPorts) -> DeclaredPort {
        let behind = learned.first().is_some_and(|port| port.held);
        let mut ports = learned.iter().filter(|port| port.held == behind);
        let named = ports.clone().find(|port| *port.name == *self.own && port.protocol == self.default);
        let spoken = || ports.find(|port| port.protocol == self.default);
        match named.or_else(spoken).or_else(|| learned.first()) {
            Some(port) => standard(port.name.clone(), port.protocol),
            None => standard(self.own.clone(), self.default),
        }
    }
}

/// The ports of an instance: all, or without what only its labels say of them.
pub(super) fn instance_ports(endpoint: &Endpoint, from_labels: bool) -> Cow<'_, [EndpointPort]> {
    let label = |key: &str| endpoint.labels.get(key);
    if from_labels || ["protocol", "gRPC_port", DUBBO_ENDPOINTS].iter().all(|key| label(key).is_none()) {
        return Cow::Borrowed(&endpoint.ports);
    }
    let spoken = label("protocol").and_then(|protocol| Protocol::parse(protocol));
    let said = |port: &EndpointPort| label("gRPC_port").is_some() && port.name.as_deref() == Some("grpc");
    let dubbo = |port: &EndpointPort| label(DUBBO_ENDPOINTS).is_some() && port.name.is_some();
    let ports = endpoint.ports.iter().filter(|port| !said(port) && !dubbo(port));
    let unsaid = |port: &EndpointPort| match port.protocol {
        protocol if port.name.is_none() && (protocol == spoken || label(DUBBO_ENDPOINTS).is_some()) => {
            EndpointPort::plain(port.number)
        }
        _ => port.clone(),
    };
    Cow::Owned(ports.map(unsaid).collect())
}

fn standard(name: Text, protocol: Protocol) -> DeclaredPort {
    DeclaredPort { name, number: protocol.default_port(), protocol }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Port;

    fn declared(name: &str, number: i64, protocol: Protocol) -> DeclaredPort {
        DeclaredPort { name: name.into(), number: Port::new(number).unwrap(), protocol }
    }

    fn port(name: Option<&str>, protocol: Option<Protocol>) -> EndpointPort {
        EndpointPort { number: Port::new(1234).unwrap(), protocol, name: name.map(Text::from) }
    }

    /// Ports as `name:number:protocol`, and the subjects of the notes, where each instance has one port.
    fn check(declared: &[DeclaredPort], instances: &[EndpointPort], ports: &[&str], contested: &[&str]) {
        let instances: Vec<&[EndpointPort]> = instances.chunks(1).collect();
        check_all(declared, &instances, ports, contested);
    }

    fn check_all(declared: &[DeclaredPort], instances: &[&[EndpointPort]], ports: &[&str], contested: &[&str]) {
        let naming = Naming::new(declared, Protocol::Http);
        let mut notes = Notes::default();
        let plan = naming.plan(&naming.learn(instances.iter().map(|ports| (*ports, false)), None), &mut notes);
        let text: Vec<String> = plan.iter().map(|p| format!("{}:{}:{}", p.name, p.number, p.protocol)).collect();
        assert_eq!(text, ports, "{declared:?} {instances:?}");
        let subjects: Vec<Text> = notes.finish().into_iter().map(|n| n.subject).collect();
        assert_eq!(subjects, contested.iter().map(|s| Text::from(*s)).collect::<Vec<_>>());
    }

    #[test]
    fn own_port_is_declared_or_default_or_first_learned() {
        use Protocol::*;
        check(&[], &[], &["http:80:http"], &[]);
        check(&[], &[port(None, None)], &["http:80:http"], &[]);
        check(&[], &[port(None, Some(Grpc)), port(None, Some(Dubbo))], &["dubbo:20880:dubbo", "grpc:9090:grpc"], &[]);
        check(&[], &[port(None, Some(Grpc)), port(None, None)], &["http:80:http", "grpc:9090:grpc"], &[]);
        check(
            &[],
            &[port(Some("admin"), Some(Grpc)), port(Some("web"), None)],
            &["web:80:http", "admin:9090:grpc"],
            &[],
        );
        check(&[declared("web", 8080, Grpc)], &[], &["web:8080:grpc"], &[]);
    }

    #[test]
    fn own_port_is_the_first_of_an_instance_before_others() {
        use Protocol::*;
        let (web, rpc) = (port(None, Some(Https)), port(Some("grpc"), Some(Grpc)));
        let both = [web.clone(), rpc.clone()];
        check_all(&[], &[&both], &["https:443:https", "grpc:9090:grpc"], &[]);
        check_all(&[], &[&both, &[rpc.clone(), web.clone()]], &["grpc:9090:grpc", "https:443:https"], &[]);
        check_all(&[], &[&both, &[rpc]], &["grpc:9090:grpc", "https:443:https"], &[]);
    }

    #[test]
    fn learned_ports_join_the_declared_ones_by_protocol() {
        use Protocol::*;
        let web = declared("web", 8080, Http);
        check(std::slice::from_ref(&web), &[port(None, None), port(None, Some(Http))], &["web:8080:http"], &[]);
        check(&[web], &[port(None, Some(Grpc))], &["web:8080:http", "grpc:9090:grpc"], &[]);
        // A port that says nothing is the own one, whatever that speaks.
        check(&[declared("rpc", 1000, Dubbo)], &[port(None, None)], &["rpc:1000:dubbo"], &[]);
    }

    #[test]
    fn labels_say_nothing_of_ports_where_that_is_chosen() {
        use Protocol::*;
        let check = |labels: &[(&str, &str)], ports: &[EndpointPort], without: &[EndpointPort]| {
            let mut endpoint = Endpoint::new(crate::model::Address::parse("10.0.0.1").unwrap(), Port::new(80).unwrap());
            endpoint.ports = ports.to_vec().into();
            endpoint.labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            assert_eq!(*instance_ports(&endpoint, true), *ports, "{labels:?}");
            assert_eq!(*instance_ports(&endpoint, false), *without, "{labels:?}");
        };
        let (plain, grpc) = (port(None, None), port(Some("grpc"), Some(Grpc)));
        check(&[("protocol", "tri")], &[port(None, Some(Tri))], &[port(None, None)]);
        check(&[("gRPC_port", "1234")], &[plain.clone(), grpc.clone()], &[port(None, None)]);
        check(
            &[("dubbo.endpoints", "[]")],
            &[port(None, Some(Dubbo)), port(Some("tri"), Some(Tri))],
            &[port(None, None)],
        );
        // What the registry itself says stays.
        check(
            &[("protocol", "grpc")],
            &[port(None, Some(Https)), grpc.clone()],
            &[port(None, Some(Https)), grpc.clone()],
        );
        check(&[], &[plain.clone(), grpc.clone()], &[plain, grpc]);
    }

    #[test]
    fn a_held_port_keeps_its_number_and_takes_none() {
        use Protocol::*;
        let (listed, held) = ([port(None, Some(Http2))], [port(None, None)]);
        let naming = Naming::new(&[], Http);
        let both = || [(&listed[..], false), (&held[..], true)].into_iter();
        let plan = |learned: &LearnedPorts| -> Vec<String> {
            naming.plan(learned, &mut Notes::default()).iter().map(|port| port.name.to_string()).collect()
        };
        let without = naming.learn([(&listed[..], false)].into_iter(), None);
        let came = naming.learn(both(), Some(&without));
        assert_eq!(plan(&came), ["http2"], "it was not there before it was held");
        assert_eq!(plan(&naming.learn(both(), Some(&came))), ["http2"]);
        let with = naming.learn(both().map(|(ports, _)| (ports, false)), None);
        let stays = naming.learn(both(), Some(&with));
        assert_eq!((plan(&with), plan(&stays)), (vec!["http".to_owned()], vec!["http".to_owned()]));
        assert_eq!(plan(&naming.learn(both(), Some(&stays))), ["http"]);
    }

    #[test]
    fn a_number_belongs_to_one_port() {
        use Protocol::*;
        check(&[], &[port(None, None), port(None, Some(Http2))], &["http:80:http"], &["http2"]);
        check(&[declared("a", 80, Http), declared("b", 80, Grpc)], &[], &["a:80:http"], &["b"]);
        // One name, two protocols: one port.
        check(&[], &[port(Some("api"), Some(Http)), port(Some("api"), Some(Grpc))], &["api:80:http"], &["api"]);
    }
}
