//! What is known of clients, in the generic form of CSDS. Pure.

use super::matcher;
use crate::{
    pb::{
        envoy::{
            admin::v3::UpdateFailureState,
            config::core::v3::{Locality, Node, node::UserAgentVersionType},
            service::status::v3::{
                ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus, client_config::GenericXdsConfig,
            },
        },
        google::protobuf::Timestamp,
    },
    resource::{Resource, ViewGeneration, version_text},
    xds::{Client, ClientType, Node as Known, Snapshot},
};
use prost::Message;
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::Status;

/// Most resources in one answer, each of some 150 bytes. Who wants more asks client by client.
const MOST: usize = 100_000;

/// The clients that a request asks for, and each resource that they subscribe to and that there is.
///
/// # Errors
/// If the request asks by what is not understood, or for too much.
pub(super) fn answer(clients: &[Snapshot], request: &ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
    let mut response = ClientStatusResponse::default();
    let mut resources = 0;
    for Snapshot { client, view } in clients {
        if !matcher::fits(&request.node_matchers, &client.node).map_err(Status::invalid_argument)? {
            continue;
        }
        let configs = view.as_deref().map(|view| configs(client, view)).unwrap_or_default();
        resources += configs.len();
        if resources > MOST {
            let text = format!("more than {MOST} resources; name the clients by node_matchers");
            return Err(Status::resource_exhausted(text));
        }
        response.config.push(ClientConfig {
            node: Some(node(&client.node)),
            generic_xds_configs: configs,
            // Several streams of one client are told apart by it.
            client_scope: format!("stream {} from {}", client.stream, client.peer),
        });
    }
    Ok(response)
}

fn configs(client: &Client, view: &ViewGeneration) -> Vec<GenericXdsConfig> {
    let of_type = |of: &ClientType| {
        let generation = view.get(of.kind);
        let resources: Vec<GenericXdsConfig> = match of.wildcard {
            true => generation.iter().map(|resource| config(of, resource)).collect(),
            false => {
                of.names.iter().filter_map(|name| generation.get(name)).map(|resource| config(of, resource)).collect()
            }
        };
        resources
    };
    client.types.iter().flat_map(of_type).collect()
}

/// A resource, with how far its type has come: an acknowledgement is of all of a type.
fn config(of: &ClientType, resource: &Resource) -> GenericXdsConfig {
    let refused = of.refused.as_ref().filter(|refused| of.acknowledged.is_none_or(|(_, at)| at <= refused.at));
    let status = match (&of.sent, of.acknowledged, refused) {
        (None, ..) => ConfigStatus::NotSent,
        (Some(_), _, Some(_)) => ConfigStatus::Error,
        (Some(sent), Some((version, _)), None) if version == sent.version => ConfigStatus::Synced,
        _ => ConfigStatus::Stale,
    };
    GenericXdsConfig {
        type_url: of.type_url.to_string(),
        name: resource.name().to_string(),
        version_info: version_text(resource.version()),
        last_updated: of.sent.as_ref().map(|sent| timestamp(sent.at)),
        config_status: status.into(),
        error_state: refused.map(|refused| UpdateFailureState {
            last_update_attempt: Some(timestamp(refused.at)),
            details: refused.message.clone(),
            version_info: refused.version.map(version_text).unwrap_or_default(),
        }),
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Timestamp { seconds: seconds.cast_signed() }
}

fn node(node: &Known) -> Node {
    let [region, zone, sub_zone] = node.locality.clone();
    Node {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        // It was checked when it came.
        metadata: Message::decode(node.metadata.wire()).ok(),
        locality: Some(Locality { region, zone, sub_zone }),
        user_agent_name: node.user_agent.clone(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(node.user_agent_version.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pb::envoy::r#type::matcher::v3::{NodeMatcher, StringMatcher, string_matcher::MatchPattern},
        resource::{Kind, KindReadiness, Readiness, Variant},
        xds::{Answer, Refusal},
    };
    use std::{sync::Arc, time::Duration};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn snapshot(id: &str, of: impl FnOnce(&mut ClientType)) -> Snapshot {
        let resource =
            |name: &str| (Kind::Cluster, name.into(), Some(Resource::new(Kind::Cluster, name.into(), b"", None)));
        let ready = KindReadiness::of(Kind::ENVOY, Readiness::Complete);
        let view = ViewGeneration::empty().next(ready, [resource("a"), resource("b")]).unwrap();
        let mut clusters = ClientType::of(Kind::Cluster);
        of(&mut clusters);
        let client = Client {
            stream: 7,
            peer: std::net::SocketAddr::from(([127, 0, 0, 1], 5)).into(),
            listener: "xds".into(),
            identity: None,
            variant: Variant::Delta,
            connected: at(1),
            node: Known { id: id.into(), ..Known::default() },
            view: None,
            types: vec![clusters],
        };
        Snapshot { client, view: Some(Arc::new(view)) }
    }

    fn statuses(snapshots: &[Snapshot]) -> Vec<(String, ConfigStatus, String)> {
        let answered = answer(snapshots, &ClientStatusRequest::default()).unwrap();
        let configs = answered.config.into_iter().flat_map(|config| config.generic_xds_configs);
        let shown = |config: GenericXdsConfig| {
            let error = config.error_state.clone().map(|state| state.details).unwrap_or_default();
            (config.name.clone(), config.config_status(), error)
        };
        configs.map(shown).collect()
    }

    #[test]
    fn each_resource_has_the_status_of_its_type() {
        let sent = |of: &mut ClientType| {
            (of.wildcard, of.sent) = (true, Some(Answer { version: 5, nonce: 1, at: at(2) }));
        };
        let both =
            |status, error: &str| vec![("a".to_owned(), status, error.to_owned()), ("b".into(), status, error.into())];
        assert_eq!(statuses(&[snapshot("n", |of| of.wildcard = true)]), both(ConfigStatus::NotSent, ""));
        assert_eq!(statuses(&[snapshot("n", sent)]), both(ConfigStatus::Stale, ""));
        let acknowledged = snapshot("n", |of| {
            sent(of);
            of.acknowledged = Some((5, at(3)));
        });
        assert_eq!(statuses(&[acknowledged]), both(ConfigStatus::Synced, ""));
        let refused = snapshot("n", |of| {
            sent(of);
            of.acknowledged = Some((4, at(2)));
            of.refused = Some(Refusal { message: "no".into(), version: Some(5), at: at(3) });
        });
        assert_eq!(statuses(&[refused]), both(ConfigStatus::Error, "no"));
        let named = snapshot("n", |of| {
            sent(of);
            (of.wildcard, of.names) = (false, ["b", "c"].into_iter().map(crate::resource::Name::from).collect());
        });
        assert_eq!(statuses(&[named]), [("b".into(), ConfigStatus::Stale, String::new())]);
    }

    #[test]
    fn clients_are_asked_for_by_matchers() {
        let clients = [snapshot("one", |_| {}), snapshot("other", |_| {})];
        let exact = StringMatcher { ignore_case: false, match_pattern: Some(MatchPattern::Exact("one".into())) };
        let matcher = NodeMatcher { node_id: Some(exact), node_metadatas: Vec::new() };
        let request = ClientStatusRequest { node_matchers: vec![matcher], ..ClientStatusRequest::default() };
        let answered = answer(&clients, &request).unwrap();
        let ids: Vec<String> =
            answered.config.into_iter().filter_map(|config| config.node).map(|node| node.id).collect();
        assert_eq!(ids, ["one"]);
    }
}
