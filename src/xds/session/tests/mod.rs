//! Rules that need a clock or a look inside: no sockets.

mod histories;
mod order;
mod reference;
mod refusals;

use super::*;
use crate::resource::{KindReadiness, Readiness, Resource};
use prost_of_xds_api::Message;
use reference::{Received, answers, resource, rules};
use xds_api::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

/// The same readiness for each of Envoy's kinds.
fn ready(readiness: Readiness) -> KindReadiness {
    KindReadiness::of(Kind::ENVOY, readiness)
}

/// A session on a complete view, and a clock.
struct Fixture {
    session: Session,
    view: ViewGeneration,
    now: Instant,
}

impl Fixture {
    fn of(variant: Variant, resources: &[(Kind, &str)]) -> Fixture {
        let put = |(kind, name): &(Kind, &str)| (*kind, Name::from(*name), Some(resource(*kind, name, 1)));
        let view = ViewGeneration::empty().next(ready(Readiness::Complete), resources.iter().map(put)).unwrap();
        Fixture { session: Session::new(variant, None, rules(usize::MAX)), view, now: Instant::now() }
    }

    fn change(&mut self, kind: Kind, name: &str, value: u8) -> Vec<Received> {
        let change = (kind, Name::from(name), Some(resource(kind, name, value)));
        self.view = self.view.next(ready(Readiness::Complete), [change]).unwrap();
        self.wake()
    }

    fn wake(&mut self) -> Vec<Received> {
        self.session.on_generation(&self.view, self.now);
        answers(&mut self.session)
    }

    fn sotw(&mut self, kind: Kind, names: &[&str], nonce: &str) -> Vec<Received> {
        let raw = DiscoveryRequest {
            type_url: kind.type_url().into(),
            resource_names: names.iter().map(|n| n.to_string()).collect(),
            response_nonce: nonce.into(),
            ..Default::default()
        };
        self.session.on_request(&raw.encode_to_vec().into(), &self.view, self.now).unwrap();
        answers(&mut self.session)
    }

    fn delta(&mut self, kind: Kind, subscribe: &[&str], nonce: &str) -> Vec<Received> {
        let raw = DeltaDiscoveryRequest {
            type_url: kind.type_url().into(),
            resource_names_subscribe: subscribe.iter().map(|n| n.to_string()).collect(),
            response_nonce: nonce.into(),
            ..Default::default()
        };
        self.session.on_request(&raw.encode_to_vec().into(), &self.view, self.now).unwrap();
        answers(&mut self.session)
    }

    fn unsubscribe(&mut self, kind: Kind, name: &str) {
        let raw = DeltaDiscoveryRequest {
            type_url: kind.type_url().into(),
            resource_names_unsubscribe: vec![name.into()],
            ..Default::default()
        };
        self.session.on_request(&raw.encode_to_vec().into(), &self.view, self.now).unwrap();
    }

    /// All that is in it stays wanted; nothing may come of it.
    fn acknowledge(&mut self, variant: Variant, received: &Received) {
        let answer = match variant {
            Variant::Sotw => self.sotw(received.kind, &["a", "b"], &received.nonce),
            Variant::Delta => self.delta(received.kind, &[], &received.nonce),
        };
        assert_eq!(answer, []);
    }

    /// From now on the view is this ready.
    fn become_ready(&mut self, readiness: Readiness) -> Vec<Received> {
        self.view = self.view.next(ready(readiness), []).unwrap();
        self.wake()
    }
}

#[test]
fn g8_an_answer_in_flight_holds_the_next_back_for_the_patience_and_no_longer() {
    let mut fixture = Fixture::of(Variant::Sotw, &[(Kind::Cluster, "aa")]);
    assert_eq!(fixture.sotw(Kind::Cluster, &[], "").len(), 1);
    assert_eq!(fixture.session.due(), None, "nothing is held back");
    assert_eq!(fixture.change(Kind::Cluster, "aa", 2), []);
    assert_eq!(fixture.change(Kind::Cluster, "aa", 3), []);
    let patience = Duration::from_millis(500);
    assert_eq!(fixture.session.due(), Some(fixture.now + patience));
    fixture.now += patience - Duration::from_millis(1);
    assert_eq!(fixture.wake(), []);
    fixture.now += Duration::from_millis(1);
    let received = fixture.wake();
    assert_eq!(received.len(), 1, "both changes go together");
    assert_eq!(received[0].resources["aa"], resource(Kind::Cluster, "aa", 3).version());
    assert_eq!(fixture.session.due(), None);
}

#[test]
fn what_was_held_back_and_is_as_before_holds_nothing_else_back() {
    let mut fixture = Fixture::of(Variant::Sotw, &[(Kind::Cluster, "aa"), (Kind::Listener, "l")]);
    let received = fixture.sotw(Kind::Listener, &[], "");
    assert_eq!(fixture.sotw(Kind::Listener, &[], &received[0].nonce), []);
    assert_eq!(fixture.sotw(Kind::Cluster, &[], "").len(), 1);
    let before = fixture.view.clone();
    assert_eq!(fixture.change(Kind::Cluster, "aa", 2), []);
    assert!(fixture.session.due().is_some(), "it waits for the acknowledgement");
    fixture.view = before.clone();
    assert_eq!((fixture.wake(), fixture.session.due()), (vec![], None));
    assert_eq!(fixture.change(Kind::Cluster, "aa", 2), []);
    fixture.view = before;
    let received = fixture.change(Kind::Listener, "l", 2);
    assert_eq!(received.iter().map(|received| received.kind).collect::<Vec<_>>(), [Kind::Listener]);
    assert_eq!(fixture.session.due(), None);
}

#[test]
fn g8_an_acknowledgement_lets_the_next_go_and_a_stale_one_does_not() {
    let mut fixture = Fixture::of(Variant::Delta, &[(Kind::Endpoint, "a")]);
    let first = fixture.delta(Kind::Endpoint, &["a"], "");
    assert_eq!(fixture.delta(Kind::Endpoint, &[], &first[0].nonce), []);
    let second = fixture.change(Kind::Endpoint, "a", 2);
    assert_eq!(fixture.change(Kind::Endpoint, "a", 3), []);
    assert_eq!(fixture.delta(Kind::Endpoint, &[], &first[0].nonce), []);
    let third = fixture.delta(Kind::Endpoint, &[], &second[0].nonce);
    assert_eq!(third.len(), 1);
    assert_eq!(third[0].resources["a"], resource(Kind::Endpoint, "a", 3).version());
}

#[test]
fn s14_the_assignment_goes_behind_its_cluster_though_one_is_in_flight() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::of(variant, &[(Kind::Cluster, "aa"), (Kind::Endpoint, "a"), (Kind::Endpoint, "b")]);
        let first = match variant {
            Variant::Sotw => [fixture.sotw(Kind::Cluster, &[], ""), fixture.sotw(Kind::Endpoint, &["a", "b"], "")],
            Variant::Delta => [fixture.delta(Kind::Cluster, &[], ""), fixture.delta(Kind::Endpoint, &["a", "b"], "")],
        };
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        fixture.now += Duration::from_secs(1);
        let kinds: Vec<_> =
            fixture.change(Kind::Cluster, "aa", 2).into_iter().map(|t| (t.kind, t.resources.len())).collect();
        assert_eq!(kinds, [(Kind::Cluster, 1), (Kind::Endpoint, 1)], "{variant:?}");
        fixture.now += Duration::from_secs(1);
        assert_eq!(fixture.wake(), []);
    }
}

#[test]
fn s14_a_new_cluster_that_shares_an_assignment_gets_it() {
    let mut fixture = Fixture::of(Variant::Delta, &[(Kind::Cluster, "aa"), (Kind::Endpoint, "a")]);
    fixture.delta(Kind::Cluster, &[], "");
    fixture.delta(Kind::Endpoint, &["a"], "");
    fixture.now += Duration::from_secs(1);
    let received: Vec<_> =
        fixture.change(Kind::Cluster, "ba", 1).into_iter().flat_map(|t| t.resources.into_keys()).collect();
    assert_eq!(received, ["ba", "a"]);
}

#[test]
fn m3_streams_with_equal_names_share_one_set() {
    let rules = rules(usize::MAX);
    let view = Fixture::of(Variant::Sotw, &[(Kind::Endpoint, "a")]).view;
    let raw = DiscoveryRequest {
        type_url: Kind::Endpoint.type_url().into(),
        resource_names: vec!["a".into(), "b".into()],
        ..Default::default()
    };
    let mut sessions = [0, 1].map(|_| Session::new(Variant::Sotw, None, rules.clone()));
    for session in &mut sessions {
        session.on_request(&raw.encode_to_vec().into(), &view, Instant::now()).unwrap();
    }
    let list = |i: usize| sessions[i].subscriptions[Kind::Endpoint as usize].list().unwrap();
    assert!(Arc::ptr_eq(list(0), list(1)));
}

#[test]
fn a_client_that_goes_from_name_to_name_fills_no_memory() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::of(variant, &[]);
        fixture.view = ViewGeneration::empty().next(ready(Readiness::Partial), []).unwrap();
        for i in 0..1_000 {
            let name = |i: i32| format!("n{i}");
            let raw = match variant {
                Variant::Sotw => DiscoveryRequest {
                    type_url: Kind::Endpoint.type_url().into(),
                    resource_names: vec![name(i)],
                    ..Default::default()
                }
                .encode_to_vec(),
                Variant::Delta => DeltaDiscoveryRequest {
                    type_url: Kind::Endpoint.type_url().into(),
                    resource_names_subscribe: vec![name(i)],
                    resource_names_unsubscribe: vec![name(i - 1)],
                    ..Default::default()
                }
                .encode_to_vec(),
            };
            fixture.session.on_request(&raw.into(), &fixture.view, fixture.now).unwrap();
        }
        let unreported = &fixture.session.subscriptions[Kind::Endpoint as usize].unreported;
        assert!(unreported.len() <= 64 && unreported.contains("n999"), "{variant:?}: {unreported:?}");
    }
}

#[test]
fn a_stream_holds_no_bodies_of_what_it_was_sent() {
    let mut fixture = Fixture::of(Variant::Delta, &[(Kind::Endpoint, "a")]);
    let old = Arc::downgrade(fixture.view.get(Kind::Endpoint).get("a").unwrap());
    let received = fixture.delta(Kind::Endpoint, &["a"], "");
    fixture.delta(Kind::Endpoint, &[], &received[0].nonce);
    fixture.change(Kind::Endpoint, "a", 2);
    assert!(old.upgrade().is_none());
}

#[test]
fn events_tell_what_was_sent_taken_and_refused() {
    let mut fixture = Fixture::of(Variant::Sotw, &[(Kind::Cluster, "aa")]);
    let received = fixture.sotw(Kind::Cluster, &[], "");
    fixture.sotw(Kind::Cluster, &[], &received[0].nonce);
    fixture.sotw(Kind::Cluster, &[], &received[0].nonce);
    let kind = Kind::Cluster;
    let version = fixture.view.get(kind).digest();
    let events: Vec<_> = fixture.session.take_events().collect();
    let [Event::Subscribed { wildcard: true, .. }, sent, acknowledged] = &events[..] else { panic!("{events:?}") };
    let Event::Sent { bytes, .. } = sent else { panic!("{sent:?}") };
    assert_eq!(*sent, Event::Sent { kind, version, nonce: 1, items: 1, bytes: *bytes });
    assert_eq!(*acknowledged, Event::Acknowledged { kind, version }, "once, though it came twice");
}

/// A cluster changes that another stream follows.
fn change_elsewhere(fixture: &mut Fixture) {
    assert_eq!(fixture.change(Kind::Cluster, "aa", 2), []);
    assert_eq!(fixture.session.due(), Some(fixture.now + Duration::from_millis(250)));
}

#[test]
fn s14_an_assignment_goes_out_again_soon_after_its_cluster_changed_on_another_stream_and_once_more() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::of(variant, &[(Kind::Cluster, "aa"), (Kind::Endpoint, "a"), (Kind::Endpoint, "b")]);
        let first = match variant {
            Variant::Sotw => fixture.sotw(Kind::Endpoint, &["a", "b"], ""),
            Variant::Delta => fixture.delta(Kind::Endpoint, &["a", "b"], ""),
        };
        assert_eq!(first.len(), 1);
        fixture.acknowledge(variant, &first[0]);
        change_elsewhere(&mut fixture);
        for wait in [250, 2_750] {
            fixture.now += Duration::from_millis(wait);
            let received = fixture.wake();
            let [again] = &received[..] else { panic!("{received:?}") };
            assert_eq!(
                (again.kind, again.resources.keys().map(|n| &**n).collect::<Vec<_>>()),
                (Kind::Endpoint, vec!["a"])
            );
            fixture.acknowledge(variant, again);
        }
        assert_eq!(fixture.session.due(), None, "twice is enough");
    }
}

#[test]
fn s14_a_repeated_request_is_answered_where_a_cluster_changed_on_another_stream_and_only_there() {
    let mut fixture =
        Fixture::of(Variant::Sotw, &[(Kind::Cluster, "aa"), (Kind::Endpoint, "a"), (Kind::Endpoint, "b")]);
    let first = fixture.sotw(Kind::Endpoint, &["a", "b"], "");
    assert_eq!(fixture.sotw(Kind::Endpoint, &["a", "b"], &first[0].nonce), [], "an acknowledgement");
    assert_eq!(fixture.sotw(Kind::Endpoint, &["a", "b"], &first[0].nonce), [], "nothing has changed");
    change_elsewhere(&mut fixture);
    let again = fixture.sotw(Kind::Endpoint, &["a", "b"], &first[0].nonce);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].resources.keys().map(|n| &**n).collect::<Vec<_>>(), ["a"]);
    assert_eq!(fixture.session.due(), None);
}

#[test]
fn a_missing_route_is_answered_empty_and_one_that_goes_is_not_told() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut fixture = Fixture::of(variant, &[(Kind::Route, "b")]);
        let counts = |received: &[Received]| -> Vec<_> {
            received.iter().map(|r| (r.resources.len(), r.removed.len())).collect()
        };
        let received = match variant {
            Variant::Delta => fixture.delta(Kind::Route, &["a"], ""),
            Variant::Sotw => fixture.sotw(Kind::Route, &["a"], ""),
        };
        assert_eq!(counts(&received), [(1, 0)], "Envoy would never open the listener");
        let empty = Resource::absent(Kind::Route, &"a".into()).version();
        assert_eq!(received[0].resources["a"], empty);
        fixture.now += Duration::from_secs(1);
        let received = fixture.change(Kind::Route, "a", 1);
        assert_eq!(counts(&received), [(1, 0)]);
        assert_ne!(received[0].resources["a"], empty);
        fixture.now += Duration::from_secs(1);
        let gone = (Kind::Route, Name::from("a"), None);
        fixture.view = fixture.view.next(ready(Readiness::Complete), [gone]).unwrap();
        assert_eq!(fixture.wake(), [], "connections of a listener that is drained still use it");
    }
}

#[test]
fn names_asked_for_one_by_one_while_absence_is_unknown_are_kept_while_wanted_and_no_longer() {
    let mut fixture = Fixture::of(Variant::Delta, &[(Kind::Endpoint, "a")]);
    fixture.become_ready(Readiness::Partial);
    fixture.delta(Kind::Endpoint, &["a"], "");
    let names: Vec<String> = (0..500).map(|i| format!("n{i:03}")).collect();
    for (at, name) in names.iter().enumerate() {
        assert_eq!(fixture.delta(Kind::Endpoint, &[name], ""), []);
        if at % 2 == 0 {
            fixture.unsubscribe(Kind::Endpoint, name);
        }
    }
    let held = &fixture.session.subscriptions[Kind::Endpoint as usize];
    assert_eq!(held.unreported.len(), 250);
    let received = fixture.become_ready(Readiness::Complete);
    let removed: Vec<String> = received.into_iter().flat_map(|r| r.removed).collect();
    assert_eq!(removed, names.iter().skip(1).step_by(2).cloned().collect::<Vec<_>>());
}
