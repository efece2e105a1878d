//! The messages of Istio's kinds, as descriptors: for those who read, check or show them without knowing them.
//!
//! `proto/istio-kinds/schema.binpb` has them; `proto/README.md` says how it is made.

use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::sync::LazyLock;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let set = include_bytes!("../../proto/istio-kinds/schema.binpb").as_slice();
    DescriptorPool::decode(set).expect("tests read the whole set")
});

/// The package of each API group's kinds; the first that fits counts, and an empty name fits all.
const PACKAGES: [(&str, &str, &str); 5] = [
    ("networking.istio.io", "ProxyConfig", "istio.networking.v1beta1"),
    ("networking.istio.io", "", "istio.networking.v1alpha3"),
    ("security.istio.io", "", "istio.security.v1beta1"),
    ("telemetry.istio.io", "", "istio.telemetry.v1alpha1"),
    ("extensions.istio.io", "", "istio.extensions.v1alpha1"),
];

/// The descriptors of our own messages and of Istio's kinds, read once for the process.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The message of Istio's kind of that API group and name, such as `networking.istio.io` and `Gateway`. One message serves
/// all API versions of a kind.
pub fn message(group: &str, kind: &str) -> Option<MessageDescriptor> {
    let fits = |(of, word, _): &&(&str, &str, &str)| *of == group && (word.is_empty() || *word == kind);
    let (_, _, package) = PACKAGES.iter().find(fits)?;
    POOL.get_message_by_name(&format!("{package}.{kind}"))
}
