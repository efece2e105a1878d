//! Istio's resources in files, as a gateway has them: what is wrong, too large or gone costs itself, and all else goes on.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    history::command,
    support::{
        portolan::Portolan,
        until,
        wrong::{self, Wrong, to},
    },
};
use portolan::resource::Kind;
use prost_of_xds_api::Message as _;
use std::{fmt::Write, fs, time::Duration};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tonic::transport::Endpoint;
use xds_api::pb::envoy::config::route::v3::RouteConfiguration;

const LIMIT: Duration = Duration::from_secs(60);
const CATALOGUE: &str = "services:
- { host: orders.example, endpoints: ['10.0.0.1:80'] }
- { host: users.example, endpoints: ['10.0.0.2:80', '10.0.0.3:80'] }
";
const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge }
spec: { servers: [{ port: { number: 8080, name: http, protocol: HTTP }, hosts: ['*'] }] }
";

/// A VirtualService of the gateway, whose `http` is that.
fn routes(name: &str, host: &str, http: &str) -> String {
    wrong::routes(name, host, "edge", http)
}

/// An answer that the gateway was given: of what, how many bytes, and the hosts of routes in it.
#[derive(Debug)]
struct Given {
    kind: Kind,
    bytes: usize,
    hosts: usize,
}

/// The product with a folder of rules, and a gateway that takes what it is given.
struct Scene {
    folder: TempDir,
    portolan: Portolan,
    given: mpsc::UnboundedReceiver<Given>,
}

impl Scene {
    async fn start(files: &[(&str, &str)]) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("rules")).unwrap();
        fs::write(folder.path().join("catalogue.yaml"), CATALOGUE).unwrap();
        fs::write(folder.path().join("rules/gateway.yaml"), GATEWAY).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("rules").join(name), text).unwrap();
        }
        let portolan = Portolan::start(&format!(
            "registries: [{{ name: shop, file: {{ path: '{0}/catalogue.yaml', poll: 100ms }} }}]\n\
             traffic: {{ path: '{0}/rules' }}\n",
            folder.path().display()
        ))
        .await;
        portolan.ready().await;
        let given = follow(&portolan).await;
        Scene { folder, portolan, given }
    }

    /// Puts a file of rules in the place of another, in one step.
    fn put(&self, name: &str, text: &str) {
        let new = self.folder.path().join("new.tmp");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    /// Waits until requests to a host go to that cluster alone, which has so many endpoints.
    async fn leads(&self, host: &str, cluster: &str, endpoints: usize) {
        until(&format!("{host} to lead to {cluster}"), LIMIT, async || {
            let found = self.portolan.json(&format!("/api/v1/route?host={host}&port=8080")).await;
            let share = &found[0]["clusters"][0];
            let is = share["cluster"] == *cluster && share["percent"] == 100.0 && share["endpoints"] == endpoints;
            if is { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Waits until a page has a line with these words.
    async fn told(&self, page: &str, words: &[&str]) {
        until(&format!("{words:?} in {page}"), LIMIT, async || {
            let (_, text) = self.portolan.get(page).await;
            if words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
        })
        .await;
    }
}

/// A gateway that says nothing of itself, and takes all that it is given.
async fn follow(portolan: &Portolan) -> mpsc::UnboundedReceiver<Given> {
    let channel = Endpoint::from_shared(format!("http://{}", portolan.xds)).unwrap().connect().await.unwrap();
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    for (kind, names) in [(Kind::Cluster, &["*"][..]), (Kind::Listener, &["*"]), (Kind::Route, &["http.8080"])] {
        stream.ask(kind, names, &[]).await;
    }
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(answer)) = stream.message().await {
            let kind = Kind::of(&answer.type_url).unwrap();
            let bodies = || answer.resources.iter().filter_map(|item| item.resource.as_ref());
            let hosts = |value: &[u8]| RouteConfiguration::decode(value).unwrap().virtual_hosts.len();
            let hosts = bodies().filter(|_| kind == Kind::Route).map(|body| hosts(&body.value)).sum();
            let bytes = bodies().map(|body| body.value.len()).sum();
            let mut taken = delta_request(kind, &[], &[]);
            taken.response_nonce = answer.nonce;
            stream.request(taken).await;
            if tell.send(Given { kind, bytes, hosts }).is_err() {
                return;
            }
        }
    });
    told
}

/// Whatever a document says, and however large it is, all others are served as they were, and what comes behind it is followed.
#[tokio::test]
async fn a_wrong_document_costs_itself_and_nothing_else() {
    let scene = Scene::start(&[("good.yaml", &routes("good", "good.test", &to("orders.example")))]).await;
    scene.leads("good.test", "outbound|80||orders.example", 1).await;
    let before = scene.portolan.peak_memory();
    for (turn, wrong) in wrong::documents("edge", "orders.example").into_iter().enumerate() {
        let Wrong { what, text, page, words } = wrong;
        scene.put("rules/bad.yaml", &text);
        scene.told(page, words).await;
        // What comes behind it is followed.
        let (host, endpoints) = [("users.example", 2), ("orders.example", 1)][turn % 2];
        scene.put("rules/good.yaml", &routes("good", "good.test", &to(host)));
        scene.leads("good.test", &format!("outbound|80||{host}"), endpoints).await;
        let findings = scene.portolan.json("/api/v1/findings").await.to_string();
        assert!(!findings.contains("/good\""), "{what}: {findings}");
    }
    let grown = scene.portolan.peak_memory() - before;
    assert!(grown < 64 << 10, "it holds {grown} KiB more");
}

/// A folder that cannot be read is not an empty one, and one that is emptied is held.
#[tokio::test]
async fn rules_that_go_away_stay_as_they_were_last() {
    let good = routes("good", "good.test", &to("users.example"));
    let scene = Scene::start(&[("good.yaml", &good)]).await;
    scene.leads("good.test", "outbound|80||users.example", 2).await;
    let (rules, away) = (scene.folder.path().join("rules"), scene.folder.path().join("away"));
    fs::rename(&rules, &away).unwrap();
    scene.told("/metrics", &["portolan_manifest_failures_total{registry=\"traffic\"} "]).await;
    // What registries say is followed all the same.
    scene.put("catalogue.yaml", &CATALOGUE.replace("'10.0.0.2:80', ", ""));
    scene.leads("good.test", "outbound|80||users.example", 1).await;
    // It comes back as another.
    fs::write(away.join("good.yaml"), routes("good", "good.test", &to("orders.example"))).unwrap();
    fs::rename(&away, &rules).unwrap();
    scene.leads("good.test", "outbound|80||orders.example", 1).await;

    for file in ["gateway.yaml", "good.yaml"] {
        fs::remove_file(rules.join(file)).unwrap();
    }
    scene.told("/api/v1/manifests", &["\"state\":\"held\""]).await;
    scene.put("catalogue.yaml", &CATALOGUE.replace("'10.0.0.1:80'", "'10.0.0.1:80', '10.0.0.4:80'"));
    scene.leads("good.test", "outbound|80||orders.example", 2).await;
}

/// So many rules are served, one wrong file of them costs itself, and a change of one touches the routes alone.
#[tokio::test]
async fn five_thousand_virtual_services_are_served_and_one_changes_alone() {
    const FILES: usize = 10;
    const EACH: usize = 500;
    let file = |file: usize| {
        (0..EACH).fold(String::new(), |mut text, n| {
            let name = format!("vs-{file}-{n}");
            let _ = write!(text, "{}", routes(&name, &format!("{name}.test"), &to("orders.example")));
            text
        })
    };
    let mut scene = Scene::start(&[]).await;
    for n in 0..FILES {
        scene.put(&format!("rules/{n}.yaml"), &file(n));
    }
    let last = "vs-9-499.test";
    scene.leads(last, "outbound|80||orders.example", 1).await;
    // A file that is wrong from the beginning has nothing; its others have what they had.
    scene.put("rules/wrong.yaml", &routes("wrong", "wrong.test", "{ rout: [] }"));
    scene.told("/api/v1/manifests", &["\"state\":\"wrong\""]).await;
    let mut hosts = 0;
    while hosts < FILES * EACH {
        let given = tokio::time::timeout(LIMIT, scene.given.recv()).await.expect("routes come").unwrap();
        hosts = hosts.max(given.hosts);
    }
    assert_eq!(hosts, FILES * EACH);

    scene.put(
        "rules/9.yaml",
        &file(9)
            .replace(&routes("vs-9-499", last, &to("orders.example")), &routes("vs-9-499", last, &to("users.example"))),
    );
    scene.leads(last, "outbound|80||users.example", 2).await;
    scene.leads("vs-9-498.test", "outbound|80||orders.example", 1).await;
    let changed = tokio::time::timeout(LIMIT, scene.given.recv()).await.expect("routes come").unwrap();
    assert_eq!((changed.kind, changed.hosts), (Kind::Route, FILES * EACH), "{changed:?}");
    eprintln!("{} VirtualServices: routes of {} bytes", FILES * EACH, changed.bytes);
    assert!(scene.given.try_recv().is_err(), "nothing but routes");
}

/// What `portolan routes` prints: each step of a request's way, and the resource that it comes from.
#[tokio::test]
async fn a_request_is_followed_from_listener_to_clusters() {
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: orders }\nspec: { host: orders.example, subsets: [{ name: v1, labels: { version: v1 } }] }\n";
    let http = "{ match: [{ uri: { prefix: /api }, headers: { x-gray: { exact: 'yes' } } }], name: gray, timeout: 3s, route: [{ destination: { host: orders.example, subset: v1 }, weight: 90 }, { destination: { host: users.example }, weight: 10 }] }";
    let shop = routes("shop", "'*.shop.test'", &format!("{http}, {}", to("users.example"))) + rule;
    let scene = Scene::start(&[("shop.yaml", &shop)]).await;
    scene.leads("x.shop.test", "outbound|80||users.example", 2).await;
    let words = "routes x.shop.test:8080 /api/orders -H x-gray:yes --node test";
    let shown = command(&scene.portolan, words).await.unwrap();
    let lines: Vec<String> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "LISTENER 0.0.0.0_8080 0.0.0.0:8080",
        "route configuration http.8080",
        "virtual host *.shop.test:8080",
        "route gray",
        "of virtual-service portolan/shop",
        "gateway portolan/edge",
        "cluster outbound|80|v1|orders.example 90% 0 endpoints, by destination-rule portolan/orders",
        "cluster outbound|80||users.example 10% 2 endpoints",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected:?} in {shown}");
    }
    for (words, expected) in [("get listeners", "0.0.0.0_8080"), ("get routes", "http.8080")] {
        let shown = command(&scene.portolan, words).await.unwrap();
        assert!(shown.contains(expected), "{words}: {shown}");
    }
    let other = command(&scene.portolan, "routes x.shop.test:8080 /api/orders").await.unwrap();
    assert!(other.contains("outbound|80||users.example") && !other.contains("gray"), "{other}");
    let nobody = command(&scene.portolan, "routes elsewhere.test:8080").await.unwrap();
    assert!(nobody.contains("no virtual host has the host: 404"), "{nobody}");
    let unknown = command(&scene.portolan, "routes x.shop.test --node nobody").await.unwrap_err();
    assert!(unknown.contains("no client \"nobody\" is connected"), "{unknown}");
}
