use super::*;
use crate::{
    resource::{Kind, KindReadiness, Readiness, Variant},
    xds::{
        Listen, MemoryLimits, Metrics, Remote, activity::Activity, budget::Budget, clients::Clients, names::Interner,
        slots::Places, slots::Slots,
    },
};
use futures_util::stream;
use http_body_util::StreamBody;
use prost_of_xds_api::Message as _;
use xds_api::pb::envoy::service::discovery::v3::DiscoveryRequest;

/// One view for everybody.
struct Fixed(watch::Sender<Arc<ViewGeneration>>);

impl Views for Fixed {
    fn subscribe(&self, _client: &Subscriber<'_>) -> Result<Subscription, Refused> {
        let (held, kept) = (Held::default(), None);
        Ok(Subscription { view: "fixed".into(), why: "".into(), generations: self.0.subscribe(), held, kept })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        watch::Sender::new(Readiness::Complete).subscribe()
    }
}

/// A stream whose client asks for all clusters again and again, and never makes a pause.
fn flooded() -> Stream<impl Body<Data = Bytes> + Unpin> {
    let request = DiscoveryRequest { type_url: Kind::Cluster.type_url().into(), ..Default::default() }.encode_to_vec();
    let length = u32::try_from(request.len()).unwrap().to_be_bytes();
    let message = Bytes::from([&[0], &length[..], &request[..]].concat());
    let body = StreamBody::new(stream::repeat_with(move || Ok::<_, Infallible>(Frame::data(message.clone()))));

    let (minute, metrics, close) = (Duration::from_secs(60), Metrics::default(), CancellationToken::new());
    let remote: Remote = std::net::SocketAddr::from(([192, 0, 2, 1], 1)).into();
    let interner = Arc::<Interner>::default();
    let rules = Rules { identifier: "test", ack_patience: minute, names: 10, answer_bytes: 1_000, interner };
    let ready = KindReadiness::of(Kind::ENVOY, Readiness::Complete);
    let view = ViewGeneration::empty().next(ready, []).unwrap();
    let quarantine = Arc::new(Quarantine::new(metrics.clone()));
    let shared = Shared {
        listener: Arc::new(Listener::new(&Listen::plain(([127, 0, 0, 1], 0).into()))),
        rules: Arc::new(rules),
        views: Arc::new(Fixed(watch::Sender::new(Arc::new(view)))),
        quarantine: quarantine.clone(),
        request_time: minute,
        large: Arc::new(Semaphore::new(1)),
        admission: Admission::new(1, metrics.clone()),
    };
    let method = Method { variant: Variant::Sotw, implied: None };
    let origin = Origin { peer: remote, listener: "default".into(), identity: None };
    let registration = Arc::new(Clients::new()).enter(origin, method.variant, close.clone());
    let limits = MemoryLimits { stream: 1 << 20, peer: 1 << 20, server: 1 << 20 };
    let budget = Budget::new(limits, Arc::default(), metrics.clone());
    let parts = Parts {
        method,
        shared,
        allowance: budget.open(registration.id(), Peer::from(remote), close),
        recorder: Recorder::new(registration, metrics, quarantine),
        retire: CancellationToken::new(),
        slot: Arc::new(Slots::default()).take(Peer::from(remote), Places { all: 1, per_peer: 1 }).unwrap(),
        open: Activity::new().open(),
    };
    Stream::new(Requests::new(body, 1_000, minute), parts)
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_though_its_client_never_ceases_to_ask() {
    let mut stream = flooded();
    let second = Duration::from_secs(1);
    stream.until = Some(Instant::now() + second);
    for _ in 0..10 {
        assert!(stream.step().await.unwrap());
    }
    tokio::time::advance(second).await;
    let error = stream.step().await.unwrap_err();
    assert!(matches!(error, StreamError::Disbelieved(identity::Refusal::Expired)), "{error}");
    assert_eq!(error.code(), Code::Unauthenticated);
}
