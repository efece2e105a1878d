//! The registry of kind `http` against a server in this process: its forms, what makes a reading cheap, every bad answer.

mod support;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode, header},
};
use portolan::{
    registry::{
        Kind, Limits,
        http::{Config, Form, source},
        transport::{Connection, Login},
    },
    util::secret::Secret,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use support::{
    fault::{self, Answer, Fault},
    reading::Reading,
};
use tokio::{net::TcpListener, task::JoinHandle};

const ONE: &str = "services: [{ name: web, endpoints: ['10.0.0.1:80'] }, { name: users, endpoints: ['10.0.0.2:80'] }]";

/// What the server gives.
#[derive(Default)]
struct Model {
    text: String,
    /// The tag of the text, if it has one.
    tag: Option<String>,
    /// Whether 304 is answered, to whom and whatever is asked for.
    always_known: bool,
    authorization: Option<String>,
    faults: Vec<(String, Fault)>,
    /// Each request with what it said of what it knows.
    log: Vec<Option<String>>,
}

struct Server {
    address: SocketAddr,
    model: Arc<Mutex<Model>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(text: &str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let model = Arc::new(Mutex::new(Model { text: text.into(), ..Model::default() }));
        let router = Router::new().fallback(handle).with_state(model.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Server { address, model, task }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }
}

async fn handle(State(model): State<Arc<Mutex<Model>>>, request: Request) -> Answer {
    let said = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let fault = fault::take(&mut model.lock().unwrap().faults, request.uri().path());
    if let Some(fault) = fault {
        return fault.answer().await;
    }
    let mut model = model.lock().unwrap();
    let known = said(header::IF_NONE_MATCH);
    model.log.push(known.clone());
    let status = |code: StatusCode| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = code;
        answer
    };
    if model.authorization.is_some() && said(header::AUTHORIZATION) != model.authorization {
        return status(StatusCode::UNAUTHORIZED);
    }
    if model.always_known || (known.is_some() && known == model.tag) {
        return status(StatusCode::NOT_MODIFIED);
    }
    let mut answer = Response::new(Body::from(model.text.clone()));
    if let Some(tag) = &model.tag {
        answer.headers_mut().insert(header::ETAG, tag.parse().unwrap());
    }
    answer
}

fn config(servers: &[&Server]) -> Config {
    let urls = servers.iter().map(|s| source(&format!("http://{}/services.yaml", s.address)).unwrap()).collect();
    let connection = Connection { timeout: Duration::from_millis(800), ..Connection::default() };
    Config { period: Duration::from_millis(100), connection, ..Config::new(urls) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Http(config))
}

#[tokio::test]
async fn a_catalogue_is_followed_and_read_only_when_it_is_new() {
    let server = Server::start(ONE).await;
    server.model().tag = Some("\"1\"".into());
    let mut reading = read(config(&[&server]));
    reading.list().await;
    assert_eq!(reading.endpoints()["web"], ["10.0.0.1:80"]);
    let web = reading.service("web").unwrap().clone();
    reading.list().await;
    assert_eq!(server.model().log[..2], [None, Some("\"1\"".into())]);
    // Another tag with the same content.
    server.model().tag = Some("\"2\"".into());
    reading.list().await;
    reading.list().await;
    server.model().text = ONE.replace("10.0.0.2", "10.0.0.9");
    server.model().tag = Some("\"3\"".into());
    reading.until("the change", |h| h.endpoints()["users"] == ["10.0.0.9:80"]).await;
    assert!(Arc::ptr_eq(reading.service("web").unwrap(), &web), "what does not change is the same value");
    server.model().text = "services: []".into();
    server.model().tag = None;
    reading.until("nothing", |h| h.endpoints().is_empty()).await;
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn a_server_that_always_says_304_has_said_nothing() {
    let server = Server::start(ONE).await;
    server.model().always_known = true;
    let mut reading = read(config(&[&server]));
    let error = reading.failure().await;
    assert!(error.contains("304") && error.contains("it was not asked"), "{error}");
    server.model().always_known = false;
    server.model().tag = Some("\"1\"".into());
    reading.list().await;
    // From then on it is believed, as long as it says so.
    server.model().always_known = true;
    reading.list().await;
    reading.list().await;
    assert_eq!((reading.endpoints().len(), reading.failed), (2, 1));
}

#[tokio::test]
async fn the_other_forms_are_read() {
    let server = Server::start(r#"[{"targets": ["10.0.0.1:80"], "labels": {"job": "web"}}]"#).await;
    let mut reading = read(Config { form: Form::Prometheus { name: "job".into() }, ..config(&[&server]) });
    reading.list().await;
    assert_eq!(reading.endpoints()["web"], ["10.0.0.1:80"]);
    // One instance that cannot be read keeps its last value.
    server.model().text = r#"[{"targets": ["10.0.0.1:99999", "10.0.0.2:80"], "labels": {"job": "web"}}]"#.into();
    reading.until("the second", |h| h.service("web").is_some_and(|web| !web.notes.is_empty())).await;
    server.model().text = r#"[{"targets": [{}], "labels": {"job": "web"}}]"#.into();
    reading.until("it to be unreadable", |h| !h.unreadable[""].is_empty()).await;
    assert_eq!(reading.failed, 0);
}

#[tokio::test]
async fn replicas_stand_in_for_each_other() {
    let (bad, good) = (Server::start(ONE).await, Server::start(ONE).await);
    bad.model().faults.push(("/".into(), Fault::Status(503, "")));
    let mut reading = read(config(&[&bad, &good]));
    reading.list().await;
    assert_eq!((reading.endpoints().len(), reading.failed), (2, 0));
    good.model().faults.push(("/".into(), Fault::Text("<html>")));
    let error = reading.failure().await;
    assert!(error.contains("none of the 2 addresses gave a list") && error.contains("<html>"), "{error}");
    bad.model().faults.clear();
    reading.list().await;
    assert_eq!(reading.endpoints().len(), 2);
}

#[tokio::test]
async fn who_we_are_is_said() {
    let server = Server::start(ONE).await;
    server.model().authorization = Some("Bearer s3cret".into());
    let error = read(config(&[&server])).failure().await;
    assert!(error.contains("401") && error.contains("check `username`"), "{error}");
    let mut reading = read(Config { token: Some(Secret::new("s3cret")), ..config(&[&server]) });
    reading.list().await;
    server.model().authorization = Some("Basic dTpw".into());
    let login = Some(Login { username: "u".into(), password: Secret::new("p") });
    read(Config { login, ..config(&[&server]) }).list().await;
}

#[tokio::test]
async fn bad_answers_are_failures_and_the_last_list_stays() {
    for (fault, expected) in [
        (Fault::Status(500, "down"), "500"),
        (Fault::Status(404, ""), "check the address's path"),
        (Fault::Busy("1"), "raise `period`"),
        (Fault::Redirect, "redirects are not followed"),
        (Fault::Text("<html>"), "no catalogue"),
        (Fault::Text(""), "no catalogue"),
        (Fault::Text("services: 7"), "must be a list"),
        (Fault::Text("services: [{ endpoints: [] }]"), "neither `host` nor `name`"),
        (Fault::Truncated, "broke off"),
        (Fault::Endless, "raise `max_body`"),
        (Fault::GzipBomb, "raise `max_body`"),
        (Fault::Slow, "services.yaml"),
    ] {
        let server = Server::start(ONE).await;
        let connection = Connection { max_body_bytes: 1 << 20, ..config(&[&server]).connection };
        let mut reading = read(Config { connection, ..config(&[&server]) });
        reading.list().await;
        server.model().faults.push(("/".into(), fault.clone()));
        let error = reading.failure().await;
        assert!(error.contains(expected), "{fault:?}: {error}");
        assert_eq!(reading.endpoints().len(), 2, "{fault:?}");
        server.model().faults.clear();
        reading.list().await;
    }
}

#[tokio::test]
async fn one_bad_service_hides_no_other() {
    let server = Server::start(ONE).await;
    let mut reading = read(config(&[&server]));
    reading.list().await;
    server.model().text = ONE.replace("10.0.0.1:80", "10.0.0.1:99999");
    reading.until("the mistake", |h| !h.unreadable[""].is_empty()).await;
    let (id, why) = &reading.unreadable[""][0];
    assert!(&*id.name == "web" && why.contains("99999"), "{id} {why}");
    assert_eq!(reading.endpoints()["users"], ["10.0.0.2:80"]);
    let limits = Limits { services: 1, ..Limits::default() };
    let error = read(Config { limits, ..config(&[&server]) }).failure().await;
    assert!(error.contains("more than 1 services"), "{error}");
}
