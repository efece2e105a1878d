//! Who sees which view: the rule between the protocol and the views.

use crate::{
    resource::{Dialect, Readiness},
    views::{Selection, Set, ViewKey},
    xds,
};
use tokio::sync::watch;

/// Everyone sees everything, in the form that it understands.
pub(super) struct Everything(pub(super) Set);

impl xds::Views for Everything {
    fn subscribe(&self, client: &xds::Subscriber<'_>) -> Result<xds::Subscription, xds::Refused> {
        let key = ViewKey::whole(client.dialect);
        let generations = self.0.subscribe(&key, &Selection::default());
        let generations = generations.map_err(|full| xds::Refused::NoRoom(full.to_string()))?;
        Ok(xds::Subscription { view: key.to_string().into(), generations })
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.0.readiness(Dialect::Envoy)
    }
}
