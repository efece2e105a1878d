//! HTTP to a cluster of Nacos servers: failover, and the token. Only GETs, but for the POSTs of a login and of waiting for
//! a change of configuration, which write nothing.

use super::json;
use crate::{
    model::{Cost, Text},
    registry::{
        Metrics,
        nacos::{
            config::{AccessKey, Config},
            error::{Error, REMEDIES},
            identity::{Authentication, Servers, Session, Subject, Token, sign},
        },
        transport::{Answer, Http},
    },
    util::{error::chain, host_port::HostPort, redact::Redactor},
};
use reqwest::{StatusCode, Url, header::HeaderValue};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::Mutex, time::Instant};
use tracing::debug;

/// The age up to which an answer of the address server is used.
const ADDRESSES: Duration = Duration::from_secs(30);
/// The port of servers that an address server names without one.
const PORT: u16 = 8848;

/// The header with the milliseconds for which the server may hold a request back.
const HELD: &str = "Long-Pulling-Timeout";

/// The paths of the login: of 3.x, then of 2.x and 1.x.
const LOGINS: [&str; 2] = ["/v3/auth/user/login", "/v1/auth/login"];

/// One request, whichever server answers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// Tenant and group, if the request is about configuration, which is signed in another way.
    pub(crate) config: Option<(&'a str, &'a str)>,
    /// For a request that waits for a change: its form, which is sent by POST, and how long the server may hold it
    /// back.
    pub(crate) wait: Option<(&'a [(&'a str, &'a str)], Duration)>,
}

/// Sends requests to a cluster of servers by HTTP. Shared by all requests of one registry.
#[derive(Debug)]
pub(crate) struct HttpClient {
    http: Http,
    servers: Servers,
    authentication: Option<Authentication>,
    access_key: Option<AccessKey>,
    address_server: Option<Url>,
    context_path: Text,
    /// When the address server was last asked with success.
    addressed: Mutex<Option<Instant>>,
}

impl HttpClient {
    pub(crate) fn new(registry: Text, config: &Config, metrics: Metrics) -> Result<Self, Error> {
        let passwords = config.login.iter().map(|login| &login.password);
        let secrets = passwords.chain(config.access_key.iter().map(|key| &key.secret_key));
        Ok(HttpClient {
            http: Http::new(registry, &config.connection, REMEDIES, metrics)?.hiding(&config.connection, secrets),
            servers: Servers::new(config.servers.clone()),
            authentication: config.login.clone().map(Authentication::new),
            access_key: config.access_key.clone(),
            address_server: config.address_server.clone(),
            context_path: config.context_path.clone(),
            addressed: Mutex::default(),
        })
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        self.ask(&Question { path, query, config: None, wait: None }).await
    }

    /// Asks the server that answered last, then the others in turn while servers fail.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<Answer, Error> {
        let mut lost = None;
        for (turn, server) in self.servers.in_turn().iter().enumerate() {
            let outcome = self.ask_of(server, question).await;
            if outcome.as_ref().is_err_and(Error::is_server_lost) {
                lost = outcome.err();
                continue;
            }
            if turn > 0 {
                self.servers.answered(server);
            }
            return outcome;
        }
        Err(lost.unwrap_or(Error::NoServers))
    }

    /// Asks the address server for the servers, if there is one and its last answer is older than [`ADDRESSES`]. While
    /// it does not answer, the servers that are known stay.
    pub(crate) async fn find_servers(&self) -> Result<(), Error> {
        let Some(address) = &self.address_server else { return Ok(()) };
        let mut addressed = self.addressed.lock().await;
        if addressed.is_some_and(|at| at.elapsed() < ADDRESSES) {
            return Ok(());
        }
        match self.ask_addresses(address).await {
            Ok(servers) => {
                self.servers.replace(servers);
                *addressed = Some(Instant::now());
                Ok(())
            }
            Err(error) if self.servers.in_turn().is_empty() => Err(error),
            Err(error) => {
                debug!(error = %self.shown(&error), "The address server does not answer; the servers that are known stay.");
                Ok(())
            }
        }
    }

    async fn ask_addresses(&self, address: &Url) -> Result<Vec<Url>, Error> {
        let answer = self.http.send(self.http.get(address), address).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let refused = |line: &str| Error::Addresses {
            url: answer.origin.to_string(),
            line: answer.origin.quote(line.as_bytes()),
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let servers = lines.map(|line| listed(line, &self.context_path).ok_or_else(|| refused(line)));
        let servers: Vec<Url> = servers.collect::<Result<_, _>>()?;
        if servers.is_empty() { Err(refused("")) } else { Ok(servers) }
    }

    /// The servers; the one that answered last comes first.
    pub(crate) fn servers(&self) -> Vec<Url> {
        self.servers.in_turn()
    }

    /// Asks this server first from now on.
    pub(crate) fn prefer(&self, server: &Url) {
        self.servers.answered(server);
    }

    /// The redactor for quoted answers of this registry. It learns tokens.
    pub(crate) fn redactor(&self) -> &Arc<Redactor> {
        self.http.redactor()
    }

    /// An error with all its causes, with secrets blanked, for logs.
    pub(crate) fn shown(&self, error: &Error) -> Text {
        self.redactor().redact(&chain(error)).into()
    }

    /// Requests and bytes since the last call, with `duration` as their time.
    pub(crate) fn take_cost(&self, duration: Duration) -> Cost {
        self.http.take_cost(duration)
    }

    /// Counts a request that was sent by gRPC.
    pub(super) fn count(&self, outcome: &'static str, bytes: usize, took: Duration) {
        self.http.asked(outcome, bytes, took);
    }

    /// The session for a server; `None` without a login. With `refused` it is another one, if that can be had.
    pub(crate) async fn session(&self, server: &Url, refused: Option<&Session>) -> Result<Option<Session>, Error> {
        let Some(authentication) = &self.authentication else { return Ok(None) };
        let log_in = || async {
            let outcome = self.log_in(authentication, server).await;
            if let Err(error) = &outcome {
                // Nobody else tells it while the former token is good.
                debug!(%server, error = %self.shown(error), "Cannot log in.");
            }
            outcome
        };
        authentication.session(refused, log_in).await.map(Some)
    }

    /// Headers of gRPC that identify us: the token and the signature.
    pub(crate) fn identify(&self, session: Option<&Session>, subject: Subject<'_>) -> BTreeMap<String, String> {
        let token = session.map(|session| ("accessToken".to_owned(), session.token.expose().to_owned()));
        let signed = self.signed(subject).into_iter().map(|(key, value)| (key.to_owned(), value));
        token.into_iter().chain(signed).collect()
    }

    fn signed(&self, subject: Subject<'_>) -> Vec<(&'static str, String)> {
        let key = self.access_key.iter();
        key.flat_map(|key| sign(key, subject, millis())).collect()
    }

    /// Asks one server, and once more with a new token if it refuses ours.
    async fn ask_of(&self, server: &Url, question: &Question<'_>) -> Result<Answer, Error> {
        let url = url(server, question.path, question.query);
        let Some(session) = self.session(server, None).await? else { return self.send_as(None, &url, question).await };
        match self.send_as(Some(&session), &url, question).await {
            Err(error) if error.is_denied() => match self.session(server, Some(&session)).await? {
                Some(renewed) if !Arc::ptr_eq(&renewed.token, &session.token) => {
                    self.send_as(Some(&renewed), &url, question).await
                }
                _ => Err(error),
            },
            outcome => outcome,
        }
    }

    async fn send_as(&self, session: Option<&Session>, url: &Url, question: &Question<'_>) -> Result<Answer, Error> {
        // Errors name the address without it.
        let mut signed = url.clone();
        if self.access_key.is_some() && question.config.is_none() {
            signed.query_pairs_mut().extend_pairs(self.signed(Subject::Services(service(question.query))));
        }
        let (request, held) = match question.wait {
            None => (self.http.get(&signed), Duration::ZERO),
            Some((form, held)) => (self.http.post(&signed).form(form).header(HELD, held.as_millis().to_string()), held),
        };
        let proof =
            question.config.map(|(tenant, group)| self.signed(Subject::Config(tenant, group))).unwrap_or_default();
        let mut request = proof.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        if let Some(session) = session {
            // In a header and not in the query, because addresses stand in logs: ours, theirs and every proxy's.
            let Ok(mut token) = HeaderValue::from_str(session.token.expose()) else {
                return Err(Error::NoToken { url: url.to_string() });
            };
            token.set_sensitive(true);
            request = request.header("accessToken", token);
        }
        Ok(self.http.send_held(request, url, held).await?)
    }

    async fn log_in(&self, Authentication { login, .. }: &Authentication, server: &Url) -> Result<Token, Error> {
        let form = [("username", &*login.username), ("password", login.password.expose())];
        let mut last = None;
        for path in LOGINS {
            let url = url(server, path, &[]);
            match self.http.send(self.http.post(&url).form(&form), &url).await {
                Ok(answer) => {
                    let token = json::token(&answer.origin, &answer.body)?;
                    self.redactor().learn(&token.access_token);
                    return Ok(token);
                }
                // 3.x without its old API answers 500 where the old login was.
                Err(error) if matches!(error.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE)) => {
                    last = last.or(Some(error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.expect("a login that gave no answer gave an error").into())
    }
}

/// Group and name of the service that a query is about; `None` if it names no service.
pub(crate) fn service<'a>(query: &[(&str, &'a str)]) -> Option<(&'a str, &'a str)> {
    let of = |key: &str| query.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    of("serviceName").map(|name| (of("groupName").unwrap_or_default(), name))
}

/// The time in milliseconds since 1970, for signatures.
fn millis() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Reads a server as an address server writes it: `host`, `host:port`, or as in the configuration.
fn listed(line: &str, context_path: &str) -> Option<Url> {
    if line.contains("://") {
        return Config::server_below(line, context_path).ok();
    }
    let (server, path) = line.split_at(line.find('/').unwrap_or(line.len()));
    let server = HostPort::parse(server).ok()?.or_port(PORT);
    Config::server_below(&format!("http://{server}{path}"), context_path).ok()
}

fn url(server: &Url, path: &str, query: &[(&str, &str)]) -> Url {
    let mut url = server.clone();
    // Without a path of its own a URL has `/`, and firewalls refuse `//`.
    url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_behind_the_context_path_whatever_that_is() {
        for (context_path, expected) in [
            ("/nacos", "http://n:8848/nacos/v1/auth/login"),
            ("/a/b/", "http://n:8848/a/b/v1/auth/login"),
            ("/", "http://n:8848/v1/auth/login"),
        ] {
            let server = Config::server_below("http://n:8848", context_path).unwrap();
            assert_eq!(url(&server, "/v1/auth/login", &[]).as_str(), expected);
        }
        let server = Config::server_below("http://n", "/").unwrap();
        assert_eq!(url(&server, "/v3/x", &[("a", "b c")]).as_str(), "http://n/v3/x?a=b+c");
    }
}
