//! Listening to Nacos' configuration by gRPC, for `manifests`: one connection to one server, from its beginning to its end.
//!
//! As with services, what the server says only means that something has changed. Each text is listened to with the md5 that
//! is known, so that what has changed before is said at once. New and deleted texts are told by fuzzy watch where the server
//! has that (3.x); elsewhere lists find the new ones. Nothing is asked here but to listen.

use super::super::{
    meant::Meant,
    watched::{Texts, Watched},
};
use crate::{
    model::Text,
    pb::nacos::Payload,
    registry::nacos::{
        config::Config,
        error::Error,
        identity::Subject,
        transport::{
            Client,
            grpc::{Connection, Link, wire},
        },
    },
};
use reqwest::Url;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use std::{borrow::Cow, sync::Arc};
use tokio::sync::watch;
use tracing::debug;
use wildmatch::WildMatch;

/// The most texts in one request.
const AT_ONCE: usize = 1000;

/// Which of the texts that are listened to have changed: all that matters is whether there are any.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangedConfigs {
    #[serde(default)]
    changed_configs: Option<Vec<IgnoredAny>>,
}

/// Texts that a fuzzy watch matches (`ConfigFuzzyWatchSyncRequest`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FuzzySync<'a> {
    #[serde(borrow, default)]
    sync_type: Cow<'a, str>,
}

/// What a connection listens to, and what is called when something happens.
pub(crate) struct Listening<'a> {
    pub(crate) config: &'a Config,
    pub(crate) client: &'a Client,
    pub(crate) meant: &'a Meant,
    pub(crate) watched: watch::Receiver<Arc<Watched>>,
    /// Called when the connection stands and listens to all texts.
    pub(crate) connected: &'a (dyn Fn() + Sync),
    /// Called when a text may have changed.
    pub(crate) changed: &'a (dyn Fn() + Sync),
}

impl Listening<'_> {
    /// Listens until the connection ends, and returns why.
    pub(crate) async fn session(&self, server: &Url) -> Error {
        let connection = match Connection::open(server, self.config).await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        let link = Link { http: &self.client.http, connection: &connection, server };
        let work = async { self.follow(link).await.err().unwrap_or(Error::GrpcClosed) };
        connection.hold(|payload| self.receive(payload), work).await
    }

    /// Takes in one message of the server.
    fn receive(&self, payload: &Payload) -> Result<(), Error> {
        match wire::kind(payload) {
            "ConfigChangeNotifyRequest" | "ConfigFuzzyWatchChangeNotifyRequest" => (self.changed)(),
            // With the first ones the server tells what is there; later ones tell what was missed.
            "ConfigFuzzyWatchSyncRequest" if wire::read::<FuzzySync<'_>>(payload)?.sync_type == MISSED => {
                (self.changed)()
            }
            _ => {}
        }
        Ok(())
    }

    /// Listens to the texts in `watched` as they change. Ends with an error, or when nobody changes them any more.
    async fn follow(&self, link: Link<'_>) -> Result<(), Error> {
        let (mut watched, mut before) = (self.watched.clone(), Arc::new(Watched::new()));
        let mut first = true;
        loop {
            let target = watched.borrow_and_update().clone();
            for (namespace, texts) in target.iter() {
                let known = before.get(namespace).map(|texts| &texts.md5s);
                let other = texts.md5s.iter().filter(|(name, md5)| known.and_then(|k| k.get(*name)) != Some(*md5));
                self.listen(link, &texts.tenant, other.collect(), true).await?;
                if known.is_none() {
                    self.watch(link, namespace, texts).await?;
                }
            }
            for (namespace, texts) in before.iter() {
                let kept = target.get(namespace).map(|texts| &texts.md5s);
                let gone = texts.md5s.iter().filter(|(name, _)| kept.is_none_or(|kept| !kept.contains_key(*name)));
                self.listen(link, &texts.tenant, gone.collect(), false).await?;
            }
            before = target;
            if std::mem::take(&mut first) {
                (self.connected)();
            }
            if watched.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Listens to texts of one namespace, or with `listen` false ends that.
    async fn listen(
        &self,
        link: Link<'_>,
        tenant: &str,
        texts: Vec<(&Text, &Text)>,
        listen: bool,
    ) -> Result<(), Error> {
        let group = &*self.meant.group;
        for some in texts.chunks(AT_ONCE) {
            let context = |(name, md5): &(&Text, &Text)| json!({"tenant": tenant, "group": group, "dataId": ***name, "md5": ***md5});
            let contexts: Vec<Value> = some.iter().map(context).collect();
            // Who may listen is judged by the first one's tenant and the group beside them.
            let body = json!({"listen": listen, "configListenContexts": contexts, "tenant": tenant, "group": group, "module": "config"});
            let answer = self.ask(link, tenant, "ConfigBatchListenRequest", &body).await?;
            let changed = wire::read::<ChangedConfigs>(&answer)?.changed_configs.is_some_and(|c| !c.is_empty());
            if listen && changed {
                (self.changed)();
            }
        }
        Ok(())
    }

    /// Has new and deleted texts told. A server that cannot do that, has too much of it or grants it to administrators
    /// alone refuses; then lists find them.
    async fn watch(&self, link: Link<'_>, namespace: &Text, texts: &Texts) -> Result<(), Error> {
        let group = &self.meant.group;
        let all = [Text::from("*")];
        let patterns = if self.meant.by_pattern { &self.meant.data_ids[..] } else { &all[..] };
        for names in patterns {
            let of_it = WildMatch::new(names);
            let received = texts.md5s.keys().filter(|name| of_it.matches(name));
            let received: Vec<String> = received.map(|name| group_key(name, group, namespace)).collect();
            let pattern = format!("{namespace}>>{group}>>{names}");
            let body = json!({"groupKeyPattern": pattern, "receivedGroupKeys": received, "watchType": "WATCH",
                "initializing": true, "module": "config"});
            match self.ask(link, &texts.tenant, "ConfigFuzzyWatchRequest", &body).await {
                Err(error) if error.is_grpc_refusal() => {
                    debug!(server = %link.server, %namespace, error = %link.http.shown(&error), "No fuzzy watch; new texts are found by lists.");
                }
                outcome => drop(outcome?),
            }
        }
        Ok(())
    }

    async fn ask(&self, link: Link<'_>, tenant: &str, kind: &'static str, body: &Value) -> Result<Payload, Error> {
        link.ask(kind, Subject::Config(tenant, &self.meant.group), body).await
    }
}

/// The sync type of a list of what was missed.
const MISSED: &str = "FUZZY_WATCH_DIFF_SYNC_NOTIFY";

/// A text as fuzzy watch names it.
fn group_key(name: &str, group: &str, namespace: &str) -> String {
    let escaped = |part: &str| part.replace('%', "%25").replace('+', "%2B");
    format!("{}+{}+{}", escaped(name), escaped(group), escaped(namespace))
}
