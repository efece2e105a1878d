//! A Eureka server in this process, as far as a reader of it can tell: lists and deltas over one model that tests change,
//! with faults on order. As with the real one, a delta repeats what has changed since the start, and lists show it too.

use super::fault::{self, Answer, Fault, with_status};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Response, header},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the server has and does.
#[derive(Debug, Default)]
pub struct Model {
    /// Faults by a part of the path; the first that matches counts.
    pub faults: Vec<(String, Fault)>,
    /// What `Authorization` must say, otherwise the answer is 401. `None` if it may be missing.
    pub authorization: Option<String>,
    /// Path before `/apps`; `/eureka` at first.
    pub path: String,
    /// Given as `apps__hashcode` instead of the true hash.
    pub hash: Option<String>,
    /// Whether answers are compressed for those who take that.
    pub gzip: bool,
    /// Method and path of every request.
    pub log: Vec<String>,
    apps: BTreeMap<String, BTreeMap<String, Value>>,
    changes: Vec<(String, Value)>,
}

impl Model {
    /// Registers an instance, or another state of it.
    pub fn put(&mut self, app: &str, instance: Value) {
        let id = id(&instance);
        let action = match self.apps.entry(app.into()).or_default().insert(id, instance.clone()) {
            None => "ADDED",
            Some(_) => "MODIFIED",
        };
        self.change(app, instance, action);
    }

    /// Deregisters an instance.
    pub fn remove(&mut self, app: &str, id: &str) {
        let gone = self.apps.get_mut(app).and_then(|instances| instances.remove(id)).expect("it was there");
        self.apps.retain(|_, instances| !instances.is_empty());
        self.change(app, gone, "DELETED");
    }

    /// Changes an instance such that no delta has it.
    pub fn put_in_silence(&mut self, app: &str, instance: Value) {
        self.apps.entry(app.into()).or_default().insert(id(&instance), instance);
    }

    /// Forgets everything, as a restart does.
    pub fn restart(&mut self) {
        self.apps.clear();
        self.changes.clear();
    }

    /// Deltas begin anew: they no longer have the changes so far.
    pub fn forget_changes(&mut self) {
        self.changes.clear();
    }

    /// How many requests had a path that ends with this.
    pub fn asked(&self, path: &str) -> usize {
        self.log.iter().filter(|line| line.ends_with(path)).count()
    }

    /// The body of the answer at `/apps`.
    pub fn list(&self) -> Value {
        let apps: Vec<Value> = self.apps.iter().map(|(name, all)| application(name, all.values())).collect();
        self.listing(apps)
    }

    fn delta(&self) -> Value {
        let mut newest: BTreeMap<&str, BTreeMap<String, &Value>> = BTreeMap::new();
        for (app, instance) in &self.changes {
            newest.entry(app).or_default().insert(id(instance), instance);
        }
        let apps = newest.iter().map(|(name, all)| application(name, all.values().copied())).collect();
        self.listing(apps)
    }

    fn listing(&self, apps: Vec<Value>) -> Value {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in self.apps.values().flat_map(BTreeMap::values) {
            *counts.entry(instance["status"].as_str().unwrap_or("UNKNOWN")).or_default() += 1;
        }
        let counted = counts.iter().map(|(status, count)| format!("{status}_{count}_")).collect();
        let hash: String = self.hash.clone().unwrap_or(counted);
        json!({"applications": {"versions__delta": "1", "apps__hashcode": hash, "application": apps}})
    }

    fn change(&mut self, app: &str, mut instance: Value, action: &str) {
        instance["actionType"] = action.into();
        self.changes.push((app.into(), instance));
    }

    fn answer(&mut self, asked: &str, headers: &HeaderMap) -> Result<Answer, Fault> {
        if let Some(fault) = fault::take(&mut self.faults, asked) {
            return Err(fault);
        }
        let sent = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if self.authorization.is_some() && sent(header::AUTHORIZATION) != self.authorization.as_deref() {
            return Ok(with_status(401, ""));
        }
        let body = match asked.strip_prefix(&self.path) {
            Some("/apps") => self.list(),
            Some("/apps/delta") => self.delta(),
            _ => return Ok(with_status(404, r#"{"status":404,"error":"Not Found"}"#)),
        };
        if sent(header::ACCEPT) != Some("application/json") {
            return Ok(Response::new(Body::from("<applications><versions__delta>1</versions__delta></applications>")));
        }
        let text = body.to_string().into_bytes();
        if self.gzip && sent(header::ACCEPT_ENCODING).is_some_and(|accepted| accepted.contains("gzip")) {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            gzip.write_all(&text).unwrap();
            let mut answer = Response::new(Body::from(gzip.finish().unwrap()));
            answer.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
            return Ok(answer);
        }
        Ok(Response::new(text.into()))
    }
}

fn application<'a>(name: &str, instances: impl Iterator<Item = &'a Value>) -> Value {
    json!({"name": name, "instance": instances.collect::<Vec<_>>()})
}

fn id(instance: &Value) -> String {
    instance["instanceId"].as_str().unwrap_or_default().to_owned()
}

/// An instance that is up, as Spring Cloud registers it; its id is `ip:port`.
pub fn instance(ip: &str, port: u16) -> Value {
    json!({
        "instanceId": format!("{ip}:{port}"), "hostName": "node.internal", "ipAddr": ip, "status": "UP",
        "overriddenStatus": "UNKNOWN", "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
        "countryId": 1, "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90, "registrationTimestamp": 1, "evictionTimestamp": 0},
        "metadata": {"management.port": port.to_string()}, "vipAddress": "orders", "secureVipAddress": "orders",
        "isCoordinatingDiscoveryServer": "false", "lastUpdatedTimestamp": "1", "lastDirtyTimestamp": "1", "actionType": "ADDED",
    })
}

/// A running server; it ends with this value.
pub struct FakeEureka {
    pub address: SocketAddr,
    model: Arc<Mutex<Model>>,
    task: JoinHandle<()>,
}

impl FakeEureka {
    /// Starts one on a free port, at `/eureka`.
    pub async fn start() -> FakeEureka {
        Self::start_on("127.0.0.1:0".parse().unwrap()).await
    }

    /// Like [`FakeEureka::start`], on a given address.
    pub async fn start_on(address: SocketAddr) -> FakeEureka {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let model = Model { path: "/eureka".into(), gzip: true, ..Model::default() };
        let model = Arc::new(Mutex::new(model));
        let router = Router::new().fallback(handle).with_state(model.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        FakeEureka { address, model, task }
    }

    /// The state of the server, to be read or changed.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// Base URL without the path `/eureka`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for FakeEureka {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle(State(model): State<Arc<Mutex<Model>>>, request: Request) -> Answer {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    let answer = {
        let mut model = model.lock().unwrap();
        model.log.push(format!("{method} {path}"));
        model.answer(&path, request.headers())
    };
    match answer {
        Ok(answer) => answer,
        Err(fault) => fault.answer().await,
    }
}
