//! The session against what an Istiod holds, whatever happens in whatever order.

use super::*;
use crate::{
    resource::{KindReadiness, Name, put_field},
    xds::{metadata::Metadata, request::Raw, response::messages_of},
};
use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};
use std::time::Duration;
use xds_api::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

const V1: &str = "networking.istio.io/v1/ServiceEntry";

fn rules() -> Arc<Rules> {
    Arc::new(Rules {
        identifier: "test",
        ack_patience: Duration::from_millis(500),
        names: 9,
        answer_bytes: 1,
        interner: Default::default(),
    })
}

fn node(metadata: &[(&str, &str)]) -> Node {
    Node { metadata: Metadata::of(metadata), ..Node::default() }
}

fn ask(session: &mut Session, type_url: &str, nonce: &str, view: &ViewGeneration, now: Instant) {
    let request = DiscoveryRequest { type_url: type_url.into(), response_nonce: nonce.into(), ..Default::default() };
    let message = prost_of_xds_api::Message::encode_to_vec(&request).into();
    let raw = Raw::of(Variant::Sotw, &message, [].iter());
    session.on_read(&Request::read(Variant::Sotw, &raw, 0).unwrap(), view, now).unwrap();
}

/// The messages that wait to be read.
fn read(session: &mut Session) -> Vec<DiscoveryResponse> {
    let stream: Vec<u8> = std::iter::from_fn(|| session.next_frame()).flatten().collect();
    messages_of(&stream).map(|message| prost_of_xds_api::Message::decode(message).unwrap()).collect()
}

/// Readiness of service entries; nothing makes the other kinds.
fn ready(readiness: Readiness) -> KindReadiness {
    KindReadiness::of([Kind::ServiceEntry], readiness)
}

type Change = (Kind, Name, Option<Resource>);

fn change(name: &str, value: Option<u8>, revision: Option<&str>) -> Change {
    let resource = |value: u8| {
        let mut body = Vec::new();
        put_field(&mut body, 1, name.as_bytes());
        put_field(&mut body, 2, &[value]);
        revision.inspect(|revision| put_field(&mut body, 3, revision.as_bytes()));
        Resource::new(Kind::ServiceEntry, name.into(), &body, None).for_revision(revision.map(Into::into))
    };
    (Kind::ServiceEntry, name.into(), value.map(resource))
}

#[test]
fn an_istiod_is_known_by_its_generator_or_by_the_form_of_its_types() {
    let api = node(&[("GENERATOR", "api")]);
    for (node, type_url, expected) in [
        (&api, V1, true),
        (&api, Kind::Cluster.type_url(), true),
        (&node(&[]), V1, true),
        (&node(&[]), "core/v1alpha1/MeshConfig", true),
        (&node(&[("GENERATOR", "grpc")]), Kind::Cluster.type_url(), false),
        (&node(&[]), "", false),
    ] {
        assert_eq!(speaks(node, type_url), expected, "{:?} {type_url}", node.metadata);
    }
}

#[test]
fn what_happens_is_told() {
    let now = Instant::now();
    let mut session = Session::new(&node(&[]), rules());
    let waiting = ViewGeneration::unbuilt(ready(Readiness::Waiting));
    ask(&mut session, V1, "a time", &waiting, now);
    ask(&mut session, "core/v1alpha1/MeshConfig", "a time", &waiting, now);
    let kind = Kind::ServiceEntry;
    let received: Vec<Event> = session.take_events().collect();
    let subscribed = Event::Subscribed { kind, type_url: V1.into(), wildcard: true, names: Default::default() };
    let empty = Event::Empty { type_url: "core/v1alpha1/MeshConfig".into() };
    assert_eq!(received, [subscribed, Event::Waits { kind }, empty]);

    let view = waiting.next(ready(Readiness::Complete), [change("ns/a", Some(1), None)]).unwrap();
    session.on_generation(&view, now);
    ask(&mut session, V1, "2", &view, now);
    let received: Vec<Event> = session.take_events().collect();
    let version = view.get(kind).digest();
    let [Event::Sent { items: 1, nonce: 2, bytes, .. }, Event::Acknowledged { version: acknowledged, .. }] =
        received[..]
    else {
        panic!("{received:?}")
    };
    assert_eq!((acknowledged, bytes > 20), (version, true));
}

#[test]
fn a_type_that_nothing_makes_is_sent_when_something_does() {
    let now = Instant::now();
    let mut session = Session::new(&node(&[]), rules());
    let gateways = "networking.istio.io/v1/Gateway";
    let view = ViewGeneration::unbuilt(ready(Readiness::Complete));
    ask(&mut session, gateways, "a time", &view, now);
    assert_eq!(read(&mut session).len(), 1, "answered with nothing");
    let made = |readiness| ready(Readiness::Complete).and(Kind::Gateway, readiness);
    let gateway = (Kind::Gateway, Name::from("ns/g"), Some(Resource::new(Kind::Gateway, "ns/g".into(), b"", None)));
    let view = view.next(made(Readiness::Waiting), [gateway]).unwrap();
    session.on_generation(&view, now);
    assert!(read(&mut session).is_empty(), "not before all is known");
    let view = view.next(made(Readiness::Complete), []).unwrap();
    session.on_generation(&view, now);
    let answers = read(&mut session);
    assert_eq!((answers.len(), answers[0].resources.len(), &*answers[0].type_url), (1, 1, gateways));
}

#[derive(Debug, Clone)]
enum Happening {
    /// An entry appears, changes or goes.
    Changes(u8, Option<u8>, Option<&'static str>),
    /// All sources were read.
    Complete,
    /// So many milliseconds pass.
    Time(u64),
    /// The Istiod acknowledges what it read last.
    Acknowledges,
    /// It sends a request that acknowledges nothing.
    Babbles,
}

fn happening() -> impl Strategy<Value = Happening> {
    let revision = prop_oneof![3 => Just(None), 1 => Just(Some("blue")), 1 => Just(Some("green"))];
    prop_oneof![
        6 => (0..6_u8, prop::option::weighted(0.8, 0..3_u8), revision)
            .prop_map(|(name, value, revision)| Happening::Changes(name, value, revision)),
        1 => Just(Happening::Complete),
        4 => prop_oneof![0..90_u64, 90..700_u64, 2_000..2_500_u64].prop_map(Happening::Time),
        4 => Just(Happening::Acknowledges),
        1 => Just(Happening::Babbles),
    ]
}

/// A session, its view, and the Istiod that reads it.
struct Play {
    session: Session,
    view: ViewGeneration,
    now: Instant,
    revision: Option<&'static str>,
    /// What the Istiod holds, and the nonce of the list that it holds it from.
    held: Option<(Vec<Vec<u8>>, String)>,
    in_flight: Option<Instant>,
    last_sent: Option<Instant>,
    /// Since when what it holds is not what there is.
    differs_since: Option<Instant>,
}

impl Play {
    fn new(revision: Option<&'static str>) -> Play {
        let node = match revision {
            Some(revision) => node(&[("ISTIO_REVISION", revision)]),
            None => node(&[]),
        };
        let mut session = Session::new(&node, rules());
        let (view, now) = (ViewGeneration::unbuilt(ready(Readiness::Waiting)), Instant::now());
        ask(&mut session, V1, "a time", &view, now);
        Play { session, view, now, revision, held: None, in_flight: None, last_sent: None, differs_since: None }
    }

    /// What there is for this revision.
    fn wanted(&self) -> Vec<Vec<u8>> {
        let seen =
            |r: &&Arc<Resource>| self.revision.is_none() || r.revision().is_none_or(|r| Some(r) == self.revision);
        self.view.get(Kind::ServiceEntry).iter().filter(seen).map(|r| r.body().to_vec()).collect()
    }

    fn happens(&mut self, happening: &Happening) -> Result<(), TestCaseError> {
        match happening {
            Happening::Changes(name, value, revision) => {
                let change = change(&format!("ns/{name}"), *value, *revision);
                let Some(next) = self.view.next(self.view.readiness(), [change]) else { return Ok(()) };
                self.view = next;
                self.session.on_generation(&self.view, self.now);
            }
            Happening::Complete => {
                let Some(next) = self.view.next(ready(Readiness::Complete), []) else { return Ok(()) };
                self.view = next;
                self.session.on_generation(&self.view, self.now);
            }
            Happening::Time(ms) => {
                let until = self.now + Duration::from_millis(*ms);
                while let Some(due) = self.session.due().filter(|due| *due <= until) {
                    self.now = self.now.max(due);
                    self.session.on_generation(&self.view, self.now);
                    prop_assert!(self.session.due() != Some(due), "nothing came of what was due");
                    self.reads()?;
                }
                self.now = until;
            }
            Happening::Acknowledges => {
                let Some((_, nonce)) = &self.held else { return Ok(()) };
                self.in_flight = None;
                ask(&mut self.session, V1, nonce, &self.view, self.now);
            }
            Happening::Babbles => ask(&mut self.session, V1, "999", &self.view, self.now),
        }
        self.reads()
    }

    fn reads(&mut self) -> Result<(), TestCaseError> {
        let mut wanted = self.wanted();
        wanted.sort();
        for list in read(&mut self.session) {
            prop_assert_eq!(self.view.readiness(), ready(Readiness::Complete), "a list before all sources were read");
            let mut has: Vec<Vec<u8>> = list.resources.iter().map(|any| any.value.to_vec()).collect();
            has.sort();
            prop_assert_eq!(&has, &wanted, "a list is the newest, and whole");
            prop_assert!(self.held.as_ref().is_none_or(|(held, _)| *held != has), "nothing changed");
            if let Some(since) = self.in_flight {
                prop_assert!(self.now - since >= Duration::from_secs(2), "two in flight");
            }
            let apart = self.last_sent.map(|last| self.now - last);
            prop_assert!(apart.is_none_or(|apart| apart >= Duration::from_millis(100)), "{apart:?} apart");
            self.held = Some((has, list.nonce));
            (self.in_flight, self.last_sent) = (Some(self.now), Some(self.now));
        }
        let same = self.held.as_ref().is_some_and(|(held, _)| *held == wanted);
        if same || self.view.readiness() != ready(Readiness::Complete) {
            self.differs_since = None;
        } else {
            let since = *self.differs_since.get_or_insert(self.now);
            prop_assert!(self.now - since < Duration::from_secs(2), "it waits longer than 2 s");
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn an_istiod_gets_the_newest_whole_list_in_time_and_no_needless_one(
        revision in prop_oneof![Just(None), Just(Some("blue"))],
        happenings in vec(happening(), 1..60),
    ) {
        let mut play = Play::new(revision);
        for happening in &happenings {
            play.happens(happening)?;
        }
        play.happens(&Happening::Complete)?;
        play.happens(&Happening::Acknowledges)?;
        play.happens(&Happening::Time(2_000))?;
        let mut wanted = play.wanted();
        wanted.sort();
        prop_assert_eq!(play.held.map(|(held, _)| held), Some(wanted));
    }
}
