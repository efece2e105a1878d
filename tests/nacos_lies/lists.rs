//! Lists that count wrongly, end too early, never end, or show one thing twice.

use super::{ALL, config, names, read};
use crate::support::fake_nacos::{FakeNacos, Generation, instance, key};
use portolan::registry::nacos::{Config, Namespaces};

async fn with_seven(generation: Generation) -> (FakeNacos, Vec<String>) {
    let fake = FakeNacos::start(generation).await;
    let expected: Vec<String> = (0..7).map(|n| format!("svc-{n}")).collect();
    expected.iter().for_each(|name| fake.model().put(name, vec![instance("10.0.0.1", 80)]));
    (fake, expected)
}

#[tokio::test]
async fn a_count_of_the_page_is_not_the_end() {
    for generation in [Generation::V1, Generation::V2Plain, Generation::V3Plain] {
        let (fake, expected) = with_seven(generation).await;
        fake.model().lies.count_of_page = true;
        let mut reading = read(Config { page_size: 3, ..config(&fake) });
        reading.list().await;
        assert_eq!((names(&reading), reading.failed), (expected, 0), "{generation:?}");
        // Nor does it make every list be read twice.
        fake.model().log.clear();
        reading.round().await;
        reading.round().await;
        let first = fake.model().asked("service/list?namespaceId=public&groupName=DEFAULT_GROUP&pageNo=1");
        let third = fake.model().asked("service/list?namespaceId=public&groupName=DEFAULT_GROUP&pageNo=3");
        assert!(first.abs_diff(third) <= 1 && first <= 4, "{first} {third}");
    }
}

#[tokio::test]
async fn a_short_page_is_not_the_end() {
    for generation in ALL {
        let (fake, expected) = with_seven(generation).await;
        (fake.model().lies.page_size, fake.model().lies.count_of_page) = (Some(2), true);
        let mut reading = read(config(&fake));
        reading.list().await;
        assert_eq!((names(&reading), reading.failed), (expected, 0), "{generation:?}");
    }
}

#[tokio::test]
async fn a_namespace_that_is_listed_twice_is_one() {
    for generation in [Generation::V2, Generation::V3] {
        let (fake, expected) = with_seven(generation).await;
        fake.model().lies.two_publics = true;
        let mut reading = read(Config { namespaces: Namespaces::All, ..config(&fake) });
        reading.list().await;
        assert_eq!((reading.scopes.clone(), names(&reading)), (vec!["public".to_owned()], expected));
        fake.model().log.clear();
        reading.round().await;
        reading.round().await;
        let log = fake.model().log.clone();
        let asked = |part: &str| log.iter().filter(|line| line.contains(part)).count();
        let rounds = asked("/console/namespaces") + asked("/core/namespace/list");
        let rounds = if generation == Generation::V2 { rounds / 2 } else { rounds };
        let read = asked("namespaceId=public&withInstances=true&pageNo=1&pageSize=500");
        assert!(read <= rounds + 1, "{generation:?}: {read} readings in {rounds} rounds: {log:#?}");
    }
}

#[tokio::test]
async fn a_list_without_end_is_a_failure_and_what_is_known_stays() {
    for generation in ALL {
        let (fake, expected) = with_seven(generation).await;
        let mut small = config(&fake);
        small.connection.max_body_bytes = 100_000;
        let mut reading = read(small);
        reading.list().await;
        fake.model().services();
        fake.model().lies.endless = true;
        let (failure, lists) = (reading.failure().await, reading.listed);
        assert!(failure.contains("goes beyond") && failure.contains("max_body"), "{generation:?}: {failure}");
        reading.failure().await;
        assert_eq!((reading.listed, names(&reading)), (lists, expected.clone()), "{generation:?}");
        fake.model().services().insert(key("public", "DEFAULT_GROUP", "svc-9"), Default::default());
        fake.model().lies.endless = false;
        reading.list().await;
        assert_eq!(names(&reading).len(), expected.len() + 1, "{generation:?}");
    }
}
