//! Protection thresholds, which the bulk lists do not tell: 2.3.2 and 3.1.0 write `protectThreshold: 0.0` there whatever
//! it is (measured), beside the true health. Only a service's own settings have it, at one request each.
//!
//! So it is asked for where it decides something now, in every round: some of the enabled instances are healthy and some
//! are not. For all others it changes nothing that is served to them, and is read and renewed a few at a time.

use super::list_bulk::Listed;
use crate::{
    model::{Fraction, Service, ServiceId},
    registry::nacos::{
        api::{Api, wire},
        error::Error,
        transport::Client,
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

/// A threshold that decides nothing now is read again after this time.
const RENEW: Duration = Duration::from_secs(300);
/// Requests for such ones in a second of polling, at least.
const TRICKLE: f64 = 20.0;

/// What is known of thresholds in one namespace.
#[derive(Debug, Default)]
pub(crate) struct Thresholds {
    known: HashMap<ServiceId, Known>,
}

#[derive(Debug)]
struct Known {
    value: Fraction,
    read_at: Instant,
    /// The service with its threshold, beside the one that the list gave.
    applied: Option<(Arc<Service>, Arc<Service>)>,
}

/// Who is asked.
pub(crate) struct Source<'a> {
    pub(crate) client: &'a Client,
    pub(crate) api: Api,
    pub(crate) concurrency: usize,
    pub(crate) period: Duration,
}

impl Thresholds {
    /// The services with their thresholds. One that cannot be read stays what it was; at first, Nacos' default.
    pub(crate) async fn apply(
        &mut self,
        source: &Source<'_>,
        listed: &BTreeMap<ServiceId, Listed>,
    ) -> Vec<Arc<Service>> {
        self.known.retain(|id, _| listed.contains_key(id));
        let wanted = self.wanted(source, listed);
        let questions: Vec<_> = wanted.into_iter().map(|id| async move { (source.ask(id).await, id) }).collect();
        let mut answers = stream::iter(questions).buffer_unordered(source.concurrency);
        while let Some((answer, id)) = answers.next().await {
            if !self.note(id, answer) {
                break;
            }
        }
        drop(answers);
        listed.values().map(|l| self.with_threshold(&l.service)).collect()
    }

    /// One service with its threshold, read where it matters now.
    pub(crate) async fn apply_to(&mut self, source: &Source<'_>, listed: &Listed) -> Arc<Service> {
        let id = &listed.service.id;
        if listed.mixed {
            let answer = source.ask(id).await;
            self.note(id, answer);
        }
        self.with_threshold(&listed.service)
    }

    /// One service with the threshold that it was read with.
    pub(crate) fn apply_known(&mut self, listed: &Listed, threshold: Fraction) -> Arc<Service> {
        self.note(&listed.service.id, Ok(threshold));
        self.with_threshold(&listed.service)
    }

    /// Those that decide something, then the unknown, then the oldest.
    fn wanted<'a>(&self, source: &Source<'_>, listed: &'a BTreeMap<ServiceId, Listed>) -> Vec<&'a ServiceId> {
        let now = Instant::now();
        let (mut wanted, mut due) = (Vec::new(), Vec::new());
        for (id, Listed { mixed, .. }) in listed {
            let read_at = self.known.get(id).map(|k| k.read_at);
            if *mixed {
                wanted.push(id);
            } else if read_at.is_none_or(|t| now - t >= RENEW) {
                due.push((read_at, id));
            }
        }
        due.sort();
        let rate = TRICKLE.max(listed.len() as f64 / RENEW.as_secs_f64());
        let budget = (source.period.as_secs_f64() * rate).ceil() as usize;
        wanted.extend(due.into_iter().take(budget).map(|(_, id)| id));
        wanted
    }

    /// Takes in an answer. `false`: the next question would only wait as long.
    fn note(&mut self, id: &ServiceId, answer: Result<Fraction, Error>) -> bool {
        match answer {
            Ok(value) => {
                let known = self.known.entry(id.clone()).or_insert_with(|| Known::new(value));
                if known.value != value {
                    known.applied = None;
                }
                (known.value, known.read_at) = (value, Instant::now());
                true
            }
            Err(error) => {
                debug!(service = %id, %error, "Cannot read a threshold; the last one stays.");
                !error.is_unreachable()
            }
        }
    }

    fn with_threshold(&mut self, service: &Arc<Service>) -> Arc<Service> {
        let Some(known) = self.known.get_mut(&service.id).filter(|k| k.value != Fraction::ZERO) else {
            return service.clone();
        };
        match &known.applied {
            Some((base, applied)) if Arc::ptr_eq(base, service) => applied.clone(),
            _ => {
                let applied = Arc::new(Service { protect_threshold: Some(known.value), ..(**service).clone() });
                known.applied = Some((service.clone(), applied.clone()));
                applied
            }
        }
    }
}

impl Known {
    fn new(value: Fraction) -> Self {
        Known { value, read_at: Instant::now(), applied: None }
    }
}

impl Source<'_> {
    async fn ask(&self, id: &ServiceId) -> Result<Fraction, Error> {
        let settings: wire::Settings = self.api.settings(self.client, id).await?;
        Ok(wire::threshold(settings.protect_threshold))
    }
}
