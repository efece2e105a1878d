//! Views, by key.

use crate::{
    admin::{Client, Rejected, Sources, time},
    resource::{Dialect, Kind},
    views::{Loaded, ViewKey, ViewStatus},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A view that is kept now.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct View {
    key: String,
    /// Streams that see it.
    clients: usize,
    /// How many different parts of it they have.
    parts: usize,
    /// Since nobody reads it; it is dropped some minutes later.
    idle_seconds: Option<f64>,
    /// 0: it is being made.
    generation: u64,
    readiness: &'static str,
    /// How many there are, by kind.
    resources: BTreeMap<&'static str, usize>,
}

/// All that are kept now, by key.
pub(in crate::admin) fn list(views: Vec<ViewStatus>, clients: &[Client]) -> Vec<View> {
    let view = |status: ViewStatus| {
        let key = status.key.to_string();
        let made = |kind: &Kind| status.generation.readiness_of(*kind).is_some();
        let kinds = Kind::of_family(status.key.dialect.family()).filter(made);
        View {
            clients: clients.iter().filter(|client| client.view == key).count(),
            key,
            parts: status.parts,
            idle_seconds: status.idle.map(|idle| time::millis(idle) / 1_000.0),
            generation: status.generation.number(),
            readiness: status.generation.readiness().least(status.key.dialect.family()).name(),
            resources: kinds.map(|kind| (kind.name(), status.generation.get(kind).len())).collect(),
        }
    };
    views.into_iter().map(view).collect()
}

/// The views of these dialects that have everything; they are made if they are not there.
pub(in crate::admin) async fn whole(sources: &dyn Sources, dialects: &[Dialect]) -> Vec<(ViewKey, Loaded)> {
    let mut found = Vec::new();
    for key in dialects.iter().copied().map(ViewKey::whole) {
        if let Some(loaded) = sources.view(&key).await {
            found.push((key, loaded));
        }
    }
    found
}

/// The views that have everything, for every dialect. gRPC's is shown where a program sees it, and not made for that:
/// most meshes have none.
pub(in crate::admin) async fn all(sources: &dyn Sources) -> Vec<(ViewKey, Loaded)> {
    let kept = sources.views();
    let is_shown =
        |dialect: &Dialect| *dialect != Dialect::Grpc || kept.iter().any(|view| view.key == ViewKey::whole(*dialect));
    let shown: Vec<Dialect> = Dialect::ALL.into_iter().filter(is_shown).collect();
    whole(sources, &shown).await
}

/// What is published and still not sent.
pub(in crate::admin) async fn rejected(sources: &dyn Sources) -> Vec<Rejected> {
    let views = all(sources).await;
    let of = |(key, loaded): &(ViewKey, Loaded)| -> Vec<Rejected> {
        let shown = loaded.report.rejected.iter().map(|rejected| Rejected {
            view: key.dialect.name(),
            host: rejected.host.to_string(),
            subject: rejected.subject.to_string(),
            code: rejected.why.code(),
            text: rejected.why.to_string(),
        });
        shown.collect()
    };
    views.iter().flat_map(of).collect()
}
