//! The messages that are served, as descriptors: for showing them in protobuf's JSON form without knowing them.
//!
//! Envoy's are those of `proto/`, in `generated/schema.binpb`; Istio's are in [`kinds`]. `proto/README.md` says how both are
//! made.

use super::kinds;
use prost_reflect::{DescriptorPool, DynamicMessage};
use std::sync::LazyLock;

static OWN: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let set = include_bytes!("generated/schema.binpb").as_slice();
    DescriptorPool::decode(set).expect("tests read the whole set")
});

/// The JSON form of a message of that type URL.
///
/// # Errors
/// Why it has none: its type is unknown, or it is no such message.
pub fn json(type_url: &str, bytes: &[u8]) -> Result<String, String> {
    let name = type_url.rsplit('/').next().unwrap_or_default();
    // Of Istio's messages `proto/` has a few fields only.
    let message = [kinds::pool(), &OWN].into_iter().find_map(|pool| pool.get_message_by_name(name));
    let message = message.ok_or_else(|| format!("no message {name} is known"))?;
    let message = DynamicMessage::decode(message, bytes).map_err(|error| error.to_string())?;
    serde_json::to_string(&message).map_err(|error| error.to_string())
}
