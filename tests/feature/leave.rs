//! Nobody without leave gets one resource: random rules, identities, nodes and subscriptions against a model that is as plain
//! as it can be. The whole way, from the socket to the answer.

use crate::{
    client::{ADS_DELTA, DEADLINE, Delta, delta_request},
    support::{local::Local, until},
};
use portolan::{
    pb::{
        envoy::{config::core::v3::Node, service::discovery::v3::DeltaDiscoveryRequest},
        google::protobuf::{Struct, Value},
    },
    resource::Kind,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::timeout;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

/// Configurations that are tried, and clients of each.
const ROUNDS: u64 = 8;
const CLIENTS: u64 = 60;

const HOSTS: [&str; 6] = ["a0", "a1", "a2", "b0", "b1", "b2"];
const NAMES: [&str; 4] = ["team/a", "team/b", "ops/a", "ops"];
const PATTERNS: [&str; 6] = ["team/*", "*/a", "ops", "team/**", "*", "nobody"];

/// Numbers that look random, and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn some(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// A client, with all that rules look at.
#[derive(Debug, Clone)]
struct Who {
    /// The name that its token stands for; `None`: it comes by the listener that asks for none.
    name: Option<&'static str>,
    id: &'static str,
    team: &'static str,
}

/// What a rule asks for; all that is there must fit.
#[derive(Debug, Clone, Default)]
struct Condition {
    listener: Option<&'static str>,
    name: Option<&'static str>,
    id: Option<&'static str>,
    team: Option<&'static str>,
    elsewhere: bool,
}

#[derive(Debug, Clone)]
struct Rule {
    conditions: Vec<Condition>,
    registry: Option<&'static str>,
    hosts: BTreeSet<&'static str>,
}

#[derive(Debug, Clone)]
struct World {
    rules: Vec<Rule>,
    unmatched: Option<&'static str>,
}

impl Condition {
    fn random(random: &mut Random) -> Condition {
        let mut condition = Condition::default();
        // At least one.
        loop {
            if random.some() {
                condition.listener = Some(*random.one(&["tokens", "open"]));
            }
            if random.some() {
                condition.name = Some(*random.one(&PATTERNS));
            }
            if random.some() {
                condition.id = Some(*random.one(&["x-*", "y-1"]));
            }
            if random.some() {
                condition.team = Some(*random.one(&["red", "b*"]));
            }
            condition.elsewhere = random.below(8) == 0;
            if condition.yaml() != "{  }" {
                return condition;
            }
        }
    }

    fn yaml(&self) -> String {
        let mut keys = Vec::new();
        keys.extend(self.listener.map(|listener| format!("listener: {listener}")));
        keys.extend(self.name.map(|name| format!("name: '{name}'")));
        keys.extend(self.id.map(|id| format!("id: '{id}'")));
        keys.extend(self.team.map(|team| format!("metadata: {{ team: '{team}' }}")));
        keys.extend(self.elsewhere.then(|| "networks: 10.0.0.0/8".to_owned()));
        format!("{{ {} }}", keys.join(", "))
    }

    fn fits(&self, who: &Who) -> bool {
        let listener = if who.name.is_some() { "tokens" } else { "open" };
        let named = |pattern: &str| match (pattern, who.name) {
            (_, None) => false,
            ("team/*" | "team/**", Some(name)) => name.starts_with("team/"),
            ("*/a", Some(name)) => name.ends_with("/a"),
            ("*", Some(name)) => !name.contains('/'),
            (other, Some(name)) => other == name,
        };
        self.listener.is_none_or(|own| own == listener)
            && self.name.is_none_or(named)
            && self.id.is_none_or(|id| if id == "x-*" { who.id.starts_with("x-") } else { who.id == id })
            && self.team.is_none_or(|team| if team == "b*" { who.team.starts_with('b') } else { who.team == team })
            && !self.elsewhere
    }
}

impl World {
    fn random(random: &mut Random) -> World {
        let rule = |random: &mut Random| Rule {
            conditions: (0..1 + random.below(2)).map(|_| Condition::random(random)).collect(),
            registry: *random.one(&[None, Some("a"), Some("b")]),
            hosts: HOSTS.into_iter().filter(|_| random.some()).collect(),
        };
        World {
            rules: (0..1 + random.below(4)).map(|_| rule(random)).collect(),
            unmatched: *random.one(&[None, Some("all"), Some("none"), Some("refuse")]),
        }
    }

    fn xds(&self) -> String {
        let tokens: Vec<String> = NAMES.iter().map(|name| format!("{name}: {}", token(name))).collect();
        let unmatched = self.unmatched.map(|word| format!(", unmatched: {word}")).unwrap_or_default();
        format!(
            "listeners: [{{ name: tokens, listen: '127.0.0.1:0', tokens: {{ {} }} }}, {{ name: open, listen: '127.0.0.1:0' }}]{unmatched}",
            tokens.join(", ")
        )
    }

    /// The rest of the configuration. `mark` is an annotation by which it is known that this one is in force.
    fn rest(&self, mark: u64) -> String {
        let mut text =
            "registries:\n- { name: a, file: { path: a.yaml } }\n- { name: b, file: { path: b.yaml } }\nscopes:\n"
                .to_owned();
        for (at, rule) in self.rules.iter().enumerate() {
            let conditions: Vec<String> = rule.conditions.iter().map(Condition::yaml).collect();
            let registry = rule.registry.map(|name| format!("registries: {name}, ")).unwrap_or_default();
            let hosts: Vec<String> = rule.hosts.iter().map(|host| format!("{host}.example")).collect();
            // Nothing is not everything: a matcher that matches no service.
            let include = if hosts.is_empty() { "nothing-at-all".into() } else { hosts.join(", ") };
            text +=
                &format!("- {{ name: s{at}, match: [{}], {registry}include: [{include}] }}\n", conditions.join(", "));
        }
        text + &format!("istio: {{ annotations: {{ mark: '{mark}' }} }}\n")
    }

    /// The hosts that a client may see; `None`: it is refused.
    fn sees(&self, who: &Who) -> Option<BTreeSet<&'static str>> {
        let rule = self.rules.iter().find(|rule| rule.conditions.iter().any(|condition| condition.fits(who)));
        match (rule, self.unmatched) {
            (Some(rule), _) => {
                let has = |host: &&str| rule.registry.is_none_or(|registry| host.starts_with(registry));
                Some(rule.hosts.iter().copied().filter(has).collect())
            }
            (None, Some("all")) => Some(HOSTS.into()),
            (None, Some("none")) => Some(BTreeSet::new()),
            // Also where nothing is said, as one listener asks who clients are.
            (None, _) => None,
        }
    }
}

fn token(name: &str) -> String {
    format!("token-of-{}-0123456789", name.replace('/', "-"))
}

fn cluster(host: &str) -> String {
    format!("outbound|80||{host}.example")
}

fn clusters<'a>(hosts: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    hosts.map(cluster).collect()
}

/// Subscribes as a client that has `has`. Returns the resources of the first answer, and the names removed by it and by
/// later answers, until these are `gone`: absent names are told after the resources. `None` if the client is refused.
async fn asks(
    channel: Channel,
    who: &Who,
    kind: Kind,
    names: &[String],
    has: &[String],
    gone: usize,
) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let header = who.name.map(|name| format!("Bearer {}", token(name)));
    let header = header.as_deref().map(|value| ("authorization", value));
    let mut stream = Delta::try_open(channel, ADS_DELTA, header).await.unwrap();
    let team = Value { string_value: Some(who.team.into()), ..Value::default() };
    let metadata = Struct { fields: BTreeMap::from([("team".to_owned(), team)]).into_iter().collect() };
    let node = Node { id: who.id.into(), metadata: Some(metadata), ..Node::default() };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let initial_resource_versions = has.iter().map(|name| (name.clone(), "0123456789abcdef".to_owned())).collect();
    let first =
        DeltaDiscoveryRequest { node: Some(node), initial_resource_versions, ..delta_request(kind, &names, &[]) };
    stream.request(first).await;
    match timeout(DEADLINE, stream.message()).await.expect("nothing came in time") {
        Ok(Some(answer)) => {
            let resources = answer.resources.into_iter().map(|resource| resource.name).collect();
            let mut removed: BTreeSet<String> = answer.removed_resources.into_iter().collect();
            while removed.len() < gone {
                let more = timeout(DEADLINE, stream.message()).await.expect("what is gone was told in time");
                let more = more.unwrap().expect("the stream goes on");
                assert!(more.resources.is_empty(), "{:?}", more.resources);
                removed.extend(more.removed_resources);
            }
            Some((resources, removed))
        }
        Ok(None) => panic!("the stream has ended"),
        Err(status) => {
            assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "this client may not subscribe"));
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_without_leave_gets_one_resource() {
    let mut random = Random(15);
    let folder = tempfile::tempdir().unwrap();
    for registry in ["a", "b"] {
        let hosts = HOSTS.iter().filter(|host| host.starts_with(registry));
        let services = hosts.map(|host| format!("- {{ host: {host}.example, endpoints: ['10.0.0.1:80'] }}\n"));
        let text = format!("services:\n{}", services.collect::<String>());
        std::fs::write(folder.path().join(format!("{registry}.yaml")), text).unwrap();
    }
    let mut world = World::random(&mut random);
    let portolan = Local::start_in(folder, &world.xds(), "", &world.rest(0)).await;
    portolan.ready().await;
    let mut channels = BTreeMap::new();
    for listener in ["tokens", "open"] {
        let endpoint = Endpoint::from_shared(format!("http://{}", portolan.listener(listener))).unwrap();
        channels.insert(listener, endpoint.connect().await.unwrap());
    }
    for round in 0..ROUNDS {
        if round > 0 {
            world = World::random(&mut random);
            let before = portolan.json("/api/v1/config").await["hash"].clone();
            portolan.reconfigure_with(&world.xds(), &world.rest(round));
            until("the new rules", DEADLINE, async || {
                let config = portolan.json("/api/v1/config").await;
                if config["hash"] != before { Ok(()) } else { Err(config.to_string()) }
            })
            .await;
        }
        for _ in 0..CLIENTS {
            let name = if random.some() { Some(*random.one(&NAMES)) } else { None };
            #[allow(clippy::explicit_auto_deref, reason = "without it the type is not found")]
            let who = Who { name, id: *random.one(&["x-1", "y-1", "z"]), team: *random.one(&["red", "blue", ""]) };
            let listener = if name.is_some() { "tokens" } else { "open" };
            let wildcard = random.some();
            let asked: BTreeSet<&str> = HOSTS.into_iter().chain(["nobody"]).filter(|_| random.some()).collect();
            let kind = if wildcard || random.some() { Kind::Cluster } else { Kind::Endpoint };
            let names: Vec<String> = match wildcard {
                true => vec!["*".into()],
                false => asked.iter().map(|host| cluster(host)).collect(),
            };
            if names.is_empty() {
                continue;
            }
            // What it says to have from before, may it see that or not.
            let has: Vec<String> =
                if random.some() { asked.iter().map(|host| cluster(host)).collect() } else { Vec::new() };
            let context = format!("{who:?} asks for {kind:?} {names:?} with {has:?} in {world:#?}");
            let sees = world.sees(&who);
            let shown = |host: &&str| sees.as_ref().is_some_and(|sees| sees.contains(*host));
            // A name that is hidden is answered as one that nobody has: `nobody` is among them.
            let (resources, gone): (BTreeSet<String>, BTreeSet<String>) = match wildcard {
                true => (
                    clusters(HOSTS.into_iter().filter(shown)),
                    clusters(asked.iter().copied().filter(|host| !has.is_empty() && !shown(host))),
                ),
                false => (
                    clusters(asked.iter().copied().filter(shown)),
                    clusters(asked.iter().copied().filter(|host| !shown(host))),
                ),
            };
            let answer = asks(channels[listener].clone(), &who, kind, &names, &has, gone.len()).await;
            let expected = sees.is_some().then_some((resources, gone));
            assert_eq!(answer, expected, "{context}");
        }
    }
}
