//! What benches translate: services as a large Nacos has them.

use portolan::{catalog::Catalog, model::*};
use std::{net::Ipv4Addr, sync::Arc};

pub const ENDPOINTS: u32 = 10;

/// The service of that number; the weight is its first endpoint's.
pub fn service(number: u32, protocol: Protocol, weight: f64) -> PublishedService {
    let host = Hostname::new(&format!("service-{number}.default-group.public.nacos")).unwrap();
    let name = Text::from(protocol.name());
    let endpoint = |n: u32| PublishedEndpoint {
        weight: Weight::relative(if n == 0 { weight } else { 1.0 }, 1.0).unwrap(),
        locality: Locality::parse("cn-hangzhou/cn-hangzhou-h"),
        labels: [("version", "v1"), ("preserved.register.source", "SPRING_CLOUD")]
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
        ..PublishedEndpoint::new(
            Address::Ip(Ipv4Addr::from(0x0a00_0000 + number * 16 + n).into()),
            [(name.clone(), Port::new(8080).unwrap())].into(),
        )
    };
    let id = format!("service-{number}");
    let id = ServiceId::new("nacos", "public", "g", id);
    let ports = vec![ServicePort { name: name.clone(), number: Port::new(80).unwrap(), protocol, host: host.clone() }];
    let endpoints = (0..ENDPOINTS).map(endpoint).collect();
    PublishedService { sources: vec![id], ..PublishedService::new(host, ports, endpoints) }
}

/// A complete catalog of so many services, each with the weight 1.
pub fn catalog(count: u32, protocol: Protocol) -> Catalog {
    let services = (0..count).map(|number| service(number, protocol, 1.0));
    Catalog {
        number: 1,
        overrides: Arc::new([]),
        revision: 0,
        services: services.map(|s| (s.host.clone(), Arc::new(s))).collect(),
        records: Default::default(),
        registries: Arc::new([]),
        sync: Readiness::Complete,
        known: Readiness::Complete,
    }
}

/// The catalog with this service instead of the one of the same host.
pub fn changed(catalog: &Catalog, service: PublishedService) -> Catalog {
    let services = catalog.services.update(service.host.clone(), Arc::new(service));
    Catalog { services, ..catalog.clone() }
}
