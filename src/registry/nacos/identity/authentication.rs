//! The login: one token for all requests, made by one login at a time, and made anew before it ends or when it is
//! refused. After a failed login nobody tries again before a growing wait is over, so a wrong password makes no storm.
//! Meanwhile a token that is still good is used.

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

/// A token, when it was made, when it is to be renewed, and until when it is used.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) token: Arc<Secret>,
    made: Instant,
    /// Moves while its renewal fails, up to `end`.
    renew: Instant,
    end: Instant,
}

impl Session {
    /// A session with a new token, to be renewed at 90 % of its life, and used up to 99 % of it.
    fn new(token: Token, now: Instant) -> Self {
        // A server that says 0 or a century is taken at its word within reason.
        let life = Duration::from_secs(token.token_ttl.clamp(1, 30 * 24 * 3600));
        let (renew, end) = (now + life.mul_f64(0.9), now + life.mul_f64(0.99));
        Session { token: Arc::new(token.access_token), made: now, renew, end }
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
                let (now, is_lost) = (Instant::now(), failed.is_server_lost());
                let is_good = refused.is_none() && state.session.as_ref().is_some_and(|session| now < session.end);
                if is_lost && !is_good {
                    // That says nothing about the password, and the next server may know it.
                    return Err(failed);
                }
                let again = now + state.backoff.next();
                if !is_lost && let Some(cause) = std::error::Error::source(&failed) {
                    state.refused = Some((again, chain(cause).into()));
                }
                match &mut state.session {
                    // Else each request would try before it is sent, and wait for a login that hangs.
                    Some(session) if is_good => {
                        session.renew = session.end.min(again);
                        Ok(session.clone())
                    }
                    _ => Err(failed),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::advance;

    /// Logs in with a token that is good for 100 s, and is at 95 s of its life then.
    async fn near_its_end() -> Authentication {
        let login = Login { username: "reader".into(), password: Secret::new("p4ss") };
        let authentication = Authentication::new(login);
        let token = || async { Ok(Token { access_token: Secret::new("t"), token_ttl: 100 }) };
        authentication.session(None, token).await.unwrap();
        advance(Duration::from_secs(95)).await;
        authentication
    }

    fn refusal() -> Error {
        Error::Refused { url: "http://n".into(), code: 403, message: "no".into() }
    }

    /// A server that does not answer.
    fn loss() -> Error {
        Error::GrpcClosed
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_used_to_its_end_while_its_renewal_fails() {
        for failure in [refusal, loss] {
            let authentication = near_its_end().await;
            let logins = Cell::new(0);
            let ask = async || {
                let log_in = || async {
                    logins.set(logins.get() + 1);
                    Err(failure())
                };
                authentication.session(None, log_in).await
            };
            for _ in 0..10 {
                assert_eq!(ask().await.unwrap().token.expose(), "t");
            }
            assert_eq!(logins.get(), 1, "each request tries again");
            advance(Duration::from_secs(2)).await;
            ask().await.unwrap();
            assert_eq!(logins.get(), 2, "nobody tries again");
            advance(Duration::from_secs(3)).await;
            assert!(ask().await.is_err(), "the token has ended");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_not_used_while_its_renewal_fails() {
        let authentication = near_its_end().await;
        let fails = || async { Err(refusal()) };
        let session = authentication.session(None, fails).await.unwrap();
        assert!(authentication.session(Some(&session), fails).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_when_a_login_is_good_again() {
        let authentication = near_its_end().await;
        authentication.session(None, || async { Err(refusal()) }).await.unwrap();
        advance(Duration::from_secs(1)).await;
        let another = || async { Ok(Token { access_token: Secret::new("u"), token_ttl: 100 }) };
        assert_eq!(authentication.session(None, another).await.unwrap().token.expose(), "u");
    }
}
