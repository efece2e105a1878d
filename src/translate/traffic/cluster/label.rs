//! The labels of endpoints, as Istio takes them.

use crate::{
    model::{Labels, Locality},
    translate::istio::{is_key, is_value},
};

/// Labels that every endpoint with a locality has.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";

/// A label, or what the place says; as far as Istio takes labels.
pub(super) fn label_of<'a>(labels: &'a Labels, locality: &'a Locality, key: &str) -> Option<&'a str> {
    let own = labels.get(key).map(|own| &**own).filter(|own| is_key(key) && is_value(own));
    own.or_else(|| topology(locality, key))
}

/// What a place says under the label of that key.
pub(super) fn topology<'a>(locality: &'a Locality, key: &str) -> Option<&'a str> {
    match key {
        REGION => Some(locality.region()),
        ZONE => Some(locality.zone()),
        SUBZONE => Some(locality.sub_zone()),
        _ => None,
    }
}
