//! One reading after the other: which address is asked, whether what it gives is new, and what of it is told.

use super::{
    config::{Config, Form},
    error::{Error, REMEDIES},
    mapped, prometheus,
};
use crate::{
    model::{Scope, Service, ServiceId, Text, Update},
    registry::{
        Metrics,
        catalogue::{self, Catalogue},
        instances::Instances,
        of_all,
        outbox::{Closed, Outbox},
        rounds::{Round, Rounds},
        transport::{Answer, Http, Login, Turn},
    },
};
use reqwest::{
    StatusCode,
    header::{ACCEPT, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;
use tracing::info;

#[derive(Debug)]
pub(super) struct Reader {
    registry: Text,
    config: Config,
    http: Http,
    metrics: Metrics,
    outbox: Outbox<Update>,
    turn: Turn,
    last: Option<Last>,
}

/// The last good list, and by what a server recognises it.
#[derive(Debug)]
struct Last {
    /// Index of the address that gave it.
    url: usize,
    hash: u64,
    /// `ETag` of the answer, sent as `If-None-Match` with the next request.
    tag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
    services: BTreeMap<ServiceId, Arc<Service>>,
    unreadable: BTreeMap<ServiceId, Text>,
}

impl Rounds for Reader {
    async fn round(&mut self) -> Result<Round, Closed> {
        self.outbox.scopes(vec![Scope::whole()]).await?;
        let started = Instant::now();
        let round = match self.read().await {
            Ok(how) => {
                self.metrics.read(&self.registry, how);
                self.report().await?;
                Round::GOOD
            }
            Err(error) => {
                self.outbox.failed(Some(Scope::whole()), &error).await?;
                Round { retry_after: error.retry_after().unwrap_or_default(), ..Round::FAILED }
            }
        };
        self.outbox.send(Update::Cost(self.http.take_cost(started.elapsed()))).await?;
        Ok(round)
    }
}

impl Reader {
    pub(super) fn new(registry: Text, config: Config, outbox: Outbox<Update>, metrics: Metrics) -> Result<Self, Error> {
        let secrets = config.login.iter().map(|login| &login.password).chain(&config.token);
        let http = Http::new(registry.clone(), &config.connection, REMEDIES, metrics.clone())?;
        let http = http.hiding(&config.connection, secrets);
        let outbox = outbox.hiding(http.redactor());
        let turn = Turn::new(config.urls.len());
        Ok(Reader { registry, config, http, metrics, outbox, turn, last: None })
    }

    /// Reads the list of the first address that gives one. Returns the word for the counter: `full` or `unchanged`.
    async fn read(&mut self) -> Result<&'static str, Error> {
        let mut failures = Vec::new();
        for at in self.turn.order() {
            match self.read_from(at).await {
                Ok(how) => {
                    self.turn.answered(at);
                    return Ok(how);
                }
                Err(error) => failures.push(error),
            }
        }
        Err(of_all(failures, Error::retry_after, |count, tried, retry_after| Error::EveryUrl {
            count,
            tried,
            retry_after,
        }))
    }

    async fn read_from(&mut self, at: usize) -> Result<&'static str, Error> {
        let known = self.last.as_ref().filter(|last| last.url == at);
        let url = &self.config.urls[at];
        let mut request = self.http.get(url).header(ACCEPT, "application/json, application/yaml, */*;q=0.5");
        if let Some(Login { username, password }) = &self.config.login {
            request = request.basic_auth(username, Some(password.expose()));
        } else if let Some(token) = &self.config.token {
            request = request.bearer_auth(token.expose());
        }
        let mut conditional = false;
        if let Some(last) = known {
            for (name, value) in [(IF_NONE_MATCH, &last.tag), (IF_MODIFIED_SINCE, &last.modified)] {
                if let Some(value) = value {
                    (request, conditional) = (request.header(name, value), true);
                }
            }
        }
        let answer = match self.http.send(request, url).await {
            Ok(answer) => answer,
            Err(error) if conditional && error.status() == Some(StatusCode::NOT_MODIFIED) => return Ok("unchanged"),
            Err(error) => return Err(error.into()),
        };
        let known_hash = self.last.as_ref().map(|last| last.hash);
        let (tag, modified) = (said(&answer.headers, ETAG), said(&answer.headers, LAST_MODIFIED));
        if let Some(last) = self.last.as_mut().filter(|_| known_hash == Some(answer.hash)) {
            (last.url, last.tag, last.modified) = (at, tag, modified);
            return Ok("unchanged");
        }
        let Catalogue { services, unreadable } = self.parse(&answer)?;
        let count = services.len() + unreadable.len();
        let checked = self.config.limits.check_services(count);
        let checked = checked.and_then(|()| self.config.limits.check_bytes(answer.body.len() as u64));
        checked.map_err(|limit| Error::Exceeded { url: answer.origin.to_string(), limit })?;
        let before = self.last.take();
        if before.as_ref().is_none_or(|last| last.url != at) {
            info!(registry = %self.registry, url = %answer.origin, "Reading the list of this address.");
        }
        let before = before.map(|last| last.services).unwrap_or_default();
        let mut services = Catalogue::shared(services, &before);
        // What instances of theirs were is needed when they can be read again.
        for id in unreadable.keys() {
            services.extend(before.get(id).map(|known| (id.clone(), known.clone())));
        }
        self.last = Some(Last { url: at, hash: answer.hash, tag, modified, services, unreadable });
        Ok("full")
    }

    fn parse(&self, answer: &Answer) -> Result<Catalogue, Error> {
        let (url, start) = (answer.origin.to_string(), answer.origin.quote(&answer.body));
        let json = || {
            serde_json::from_slice::<serde_json::Value>(&answer.body).map_err(|source| Error::Json {
                url: url.clone(),
                start: start.clone(),
                source,
            })
        };
        let by_service = match &self.config.form {
            Form::Catalogue => {
                let max_bytes = self.config.connection.max_body_bytes;
                return catalogue::parse(&self.registry, &url, &answer.body, max_bytes)
                    .map_err(|problems| Error::Catalogue { url, start, problems });
            }
            Form::Prometheus { name } => prometheus::read(&json()?, name),
            Form::Mapped(mapping) => mapped::read(&json()?, mapping),
        };
        let by_service = by_service.map_err(|what| Error::Form { url: url.clone(), start: start.clone(), what })?;
        Ok(self.finished(by_service))
    }

    fn finished(&self, by_service: BTreeMap<Text, Instances>) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for (name, instances) in by_service {
            let id = ServiceId::new(self.registry.clone(), "", "", name);
            let last = self.last.as_ref().and_then(|last| last.services.get(&id));
            match instances.finish(last.map(|last| &**last)) {
                Ok((endpoints, notes)) => {
                    let service = Service { notes, ..Service::new(id.clone(), endpoints) };
                    catalogue.services.insert(id, service);
                }
                Err(why) => drop(catalogue.unreadable.insert(id, why)),
            }
        }
        catalogue
    }

    async fn report(&self) -> Result<(), Closed> {
        let Some(last) = &self.last else { return Ok(()) };
        let readable = last.services.values().filter(|service| !last.unreadable.contains_key(&service.id));
        let services = readable.cloned().collect();
        let unreadable = last.unreadable.iter().map(|(id, why)| (id.clone(), why.clone())).collect();
        self.outbox.send(Update::Listed { scope: Scope::whole(), services, unreadable }).await
    }
}

fn said(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<HeaderValue> {
    headers.get(name).cloned()
}
