//! A Consul in this process, as far as a reader of it can tell: its catalogue is written by the same PUTs as a real one's,
//! blocking queries are held until something changes, and faults come on order. It is no Consul: what a real server does, only
//! a real one shows.

use super::fault::{self, Answer, Fault, with_status};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, Response, Uri},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};

/// What answers say as `X-Consul-Index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Index {
    #[default]
    True,
    Zero,
    Missing,
}

/// What the server has and does.
#[derive(Debug, Default)]
pub struct Model {
    /// Faults by a part of path and query; the first that matches counts.
    pub faults: Vec<(String, Fault)>,
    /// What `X-Consul-Token` must say.
    pub token: Option<String>,
    pub index: Index,
    /// Blocking queries are answered at once instead of being held.
    pub hasty: bool,
    /// Names of services and nodes that the token may not read.
    pub hidden: BTreeSet<String>,
    /// Method, path and query of every request except PUTs.
    pub log: Vec<String>,
    /// Requests that are open now, held ones included; `most_open` is the most that were open at once.
    pub open: usize,
    pub most_open: usize,
    worlds: BTreeMap<String, World>,
}

/// A datacenter, or a part of one.
#[derive(Debug, Clone, Default)]
struct World {
    index: u64,
    /// Indexes of the last change to nodes, services and checks.
    changed: [u64; 3],
    /// Index of the last change to each service, by its name.
    services_changed: BTreeMap<String, u64>,
    nodes: BTreeMap<String, Value>,
    services: BTreeMap<(String, String), Value>,
    /// Node and id of the instances of each service, by its name.
    named: BTreeMap<String, BTreeSet<(String, String)>>,
    checks: BTreeMap<(String, String), Value>,
}

const NODES: usize = 0;
const SERVICES: usize = 1;
const CHECKS: usize = 2;

impl Model {
    /// How many requests in the log contain this text.
    pub fn asked(&self, part: &str) -> usize {
        self.log.iter().filter(|line| line.contains(part)).count()
    }

    /// Indexes begin anew, as after a restore.
    pub fn reset_index(&mut self) {
        for world in self.worlds.values_mut() {
            world.index = 3;
            world.changed = [1, 2, 3];
            world.services_changed.values_mut().for_each(|index| *index = 2);
        }
    }

    /// Registers something without a change of any index, as a lagging server may do.
    pub fn put_in_silence(&mut self, registration: &Value) {
        let world = self.worlds.entry(String::new()).or_default();
        let kept = (world.index, world.changed, world.services_changed.clone());
        world.register(registration);
        (world.index, world.changed, world.services_changed) = kept;
    }

    fn write(&mut self, world: &str, path: &str, body: &Value) -> bool {
        let world = self.worlds.entry(world.into()).or_default();
        match path {
            "/v1/catalog/register" => world.register(body),
            "/v1/catalog/deregister" => world.deregister(body),
            _ => return false,
        }
        true
    }

    /// `X-Consul-Index` of what is at a path. `None` if this server has no such path.
    fn index(&self, world: &str, path: &[&str]) -> Option<u64> {
        let none = World::default();
        let world = self.worlds.get(world).unwrap_or(&none);
        let index = match path {
            ["v1", "catalog", "services"] => world.changed[SERVICES],
            ["v1", "catalog", "nodes"] => world.changed[NODES],
            ["v1", "health", "state", "any"] => world.changed[CHECKS],
            ["v1", "health", "service", name] => *world.services_changed.get(*name).unwrap_or(&world.changed[SERVICES]),
            _ => return None,
        };
        Some(index.max(1))
    }

    /// The body at a path, and true if something `hidden` is left out of it.
    fn read(&self, world: &str, path: &[&str]) -> (Value, bool) {
        let none = World::default();
        let world = self.worlds.get(world).unwrap_or(&none);
        let mut filtered = false;
        let mut is_seen = |name: &str| {
            let seen = !self.hidden.contains(name);
            filtered |= !seen;
            seen
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let body = match path {
            ["v1", "catalog", "services"] => {
                let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
                for service in world.services.values().filter(|s| is_seen(&text(&s["Service"]))) {
                    let tags = service["Tags"].as_array().into_iter().flatten().map(text);
                    names.entry(text(&service["Service"])).or_default().extend(tags);
                }
                json!(names)
            }
            ["v1", "catalog", "nodes"] => {
                let nodes: Vec<&Value> = world.nodes.values().filter(|n| is_seen(&text(&n["Node"]))).collect();
                json!(nodes)
            }
            ["v1", "health", "state", "any"] => {
                let visible = |check: &&Value| {
                    let service = text(&check["ServiceName"]);
                    is_seen(&text(&check["Node"])) && (service.is_empty() || is_seen(&service))
                };
                let checks: Vec<&Value> = world.checks.values().filter(visible).collect();
                json!(checks)
            }
            ["v1", "health", "service", name] => {
                let mut list = Vec::new();
                for key in world.named.get(*name).into_iter().flatten() {
                    let ((node, id), service) = (key, &world.services[key]);
                    if is_seen(name) && is_seen(node) {
                        let of = |check: &&Value| check["ServiceID"] == "" || check["ServiceID"] == **id;
                        let checks: Vec<&Value> = world.checks_on(node).filter(of).collect();
                        list.push(json!({"Node": world.nodes[node], "Service": service, "Checks": checks}));
                    }
                }
                json!(list)
            }
            _ => Value::Null,
        };
        (body, filtered)
    }
}

impl World {
    fn register(&mut self, body: &Value) {
        let name = body["Node"].as_str().expect("a node").to_owned();
        let renamed = self.nodes.values().find(|node| node["ID"].is_string() && node["ID"] == body["ID"]);
        let renamed = renamed.map(|node| node["Node"].clone()).filter(|former| *former != *name);
        if let Some(former) = renamed {
            self.deregister(&json!({"Node": former}));
        }
        self.index += 1;
        let index = self.index;
        if !body["SkipNodeUpdate"].as_bool().unwrap_or_default() || !self.nodes.contains_key(&name) {
            let datacenter = body["Datacenter"].as_str().unwrap_or("dc1");
            let node = json!({
                "ID": body["ID"], "Node": name, "Address": body["Address"], "Datacenter": datacenter,
                "TaggedAddresses": or_empty(&body["TaggedAddresses"]), "Meta": or_empty(&body["NodeMeta"]),
            });
            if put(&mut self.nodes, name.clone(), node, index) {
                self.changed[NODES] = index;
                self.touch_node(&name);
            }
        }
        if body["Service"].is_object() {
            let mut service = body["Service"].clone();
            let id = service["ID"].as_str().or(service["Service"].as_str()).expect("a service").to_owned();
            service["ID"] = id.clone().into();
            for (key, default) in
                [("Tags", json!([])), ("Meta", json!({})), ("Weights", json!({"Passing": 1, "Warning": 1}))]
            {
                if service[key].is_null() {
                    service[key] = default;
                }
            }
            for (key, default) in [("Address", json!("")), ("Port", json!(0)), ("EnableTagOverride", json!(false))] {
                if service[key].is_null() {
                    service[key] = default;
                }
            }
            let of = service["Service"].as_str().expect("a service").to_owned();
            let former =
                self.services.get(&(name.clone(), id.clone())).map(|s| s["Service"].as_str().unwrap().to_owned());
            let key = (name.clone(), id);
            if let Some(former) = &former {
                self.named.get_mut(former).expect("it was there").remove(&key);
            }
            self.named.entry(of.clone()).or_default().insert(key.clone());
            if put(&mut self.services, key, service, index) {
                self.changed[SERVICES] = index;
                self.touch(&of);
                former.iter().for_each(|former| self.touch(former));
            }
        }
        let checks = body["Checks"].as_array().into_iter().flatten().chain(body.get("Check"));
        for check in checks {
            let id = check["CheckID"].as_str().or(check["Name"].as_str()).expect("a check").to_owned();
            let service = check["ServiceID"].as_str().unwrap_or_default().to_owned();
            let of = self.services.get(&(name.clone(), service.clone())).map_or(json!(""), |s| s["Service"].clone());
            let check = json!({
                "Node": name, "CheckID": id, "Name": check["Name"], "Status": check["Status"], "Output": check["Output"],
                "ServiceID": service, "ServiceName": of,
            });
            if put(&mut self.checks, (name.clone(), id), check, index) {
                self.changed[CHECKS] = index;
                match of.as_str().unwrap_or_default() {
                    "" => self.touch_node(&name),
                    of => self.touch(of),
                }
            }
        }
    }

    fn deregister(&mut self, body: &Value) {
        self.index += 1;
        let node = body["Node"].as_str().expect("a node").to_owned();
        let (service, check) = (body["ServiceID"].as_str(), body["CheckID"].as_str());
        let of_service = |key: &Value| service.is_none_or(|id| key == id);
        if let Some(check) = check {
            if let Some(gone) = self.checks.remove(&(node.clone(), check.to_owned())) {
                self.changed[CHECKS] = self.index;
                match gone["ServiceName"].as_str().unwrap_or_default() {
                    "" => self.touch_node(&node),
                    of => self.touch(of),
                }
            }
            return;
        }
        let services: Vec<(String, String)> =
            self.services.keys().filter(|(n, id)| *n == node && of_service(&json!(id))).cloned().collect();
        for key in services {
            let gone = self.services.remove(&key).expect("it is there");
            self.named.get_mut(gone["Service"].as_str().unwrap()).expect("it was there").remove(&key);
            self.changed[SERVICES] = self.index;
            self.touch(gone["Service"].as_str().unwrap());
        }
        let before = self.checks.len();
        self.checks.retain(|(n, _), check| *n != node || !of_service(&check["ServiceID"]));
        if self.checks.len() < before {
            self.changed[CHECKS] = self.index;
        }
        if service.is_none() && self.nodes.remove(&node).is_some() {
            self.changed[NODES] = self.index;
        }
    }

    fn checks_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Value> {
        self.checks.range((node.to_owned(), String::new())..).take_while(move |((n, _), _)| n == node).map(|(_, c)| c)
    }

    fn touch(&mut self, service: &str) {
        self.services_changed.insert(service.into(), self.index);
    }

    fn touch_node(&mut self, node: &str) {
        let there = self.services.range((node.to_owned(), String::new())..).take_while(|((n, _), _)| n == node);
        let names: Vec<String> = there.map(|(_, s)| s["Service"].as_str().unwrap().to_owned()).collect();
        names.iter().for_each(|name| self.touch(name));
    }
}

/// Puts a value with its indexes; `false` if it is there already.
fn put<K: Ord>(map: &mut BTreeMap<K, Value>, key: K, mut value: Value, index: u64) -> bool {
    let known = map.get(&key);
    (value["CreateIndex"], value["ModifyIndex"]) = match known {
        Some(known) => (known["CreateIndex"].clone(), known["ModifyIndex"].clone()),
        None => (index.into(), index.into()),
    };
    if known == Some(&value) {
        return false;
    }
    value["ModifyIndex"] = index.into();
    map.insert(key, value);
    true
}

fn or_empty(value: &Value) -> Value {
    if value.is_null() { Value::Object(Map::new()) } else { value.clone() }
}

/// A running server; it ends with this value.
pub struct FakeConsul {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    model: Mutex<Model>,
    /// Numbers of changes to the model, and of calls to [`FakeConsul::wake`].
    woken: watch::Sender<(u64, u64)>,
}

impl FakeConsul {
    /// Starts one on a free port, with Consul itself in its catalogue.
    pub async fn start() -> FakeConsul {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut model = Model::default();
        let itself =
            json!({"Node": "server-1", "Address": "127.0.0.1", "Service": {"Service": "consul", "Port": 8300}});
        for world in ["", "dc1", "dc2"] {
            model.write(world, "/v1/catalog/register", &itself);
        }
        let shared = Arc::new(Shared { model: Mutex::new(model), woken: watch::channel((0, 0)).0 });
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        FakeConsul { address, shared, task }
    }

    /// The state of the server, to be read or changed. Held queries see a change after [`FakeConsul::look`].
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.shared.model.lock().unwrap()
    }

    /// Registers in the server's own datacenter, like `/v1/catalog/register`.
    pub fn register(&self, registration: Value) {
        self.write("", "/v1/catalog/register", registration);
    }

    /// Deregisters in the server's own datacenter, like `/v1/catalog/deregister`.
    pub fn deregister(&self, what: Value) {
        self.write("", "/v1/catalog/deregister", what);
    }

    /// Sends a PUT to `path` for one world: the values of `dc`, `ns`, `partition` and `peer`, with commas between them.
    pub fn write(&self, world: &str, path: &str, body: Value) {
        assert!(self.model().write(world, path, &body));
        self.look();
    }

    /// Has held queries look at the model again, after a test has changed it.
    pub fn look(&self) {
        self.shared.woken.send_modify(|(changes, _)| *changes += 1);
    }

    /// Answers all held queries, though nothing has changed.
    pub fn wake(&self) {
        self.shared.woken.send_modify(|(_, wakings)| *wakings += 1);
    }

    /// Base URL, as the key `servers` takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for FakeConsul {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts one request as open while this value lives.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut model = shared.model.lock().unwrap();
        model.open += 1;
        model.most_open = model.most_open.max(model.open);
        Open(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.model.lock().unwrap().open -= 1;
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let query: HashMap<String, String> = query(&parts.uri);
    let world: Vec<&str> =
        ["dc", "ns", "partition", "peer"].iter().filter_map(|key| Some(query.get(*key)?.as_str())).collect();
    let (world, _open) = (world.join(","), Open::new(&shared));
    if parts.method == Method::PUT {
        let body = to_bytes(body, 1 << 24).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        let written = shared.model.lock().unwrap().write(&world, parts.uri.path(), &body);
        shared.woken.send_modify(|(changes, _)| *changes += 1);
        return with_status(if written { 200 } else { 404 }, "true");
    }
    let fault = {
        let mut model = shared.model.lock().unwrap();
        let asked = parts.uri.to_string();
        model.log.push(format!("{} {asked}", parts.method));
        fault::take(&mut model.faults, &asked)
    };
    if let Some(fault) = fault {
        return fault.answer().await;
    }
    let sent = parts.headers.get("x-consul-token").and_then(|token| token.to_str().ok());
    let segments: Vec<String> = parts.uri.path().split('/').skip(1).map(decoded).collect();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let number = |key: &str| query.get(key).and_then(|text| text.trim_end_matches("ms").parse::<u64>().ok());
    let (index, wait) = (number("index").unwrap_or_default(), number("wait").unwrap_or(300_000));
    let deadline = Instant::now() + Duration::from_millis(wait);
    let mut woken = shared.woken.subscribe();
    let (_, wakings) = *woken.borrow_and_update();
    loop {
        {
            let model = shared.model.lock().unwrap();
            if model.token.is_some() && sent != model.token.as_deref() {
                return with_status(403, "ACL not found");
            }
            let Some(now) = model.index(&world, &path) else { return with_status(404, "no such path") };
            let is_free = index == 0 || now != index || model.hasty || model.index != Index::True;
            if is_free || Instant::now() >= deadline || woken.borrow_and_update().1 != wakings {
                let (body, filtered) = model.read(&world, &path);
                return answer(&body, model.index, now, filtered);
            }
        }
        // The end of the time is seen above, too.
        let _ = tokio::time::timeout_at(deadline, woken.changed()).await;
    }
}

fn answer(body: &Value, index: Index, now: u64, filtered: bool) -> Answer {
    let mut answer = Response::new(Body::from(body.to_string()));
    let index = match index {
        Index::True => Some(now),
        Index::Zero => Some(0),
        Index::Missing => None,
    };
    if let Some(index) = index {
        answer.headers_mut().insert("x-consul-index", index.into());
    }
    if filtered {
        answer.headers_mut().insert("x-consul-results-filtered-by-acls", "true".parse().unwrap());
    }
    answer
}

fn query(uri: &Uri) -> HashMap<String, String> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
