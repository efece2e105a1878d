//! Small messages that stand in many others.

use super::object::Id;
use crate::pb::{
    envoy::{
        config::core::v3::{Address, SocketAddress},
        config::core::v3::{
            AggregatedConfigSource, ApiVersion, ConfigSource, Metadata, RuntimeFractionalPercent, TransportSocket,
            address,
        },
        r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
    },
    google::protobuf::{Any, BoolValue, Duration, Struct, UInt32Value, Value},
};
use prost::{Message, Name};
use std::collections::BTreeMap;

pub(super) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec().into() }
}

pub(super) const fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(super) const fn boolean(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

/// Zero, which to Envoy's timeouts means no limit.
pub(super) const NO_TIME: Duration = Duration { seconds: 0, nanos: 0 };

pub(super) const fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

pub(super) fn time(time: std::time::Duration) -> Duration {
    Duration { seconds: time.as_secs().cast_signed(), nanos: time.subsec_nanos().cast_signed() }
}

/// A share from a percentage (0 to 100), exact to a millionth.
pub(super) fn percent(value: f64) -> FractionalPercent {
    FractionalPercent { numerator: (value * 10_000.0) as u32, denominator: DenominatorType::Million.into() }
}

/// A share from a whole percentage (0 to 100).
pub(super) fn whole_percent(numerator: u32) -> FractionalPercent {
    FractionalPercent { numerator, denominator: DenominatorType::Hundred.into() }
}

pub(super) fn fraction(share: FractionalPercent) -> Option<RuntimeFractionalPercent> {
    Some(RuntimeFractionalPercent { default_value: Some(share), runtime_key: String::new() })
}

pub(super) fn transport_socket<M: Message + Name>(name: &str, message: &M) -> Option<TransportSocket> {
    Some(TransportSocket { name: name.to_owned(), typed_config: Some(any(message)) })
}

/// A source of resources: the stream on which this message came. Envoy waits for them without a limit.
pub(super) fn ads() -> Option<ConfigSource> {
    Some(ConfigSource {
        ads: Some(AggregatedConfigSource {}),
        resource_api_version: ApiVersion::V3.into(),
        initial_fetch_timeout: Some(NO_TIME),
        ..ConfigSource::default()
    })
}

/// The word for VirtualServices in the metadata that [`source`] makes.
pub(super) const VIRTUAL_SERVICE: &str = "virtual-service";

/// The word for DestinationRules in the metadata that [`source`] makes.
pub(super) const DESTINATION_RULE: &str = "destination-rule";

/// The metadata that names the Istio resource from which something was made, as Istio writes it. `gateway` is the
/// `namespace/name` of the gateway that it is for.
pub(super) fn source(kind: &str, id: &Id, gateway: Option<&str>) -> Metadata {
    let text = |text: String| Value { string_value: Some(text), ..Value::default() };
    let path = format!("/apis/networking.istio.io/v1/namespaces/{}/{kind}/{}", id.namespace, id.name);
    let mut fields = BTreeMap::from([("config".to_owned(), text(path))]);
    fields.extend(gateway.map(|gateway| ("gateway".to_owned(), text(gateway.to_owned()))));
    Metadata { filter_metadata: BTreeMap::from([("istio".to_owned(), Struct { fields })]) }
}

pub(super) fn socket(address: &str, port: u32) -> Option<Address> {
    let socket = SocketAddress { address: address.to_owned(), port_value: port };
    Some(Address { address: Some(address::Address::SocketAddress(socket)) })
}
