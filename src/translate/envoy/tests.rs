//! Properties that hold for every service. Examples of each feature are in `tests/golden/translate/`.

use super::*;
use crate::{
    model::{Address, Health, Hostname, Locality, Port, Protocol, PublishedEndpoint, Text, Weight},
    pb::envoy::config::{
        cluster::v3::{Cluster, cluster::LbPolicy as PbLbPolicy},
        core::v3::address,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{collections::BTreeMap, net::IpAddr};

fn host(name: &str) -> Hostname {
    Hostname::new(name).unwrap()
}

fn port(name: &str, number: i64) -> ServicePort {
    let host = if name == "http" { host("orders.example") } else { host(&format!("{name}.orders.example")) };
    ServicePort { name: name.into(), number: Port::new(number).unwrap(), protocol: Protocol::Http, host }
}

fn endpoint(address: &str, ports: &[(&str, i64)]) -> PublishedEndpoint {
    let ports = ports.iter().map(|(name, port)| (Text::from(*name), Port::new(*port).unwrap())).collect();
    PublishedEndpoint::new(Address::parse(address).unwrap(), ports)
}

fn service(endpoints: Vec<PublishedEndpoint>) -> PublishedService {
    let ports = vec![port("http", 80), port("admin", 8081)];
    PublishedService {
        aliases: vec![host("orders"), host("shop")],
        ..PublishedService::new(host("orders.example"), ports, endpoints)
    }
}

fn assignments(resources: &[(Kind, Resource)]) -> BTreeMap<Name, ClusterLoadAssignment> {
    let assignments = resources.iter().filter(|(kind, _)| *kind == Kind::Endpoint);
    assignments.map(|(_, r)| (r.name().clone(), ClusterLoadAssignment::decode(r.body()).unwrap())).collect()
}

#[test]
fn clusters_have_the_case_of_the_hosts_users() {
    let spelled = PublishedService { spelling: Some("ORDERS.Example".into()), ..service(Vec::new()) };
    let names = |kind: Kind| -> Vec<String> {
        let (resources, _) = translate(&spelled, &Options::default());
        resources.iter().filter(|(of, _)| *of == kind).map(|(_, resource)| resource.name().to_string()).collect()
    };
    let clusters = ["80||ORDERS.Example", "80||orders", "80||shop", "8081||admin.ORDERS.Example"];
    let others = ["8081||admin.orders", "8081||admin.shop"];
    assert_eq!(
        names(Kind::Cluster),
        clusters.iter().chain(&others).map(|n| format!("outbound|{n}")).collect::<Vec<_>>()
    );
    let assignments = ["outbound|80||ORDERS.Example", "outbound|8081||admin.ORDERS.Example"];
    assert_eq!(names(Kind::Endpoint), assignments);
}

#[test]
fn any_change_of_an_endpoint_changes_the_assignment_and_no_cluster() {
    let before = endpoint("10.0.0.1", &[("http", 8080)]);
    type Change = fn(&mut PublishedEndpoint);
    let changes: [(&str, Change); 6] = [
        ("weight", |e| e.weight = Weight::relative(2.0, 1.0).unwrap()),
        ("labels", |e| drop(e.labels.insert("version".into(), "v2".into()))),
        ("health", |e| e.health = Health::Unhealthy),
        ("locality", |e| e.locality = Locality::parse("cn/hz")),
        ("address", |e| e.address = Address::parse("10.0.0.2").unwrap()),
        ("port", |e| e.ports[0].1 = Port::new(8081).unwrap()),
    ];
    let (old, _) = translate(&service(vec![before.clone()]), &Options::default());
    for (what, change) in changes {
        let mut after = before.clone();
        change(&mut after);
        let (new, _) = translate(&service(vec![after]), &Options::default());
        let differing: Vec<_> = old.iter().zip(&new).filter(|(old, new)| old != new).map(|(old, _)| old).collect();
        assert_eq!(differing.len(), 1, "{what}");
        assert_eq!(
            (differing[0].0, &**differing[0].1.name()),
            (Kind::Endpoint, "outbound|80||orders.example"),
            "{what}"
        );
    }
}

#[test]
fn resources_are_built_from_messages_with_ordered_maps_only() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/translate/envoy")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let foreign = ["xds", "_api"].concat();
        assert!(!text.contains(&foreign), "{} uses types whose maps have no order", path.display());
    }
}

fn any_endpoint() -> impl Strategy<Value = PublishedEndpoint> {
    let address = select(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1", "/run/a.sock", "name.internal"]);
    let ports = (option::of(select(vec![80_i64, 81])), option::of(select(vec![90_i64, 91])));
    let weight = prop_oneof![Just(1.0), Just(0.0001), 0.01..5.0, Just(1_000_000.0)];
    let health = select(vec![Health::Healthy, Health::Unhealthy, Health::Draining, Health::Unknown]);
    let labels = vec((select(vec!["a", "b", "c"]), select(vec!["1", "2"])), 0..3);
    (address, ports, weight, health, select(vec!["", "cn", "cn/hz"]), labels, 0..4_u32).prop_map(
        |(address, (http, admin), weight, health, locality, labels, priority)| PublishedEndpoint {
            ports: [("admin", admin), ("http", http)]
                .into_iter()
                .filter_map(|(name, port)| Some((Text::from(name), Port::new(port?).unwrap())))
                .collect(),
            weight: Weight::relative(weight, 1.0).unwrap(),
            health,
            locality: Locality::parse(locality),
            labels: labels.into_iter().map(|(k, v)| (Text::from(k), Text::from(v))).collect(),
            priority,
            ..endpoint(address, &[])
        },
    )
}

fn any_options() -> impl Strategy<Value = Options> {
    let any = (select(Unhealthy::ALL.to_vec()), select(LbPolicy::ALL.to_vec()), any::<bool>());
    any.prop_map(|(unhealthy, lb_policy, grpc)| {
        let options = Options { unhealthy, lb_policy, ..Options::default() };
        if grpc { options.for_grpc() } else { options }
    })
}

/// What Envoy 1.40, gRPC's C core and grpc-go ask of an assignment, all together.
fn check_strictly(assignment: &ClusterLoadAssignment) {
    let (mut groups, mut places, mut sum) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::<u32, u64>::new());
    for group in &assignment.endpoints {
        let locality = group.locality.as_ref().expect("a locality is present");
        let parts = (locality.region.clone(), locality.zone.clone(), locality.sub_zone.clone());
        assert!(groups.insert((group.priority, parts)), "one group for a priority and locality");
        assert!(!group.lb_endpoints.is_empty(), "no group is empty");
        let mut weights = 0;
        for endpoint in &group.lb_endpoints {
            let weight = endpoint.load_balancing_weight.as_ref().expect("a weight is present").value;
            assert!(weight >= 1);
            weights += u64::from(weight);
            let address = endpoint.endpoint.as_ref().unwrap().address.as_ref().unwrap().address.clone().unwrap();
            if let address::Address::SocketAddress(socket) = &address {
                assert!(socket.address.parse::<IpAddr>().is_ok(), "{} is no literal", socket.address);
                assert!((1..=65_535).contains(&socket.port_value));
            }
            assert!(places.insert(format!("{address:?}")), "{address:?} is there twice");
        }
        let weight = group.load_balancing_weight.as_ref().expect("a locality's weight is present").value;
        assert_eq!(u64::from(weight), weights);
        *sum.entry(group.priority).or_default() += weights;
    }
    assert!(sum.keys().copied().eq(0..sum.len() as u32), "priorities have no gaps: {sum:?}");
    assert!(sum.values().all(|sum| *sum <= u64::from(u32::MAX)));
}

fn has_socket(assignment: &ClusterLoadAssignment) -> bool {
    let endpoints = assignment.endpoints.iter().flat_map(|group| &group.lb_endpoints);
    let mut addresses = endpoints.map(|e| e.endpoint.as_ref().unwrap().address.as_ref().unwrap().address.as_ref());
    addresses.any(|address| matches!(address, Some(address::Address::Pipe(_))))
}

proptest! {
    #[test]
    fn the_strictest_client_takes_every_assignment(endpoints in vec(any_endpoint(), 0..12), options in any_options()) {
        let (resources, _) = translate(&service(endpoints), &options);
        assignments(&resources).values().for_each(check_strictly);
        if options.grpc {
            prop_assert!(assignments(&resources).values().all(|assignment| !has_socket(assignment)));
            let clusters = resources.iter().filter(|(kind, _)| *kind == Kind::Cluster);
            for (_, resource) in clusters {
                let policy = Cluster::decode(resource.body()).unwrap().lb_policy();
                prop_assert!(matches!(policy, PbLbPolicy::RoundRobin | PbLbPolicy::RingHash), "{policy:?}");
            }
        }
    }

    #[test]
    fn the_order_of_endpoints_does_not_matter(
        (endpoints, shuffled) in vec(any_endpoint(), 0..12)
            .prop_flat_map(|endpoints| (Just(endpoints.clone()), Just(endpoints).prop_shuffle())),
        options in any_options(),
    ) {
        prop_assert_eq!(translate(&service(endpoints), &options).0, translate(&service(shuffled), &options).0);
    }

    #[test]
    fn every_cluster_has_an_assignment_and_no_cluster_depends_on_endpoints(endpoints in vec(any_endpoint(), 0..12)) {
        let (resources, _) = translate(&service(endpoints), &Options::default());
        let (none, _) = translate(&service(Vec::new()), &Options::default());
        let clusters = |all: &[(Kind, Resource)]| -> Vec<Resource> {
            all.iter().filter(|(kind, _)| *kind == Kind::Cluster).map(|(_, r)| r.clone()).collect()
        };
        prop_assert_eq!(clusters(&resources), clusters(&none));
        prop_assert_eq!(clusters(&resources).len(), 6, "two ports under three names");
        let assignments = assignments(&resources);
        for resource in clusters(&resources) {
            let cluster = Cluster::decode(resource.body()).unwrap();
            let asked = &cluster.eds_cluster_config.as_ref().unwrap().service_name;
            let asked = if asked.is_empty() { &cluster.name } else { asked };
            prop_assert_eq!(resource.refers_to().map(|name| &**name), Some(asked.as_str()));
            prop_assert!(assignments.contains_key(asked.as_str()));
        }
    }

    /// Whatever is left out is left out for a reason that is reported or configured.
    #[test]
    fn every_endpoint_that_has_the_port_is_sent_or_told(
        endpoints in vec(any_endpoint(), 0..12),
        grpc in any::<bool>(),
    ) {
        let service = service(endpoints);
        let options = if grpc { Options::default().for_grpc() } else { Options::default() };
        let (resources, rejected) = translate(&service, &options);
        for port in &service.ports {
            let own = port.name == service.ports[0].name;
            let socket = |e: &PublishedEndpoint| matches!(e.address, Address::Unix(_)) && e.ports.is_empty();
            let having = |e: &&PublishedEndpoint| e.port(&port.name).is_some() || own && socket(e);
            let name = format!("outbound|{}||{}", port.number, port.host);
            let sent: usize = assignments(&resources)[name.as_str()].endpoints.iter().map(|g| g.lb_endpoints.len()).sum();
            prop_assert!(sent <= service.endpoints.iter().filter(having).count());
        }
        let sent: usize = assignments(&resources).values().flat_map(|a| &a.endpoints).map(|g| g.lb_endpoints.len()).sum();
        let sockets = service.endpoints.iter().filter(|e| matches!(e.address, Address::Unix(_)) && e.ports.is_empty());
        let places = service.endpoints.iter().map(|e| e.ports.len()).sum::<usize>() + sockets.count();
        prop_assert_eq!(sent + rejected.len(), places);
    }
}
