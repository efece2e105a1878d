//! The answer of `/api/v1/views`, and the views that other answers read.

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
    /// How many streams see the view.
    clients: usize,
    /// How many different subsets of its resources are kept for clients.
    parts: usize,
    /// How long nobody has read it. It is dropped after some minutes. `None`: it is read.
    idle_seconds: Option<f64>,
    /// The number of its generation. 0: the first one is being made.
    generation: u64,
    readiness: &'static str,
    /// The number of resources, by kind.
    resources: BTreeMap<&'static str, usize>,
}

/// The views that are kept now, in the order of their keys.
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

/// The views that have everything, for every dialect. That of gRPC only if it is kept: most meshes have no gRPC
/// programs.
pub(in crate::admin) async fn all(sources: &dyn Sources) -> Vec<(ViewKey, Loaded)> {
    let kept = sources.views();
    let is_shown =
        |dialect: &Dialect| *dialect != Dialect::Grpc || kept.iter().any(|view| view.key == ViewKey::whole(*dialect));
    let shown: Vec<Dialect> = Dialect::ALL.into_iter().filter(is_shown).collect();
    whole(sources, &shown).await
}

/// What is published but left out of these views, because clients would refuse it.
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
