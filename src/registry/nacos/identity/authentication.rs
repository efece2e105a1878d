//! The login: one token for all requests, made by one login at a time, and made anew before it ends or when it is
//! refused. After a failed login nobody tries again before a growing wait is over, so a wrong password makes no storm.

use crate::{
    model::Text,
    registry::{nacos::error::Error, transport::Login},
    util::{backoff::Backoff, error::chain, secret::Secret},
};
use serde::Deserialize;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// The age up to which a refused token is not replaced: it is good, and the rights are not.
const YOUNG: Duration = Duration::from_secs(10);

/// The answer to a login.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    #[serde(deserialize_with = "secret")]
    pub(crate) access_token: Secret,
    /// How long the token is good, in seconds.
    token_ttl: u64,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

/// A token, when it was made, and when it is to be renewed.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) token: Arc<Secret>,
    made: Instant,
    renew: Instant,
}

impl Session {
    /// A session with a new token, to be renewed at 90 % of its life.
    fn new(token: Token, now: Instant) -> Self {
        // A server that says 0 or a century is taken at its word within reason.
        let life = Duration::from_secs(token.token_ttl.clamp(1, 30 * 24 * 3600));
        Session { token: Arc::new(token.access_token), made: now, renew: now + life.mul_f64(0.9) }
    }
}

/// The login of a registry, and the present token.
#[derive(Debug)]
pub(crate) struct Authentication {
    pub(crate) login: Login,
    // Held across the login on purpose: it is what makes logins one at a time.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    session: Option<Session>,
    backoff: Backoff,
    /// When the next login may be tried, and why the last one failed; `None` if it did not fail.
    refused: Option<(Instant, Text)>,
}

impl Authentication {
    pub(crate) fn new(login: Login) -> Self {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        Authentication { login, state: Mutex::new(State { session: None, backoff, refused: None }) }
    }

    /// A session: the present one, or a new one by `log_in` if there is none or it nears its end. `refused` is a
    /// session whose token the server would not take: it is replaced, unless that has happened already or it is so
    /// young that another would fare no better.
    pub(crate) async fn session<F>(
        &self,
        refused: Option<&Session>,
        log_in: impl FnOnce() -> F,
    ) -> Result<Session, Error>
    where
        F: Future<Output = Result<Token, Error>>,
    {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(session) = &state.session {
            let worn = refused.is_some_and(|r| Arc::ptr_eq(&r.token, &session.token) && now - r.made >= YOUNG);
            if !worn && now < session.renew {
                return Ok(session.clone());
            }
        }
        let user = || self.login.username.to_string();
        if let Some((_, why)) = state.refused.as_ref().filter(|(until, _)| *until > now) {
            return Err(Error::LoginLater { user: user(), why: why.clone() });
        }
        match log_in().await {
            Ok(token) => {
                let session = Session::new(token, now);
                state.backoff.reset();
                state.refused = None;
                state.session = Some(session.clone());
                Ok(session)
            }
            Err(source) => {
                let failed = Error::Login { user: user(), source: Box::new(source) };
                // A server that is lost says nothing about the password, and the next server may know it.
                if !failed.is_server_lost()
                    && let Some(cause) = std::error::Error::source(&failed)
                {
                    let why = chain(cause).into();
                    let wait = state.backoff.next();
                    state.refused = Some((Instant::now() + wait, why));
                }
                // A token that is only near its end is still good.
                match &state.session {
                    Some(session)
                        if refused.is_none() && now < session.made + (session.renew - session.made).mul_f64(1.1) =>
                    {
                        Ok(session.clone())
                    }
                    _ => Err(failed),
                }
            }
        }
    }
}
