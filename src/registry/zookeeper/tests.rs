//! What a tree makes of readings.

use super::{
    error::Error,
    layout::{Entry, Layout},
    tree::{Change, Tree},
};
use crate::model::{Endpoint, Update};
use std::time::{Duration, SystemTime};

fn entry(name: &str) -> Entry {
    Entry { name: name.into(), data: Vec::new() }
}

#[test]
fn an_instance_that_cannot_be_read_is_as_it_was_last() {
    let mut tree = Tree::new("zk".into(), Layout::Spring, "/services".into());
    let mut read = |data: &[(&str, &str)]| {
        let entries = data.iter().map(|(name, data)| Entry { name: (*name).into(), data: (*data).into() }).collect();
        tree.update("orders", Ok(Some(entries)), SystemTime::UNIX_EPOCH);
        let Update::Listed { services, unreadable, .. } = tree.list() else { panic!() };
        let places = |endpoints: &[Endpoint]| endpoints.iter().map(|e| e.address.to_string()).collect::<Vec<_>>();
        let endpoints = services.first().map(|service| places(&service.endpoints)).unwrap_or_default();
        (endpoints, services.first().map_or(0, |service| service.notes.len()), unreadable.len())
    };
    let (a, b) = (r#"{"address":"192.0.2.1","port":80}"#, r#"{"address":"192.0.2.2","port":80}"#);
    let both: Vec<String> = ["192.0.2.1", "192.0.2.2"].map(String::from).into();
    assert_eq!(read(&[("a", a), ("b", b)]), (both.clone(), 0, 0));
    assert_eq!(read(&[("a", a), ("b", "{")]), (both.clone(), 1, 0));
    assert_eq!(read(&[("a", a), ("b", "{"), ("c", "{")]), (both.clone(), 2, 0), "what was never read is left out");
    // None can be read: the service keeps its last.
    assert_eq!(read(&[("a", "}"), ("b", "{")]), (Vec::new(), 0, 1));
    assert_eq!(read(&[("a", a), ("b", "{")]), (both, 1, 0));
    assert_eq!(read(&[("a", a)]), (vec!["192.0.2.1".into()], 0, 0), "what is gone is gone");
}

#[test]
fn a_node_that_cannot_be_read_grows_when_it_can() {
    let mut tree = Tree::new("zk".into(), Layout::Dubbo, "/dubbo".into());
    let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    let good = || Ok(Some(vec![entry("dubbo://192.0.2.1:1/a.B?timestamp=1000&warmup=1000")]));
    let grown = |tree: &Tree, millis| tree.grown(at(millis)).cloned().collect::<Vec<_>>();
    tree.update("a.B", good(), at(1000));
    assert_eq!(
        (tree.until(), grown(&tree, 1099), grown(&tree, 1100)),
        (Some(at(1100)), vec![], vec!["a.B".to_owned()])
    );
    for bad in [Err(Error::Denied { path: "/dubbo/a.B".into() }), Ok(Some(vec![entry("%zz")]))] {
        tree.update("a.B", bad, at(1200));
        assert_eq!((tree.until(), grown(&tree, 5000)), (None, vec![]));
    }
    let changes = tree.update("a.B", good(), at(1550));
    let [Change::Readable, Change::Applied(service)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((service.endpoints[0].weight.get(), tree.until()), (0.6, Some(at(1600))));
}

#[test]
fn only_what_differs_is_a_change() {
    let (now, first, second) = (SystemTime::UNIX_EPOCH, "dubbo://192.0.2.1:1/a.B", "dubbo://192.0.2.2:1/a.B?group=g");
    let mut tree = Tree::new("zk".into(), Layout::Dubbo, "/dubbo".into());
    let update =
        |tree: &mut Tree, urls: &[&str]| tree.update("a.B", Ok(Some(urls.iter().map(|url| entry(url)).collect())), now);
    let shown = |changes: Vec<Change>| -> Vec<String> {
        let text = |change| match change {
            Change::Applied(service) => format!("+{}", service.id),
            Change::Removed(id) => format!("-{id}"),
            Change::Readable => "?".into(),
        };
        changes.into_iter().map(text).collect()
    };
    assert_eq!(shown(update(&mut tree, &[first, second])), ["+zk/dubbo/a.B", "+zk/dubbo/g/a.B"]);
    let Update::Listed { services: before, .. } = tree.list() else { panic!() };
    assert_eq!(shown(update(&mut tree, &[second, first])), [""; 0]);
    assert_eq!(shown(update(&mut tree, &[first])), ["-zk/dubbo/g/a.B"]);
    assert_eq!(shown(update(&mut tree, &[first, second])), ["+zk/dubbo/g/a.B"]);
    let Update::Listed { services: after, .. } = tree.list() else { panic!() };
    assert_eq!(before, after);
    assert!(std::sync::Arc::ptr_eq(&before[0], &after[0]));
    // What cannot be read keeps its services, and says so once.
    let denied = |tree: &mut Tree| tree.update("a.B", Err(Error::Denied { path: "/dubbo/a.B".into() }), now);
    assert_eq!(shown(denied(&mut tree)), ["?"]);
    assert_eq!(shown(denied(&mut tree)), [""; 0]);
    let Update::Listed { services, unreadable, .. } = tree.list() else { panic!() };
    assert_eq!((services.len(), unreadable.len()), (0, 2));
    assert_eq!(shown(update(&mut tree, &[first, second])), ["?"]);
    assert_eq!(shown(tree.update("a.B", Ok(None), now)), ["-zk/dubbo/a.B", "-zk/dubbo/g/a.B"]);
    assert_eq!(shown(tree.update("a.C", Err(Error::Denied { path: "/dubbo/a.C".into() }), now)), ["?"]);
    let Update::Listed { services, unreadable, .. } = tree.list() else { panic!() };
    assert_eq!((services.len(), unreadable[0].0.to_string()), (0, "zk/dubbo/a.C".into()));
}
