//! Other output settings that come to a share of nodes first: who has them, what halts that, and where people stop it.

use crate::{
    client::{ADS_DELTA, Delta, delta_request},
    support::until,
    world::{HEAD, LIMIT, World},
};
use portolan::{
    config::Sources,
    pb::{
        envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
        google::rpc::Status,
    },
    resource::Kind,
    scope::Share,
};
use prost_of_xds_api::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};
use tokio::{process::Command, task::JoinHandle};
use tonic::transport::{Channel, Endpoint};
use xds_api::pb::envoy::config::{cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment};

/// Clients of the fleet: as many as one connection may have streams.
const NODES: usize = 100;
/// The default of `envoy.connect_timeout` in seconds. This key stands for all output settings.
const OLD: i64 = 5;

const TWO: (&str, &[&str]) = ("orders.example", &["10.0.0.1:80", "10.0.0.2:80"]);
const THREE: (&str, &[&str]) = ("orders.example", &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);

/// What a node has been sent so far.
#[derive(Debug, Default)]
struct Seen {
    /// The timeout of its cluster, each time that it was sent.
    timeouts: Vec<i64>,
    instances: usize,
    answers: usize,
    lost: Vec<String>,
    ended: Option<String>,
}

/// Clients with the node ids `node-0`, `node-1` and so on.
struct Fleet {
    nodes: BTreeMap<String, Arc<Mutex<Seen>>>,
    /// All clients refuse clusters with this timeout (seconds); 0 refuses none.
    refused: Arc<AtomicI64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Fleet {
    async fn connect(world: &World) -> Fleet {
        let channel = Endpoint::from_shared(format!("http://{}", world.xds)).unwrap().connect().await.unwrap();
        let mut fleet = Fleet { nodes: BTreeMap::new(), refused: Arc::default(), tasks: Vec::new() };
        for number in 0..NODES {
            let (id, seen) = (format!("node-{number}"), Arc::<Mutex<Seen>>::default());
            fleet.nodes.insert(id.clone(), seen.clone());
            fleet.tasks.push(tokio::spawn(follow(channel.clone(), id, seen, fleet.refused.clone())));
        }
        fleet
    }

    /// Waits until those of a share have that timeout and all others the other one, and all have so many instances.
    async fn has(&self, share: f64, new: i64, old: i64, instances: usize) {
        let share = Share::new(share);
        until(&format!("{new} s for {share}, {old} s for all others, {instances} instances"), LIMIT, || async {
            let wrong: Vec<String> = self
                .nodes
                .iter()
                .filter_map(|(id, seen)| {
                    let (seen, wanted) = (seen.lock().unwrap(), if share.has(id) { new } else { old });
                    let is = (seen.timeouts.last().copied(), seen.instances) == (Some(wanted), instances);
                    (!is).then(|| format!("{id}: {wanted} wanted, {seen:?}"))
                })
                .collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong.into_iter().take(3).collect::<Vec<_>>()) }
        })
        .await;
    }

    /// What each has been sent in turn, without repetitions; nobody has lost anything.
    fn ways(&self) -> BTreeSet<Vec<i64>> {
        let way = |seen: &Arc<Mutex<Seen>>| {
            let seen = seen.lock().unwrap();
            assert_eq!((&seen.lost[..], &seen.ended), (&[][..], &None));
            let mut way = seen.timeouts.clone();
            way.dedup();
            way
        };
        self.nodes.values().map(way).collect()
    }

    fn answers(&self) -> usize {
        self.nodes.values().map(|seen| seen.lock().unwrap().answers).sum()
    }
}

/// Follows clusters and assignments as that node.
async fn follow(channel: Channel, id: String, seen: Arc<Mutex<Seen>>, refused: Arc<AtomicI64>) {
    let own = |mut request: DeltaDiscoveryRequest| {
        request.node.as_mut().unwrap().id = id.clone();
        request
    };
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    stream.request(own(delta_request(Kind::Cluster, &["*"], &[]))).await;
    stream.request(own(delta_request(Kind::Endpoint, &["*"], &[]))).await;
    loop {
        match stream.message().await {
            Ok(Some(answer)) => {
                let reply = seen.lock().unwrap().take(&answer, refused.load(Ordering::SeqCst));
                stream.request(own(reply)).await;
            }
            ended => return seen.lock().unwrap().ended = Some(format!("{ended:?}")),
        }
    }
}

impl Seen {
    /// Takes an answer in, or refuses it as a whole.
    fn take(&mut self, answer: &DeltaDiscoveryResponse, refused: i64) -> DeltaDiscoveryRequest {
        self.answers += 1;
        let kind = Kind::of(&answer.type_url).expect("a known type URL");
        let reply = DeltaDiscoveryRequest { response_nonce: answer.nonce.clone(), ..delta_request(kind, &[], &[]) };
        let bodies = answer.resources.iter().map(|resource| &*resource.resource.as_ref().expect("a body").value);
        for body in bodies {
            if kind == Kind::Endpoint {
                let assignment = ClusterLoadAssignment::decode(body).unwrap();
                self.instances = assignment.endpoints.iter().map(|group| group.lb_endpoints.len()).sum();
                continue;
            }
            let cluster = Cluster::decode(body).unwrap();
            let timeout = cluster.connect_timeout.map_or(0, |timeout| timeout.seconds);
            if timeout == refused {
                let message = format!("Error adding/updating cluster(s) {}: no such timeout", cluster.name);
                return DeltaDiscoveryRequest { error_detail: Some(Status { code: 3, message }), ..reply };
            }
            self.timeouts.push(timeout);
        }
        self.lost.extend(answer.removed_resources.clone());
        reply
    }
}

/// A Portolan that rolls out in steps of that length, with one service of two instances.
async fn world(wait: &str) -> World {
    world_that(wait, false).await
}

/// The same; `follow`: it follows its configuration.
async fn world_that(wait: &str, follow: bool) -> World {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(folder.path(), "a.yaml", &[TWO]);
    let path = folder.path().join("portolan.yaml");
    fs::write(&path, format!("{HEAD}{}", config(""))).unwrap();
    let settings = [String::from("xds.rollout.steps=[10%, 50%, 100%]"), format!("xds.rollout.wait={wait}")];
    let world = World::of(folder, Sources::new(Some(path)).with_settings(settings.into()), follow).await;
    world.serves(&[TWO]).await;
    world
}

fn config(more: &str) -> String {
    format!("registries: [{{ name: a, file: {{ path: a.yaml, poll: 100ms }} }}]\n{more}")
}

fn timeout(seconds: i64) -> String {
    config(&format!("envoy: {{ connect_timeout: {seconds}s }}\n"))
}

/// What `portolan rollout` prints, or its error.
async fn rollout(world: &World, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.arg("rollout").args(words).env("PORTOLAN_ADMIN", format!("http://{}", world.admin)).env("USER", "ann");
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Waits until the rollout has that state and share.
async fn stands(world: &World, state: &str, share: f64) -> serde_json::Value {
    until(&format!("a rollout that is {state} at {share}"), LIMIT, || async {
        let status = world.json("/api/v1/rollout").await;
        if status["state"] == state && status["share"] == share { Ok(status) } else { Err(status) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_come_to_a_share_of_nodes_first_and_who_has_them_keeps_them() {
    let world = world("1day").await;
    let fleet = Fleet::connect(&world).await;
    fleet.has(0.0, 9, OLD, 2).await;
    stands(&world, "none", 1.0).await;

    let answer = world.change(&timeout(9), "").await;
    assert_eq!(answer.changes, ["update envoy (in steps)"]);
    stands(&world, "running", 0.1).await;
    fleet.has(0.1, 9, OLD, 2).await;
    // Instances are followed by both.
    World::catalogue(world.folder.path(), "a.yaml", &[THREE]);
    fleet.has(0.1, 9, OLD, 3).await;
    let clients = world.json("/api/v1/clients?limit=1000").await;
    let views: BTreeMap<String, String> = clients["clients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|client| (client["node"]["id"].as_str().unwrap().into(), client["view"].as_str().unwrap().into()))
        .collect();
    let first = Share::new(0.1);
    let expected = |id: &String| if first.has(id) { "next:envoy" } else { "envoy" };
    assert_eq!(views, fleet.nodes.keys().map(|id| (id.clone(), expected(id).to_owned())).collect());
    assert!(world.json("/api/v1/resources/clusters?view=next:envoy").await.to_string().contains("9s"));
    assert_eq!(world.metric("portolan_rollout_share_ratios").await, 0.1);

    let shown = rollout(&world, &["continue", "--why", "looks well"]).await.unwrap();
    assert!(shown.contains("running") && shown.contains("50%"), "{shown}");
    fleet.has(0.5, 9, OLD, 3).await;
    // Another change that is none of settings does not begin anew.
    world.change(&format!("{}catalog: {{ debounce: 11ms }}\n", timeout(9)), "").await;
    stands(&world, "running", 0.5).await;
    rollout(&world, &["continue"]).await.unwrap();
    fleet.has(1.0, 9, OLD, 3).await;
    let before = fleet.answers();
    let shown = rollout(&world, &["continue"]).await.unwrap();
    assert!(shown.contains("none"), "{shown}");
    stands(&world, "none", 1.0).await;
    // Those who had it are sent nothing again: what they hear next is the next change.
    World::catalogue(world.folder.path(), "a.yaml", &[TWO]);
    fleet.has(1.0, 9, OLD, 2).await;
    assert_eq!(fleet.answers(), before + NODES);
    assert_eq!(fleet.ways(), [vec![OLD, 9]].into());
    let clients = world.json("/api/v1/clients?q=next").await;
    assert_eq!(clients["clients"].as_array().map(Vec::len), Some(0), "{clients}");

    let refused = rollout(&world, &["continue"]).await.unwrap_err();
    assert!(refused.contains("nothing is being rolled out"), "{refused}");
    let history = world.json("/api/v1/history").await.to_string();
    assert!(
        history.contains("rollout continue") && history.contains("looks well") && history.contains("ann"),
        "{history}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_halts_it_and_one_command_takes_it_back() {
    let world = world("1day").await;
    let fleet = Fleet::connect(&world).await;
    fleet.has(0.0, 9, OLD, 2).await;
    fleet.refused.store(9, Ordering::SeqCst);
    world.change(&timeout(9), "").await;
    let status = stands(&world, "halted", 0.1).await;
    assert!(status["next_at"].is_null(), "{status}");
    let refusal = &status["refusals"][0];
    assert_eq!(refusal["kind"], "clusters", "{status}");
    assert!(refusal["message"].as_str().unwrap().contains("no such timeout"), "{status}");
    assert!(Share::new(0.1).has(refusal["node"].as_str().unwrap()), "{status}");
    assert_eq!(world.metric("portolan_rollout_halted").await, 1.0);
    let ready = world.json("/ready").await;
    assert!(ready["ready"] == true && ready["rollout"].as_str().unwrap().contains("halted"), "{ready}");

    // Whoever refuses goes on with what it had, and hears of instances.
    World::catalogue(world.folder.path(), "a.yaml", &[THREE]);
    fleet.has(0.0, 9, OLD, 3).await;
    let shown = rollout(&world, &["abort", "--why", "no such timeout"]).await.unwrap();
    assert!(shown.contains("aborted"), "{shown}");
    stands(&world, "aborted", 0.0).await;
    assert!(rollout(&world, &["abort"]).await.unwrap_err().contains("taken back already"));
    // It stays so until the settings change, or somebody begins again.
    world.change(&format!("{}catalog: {{ debounce: 11ms }}\n", timeout(9)), "").await;
    stands(&world, "aborted", 0.0).await;
    World::catalogue(world.folder.path(), "a.yaml", &[TWO]);
    fleet.has(0.0, 9, OLD, 2).await;
    assert_eq!(fleet.ways(), [vec![OLD]].into());
    fleet.refused.store(0, Ordering::SeqCst);
    rollout(&world, &["continue"]).await.unwrap();
    fleet.has(0.1, 9, OLD, 2).await;
    stands(&world, "running", 0.1).await;

    // A configuration that has the former settings takes it back as well.
    world.change(&config(""), "").await;
    fleet.has(0.0, 9, OLD, 2).await;
    stands(&world, "none", 1.0).await;
    world.end().await;
}

/// Follows clusters as that node until it has one with that timeout, and refuses that without end.
async fn refuse(channel: Channel, id: String, timeout: i64) {
    let mut stream = Delta::open(channel, ADS_DELTA).await;
    let mut request = delta_request(Kind::Cluster, &["*"], &[]);
    request.node.as_mut().unwrap().id = id;
    stream.request(request).await;
    let mut seen = Seen::default();
    let refusal = loop {
        let answer = stream.message().await.unwrap().expect("an answer");
        let reply = DeltaDiscoveryRequest { node: None, ..seen.take(&answer, timeout) };
        if reply.error_detail.is_some() {
            break reply;
        }
        stream.request(reply).await;
    };
    loop {
        stream.request(refusal.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refuses_without_end_keeps_no_file_from_being_followed() {
    let world = world_that("1day", true).await;
    let channel = Endpoint::from_shared(format!("http://{}", world.xds)).unwrap().connect().await.unwrap();
    let first = Share::new(0.1);
    let node = (0..).map(|number| format!("node-{number}")).find(|id| first.has(id)).unwrap();
    let refusing = tokio::spawn(refuse(channel, node, 9));
    world.write(&timeout(9));
    stands(&world, "halted", 0.1).await;
    World::catalogue(world.folder.path(), "b.yaml", &[("stock.example", &["10.0.2.1:80"])]);
    world.write(&timeout(9).replace("[{", "[{ name: b, file: { path: b.yaml } }, {"));
    world.serves(&[TWO, ("stock.example", &["10.0.2.1:80"])]).await;
    assert!(!refusing.is_finished());
    refusing.abort();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_by_itself_while_nobody_refuses() {
    let world = world("1s").await;
    let fleet = Fleet::connect(&world).await;
    fleet.has(0.0, 9, OLD, 2).await;
    world.change(&timeout(9), "").await;
    fleet.has(1.0, 9, OLD, 2).await;
    stands(&world, "none", 1.0).await;
    assert_eq!(fleet.ways(), [vec![OLD, 9]].into());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_meanwhile_begins_anew_from_what_holds_for_all() {
    let folder = tempfile::tempdir().unwrap();
    World::catalogue(folder.path(), "a.yaml", &[TWO]);
    let path = folder.path().join("portolan.yaml");
    let steps = "rollout: { steps: [10%, 50%, 100%], wait: 1day }";
    let head = |more: &str| HEAD.replace("drain: 0s", &format!("drain: 0s, {more}"));
    fs::write(&path, format!("{}{}", head(steps), config(""))).unwrap();
    let world = World::of(folder, Sources::new(Some(path.clone())), false).await;
    let fleet = Fleet::connect(&world).await;
    fleet.has(0.0, 9, OLD, 2).await;
    let change = async |head: String, seconds: i64| {
        World::replace(&path, &format!("{head}{}", timeout(seconds)));
        let answer = world.reload("").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    change(head(steps), 9).await;
    rollout(&world, &["continue"]).await.unwrap();
    fleet.has(0.5, 9, OLD, 2).await;
    change(head(steps), 7).await;
    // Those beyond the first step have again what all others have.
    fleet.has(0.1, 7, OLD, 2).await;
    let ways = [vec![OLD], vec![OLD, 9, OLD], vec![OLD, 9, 7]];
    assert_eq!(fleet.ways(), ways.into());
    // Without steps the configuration holds for all at once.
    change(HEAD.to_owned(), 7).await;
    fleet.has(1.0, 7, OLD, 2).await;
    stands(&world, "none", 1.0).await;
    assert_eq!(fleet.ways(), [vec![OLD, 7], vec![OLD, 9, OLD, 7], vec![OLD, 9, 7]].into());
    world.end().await;
}
