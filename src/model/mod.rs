//! The neutral model: what a registry says, and what is published of it, as plain values.
//!
//! Registries produce [`Service`]s; the catalog turns them into [`PublishedService`]s; translation turns those into
//! resources. Nothing here knows a protocol, a clock or a task. Every value has one meaning in the whole program, is
//! checked when it is made, and compares by content.

mod call;
mod endpoint;
mod few;
mod labels;
mod manifest;
mod name;
mod number;
mod protocol;
mod proxy;
mod published;
mod readiness;
mod reason;
mod service;
mod template;
mod update;

pub use call::{CALLS, CallUpdate, DUBBO_SERVICE, Need, Needs, needed_as};
pub use endpoint::{Address, Endpoint, EndpointPort, Health, Locality};
pub use few::Few;
pub use labels::{CLUSTER, Labels, OTHER_CLUSTER};
pub use manifest::{FILES, Manifest, ManifestId};
pub use name::{Hostname, HostnameError};
pub use number::{Fraction, NumberError, Port, Weight};
pub use protocol::Protocol;
pub use proxy::{GrpcLibrary, NoProxy, Proxy, ProxyKind};
pub use published::{Nearness, PublishedEndpoint, PublishedService, ServicePort};
pub use readiness::Readiness;
pub use reason::{Note, Reason};
pub use service::{DeclaredPort, Service, ServiceId};
pub use template::{Template, TemplateError};
pub use update::{Cost, ManifestUpdate, Scope, Update};

use std::sync::Arc;

/// Shared text: names and labels are repeated a great deal.
pub type Text = Arc<str>;
