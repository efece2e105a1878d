//! Parts of views against their model: what the view has, of the services that are wanted.

use super::{proxies::manifests, services::any_catalog, *};
use crate::{
    translate::envoy::{Place, Zones, priorities},
    views::part::Chosen,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

const ENVOY: ViewKey = ViewKey::whole(Dialect::Envoy);

fn wanted(names: &[&str]) -> Part {
    let services = names.iter().map(|name| (Text::from(*name), None));
    Part { wanted: Some(Arc::new(Wanted::new(services, None))), ..Part::default() }
}

fn preference(tag: &str, or_any: bool) -> Pick {
    Some(Arc::new(Preference { label: "tags".into(), tags: [tag.into()].into(), or_any }))
}

fn any_pick() -> impl Strategy<Value = Pick> {
    let tags = select(vec!["v1", "v2"]);
    option::of((tags, any::<bool>())).prop_map(|pick| pick.and_then(|(tag, or_any)| preference(tag, or_any)))
}

fn any_part() -> impl Strategy<Value = Part> {
    let names = select(vec!["a", "c", "d", "p.d", "p.p.d", "z", "x", "m.example", "registered", "nobody"]);
    let wanted = (vec((names, any_pick()), 0..5), option::of(any_pick())).prop_map(|(services, rest)| {
        let services = services.into_iter().map(|(name, pick)| (Text::from(name), pick));
        Arc::new(Wanted::new(services, rest))
    });
    let locality = select(LOCALITIES.to_vec()).prop_map(Locality::parse);
    (option::of(wanted), option::of(locality)).prop_map(|(wanted, locality)| Part {
        wanted,
        locality,
        ..Part::default()
    })
}

const LOCALITIES: [&str; 6] = ["cn/hz/a", "cn/hz/b", "cn/sh/a", "us/east", "us", "eu/x/y"];

fn zones() -> Zones {
    Zones { next: [("eu".into(), vec!["us".into()])].into(), ..Zones::default() }
}

/// Gives some services a name in a registry, and some instances tags.
fn dressed(catalog: Catalog, tags: &[u8]) -> Catalog {
    let mut tags = tags.iter().cycle();
    let mut dress = |service: &PublishedService| {
        let mut service = service.clone();
        service.sources =
            vec![ServiceId::new("r", "", "", if *tags.next().unwrap() == 0 { "registered" } else { "other" })];
        service.nearness = Nearness::ALL[usize::from(*tags.next().unwrap() % 2)];
        for endpoint in &mut service.endpoints {
            endpoint.locality = Locality::parse(LOCALITIES[usize::from(*tags.next().unwrap() % 4)]);
            let label = ["", "v1", "v2", "v1, v2"][usize::from(*tags.next().unwrap() % 4)];
            if !label.is_empty() {
                endpoint.labels = Labels::from([("tags".into(), label.into())]);
            }
        }
        service
    };
    let services: Vec<_> = catalog.services.values().map(|service| dress(service)).collect();
    super::catalog(catalog.sync, services)
}

/// What a part has, without any state: the view's resources of the services that are wanted, with the instances that are.
fn expected(part: &Part, services: &[Arc<PublishedService>], translator: &EnvoyOptions) -> Content {
    let (whole, _) = from_scratch(services, translator);
    let mut content = Content::new();
    let near = services.iter().filter(|service| service.nearness == Nearness::Priority);
    let known: Vec<&Locality> =
        near.flat_map(|service| &service.endpoints).map(|endpoint| &endpoint.locality).collect();
    let place =
        part.locality.as_ref().and_then(|locality| Place::of(locality, known.iter().copied(), &translator.zones));
    for service in services {
        let mut names = vec![service.host.text().clone()];
        names.extend(service.aliases.iter().map(|alias| alias.text().clone()));
        names.extend(service.sources.iter().map(|id| id.name.clone()));
        let pick = part.wanted.as_ref().map_or(Some(None), |wanted| wanted.pick(&names));
        let Some(pick) = pick else { continue };
        let chosen = Chosen::of(&pick, service.endpoints.iter().map(|endpoint| &endpoint.labels));
        let endpoints = service.endpoints.iter().filter(|endpoint| chosen.has(&endpoint.labels)).cloned();
        let mut part = service.part(endpoints.collect());
        let seen = place.as_ref().and_then(|place| priorities(&part, place, &translator.zones));
        for (endpoint, priority) in part.endpoints.iter_mut().zip(seen.iter().flatten()) {
            endpoint.priority = *priority;
        }
        let own: BTreeSet<Name> =
            Translator::translate(translator, service).0.iter().map(|(_, resource)| resource.name().clone()).collect();
        for (kind, resource) in Translator::translate(translator, &part).0 {
            let key = (kind, resource.name().clone());
            // Whose the name is the whole view decides.
            let is_owner = owner(services, translator, &key.1) == Some(&service.host);
            if own.contains(&key.1) && whole.contains_key(&key) && is_owner {
                content.insert(key, resource);
            }
        }
    }
    content
}

fn owner<'s>(services: &'s [Arc<PublishedService>], translator: &EnvoyOptions, name: &Name) -> Option<&'s Hostname> {
    let claims = |service: &&Arc<PublishedService>| {
        Translator::translate(translator, service).0.iter().any(|(_, resource)| resource.name() == name)
    };
    services.iter().find(claims).map(|service| &service.host)
}

#[derive(Debug, Clone)]
enum Happening {
    Catalog(Catalog, Vec<u8>),
    Comes(Part),
    Leaves(usize),
    Configured(bool),
    /// A manifest declares a service with so many endpoints, or none does.
    Declared(Option<u8>),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (any_catalog(), vec(0..8_u8, 1..20)).prop_map(|(catalog, tags)| Happening::Catalog(catalog, tags)),
        3 => any_part().prop_map(Happening::Comes),
        1 => (0..5_usize).prop_map(Happening::Leaves),
        1 => any::<bool>().prop_map(Happening::Configured),
        1 => option::of(0..3_u8).prop_map(Happening::Declared),
    ]
}

fn declared(endpoints: u8) -> String {
    let endpoints: Vec<_> = (0..endpoints).map(|n| format!("{{ address: 10.9.0.{n} }}")).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{ name: m }}\nspec:\n  \
         hosts: [m.example]\n  resolution: STATIC\n  endpoints: [{}]\n  \
         ports: [{{ number: 80, name: http, protocol: HTTP }}]\n",
        endpoints.join(", ")
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn each_part_has_what_it_wants_of_its_view_and_is_woken_by_nothing_else(happenings in vec(happening(), 1..16)) {
        let (mut fixture, mut parts) = (Fixture::whole(by_host()), BTreeMap::new());
        let (mut now, mut options) = (catalog(Readiness::Waiting, []), by_host());
        for (number, happening) in happenings.into_iter().enumerate() {
            let number = number as u64;
            let (mut renewed, mut readiness): (Option<Box<dyn Translator>>, _) = (None, now.sync);
            match happening {
                Happening::Catalog(next, tags) => {
                    readiness = next.sync;
                    now = shared(&now, dressed(next, &tags));
                }
                Happening::Comes(part) => {
                    fixture.stage.divide(&(ENVOY, 0), vec![(number, part.clone())], Vec::new());
                    parts.insert(number, part);
                }
                Happening::Leaves(at) => {
                    if let Some(gone) = parts.keys().nth(at).copied() {
                        fixture.stage.divide(&(ENVOY, 0), Vec::new(), vec![gone]);
                        parts.remove(&gone);
                        fixture.parts.remove(&(ENVOY, gone));
                    }
                }
                Happening::Configured(prefixed) => {
                    let name = if prefixed { "c.{host}" } else { "{host}" };
                    options.cluster_name = ClusterName::parse(name).unwrap();
                    options.zones = if prefixed { zones() } else { Zones::default() };
                    renewed = Some(Box::new(options.clone()));
                }
                Happening::Declared(endpoints) => {
                    fixture.manifests = manifests(&endpoints.map(declared).unwrap_or_default());
                }
            }
            let before: BTreeMap<u64, _> =
                fixture.parts.iter().map(|((_, part), generation)| (*part, generation.clone())).collect();
            fixture.step_by(&now, renewed);
            let services: Vec<_> = fixture.book.given().services.values().cloned().collect();
            for (number, part) in &parts {
                let has = &fixture.parts[&(ENVOY, *number)];
                prop_assert_eq!(content(has), expected(part, &services, &options), "{:?}", part);
                prop_assert_eq!(has.readiness_of(Kind::Cluster), Some(readiness));
                let differs = before.get(number).is_none_or(|before| {
                    content(before) != content(has) || before.readiness() != has.readiness()
                });
                // One that is somewhere may come to another state of equal content.
                let woken = fixture.woken.contains(number);
                prop_assert!(woken == differs || woken && part.locality.is_some(), "{:?}", part);
            }
            prop_assert_eq!(fixture.stage.parts(), parts.len());
        }
    }
}

fn numbered(number: usize) -> String {
    format!("s{number}.example")
}

/// A catalog of so many services, and so many endpoints of service number `changed`.
fn many(services: usize, changed: usize, endpoints: i64) -> Catalog {
    let one = |n: usize| service(&numbered(n), &[], if n == changed { endpoints } else { 3 });
    catalog(Readiness::Complete, (0..services).map(one))
}

#[test]
fn a_change_makes_a_generation_of_the_parts_that_want_the_service_and_translates_it_once() {
    const SERVICES: usize = 1_000;
    const PARTS: u64 = 400;
    let mut fixture = Fixture::whole(by_host());
    let names = |part: u64| (0..50).map(|n| numbered((part as usize * 7 + n * 20) % SERVICES)).collect::<Vec<_>>();
    let part = |number: u64| {
        let names = names(number);
        wanted(&names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    fixture.stage.divide(&(ENVOY, 0), (0..PARTS).map(|number| (number, part(number))).collect(), Vec::new());
    let before = many(SERVICES, 0, 3);
    fixture.step(&before);
    assert_eq!((fixture.woken.len() as u64, fixture.stage.translations()), (PARTS, SERVICES as u64));
    for changed in [14, 777] {
        let count = fixture.stage.translations();
        fixture.step(&shared(&before, many(SERVICES, changed, 4)));
        let concerned: Vec<u64> = (0..PARTS).filter(|part| names(*part).contains(&numbered(changed))).collect();
        assert_eq!((&fixture.woken, fixture.stage.translations() - count), (&concerned, 1));
        assert_eq!(concerned.len(), 20, "of {PARTS}");
        fixture.step(&before);
    }
    // All have the same values, and none of them blocks of its own.
    let of = |part: u64| fixture.parts[&(ENVOY, part)].get(Kind::Endpoint).get("s0.example").cloned();
    let having: Vec<_> = (0..PARTS).filter_map(of).collect();
    let whole = fixture.generation(&ENVOY).get(Kind::Endpoint).get("s0.example").unwrap();
    assert!(having.len() == 20 && having.iter().all(|resource| Arc::ptr_eq(resource, whole)));
}

#[test]
fn parts_with_the_same_preference_share_what_is_made_for_it() {
    let mut fixture = Fixture::whole(by_host());
    let tagged = |tag: &str, names: &[&str]| {
        let services = names.iter().map(|name| (Text::from(*name), preference(tag, false)));
        Part { wanted: Some(Arc::new(Wanted::new(services, None))), ..Part::default() }
    };
    let mut service = service("a", &[], 3);
    for (endpoint, tags) in service.endpoints.iter_mut().zip(["v1", "v2", "v1,v2"]) {
        endpoint.labels = Labels::from([("tags".into(), tags.into())]);
    }
    let parts = vec![
        (0, tagged("v1", &["a"])),
        (1, tagged("v1", &["a", "b"])),
        (2, tagged("v2", &["a"])),
        (3, tagged("v3", &["a"])),
        (4, wanted(&["a"])),
    ];
    fixture.stage.divide(&(ENVOY, 0), parts, Vec::new());
    fixture.step(&catalog(Readiness::Complete, [service]));
    let of = |part: u64, kind| fixture.parts[&(ENVOY, part)].get(kind).get("a").unwrap().clone();
    assert!(Arc::ptr_eq(&of(0, Kind::Endpoint), &of(1, Kind::Endpoint)));
    let versions: BTreeSet<u64> = [0, 2, 3, 4].map(|part| of(part, Kind::Endpoint).version()).into();
    assert_eq!(versions.len(), 4);
    let clusters = [0, 1, 2, 3, 4].map(|part| Arc::as_ptr(&of(part, Kind::Cluster)));
    assert!(clusters.iter().all(|cluster| *cluster == clusters[0]), "a cluster does not see instances");
    assert_eq!(fixture.stage.translations(), 4, "the whole, v1, v2 and none");
}

#[test]
fn clients_in_places_that_no_endpoint_tells_apart_share_one_state_until_one_does() {
    let mut fixture = Fixture::whole(by_host());
    let at = |locality: &str| Part { locality: Some(Locality::parse(locality)), ..Part::default() };
    let parts = vec![(0, at("cn/hz/a")), (1, at("cn/hz/b")), (2, at("eu/x")), (3, at("cn/sh"))];
    fixture.stage.divide(&(ENVOY, 0), parts, Vec::new());
    let spread = |localities: &[&str]| {
        let mut service = service("a", &[], localities.len() as i64);
        service.nearness = Nearness::Priority;
        for (endpoint, locality) in service.endpoints.iter_mut().zip(localities) {
            endpoint.locality = Locality::parse(locality);
        }
        service
    };
    let of = |fixture: &Fixture, part: u64, kind| fixture.parts[&(ENVOY, part)].get(kind).get("a").unwrap().clone();
    fixture.step(&catalog(Readiness::Complete, [spread(&["cn/hz", "cn/sh"]), service("plain", &[], 1)]));
    assert_eq!(fixture.stage.translations(), 4, "two services, and one of them as two places see it");
    assert!(Arc::ptr_eq(&fixture.parts[&(ENVOY, 0)], &fixture.parts[&(ENVOY, 1)]), "one state");
    assert!(Arc::ptr_eq(&fixture.parts[&(ENVOY, 2)], fixture.generation(&ENVOY)), "as it is for all");
    assert_ne!(of(&fixture, 3, Kind::Endpoint), of(&fixture, 0, Kind::Endpoint));
    let clusters = |fixture: &Fixture, part: u64| fixture.parts[&(ENVOY, part)].get(Kind::Cluster).clone();
    assert!(
        Arc::ptr_eq(&clusters(&fixture, 3), fixture.generation(&ENVOY).get(Kind::Cluster)),
        "clusters are the view's"
    );

    fixture.step(&catalog(Readiness::Complete, [spread(&["cn/hz/b", "cn/sh"]), service("plain", &[], 1)]));
    assert!(!Arc::ptr_eq(&fixture.parts[&(ENVOY, 0)], &fixture.parts[&(ENVOY, 1)]));
    fixture.step(&catalog(Readiness::Complete, [spread(&["us/east", "us/west"]), service("plain", &[], 1)]));
    for part in 0..4 {
        assert!(Arc::ptr_eq(&fixture.parts[&(ENVOY, part)], fixture.generation(&ENVOY)), "{part}: nobody is near");
    }
}
