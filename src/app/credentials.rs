//! Reads the files of listeners again when they change: certificates, authorities, lists of revoked certificates, keys
//! of tokens. Also the certificate of the admin API.
//!
//! They are followed apart from the configuration: a mistake in that must not keep a certificate from being renewed. What cannot
//! be used leaves what is there in force, for that listener alone.

use super::follow::Follow;
use crate::{
    admin::Protection,
    config::{Config, Files, Listener, look},
    identity::{LoadError, Policy, Tls},
    util::{error::chain, time::unix_seconds},
    xds::{Control, Listen},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{collections::BTreeMap, sync::Arc, time::SystemTime};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

/// The name of the admin API in metrics and the log, where listeners have theirs.
const ADMIN: &str = "admin";

/// The protocol (ALPN) of the admin API over TLS.
const HTTP: &[u8] = b"http/1.1";

/// The listeners, the TLS settings of the admin API, and the follower of their files.
type Loaded = (Vec<Listen>, Option<Arc<Tls>>, Credentials);

/// Follows the files of listeners and of the admin API.
#[derive(Debug)]
pub(super) struct Credentials {
    follow: Follow,
    metrics: Metrics,
    /// By listener: the error that was logged last, until its files can be used again.
    reported: BTreeMap<Arc<str>, String>,
}

#[derive(Debug, Clone, Default)]
struct Metrics {
    certificate_until: Family<ListenerLabel, Gauge>,
    failures: Family<ListenerLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: String,
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        let help = "When the certificate of a listener ends, in seconds since 1970";
        registry.register("xds_certificate_expiry_timestamp_seconds", help, self.certificate_until.clone());
        let help = "Times that files of a listener changed and could not be used";
        registry.register("xds_credentials_failures", help, self.failures.clone());
    }

    fn loaded(&self, listener: &str, tls: Option<&Tls>) {
        let Some(until) = tls.and_then(|tls| tls.until) else { return };
        let label = ListenerLabel { listener: listener.into() };
        self.certificate_until.get_or_create(&label).set(unix_seconds(until));
    }
}

impl Credentials {
    /// Reads the files of all listeners and of the admin API, and follows them from now on.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub(super) fn load(config: &Config, registry: &mut Registry) -> anyhow::Result<Loaded> {
        // Before they are read, so that no change goes unnoticed.
        let follow = Follow::new(files(config));
        let listeners = config.xds.listeners.iter().map(Listener::load).collect::<Result<Vec<_>, _>>()?;
        let metrics = Metrics::default();
        metrics.register(registry);
        listeners.iter().for_each(|listen| metrics.loaded(&listen.name, listen.policy.tls.as_ref()));
        let admin = config.admin.tls.as_ref().map(|tls| tls.load(None, HTTP, SystemTime::now())).transpose()?;
        metrics.loaded(ADMIN, admin.as_ref());
        Ok((listeners, admin.map(Arc::new), Credentials { follow, metrics, reported: BTreeMap::new() }))
    }

    /// Returns when a file has changed. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        self.follow.changed().await;
    }

    /// Reads the files of a configuration again, and gives each listener the policy that they say.
    pub(super) async fn renew(&mut self, config: &Config, xds: &Control, admin: &Protection) {
        let listeners = config.xds.listeners.clone();
        let before: Vec<_> = listeners.iter().map(|listener| xds.policy(&listener.name)).collect();
        let (config, read, admin_before) = (config.clone(), listeners.clone(), admin.tls());
        let loaded = spawn_blocking(move || {
            // Before they are read, so that no change goes unnoticed.
            let files = files(&config);
            let load = |(listener, before): (&Listener, Option<Arc<Policy>>)| {
                listener.credentials.load(before.as_deref(), SystemTime::now())
            };
            let now = SystemTime::now();
            let own = config.admin.tls.as_ref().map(|tls| tls.load(admin_before.as_deref(), HTTP, now));
            (files, read.iter().zip(before).map(load).collect::<Vec<_>>(), own.transpose())
        });
        // If the runtime ends meanwhile, nobody wants to know any more.
        let Ok((files, loaded, own)) = loaded.await else { return };
        self.follow.set(files);
        for (listener, loaded) in listeners.iter().zip(loaded) {
            match loaded {
                Ok(policy) => {
                    let changed = xds.policy(&listener.name).is_some_and(|before| !before.is(&policy));
                    self.taken(&listener.name, policy.tls.as_ref(), changed);
                    if changed {
                        xds.set_policy(&listener.name, Arc::new(policy));
                    }
                }
                Err(error) => self.keep(&listener.name, &error),
            }
        }
        match own {
            Ok(own) => {
                let changed = match (&own, admin.tls()) {
                    (Some(own), Some(before)) => !own.is(&before),
                    (own, before) => own.is_some() != before.is_some(),
                };
                self.taken(&ADMIN.into(), own.as_ref(), changed);
                if changed {
                    admin.set_tls(own.map(Arc::new));
                }
            }
            Err(error) => self.keep(&ADMIN.into(), &error),
        }
    }

    /// Notes that the files of a listener can be used.
    fn taken(&mut self, listener: &Arc<str>, tls: Option<&Tls>, changed: bool) {
        let was_wrong = self.reported.remove(listener).is_some();
        self.metrics.loaded(listener, tls);
        let until = tls.and_then(|tls| tls.until).map(|at| humantime::format_rfc3339_seconds(at).to_string());
        match (changed, was_wrong) {
            (true, _) => {
                info!(listener = &**listener, until, "A listener has other certificates, authorities or tokens.")
            }
            (false, true) => {
                info!(listener = &**listener, "The files of a listener can be used again; they say what is in force.")
            }
            (false, false) => {}
        }
    }

    fn keep(&mut self, listener: &Arc<str>, error: &LoadError) {
        self.metrics.failures.get_or_create(&ListenerLabel { listener: listener.to_string() }).inc();
        let text = chain(error);
        if self.reported.get(listener) != Some(&text) {
            warn!(
                listener = &**listener,
                error = text,
                "Files of a listener cannot be used; what was there before stays."
            );
            self.reported.insert(listener.clone(), text);
        }
    }
}

/// The hashes of the files of all listeners and of the admin API, as they are now.
fn files(config: &Config) -> Files {
    let paths = config.xds.listeners.iter().flat_map(|listener| listener.credentials.files());
    let paths = paths.chain(config.admin.tls.iter().flat_map(|tls| tls.files()));
    look(&paths.map(|path| (path.to_owned(), None)).collect())
}
