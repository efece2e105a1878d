//! An entry for one revision (`istio.io/rev`) goes to the Istiods of that revision, and to those without one.

use crate::{
    client::{World, gone},
    istiod::*,
};
use portolan::resource::Kind;
use std::time::Duration;

async fn of_revision(world: &World, revision: Option<&str>) -> Istiod {
    Istiod::with(world.address, node(Some("api"), revision), TYPES.map(String::from).to_vec()).await
}

async fn three() -> World {
    let entries = [("ns/all", None), ("ns/blue", Some("blue")), ("ns/green", Some("green"))];
    World::of(entries.map(|(name, revision)| entry_of(name, "1", revision)).to_vec()).await
}

fn names(istiod: &Istiod) -> Vec<&str> {
    istiod.store.keys().map(|name| &**name).collect()
}

#[tokio::test]
async fn a_revision_sees_its_own_entries_and_those_for_all() {
    let world = three().await;
    for (revision, expected) in [
        (Some("blue"), vec!["ns/all", "ns/blue"]),
        (Some("green"), vec!["ns/all", "ns/green"]),
        (Some("other"), vec!["ns/all"]),
        (Some(""), vec!["ns/all", "ns/blue", "ns/green"]),
        (None, vec!["ns/all", "ns/blue", "ns/green"]),
    ] {
        let mut istiod = of_revision(&world, revision).await;
        assert_eq!(names(istiod.synced().await), expected, "{revision:?}");
    }
}

#[tokio::test]
async fn what_concerns_another_revision_only_is_not_sent() {
    let world = three().await;
    let mut blue = of_revision(&world, Some("blue")).await;
    blue.synced().await;
    blue.listen(Duration::from_millis(200)).await;
    world.change([entry_of("ns/green", "2", Some("green")), entry_of("ns/new", "1", Some("green"))]);
    assert_eq!(blue.listen(Duration::from_millis(400)).await, []);
    world.change([gone(Kind::ServiceEntry, "ns/green")]);
    assert_eq!(blue.listen(Duration::from_millis(400)).await, []);
    world.change([entry_of("ns/blue", "2", Some("blue"))]);
    blue.next().await;
    assert_eq!(values(&blue), [("ns/all", "1"), ("ns/blue", "2")]);
}

#[tokio::test]
async fn an_entry_that_moves_to_another_revision_is_left_out() {
    let world = three().await;
    let mut blue = of_revision(&world, Some("blue")).await;
    blue.synced().await;
    world.change([entry_of("ns/blue", "2", Some("green"))]);
    blue.next().await;
    assert_eq!((names(&blue), &blue.writes[2..]), (vec!["ns/all"], &["- ns/blue".to_owned()][..]));
}
