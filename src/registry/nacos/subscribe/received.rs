//! One message that the server pushes, as it changes what is known.

use super::{pending::PushState, wire};
use crate::{
    model::Text,
    pb::nacos::Payload,
    registry::nacos::{error::Error, name, transport::grpc},
};
use tracing::debug;

impl PushState {
    /// Takes in a message of the server. `true` if it is a push of a service.
    pub(super) fn receive(&self, registry: &Text, payload: &Payload) -> Result<bool, Error> {
        let kind = grpc::wire::kind(payload);
        match kind {
            "NotifySubscriberRequest" => {
                let push: wire::Notify<'_> = grpc::wire::read(payload)?;
                let info = push.service_info;
                let (group, name) = name::group_and_name(&info.name, info.group_name.as_deref());
                let namespace = push.namespace.as_deref().map(|id| name::namespace(Some(id)));
                self.push(namespace, group, name);
                return Ok(true);
            }
            "NamingFuzzyWatchChangeNotifyRequest" => self.receive_name(registry, None, &grpc::wire::read(payload)?),
            "NamingFuzzyWatchSyncRequest" => {
                let names: wire::Names<'_> = grpc::wire::read(payload)?;
                let pattern = &*names.group_key_pattern;
                names.contexts.iter().flatten().for_each(|name| self.receive_name(registry, Some(pattern), name));
                if names.is_last() {
                    self.complete(pattern);
                }
            }
            _ => debug!(%registry, kind, "The server asks."),
        }
        Ok(false)
    }

    fn receive_name(&self, registry: &Text, pattern: Option<&str>, name: &wire::Name<'_>) {
        debug!(%registry, pattern, ?name, "The server names a service.");
        if let Some(change) = name.change() {
            self.name(pattern, &name.service_key, change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grpc::wire::{Headers, payload};
    use prost::Message;
    use serde_json::json;

    #[test]
    fn mutated_pushes_are_read_or_refused() {
        let pushes = [
            payload(
                "NotifySubscriberRequest",
                Headers::new(),
                "",
                &json!({"requestId": "7", "namespace": "public", "serviceInfo": {"name": "g@@orders", "groupName": "g",
                    "clusters": "", "hosts": [{"ip": "10.0.0.1", "port": 8080}]}}),
            ),
            payload(
                "NamingFuzzyWatchChangeNotifyRequest",
                Headers::new(),
                "",
                &json!({"serviceKey": "public@@g@@orders", "changedType": "ADD_SERVICE", "syncType": "x"}),
            ),
            payload(
                "NamingFuzzyWatchSyncRequest",
                Headers::new(),
                "",
                &json!({"groupKeyPattern": "public>>g>>*", "syncType": "FINISH_FUZZY_WATCH_INIT_NOTIFY",
                    "contexts": [{"serviceKey": "public@@g@@orders", "changedType": "DELETE_SERVICE"}]}),
            ),
            payload("ConnectResetRequest", Headers::new(), "", &json!({"serverIp": "10.0.0.1", "serverPort": "8848"})),
        ];
        let good: Vec<Vec<u8>> = pushes.iter().map(Message::encode_to_vec).collect();
        let good: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
        let state = PushState::new("r".into());
        for bytes in &good[..3] {
            state.receive(&"r".into(), &Payload::decode(*bytes).unwrap()).unwrap();
        }
        crate::util::mutate::mutated(&good, |input| {
            let Ok(payload) = Payload::decode(input) else { return };
            // What is wrong of it is told, and ends the connection.
            drop(state.receive(&"r".into(), &payload));
            drop(grpc::wire::answer(&payload));
            drop(grpc::wire::read::<grpc::wire::Reset>(&payload).map(grpc::wire::Reset::server));
            drop(grpc::wire::read::<grpc::wire::Reply>(&payload));
        });
    }
}
