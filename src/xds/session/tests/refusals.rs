//! What refusals cost and what they do not.

use super::*;
use crate::xds::unwanted::{Filter, Found, Item};
use xds_api::pb::google::rpc::Status;

impl Fixture {
    /// Several changes at once.
    fn changes(&mut self, changes: &[(&str, Option<u8>)]) -> Vec<Received> {
        let kind = Kind::Cluster;
        let changes = changes
            .iter()
            .map(|(name, value)| (kind, Name::from(*name), value.map(|value| resource(kind, name, value))));
        self.view = self.view.next(ready(Readiness::Complete), changes).unwrap();
        self.wake()
    }

    /// Refuses an answer with these words; in state of the world as a client that has `version`.
    fn refuse(&mut self, variant: Variant, received: &Received, words: &str, version: &str) -> Vec<Received> {
        let error_detail = Some(Status { message: words.into(), ..Status::default() });
        let (type_url, response_nonce) = (received.kind.type_url().into(), received.nonce.clone());
        let raw = match variant {
            Variant::Sotw => DiscoveryRequest {
                type_url,
                response_nonce,
                error_detail,
                version_info: version.into(),
                ..Default::default()
            }
            .encode_to_vec(),
            Variant::Delta => {
                DeltaDiscoveryRequest { type_url, response_nonce, error_detail, ..Default::default() }.encode_to_vec()
            }
        };
        self.session.on_request(&raw.into(), &self.view, self.now).unwrap();
        answers(&mut self.session)
    }

    /// A stream that has acknowledged all clusters.
    fn settled(variant: Variant, names: &[&str]) -> Fixture {
        let resources: Vec<_> = names.iter().map(|name| (Kind::Cluster, *name)).collect();
        let mut fixture = Fixture::of(variant, &resources);
        let received = match variant {
            Variant::Sotw => fixture.sotw(Kind::Cluster, &[], ""),
            Variant::Delta => fixture.delta(Kind::Cluster, &[], ""),
        };
        fixture.accept(variant, &received[0]);
        fixture
    }

    fn accept(&mut self, variant: Variant, received: &Received) -> Vec<Received> {
        match variant {
            Variant::Sotw => self.sotw(received.kind, &[], &received.nonce),
            Variant::Delta => self.delta(received.kind, &[], &received.nonce),
        }
    }

    /// Has a settled client refuse one content of `aa` after the other, until it has used up all turns.
    fn tire(&mut self, variant: Variant) {
        for turn in 0..60 {
            let received = self.changes(&[("aa", Some(2 + turn % 2))]);
            assert_eq!(self.refuse(variant, &received[0], "aa: no", ""), []);
        }
        assert_eq!(self.session.due(), None, "nothing waits");
    }

    fn withheld(&mut self) -> Vec<(String, Found)> {
        let events = self.session.take_events().filter_map(|event| match event {
            Event::Withheld { item, found, .. } => Some((item.name.to_string(), found)),
            _ => None,
        });
        events.collect()
    }
}

/// Names and values of clusters in an answer.
fn has(received: &Received) -> Vec<(&str, u8)> {
    let value = |name: &str, version: u64| {
        (0..9).find(|value| resource(Kind::Cluster, name, *value).version() == version).unwrap()
    };
    received.resources.iter().map(|(name, version)| (&**name, value(name, *version))).collect()
}

#[test]
fn a_refusal_of_one_that_was_sent_alone_is_not_answered() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::settled(variant, &["aa", "ab"]);
        let received = fixture.change(Kind::Cluster, "aa", 2);
        assert_eq!(fixture.refuse(variant, &received[0], "no", ""), [], "{variant:?}");
        assert_eq!(fixture.withheld(), [("aa".to_owned(), Found::Searched)]);
        assert_eq!(fixture.refuse(variant, &received[0], "no", ""), [], "again");
        assert_eq!(fixture.withheld(), []);
        fixture.now += Duration::from_secs(60);
        assert_eq!((fixture.wake(), fixture.session.due()), (vec![], None));
    }
}

#[test]
fn what_was_beside_a_refused_one_goes_out_again_as_soon_as_there_is_a_turn() {
    let turn = Duration::from_secs(5);
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::settled(variant, &["aa", "ab"]);
        fixture.tire(variant);
        let received = fixture.changes(&[("aa", Some(4)), ("ab", Some(2))]);
        assert_eq!(fixture.refuse(variant, &received[0], "aa: no", ""), [], "no turn is left");
        assert_eq!(fixture.session.due(), Some(fixture.now + turn), "{variant:?}");
        fixture.now += turn;
        let received = fixture.wake();
        let all = [("aa", 1), ("ab", 2)];
        assert_eq!(has(&received[0]), if variant == Variant::Sotw { &all[..] } else { &all[1..] });
        assert_eq!(fixture.accept(variant, &received[0]), []);
        assert_eq!((fixture.wake(), fixture.session.due()), (vec![], None));
    }
    // And what was to be removed, where absence says it.
    let mut fixture = Fixture::settled(Variant::Sotw, &["aa", "ab"]);
    fixture.tire(Variant::Sotw);
    let received = fixture.changes(&[("aa", Some(4)), ("ab", None)]);
    assert_eq!(fixture.refuse(Variant::Sotw, &received[0], "aa: no", ""), []);
    fixture.now += turn;
    assert_eq!(has(&fixture.wake()[0]), [("aa", 1)]);
}

#[test]
fn who_names_nobody_is_searched_for_once_there_is_a_turn() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::settled(variant, &["aa", "ab"]);
        fixture.tire(variant);
        let received = fixture.changes(&[("aa", Some(4)), ("ab", Some(2))]);
        assert_eq!(fixture.refuse(variant, &received[0], "no", ""), [], "no turn is left");
        fixture.now += Duration::from_secs(5);
        let (mut answers, mut ab) = (fixture.wake(), None);
        while let Some(received) = answers.pop() {
            if has(&received).contains(&("aa", 4)) {
                answers = fixture.refuse(variant, &received, "no", "");
            } else {
                ab = received.resources.get("ab").copied();
                answers = fixture.accept(variant, &received);
            }
        }
        assert_eq!(ab, Some(resource(Kind::Cluster, "ab", 2).version()), "{variant:?}");
        assert_eq!(fixture.withheld().pop(), Some(("aa".to_owned(), Found::Searched)));
        assert_eq!(fixture.session.due(), None);
    }
}

#[test]
fn a_refusal_that_comes_behind_the_next_answer_still_counts() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::settled(variant, &["aa", "ab"]);
        let first = fixture.changes(&[("aa", Some(2)), ("ab", Some(2))]);
        fixture.now += Duration::from_secs(1);
        let second = fixture.changes(&[("ac", Some(1))]);
        assert_eq!(second.len(), 1);
        assert_eq!(fixture.refuse(variant, &first[0], "ab: no", ""), [], "another answer is on its way");
        let received = match variant {
            // It is refused as well, because it has the same in it.
            Variant::Sotw => fixture.refuse(variant, &second[0], "ab: no", ""),
            Variant::Delta => fixture.accept(variant, &second[0]),
        };
        assert_eq!(received.len(), 1, "{variant:?}");
        let all = [("aa", 2), ("ab", 1), ("ac", 1)];
        assert_eq!(has(&received[0]), if variant == Variant::Sotw { &all[..] } else { &all[..1] });
        assert_eq!(fixture.accept(variant, &received[0]), []);
        assert_eq!(fixture.withheld(), [("ab".to_owned(), Found::Named)]);
        assert_eq!(fixture.wake(), []);
    }
}

#[test]
fn a_client_of_state_of_the_world_that_comes_back_loses_nothing_by_refusing_its_first_answer() {
    let mut fixture = Fixture::of(Variant::Sotw, &[(Kind::Cluster, "aa"), (Kind::Cluster, "ab")]);
    let raw = DiscoveryRequest {
        type_url: Kind::Cluster.type_url().into(),
        version_info: "old".into(),
        ..Default::default()
    };
    fixture.session.on_request(&raw.encode_to_vec().into(), &fixture.view, fixture.now).unwrap();
    let received = answers(&mut fixture.session);
    assert_eq!(fixture.refuse(Variant::Sotw, &received[0], "aa: no", "old"), []);
    assert_eq!(fixture.withheld(), []);
    let received = fixture.changes(&[("ac", Some(1))]);
    assert_eq!(has(&received[0]), [("aa", 1), ("ab", 1), ("ac", 1)]);
    assert_eq!(fixture.accept(Variant::Sotw, &received[0]), []);
    let received = fixture.changes(&[("aa", Some(2)), ("ab", Some(2))]);
    let received = fixture.refuse(Variant::Sotw, &received[0], "aa: no", "old");
    assert_eq!(has(&received[0]), [("aa", 1), ("ab", 2), ("ac", 1)], "from then on it is known");
}

#[test]
fn an_assignment_behind_a_withheld_cluster_goes_out_as_ever() {
    let mut fixture = Fixture::settled(Variant::Delta, &["aa", "ab"]);
    let endpoint = |value| (Kind::Endpoint, Name::from("a"), Some(resource(Kind::Endpoint, "a", value)));
    fixture.view = fixture.view.next(ready(Readiness::Complete), [endpoint(1)]).unwrap();
    let received = fixture.delta(Kind::Endpoint, &["a"], "");
    fixture.accept(Variant::Delta, &received[0]);
    let received = fixture.change(Kind::Cluster, "aa", 2);
    assert_eq!(received.len(), 2, "the cluster and its assignment");
    fixture.accept(Variant::Delta, &received[1]);
    assert_eq!(fixture.refuse(Variant::Delta, &received[0], "aa: no", ""), []);
    fixture.now += Duration::from_secs(1);
    let received = fixture.change(Kind::Endpoint, "a", 2);
    assert_eq!(received.len(), 1);
}

#[test]
fn what_is_released_goes_out_again() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::settled(variant, &["aa", "ab"]);
        let received = fixture.change(Kind::Cluster, "aa", 2);
        fixture.refuse(variant, &received[0], "no", "");
        assert!(fixture.session.withholds());
        fixture.session.release(&Filter { kind: Some(Kind::Endpoint), name: None });
        assert_eq!(fixture.wake(), []);
        fixture.session.release(&Filter { kind: None, name: Some("aa".into()) });
        let received = fixture.wake();
        assert_eq!(has(&received[0])[0], ("aa", 2));
        assert!(!fixture.session.withholds());
    }
}

#[test]
fn what_others_refuse_is_not_sent_to_who_has_it_not_and_not_taken_from_who_has() {
    let item = |version| Item { kind: Kind::Cluster, name: "aa".into(), version };
    let list = |value| -> Arc<[Unwanted]> {
        [Unwanted { item: item(resource(Kind::Cluster, "aa", value).version()), instead: None }].into()
    };
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut fixture = Fixture::settled(variant, &["aa", "ab"]);
        fixture.session.withhold(list(1));
        let received = fixture.change(Kind::Cluster, "ab", 2);
        let all = [("aa", 1), ("ab", 2)];
        assert_eq!(has(&received[0]), if variant == Variant::Sotw { &all[..] } else { &all[1..] });
        fixture.accept(variant, &received[0]);
        fixture.session.withhold(list(2));
        assert_eq!(fixture.change(Kind::Cluster, "aa", 2), [], "{variant:?}");
        assert_eq!(fixture.withheld(), [("aa".to_owned(), Found::Shared)]);
        fixture.session.withhold(Arc::default());
        fixture.session.release(&Filter::default());
        assert_eq!(has(&fixture.wake()[0])[0], ("aa", 2));
    }
}

#[test]
fn a_body_that_was_accepted_is_held_until_another_is() {
    let mut fixture = Fixture::settled(Variant::Sotw, &["aa", "ab"]);
    let old = Arc::downgrade(fixture.view.get(Kind::Cluster).get("aa").unwrap());
    let received = fixture.change(Kind::Cluster, "aa", 2);
    assert!(old.upgrade().is_some(), "it may be needed");
    fixture.accept(Variant::Sotw, &received[0]);
    assert!(old.upgrade().is_none());
}
