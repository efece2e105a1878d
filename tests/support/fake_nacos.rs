//! A Nacos server in this process, as far as a reader of it can tell: the HTTP interfaces of 1.x, 2.x and 3.x over one
//! model that tests change, with faults on order. Pages are rendered once per change of the model, so it answers fast with
//! thousands of services.

pub use super::fault::Fault;

use super::{
    fake_configs::Configs,
    fault::{self, Answer, with_status},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, header},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// Which interfaces there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// 1.x as its users may read it: names and instances, no bulk list.
    V1,
    /// 2.x: with the bulk list of the console's interface.
    V2,
    /// 2.x or 3.x where of the old interfaces v2 alone is there, for a user without the bulk list: names and instances.
    V2Plain,
    /// 3.x for its administrator, without the old interfaces.
    V3,
    /// 3.x for a plain user: the admin interface is forbidden, the old one of clients is there.
    V3Plain,
    /// 3.x for a plain user without the old interfaces: nothing lists services.
    V3Bare,
}

/// A service and its instances, each as `instance/list` writes it.
#[derive(Debug, Clone, Default)]
pub struct FakeService {
    pub instances: Vec<Value>,
    pub metadata: Value,
    pub threshold: f64,
}

/// Namespace, group and name.
pub type Key = (String, String, String);

/// How lists mislead.
#[derive(Debug, Default)]
pub struct Lies {
    /// Lists of names count what stands on the page (Nacos 2.0).
    pub count_of_page: bool,
    /// Pages are no longer than this, whatever is asked for.
    pub page_size: Option<usize>,
    /// The public namespace is listed twice, as `` and as `public` (2.3.2).
    pub two_publics: bool,
    /// Every page is full of services that were on none before.
    pub endless: bool,
    /// Bulk lists show services without `clusterMap`.
    pub no_clusters: bool,
}

/// What the server has and does.
#[derive(Debug)]
pub struct Model {
    pub generation: Generation,
    /// Id and shown name of each namespace.
    pub namespaces: Vec<(String, String)>,
    /// Faults by a part of the path and query; the first that matches counts.
    pub faults: Vec<(String, Fault)>,
    /// User, password and the life of tokens in seconds. `None` if no login is needed.
    pub login: Option<(String, String, u64)>,
    /// The token that a login gives, and that requests must send if [`Model::login`] is set.
    pub token: String,
    /// In so many readings of a list, the first service moves to the end after the first page was given.
    pub moves: usize,
    /// How its lists mislead.
    pub lies: Lies,
    /// Method, path and query of every request.
    pub log: Vec<String>,
    /// The texts that the configuration interface (`cs/config`) gives.
    pub configs: Configs,
    /// Access key, time and signature of every request that had them in its headers, after its path and query.
    pub signed: Vec<[String; 4]>,
    services: BTreeMap<Key, FakeService>,
    rendered: HashMap<String, Bytes>,
}

impl Model {
    /// The services, to be changed: lists are rendered again after that.
    pub fn services(&mut self) -> &mut BTreeMap<Key, FakeService> {
        self.rendered.clear();
        &mut self.services
    }

    /// Puts a service of the public namespace's default group.
    pub fn put(&mut self, name: &str, instances: Vec<Value>) {
        let service = FakeService { instances, metadata: json!({}), threshold: 0.0 };
        self.services().insert(key("public", "DEFAULT_GROUP", name), service);
    }

    /// How many requests in the log contain this text.
    pub fn asked(&self, part: &str) -> usize {
        self.log.iter().filter(|line| line.contains(part)).count()
    }
}

/// The key of a service, or of a text with its dataId as the name.
pub fn key(namespace: &str, group: &str, name: &str) -> Key {
    (namespace.into(), group.into(), name.into())
}

/// A healthy instance of weight 1.
pub fn instance(ip: &str, port: u16) -> Value {
    json!({"ip": ip, "port": port, "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true,
           "clusterName": "DEFAULT", "metadata": {}})
}

/// A running server; it ends with this value.
pub struct FakeNacos {
    pub address: SocketAddr,
    model: Arc<Mutex<Model>>,
    task: JoinHandle<()>,
}

impl FakeNacos {
    /// Starts one on a free port.
    pub async fn start(generation: Generation) -> FakeNacos {
        Self::start_on("127.0.0.1:0".parse().unwrap(), generation).await
    }

    /// Like [`FakeNacos::start`], on a given address.
    pub async fn start_on(address: SocketAddr, generation: Generation) -> FakeNacos {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let model = Arc::new(Mutex::new(Model {
            generation,
            namespaces: vec![("public".into(), "public".into())],
            faults: Vec::new(),
            login: None,
            token: "token-0".into(),
            moves: 0,
            lies: Lies::default(),
            log: Vec::new(),
            configs: Configs::default(),
            signed: Vec::new(),
            services: BTreeMap::new(),
            rendered: HashMap::new(),
        }));
        let router = Router::new().fallback(handle).with_state(model.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        FakeNacos { address, model, task }
    }

    /// The state of the server, to be read or changed.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// Base URL without the path `/nacos`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for FakeNacos {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle(State(model): State<Arc<Mutex<Model>>>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let asked = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let form = axum::body::to_bytes(body, 1 << 16).await.unwrap_or_default();
    let answer = model.lock().unwrap().answer(&head.method, &asked, &head.headers, &form);
    match answer {
        Ok(answer) if asked.contains("/cs/configs/listener") && answer.status() == 200 => held(&model, &form).await,
        Ok(answer) => answer,
        Err(fault) => fault.answer().await,
    }
}

/// Holds an answer back until something has changed, or for the 10 s that Nacos keeps at least.
async fn held(model: &Mutex<Model>, form: &[u8]) -> Answer {
    let (form, end) = (pairs(&String::from_utf8_lossy(form)), Instant::now() + Duration::from_secs(10));
    loop {
        let changed = model.lock().unwrap().configs.changed(&form);
        if changed.is_some() || Instant::now() > end {
            return Response::new(changed.unwrap_or_default().into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Model {
    fn answer(
        &mut self,
        method: &axum::http::Method,
        asked: &str,
        headers: &HeaderMap,
        form: &[u8],
    ) -> Result<Answer, Fault> {
        self.log.push(format!("{method} {asked}"));
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        if let Some(signature) = header("Spas-Signature") {
            self.signed.push([
                asked.to_owned(),
                header("Spas-AccessKey").unwrap(),
                header("Timestamp").unwrap(),
                signature,
            ]);
        }
        match fault::take(&mut self.faults, asked) {
            Some(Fault::Echo(status)) => {
                let text = format!("You sent {asked} {headers:?} {}", String::from_utf8_lossy(form));
                let mut answer = Response::new(Body::from(text));
                *answer.status_mut() = status.try_into().unwrap();
                return Ok(answer);
            }
            Some(fault) => return Err(fault),
            None => {}
        }
        let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
        let Some(path) = path.strip_prefix("/nacos") else { return Ok(with_status(404, "no such page")) };
        if path.ends_with("/login") {
            return Ok(self.log_in(path, form));
        }
        if self.login.is_some() && headers.get("accessToken").is_none_or(|token| token != self.token.as_str()) {
            return Ok(with_status(403, r#"{"status":403,"message":"token invalid!"}"#));
        }
        let query: HashMap<String, String> = pairs(query);
        if path.contains("/cs/configs/listener") && matches!(self.generation, Generation::V1 | Generation::V2) {
            return Ok(Response::new(Body::empty()));
        }
        if path.contains("/cs/config") {
            return Ok(self.configs.answer(self.generation, path, &query));
        }
        let paging = query.contains_key("pageNo") && self.moves > 0;
        if paging && query["pageNo"] != "1" {
            // The last page of a moved reading is the last that moves.
            return Ok(Response::new(self.route(path, &query, true).unwrap_or_default().into()));
        }
        if !self.rendered.contains_key(asked) {
            match self.route(path, &query, false) {
                Ok(text) => drop(self.rendered.insert(asked.to_owned(), text.into())),
                Err((status, text)) => return Ok(with_status(status, text)),
            }
        }
        let mut answer = Response::new(Body::from(self.rendered[asked].clone()));
        answer.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        Ok(answer)
    }

    fn log_in(&mut self, path: &str, form: &[u8]) -> Answer {
        let three = matches!(self.generation, Generation::V3 | Generation::V3Plain | Generation::V3Bare);
        if path.starts_with("/v3") != three {
            return with_status(404, "no such page");
        }
        let Some((user, password, life)) = &self.login else { return with_status(404, "no such page") };
        let sent: HashMap<String, String> = pairs(&String::from_utf8_lossy(form));
        if sent.get("username") != Some(user) || sent.get("password") != Some(password) {
            // Nacos 3 answers a wrong password so.
            return with_status(if three { 500 } else { 403 }, "unknown user or wrong password");
        }
        Response::new(json!({"accessToken": self.token, "tokenTtl": life, "globalAdmin": false}).to_string().into())
    }

    /// The text of a page, or why there is none.
    fn route(
        &mut self,
        path: &str,
        query: &HashMap<String, String>,
        moved: bool,
    ) -> Result<String, (u16, &'static str)> {
        use Generation::{V1, V2, V2Plain, V3, V3Bare, V3Plain};
        let enveloped = |code: i64, data: Value| json!({"code": code, "message": "success", "data": data}).to_string();
        let forbidden = (403, r#"{"status":403,"message":"authorization failed!"}"#);
        match (path, self.generation) {
            (p, V3Plain | V3Bare) if p.starts_with("/v3/admin/") => Err(forbidden),
            ("/v3/admin/core/state/readiness", V3) => Ok(enveloped(0, json!("ok"))),
            ("/v1/console/health/readiness", V1 | V2) => Ok("OK".into()),
            ("/v3/admin/core/namespace/list", V3) => Ok(enveloped(0, self.namespaces("public"))),
            ("/v1/console/namespaces", V2) => Ok(enveloped(200, self.namespaces(""))),
            ("/v3/admin/ns/service/list", V3) => {
                let is_whole = query.get("withInstances").is_none_or(|with| with != "false");
                let (total, page) = if is_whole { self.bulk(query, moved, false) } else { self.short(query, moved) };
                Ok(enveloped(0, json!({"totalCount": total, "pageNumber": 1, "pageItems": page})))
            }
            ("/v1/ns/catalog/services", V2) => Ok(Value::Array(self.bulk(query, moved, true).1).to_string()),
            ("/v3/client/ns/instance/list", V3) => {
                let clusters: Vec<&str> = query.get("clusterName").map_or("DEFAULT", |c| c).split(',').collect();
                let mut hosts = self.instances(query)["hosts"].take();
                let of_clusters = |host: &Value| clusters.contains(&host["clusterName"].as_str().unwrap_or("DEFAULT"));
                hosts.as_array_mut().unwrap().retain(of_clusters);
                Ok(enveloped(0, hosts))
            }
            ("/v3/admin/ns/instance/list", V3) => Ok(enveloped(0, self.cluster(query).ok_or((404, ""))?)),
            ("/v3/admin/ns/service", V3) => Ok(enveloped(0, self.settings(query).ok_or((404, ""))?)),
            ("/v1/ns/service", V1 | V2) => Ok(self.settings(query).ok_or((500, ""))?.to_string()),
            ("/v1/ns/service/list", V1 | V2 | V3Plain) => {
                let (count, names) = self.names(query, moved);
                Ok(json!({"count": count, "doms": names}).to_string())
            }
            ("/v1/ns/instance/list", V1 | V2 | V3Plain) => Ok(self.instances(query).to_string()),
            ("/v2/console/health/readiness", V2 | V2Plain) => Ok(enveloped(0, json!("ok"))),
            ("/v2/console/namespace/list", V2 | V2Plain) => Ok(enveloped(0, self.namespaces(""))),
            ("/v2/ns/service/list", V2 | V2Plain) => {
                let (count, names) = self.names(query, moved);
                Ok(enveloped(0, json!({"count": count, "services": names})))
            }
            ("/v2/ns/instance/list", V2 | V2Plain) => Ok(enveloped(0, self.instances(query))),
            ("/v2/ns/service", V2 | V2Plain) => match self.settings(query) {
                Some(settings) => Ok(enveloped(0, settings)),
                None => Err((400, r#"{"code":21008,"message":"service not exist","data":"service not found"}"#)),
            },
            (p, V2Plain | V3 | V3Plain | V3Bare) if p.starts_with("/v1/") || p.starts_with("/v2/") => {
                Err((410, r#"{"message":"API is gone"}"#))
            }
            _ => Err((404, r#"{"status":404,"message":"No message available"}"#)),
        }
    }

    fn namespaces(&self, public: &str) -> Value {
        let show = |(id, name): &(String, String)| {
            let id = if id == "public" { public } else { id };
            json!({"namespace": id, "namespaceShowName": name, "quota": 200})
        };
        let mut listed: Vec<Value> = self.namespaces.iter().map(show).collect();
        if self.lies.two_publics {
            let other = if public.is_empty() { "public" } else { "" };
            listed.push(json!({"namespace": other, "namespaceShowName": "public", "quota": 200}));
        }
        Value::Array(listed)
    }

    fn keys(&mut self, query: &HashMap<String, String>, by_group: bool, moved: bool) -> Vec<Key> {
        let group = query.get("groupName").map_or("DEFAULT_GROUP", String::as_str);
        let wanted = |key: &&Key| key.0 == query["namespaceId"] && (!by_group || key.1 == group);
        let mut keys: Vec<Key> = self.services.keys().filter(wanted).cloned().collect();
        if moved && !keys.is_empty() {
            keys.rotate_left(1);
            let size: usize = query["pageSize"].parse().unwrap();
            if query["pageNo"].parse::<usize>().unwrap() >= keys.len().div_ceil(size) {
                self.moves -= 1;
            }
        }
        keys
    }

    fn bulk(&mut self, query: &HashMap<String, String>, moved: bool, old: bool) -> (usize, Vec<Value>) {
        if self.lies.endless {
            let shown = |name: String| json!({"serviceName": name, "groupName": "g", "clusterMap": {}});
            return (usize::MAX, endless(query).map(shown).collect());
        }
        let keys = self.keys(query, false, moved);
        let total = keys.len();
        (total, self.paged(keys, query).iter().map(|key| self.shown(key, old)).collect())
    }

    /// A page of a bulk list without instances, as 3.x shows it.
    fn short(&mut self, query: &HashMap<String, String>, moved: bool) -> (usize, Vec<Value>) {
        let keys = self.keys(query, false, moved);
        let total = keys.len();
        let shown = |(_, group, name): Key| json!({"name": name, "groupName": group});
        (total, self.paged(keys, query).into_iter().map(shown).collect())
    }

    /// A page of names, and the count beside it.
    fn names(&mut self, query: &HashMap<String, String>, moved: bool) -> (usize, Vec<String>) {
        if self.lies.endless {
            return (usize::MAX, endless(query).collect());
        }
        let names: Vec<String> = self.keys(query, true, moved).into_iter().map(|(_, _, name)| name).collect();
        let total = names.len();
        let page = self.paged(names, query);
        (if self.lies.count_of_page { page.len() } else { total }, page)
    }

    fn paged<T>(&self, items: Vec<T>, query: &HashMap<String, String>) -> Vec<T> {
        let (page, size) = page_and_size(query);
        let size = self.lies.page_size.map_or(size, |most| size.min(most));
        items.into_iter().skip((page - 1) * size).take(size).collect()
    }

    /// A service as bulk lists show it: the true health, and threshold 0 whatever it is. `old` is the form of 2.x.
    fn shown(&self, key: &Key, old: bool) -> Value {
        let service = &self.services[key];
        let mut clusters: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for instance in &service.instances {
            let mut instance = instance.clone();
            let cluster = instance["clusterName"].as_str().unwrap_or("DEFAULT").to_owned();
            if let (true, Some(map)) = (old, instance.as_object_mut()) {
                map.remove("clusterName");
                if let Some(healthy) = map.remove("healthy") {
                    map.insert("valid".into(), healthy);
                }
            }
            clusters.entry(cluster).or_default().push(instance);
        }
        let clusters: BTreeMap<_, _> =
            clusters.into_iter().map(|(name, hosts)| (name, json!({"hosts": hosts}))).collect();
        let mut shown = json!({"namespace": null, "serviceName": key.2, "groupName": key.1, "clusterMap": clusters,
               "metadata": service.metadata, "protectThreshold": 0.0, "selector": null});
        if self.lies.no_clusters {
            shown.as_object_mut().unwrap().remove("clusterMap");
        }
        shown
    }

    fn named(&self, query: &HashMap<String, String>) -> Option<&FakeService> {
        self.services.get(&key(&query["namespaceId"], &query["groupName"], &query["serviceName"]))
    }

    fn settings(&self, query: &HashMap<String, String>) -> Option<Value> {
        let clusters = |service: &FakeService| {
            let name = |instance: &Value| instance["clusterName"].as_str().unwrap_or("DEFAULT").to_owned();
            service.instances.iter().map(|instance| (name(instance), json!({}))).collect::<serde_json::Map<_, _>>()
        };
        let shown = |s: &FakeService| json!({"protectThreshold": s.threshold, "metadata": s.metadata, "clusterMap": clusters(s)});
        self.named(query).map(shown)
    }

    /// The instances of one cluster as administrators see them: disabled ones, too, and the true health.
    fn cluster(&self, query: &HashMap<String, String>) -> Option<Value> {
        let of_it = |i: &&Value| i["clusterName"].as_str().unwrap_or("DEFAULT") == query["clusterName"];
        Some(Value::Array(self.named(query)?.instances.iter().filter(of_it).cloned().collect()))
    }

    /// The body of `instance/list`: enabled instances only, all of them healthy once the threshold is reached.
    fn instances(&self, query: &HashMap<String, String>) -> Value {
        let service = self.named(query).cloned().unwrap_or_default();
        let mut hosts: Vec<Value> = service.instances.into_iter().filter(|i| i["enabled"] != false).collect();
        let healthy = hosts.iter().filter(|i| i["healthy"] == true).count();
        // Only what is set for the service itself makes the server protect it, a threshold of 0 as well.
        let is_set = service.threshold > 0.0 || service.metadata.as_object().is_some_and(|map| !map.is_empty());
        let protected = is_set && !hosts.is_empty() && healthy as f64 / hosts.len() as f64 <= service.threshold;
        if protected {
            hosts.iter_mut().for_each(|i| i["healthy"] = true.into());
        }
        let now = self.log.len();
        json!({"name": query["serviceName"], "hosts": hosts, "lastRefTime": now, "reachProtectionThreshold": protected})
    }
}

fn page_and_size(query: &HashMap<String, String>) -> (usize, usize) {
    let number = |key: &str| query[key].parse::<usize>().unwrap();
    (number("pageNo"), number("pageSize"))
}

/// Names that no other page has.
fn endless(query: &HashMap<String, String>) -> impl Iterator<Item = String> + use<> {
    let (page, size) = page_and_size(query);
    (0..size).map(move |n| format!("bogus-{page}-{n}"))
}

fn pairs(text: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://fake/?{text}")).unwrap();
    url.query_pairs().into_owned().collect()
}
