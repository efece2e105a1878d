//! VirtualServices' HTTP routes as Envoy's.
//!
//! [`routes`] makes those of one VirtualService for one place: a server of a gateway, or a port of a sidecar. What it makes
//! is encoded at once, because a route configuration of thousands of hosts is a row of such pieces.

mod action;
mod condition;
mod destination;
mod filter;
mod hash;
mod header;
mod list;
mod retry;

pub(super) use destination::{Lookup, Target, subset_cluster};
pub(super) use list::{Place, RouteList, default_route, routes};
