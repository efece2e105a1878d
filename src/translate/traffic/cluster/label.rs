//! The labels of endpoints, as Istio takes them.

use crate::{
    model::{Labels, Locality},
    translate::istio::{is_key, is_value},
};

/// The labels that Istio gives to every endpoint with a locality.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";

/// The value of a label that Istio takes, else what the locality says under that key.
pub(super) fn label_of<'a>(labels: &'a Labels, locality: &'a Locality, key: &str) -> Option<&'a str> {
    let own = labels.get(key).map(|own| &**own).filter(|own| is_key(key) && is_value(own));
    own.or_else(|| topology(locality, key))
}

/// The part of a locality that Istio has as a label of that key. `None`: another key.
pub(super) fn topology<'a>(locality: &'a Locality, key: &str) -> Option<&'a str> {
    match key {
        REGION => Some(locality.region()),
        ZONE => Some(locality.zone()),
        SUBZONE => Some(locality.sub_zone()),
        _ => None,
    }
}
