//! What the server counts. Labels are of bounded size: never a client, never a resource.

use super::ended::Ended;
use crate::resource::{Kind, Variant};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The counters of a server. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) connections: Gauge,
    pub(super) connections_refused: Counter,
    clients_refused: Family<RefusalLabel, Counter>,
    pub(super) streams: Family<VariantLabel, Gauge>,
    pub(super) streams_ended: Family<ReasonLabel, Counter>,
    pub(super) streams_refused: Counter,
    pub(super) requests: Family<VariantLabel, Counter>,
    pub(super) answers: Family<KindLabel, Counter>,
    pub(super) answer_bytes: Family<KindLabel, Counter>,
    pub(super) acknowledged: Family<KindLabel, Counter>,
    pub(super) refused: Family<KindLabel, Counter>,
    withheld: Family<KindLabel, Counter>,
    quarantined: Family<KindLabel, Gauge>,
    pub(super) unknown_types: Counter,
    pub(super) empty_answers: Counter,
    pub(super) waits: Counter,
    first_answers: Family<StateLabel, Gauge>,
    pub(super) first_answers_delayed: Counter,
    pub(super) memory: Gauge,
    pub(super) closed: Family<ReasonLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VariantLabel {
    variant: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabel {
    listener: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

impl From<&'static str> for ReasonLabel {
    fn from(reason: &'static str) -> Self {
        ReasonLabel { reason }
    }
}

impl From<Variant> for VariantLabel {
    fn from(variant: Variant) -> Self {
        VariantLabel { variant: variant.name() }
    }
}

impl From<Kind> for KindLabel {
    fn from(kind: Kind) -> Self {
        KindLabel { kind: kind.name() }
    }
}

impl From<Ended> for ReasonLabel {
    fn from(ended: Ended) -> Self {
        ReasonLabel { reason: ended.name() }
    }
}

impl Metrics {
    /// Adds them to what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        let m = self;
        registry.register("xds_connections", "Open connections", m.connections.clone());
        registry.register("xds_connections_refused", "Connections above the limit", m.connections_refused.clone());
        registry.register(
            "xds_clients_refused",
            "Clients that a listener does not serve, by reason",
            m.clients_refused.clone(),
        );
        registry.register("xds_streams", "Open streams", m.streams.clone());
        registry.register("xds_streams_ended", "Streams that ended, by reason", m.streams_ended.clone());
        registry.register("xds_streams_refused", "Streams above the limit", m.streams_refused.clone());
        registry.register("xds_requests", "Requests read", m.requests.clone());
        registry.register("xds_answers", "Answers sent", m.answers.clone());
        registry.register("xds_answers_bytes", "Bytes of the answers sent", m.answer_bytes.clone());
        registry.register("xds_acknowledged", "Answers that clients acknowledged", m.acknowledged.clone());
        registry.register("xds_refused", "Answers that clients refused", m.refused.clone());
        registry.register(
            "xds_withheld",
            "Resources that were withheld from a client that refuses them, or would",
            m.withheld.clone(),
        );
        registry.register(
            "xds_quarantined_resources",
            "Resources that are withheld from some client now",
            m.quarantined.clone(),
        );
        registry.register("xds_unknown_types", "Requests for a type that is not served", m.unknown_types.clone());
        registry.register(
            "xds_first_answers",
            "Streams whose first answers are on their way, or wait for their turn",
            m.first_answers.clone(),
        );
        registry.register(
            "xds_first_answers_delayed",
            "Streams whose first answers had to wait for their turn",
            m.first_answers_delayed.clone(),
        );
        registry.register(
            "xds_memory_bytes",
            "What unfinished requests and subscriptions of clients hold",
            m.memory.clone(),
        );
        registry.register("xds_connections_closed", "Connections that were closed, by reason", m.closed.clone());
        registry.register(
            "xds_empty_answers",
            "Types that nothing feeds, answered to an Istiod",
            m.empty_answers.clone(),
        );
        registry.register(
            "xds_waits",
            "Lists that an Istiod was not sent before all registries were read",
            m.waits.clone(),
        );
    }

    /// How many answers of a kind were sent.
    pub fn answers_sent(&self, kind: Kind) -> u64 {
        self.answers.get_or_create(&kind.into()).get()
    }

    pub(super) fn client_refused(&self, listener: &str, reason: &'static str) {
        self.clients_refused.get_or_create(&RefusalLabel { listener: listener.into(), reason }).inc();
    }

    pub(super) fn sent(&self, kind: Kind, bytes: usize) {
        self.answers.get_or_create(&kind.into()).inc();
        self.answer_bytes.get_or_create(&kind.into()).inc_by(bytes as u64);
    }

    pub(super) fn acknowledged(&self, kind: Kind) {
        self.acknowledged.get_or_create(&kind.into()).inc();
    }

    pub(super) fn refused(&self, kind: Kind) {
        self.refused.get_or_create(&kind.into()).inc();
    }

    pub(super) fn withheld(&self, kind: Kind) {
        self.withheld.get_or_create(&kind.into()).inc();
    }

    pub(super) fn quarantined(&self, kind: Kind, count: i64) {
        self.quarantined.get_or_create(&kind.into()).set(count);
    }

    pub(super) fn unknown_type(&self) {
        self.unknown_types.inc();
    }

    pub(super) fn empty_answer(&self) {
        self.empty_answers.inc();
    }

    /// How many first answers are on their way, and how many wait.
    pub(super) fn first_answers(&self, sending: i64, waiting: i64) {
        self.first_answers.get_or_create(&StateLabel { state: "sending" }).set(sending);
        self.first_answers.get_or_create(&StateLabel { state: "waiting" }).set(waiting);
    }

    pub(super) fn wait(&self) {
        self.waits.inc();
    }
}
