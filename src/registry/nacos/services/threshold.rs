//! Protection thresholds, which the bulk lists do not show: 2.3.2 and 3.1.0 write `protectThreshold: 0.0` there whatever
//! it is (measured), beside the true health. Only a service's own settings have it, at one request each.
//!
//! So it is asked for where it decides something now, in every round: not all of the enabled instances are healthy. For all
//! others it changes nothing that is served to them, and is read and renewed a few at a time.
//!
//! **A threshold of 0** protects a service of which no instance is healthy, but only one that has settings of its own (made or
//! edited in the console or by API); what most people have is only registered, and its instances are listed as unhealthy
//! (measured on 2.3.2). Settings do not show which of the two it is, so the server's own list of instances is asked.

use super::{convert::Vitality, list_bulk::Listed};
use crate::{
    model::{Fraction, Service, ServiceId},
    registry::nacos::{
        api::{Api, named, wire},
        error::Error,
        transport::{Client, json},
    },
};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tracing::debug;

/// The age at which a threshold that decides nothing now is read again.
const RENEW: Duration = Duration::from_secs(300);
/// The least number of requests for such thresholds in a second of polling.
const TRICKLE: f64 = 20.0;

/// The thresholds of one namespace as they were last read.
#[derive(Debug, Default)]
pub(crate) struct Thresholds {
    known: HashMap<ServiceId, Known>,
}

/// How the server protects a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting {
    threshold: Fraction,
    /// The server protects it with a threshold of 0, as none of the instances is healthy.
    protects_at_zero: bool,
}

#[derive(Debug)]
struct Known {
    setting: Setting,
    read_at: Instant,
    /// The service that the list gave, and the same with its threshold.
    applied: Option<(Arc<Service>, Arc<Service>)>,
}

pub(crate) struct Source<'a> {
    pub(crate) client: &'a Client,
    pub(crate) api: Api,
    pub(crate) concurrency: usize,
    pub(crate) period: Duration,
}

impl Thresholds {
    /// All services with their thresholds. A threshold that cannot be read stays what it was; at first it is Nacos'
    /// default.
    pub(crate) async fn apply(
        &mut self,
        source: &Source<'_>,
        listed: &BTreeMap<ServiceId, Listed>,
    ) -> Vec<Arc<Service>> {
        self.known.retain(|id, _| listed.contains_key(id));
        let wanted = self.wanted(source, listed);
        let questions: Vec<_> =
            wanted.into_iter().map(|(id, vitality)| async move { (source.ask(id, vitality).await, id) }).collect();
        let mut answers = stream::iter(questions).buffer_unordered(source.concurrency);
        while let Some((answer, id)) = answers.next().await {
            if !self.note(source, id, answer) {
                break;
            }
        }
        drop(answers);
        listed.values().map(|listed| self.with_threshold(listed)).collect()
    }

    /// One service with its threshold, which is read if it decides something now.
    pub(crate) async fn apply_to(&mut self, source: &Source<'_>, listed: &Listed) -> Arc<Service> {
        let id = &listed.service.id;
        if listed.vitality != Vitality::All {
            let answer = source.ask(id, listed.vitality).await;
            self.note(source, id, answer);
        }
        self.with_threshold(listed)
    }

    /// One service with its threshold from the settings that were read with it.
    pub(crate) async fn apply_read(
        &mut self,
        source: &Source<'_>,
        listed: &Listed,
        settings: &wire::Settings,
    ) -> Arc<Service> {
        let id = &listed.service.id;
        let answer = source.setting(id, listed.vitality, settings).await;
        self.note(source, id, answer);
        self.with_threshold(listed)
    }

    /// The thresholds to read: those that decide something, then the unknown, then the oldest.
    fn wanted<'a>(
        &self,
        source: &Source<'_>,
        listed: &'a BTreeMap<ServiceId, Listed>,
    ) -> Vec<(&'a ServiceId, Vitality)> {
        let now = Instant::now();
        let (mut wanted, mut due) = (Vec::new(), Vec::new());
        for (id, Listed { vitality, .. }) in listed {
            let read_at = self.known.get(id).map(|k| k.read_at);
            if *vitality != Vitality::All {
                wanted.push((id, *vitality));
            } else if read_at.is_none_or(|t| now - t >= RENEW) {
                due.push((read_at, id));
            }
        }
        due.sort();
        let rate = TRICKLE.max(listed.len() as f64 / RENEW.as_secs_f64());
        let budget = (source.period.as_secs_f64() * rate).ceil() as usize;
        wanted.extend(due.into_iter().take(budget).map(|(_, id)| (id, Vitality::All)));
        wanted
    }

    /// Takes in an answer. `false` if nobody answers, so that the next request would only wait as long.
    fn note(&mut self, source: &Source<'_>, id: &ServiceId, answer: Result<Setting, Error>) -> bool {
        match answer {
            Ok(setting) => {
                let known = self.known.entry(id.clone()).or_insert_with(|| Known::new(setting));
                if known.setting != setting {
                    known.applied = None;
                }
                (known.setting, known.read_at) = (setting, Instant::now());
                true
            }
            Err(error) => {
                debug!(service = %id, error = %source.client.http.shown(&error), "Cannot read a threshold; the last one stays.");
                !error.is_unreachable()
            }
        }
    }

    fn with_threshold(&mut self, Listed { service, vitality }: &Listed) -> Arc<Service> {
        let decides = |known: &&mut Known| {
            let Setting { threshold, protects_at_zero } = known.setting;
            threshold != Fraction::ZERO || protects_at_zero && *vitality == Vitality::None
        };
        let Some(known) = self.known.get_mut(&service.id).filter(decides) else { return service.clone() };
        match &known.applied {
            Some((base, applied)) if Arc::ptr_eq(base, service) => applied.clone(),
            _ => {
                let applied =
                    Arc::new(Service { protect_threshold: Some(known.setting.threshold), ..(**service).clone() });
                known.applied = Some((service.clone(), applied.clone()));
                applied
            }
        }
    }
}

impl Known {
    fn new(setting: Setting) -> Self {
        Known { setting, read_at: Instant::now(), applied: None }
    }
}

impl Source<'_> {
    async fn ask(&self, id: &ServiceId, vitality: Vitality) -> Result<Setting, Error> {
        let settings: wire::Settings = self.api.settings(self.client, id).await?;
        self.setting(id, vitality, &settings).await
    }

    async fn setting(&self, id: &ServiceId, vitality: Vitality, settings: &wire::Settings) -> Result<Setting, Error> {
        let threshold = wire::threshold(settings.protect_threshold);
        let is_open = threshold == Fraction::ZERO && vitality == Vitality::None;
        let protects_at_zero = is_open && self.shows_all_healthy(id, settings).await?;
        Ok(Setting { threshold, protects_at_zero })
    }

    /// True if the server shows clients a service without healthy instances as healthy.
    async fn shows_all_healthy(&self, id: &ServiceId, settings: &wire::Settings) -> Result<bool, Error> {
        if self.api == Api::AdminV3 {
            // Of the cluster DEFAULT, unless it is told which.
            let clusters: Vec<String> = settings.cluster_names().unwrap_or_default().into_iter().collect();
            let clusters = clusters.join(",");
            let mut query = named(id).to_vec();
            query.extend((!clusters.is_empty()).then_some(("clusterName", &*clusters)));
            let answer = self.client.http.get("/v3/client/ns/instance/list", &query).await?;
            let hosts: Vec<wire::Health> = json::enveloped(&answer.origin, &answer.body)?;
            return Ok(!hosts.is_empty() && hosts.iter().all(|host| host.healthy));
        }
        let answer = self.client.http.get(Api::EachV1.instances(), &named(id)).await?;
        Ok(json::bare::<wire::Instances<'_>>(&answer.origin, &answer.body)?.reach_protection_threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        registry::{Metrics, nacos::config::Config, transport::Login},
        util::secret::Secret,
    };
    use tracing::Level;

    #[test]
    fn what_a_server_says_is_logged_without_secrets() {
        let login = Some(Login { username: "reader".into(), password: Secret::new("p4ssw0rd") });
        let config = Config { login, ..Config::new(vec![Config::server("http://n").unwrap()]) };
        let client = Client::new("r".into(), &config, Metrics::default()).unwrap();
        let source = Source { client: &client, api: Api::EachV1, concurrency: 1, period: RENEW };
        let message = "reader:p4ssw0rd may not read it".into();
        let refused = Error::Refused { url: "http://n".into(), code: 403, message };
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(log.reopen().unwrap());
        let lines = tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_writer(writer).finish();
        tracing::subscriber::with_default(lines, || {
            let id = ServiceId::new("r", "public", "g", "s");
            assert!(Thresholds::default().note(&source, &id, Err(refused)), "somebody answers");
        });
        let written = std::fs::read_to_string(log.path()).unwrap();
        assert!(written.contains("reader:*** may not read it"), "{written}");
    }
}
