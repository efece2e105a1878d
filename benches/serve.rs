//! What serving costs: the next generation after a change, the difference that a stream must send, a whole answer, and an
//! acknowledgement that repeats 5,000 names.
//!
//! `cargo bench --bench serve`

use bytes::Bytes;
use divan::{Bencher, black_box};
use portolan::{
    resource::{Kind, KindReadiness, Name, Readiness, Resource, Variant, ViewGeneration},
    xds::{Message, Rules, Session},
};
use prost_of_xds_api::Message as _;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use xds_api::pb::envoy::service::discovery::v3::DiscoveryRequest;

const SERVICES: usize = 5_000;

fn main() {
    divan::main();
}

fn name(i: usize) -> String {
    format!("outbound|80||service-{i:05}")
}

/// A resource about as large as an assignment of ten endpoints.
fn assignment(i: usize, value: u8) -> (Kind, Name, Option<Resource>) {
    let name = Name::from(name(i));
    (Kind::Endpoint, name.clone(), Some(Resource::new(Kind::Endpoint, name, &[value; 460], None)))
}

fn complete() -> KindReadiness {
    KindReadiness::of(Kind::ENVOY, Readiness::Complete)
}

fn view() -> ViewGeneration {
    let all = (0..SERVICES).map(|i| assignment(i, 1));
    ViewGeneration::empty().next(complete(), all).expect("it has resources")
}

fn changed(view: &ViewGeneration, value: u8) -> ViewGeneration {
    view.next(complete(), [assignment(77, value)]).expect("the value differs")
}

#[divan::bench]
fn next_generation_after_one_change(bencher: Bencher<'_, '_>) {
    let view = view();
    bencher.bench_local(|| changed(black_box(&view), 2));
}

#[divan::bench]
fn difference_of_one_change(bencher: Bencher<'_, '_>) {
    let (old, new) = (view(), changed(&view(), 2));
    let new_of_old = changed(&old, 2);
    assert_eq!(new.get(Kind::Endpoint).digest(), new_of_old.get(Kind::Endpoint).digest());
    let (sent, current) = (old.get(Kind::Endpoint).versions(), new_of_old.get(Kind::Endpoint).versions());
    bencher.bench_local(|| black_box(sent).diff(black_box(current)).count());
}

#[divan::bench(args = [Variant::Sotw, Variant::Delta])]
fn whole_answer_after_one_change(bencher: Bencher<'_, '_>, variant: Variant) {
    let view = view();
    view.get(Kind::Endpoint).blocks(variant).into_iter().flatten().for_each(|block| drop(black_box(block)));
    let mut value = 2;
    bencher
        .with_inputs(|| {
            value = if value == 2 { 3 } else { 2 };
            changed(&view, value)
        })
        .bench_local_values(|next| {
            next.get(Kind::Endpoint).blocks(variant).into_iter().flatten().map(|(bytes, _)| bytes.len()).sum::<usize>()
        });
}

/// A request in parts, as they come over HTTP/2.
fn request(nonce: &str) -> Message {
    let request = DiscoveryRequest {
        version_info: "0123456789abcdef".into(),
        resource_names: (0..SERVICES).map(name).collect(),
        type_url: Kind::Endpoint.type_url().into(),
        response_nonce: nonce.into(),
        ..Default::default()
    };
    request.encode_to_vec().chunks(16 << 10).map(Bytes::copy_from_slice).collect()
}

fn session() -> Session {
    let rules = Rules {
        identifier: "bench",
        ack_patience: Duration::from_millis(500),
        names: 200_000,
        answer_bytes: 2 << 20,
        interner: Arc::default(),
    };
    Session::new(Variant::Sotw, None, Arc::new(rules))
}

#[divan::bench]
fn acknowledgement_of_all_names(bencher: Bencher<'_, '_>) {
    let (view, mut session, now) = (view(), session(), Instant::now());
    session.on_request(&request(""), &view, now).expect("a good request");
    let ack = request("2");
    bencher.bench_local(|| session.on_request(black_box(&ack), &view, now));
}

/// The whole work of one change for one stream that names everything: difference, answer, frame and acknowledgement.
#[divan::bench]
fn one_change_for_one_stream(bencher: Bencher<'_, '_>) {
    let (view, mut session, mut now) = (view(), session(), Instant::now());
    session.on_request(&request(""), &view, now).expect("a good request");
    while session.next_frame().is_some() {}
    let views = [view.clone(), changed(&view, 2)];
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = 1 - turn;
        now += Duration::from_secs(1);
        session.on_generation(&views[turn], now);
        session.take_events();
        let mut bytes = 0;
        while let Some(frame) = session.next_frame() {
            bytes += frame.len();
        }
        assert!(bytes > 0);
        bytes
    });
}
