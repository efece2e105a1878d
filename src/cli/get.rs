//! `get`: asks a running Portolan's admin HTTP, and shows the answer.

use super::table::Table;
use clap::{Args, ValueEnum};
use reqwest::Url;
use serde_json::Value;
use std::time::Duration;

/// For the whole answer, which may be large.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What is asked for
    what: What,
    /// Only this one: a host, alias or id for services, a part of the name for all others
    name: Option<String>,
    /// The admin address of a running Portolan: a URL, or a host with a port
    #[arg(long, env = "PORTOLAN_ADMIN", default_value = "http://127.0.0.1:8081", value_name = "URL", value_parser = address)]
    admin: Url,
    /// How the answer is shown
    #[arg(short, long, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Services, published or not, with the reasons
    Services,
    /// Endpoints, as they are sent
    Endpoints,
    /// Clusters, as they are sent
    Clusters,
    /// Registries: state, age, last error
    Registries,
    /// Clients, and what they took and refused
    Clients,
    /// Manifests: what of each is served, and what is wrong with it
    Manifests,
    /// Digests of everything, to compare replicas
    Digests,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Columns; one service by name is shown as YAML
    Table,
    /// The whole answer as YAML
    Yaml,
    /// The whole answer as JSON
    Json,
}

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nobody is there, or not whom we expect.
    #[error("no Portolan answers on {url}; start one, or name the admin address of another with --admin")]
    Ask {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    /// It says no.
    #[error("{url} answers {status}: {text}")]
    Refused { url: Url, status: u16, text: String },
    /// It says something else.
    #[error("{url} does not answer as Portolan does; check the address")]
    Format {
        url: Url,
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be shown as YAML.
    #[error("cannot write the answer as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
    /// There is nothing to wait with.
    #[error("cannot start")]
    Start(#[source] std::io::Error),
}

/// Asks, and gives the answer as it is to be shown.
pub(super) fn run(arguments: &Arguments) -> Result<String, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let mut answer = runtime.block_on(ask(url(arguments)))?;
    if let (What::Registries | What::Clients | What::Manifests, Some(name), Value::Array(items)) =
        (arguments.what, &arguments.name, &mut answer)
    {
        items.retain(|item| [&item["name"], &item["node"]["id"]].iter().any(|n| text(n).contains(name)));
    }
    show(arguments, &answer)
}

fn address(text: &str) -> Result<Url, String> {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    url.map_err(|error| format!("{error}; write it as http://127.0.0.1:8081"))
}

fn url(Arguments { what, name, admin, .. }: &Arguments) -> Url {
    let mut url = admin.clone();
    let path = match what {
        What::Services => "api/v1/services",
        What::Endpoints => "api/v1/resources/endpoints",
        What::Clusters => "api/v1/resources/clusters",
        What::Registries => "api/v1/registries",
        What::Clients => "api/v1/clients",
        What::Manifests => "api/v1/manifests",
        What::Digests => "api/v1/digests",
    };
    let base = admin.path().trim_end_matches('/');
    match (what, name) {
        (What::Services, Some(name)) => url.set_path(&format!("{base}/{path}/{name}")),
        _ => url.set_path(&format!("{base}/{path}")),
    }
    if let (What::Endpoints | What::Clusters, Some(name)) = (what, name) {
        url.query_pairs_mut().append_pair("q", name);
    }
    url
}

async fn ask(url: Url) -> Result<Value, Error> {
    let failed = |source: reqwest::Error| Error::Ask { url: url.clone(), source: source.without_url() };
    let client = crate::util::tls::http_client().timeout(TIMEOUT).build().map_err(failed)?;
    let answer = client.get(url.clone()).send().await.map_err(failed)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(failed)?;
    let value: Result<Value, _> = serde_json::from_slice(&body);
    if status.is_success() {
        return value.map_err(|source| Error::Format { url, source });
    }
    let text = value.ok().and_then(|v| v["error"].as_str().map(str::to_owned)).unwrap_or_else(|| "nothing more".into());
    Err(Error::Refused { url, status: status.as_u16(), text })
}

fn show(arguments: &Arguments, answer: &Value) -> Result<String, Error> {
    let single = arguments.what == What::Services && arguments.name.is_some();
    match arguments.output {
        Output::Json => Ok(format!("{answer:#}\n")),
        Output::Yaml => serde_saphyr::to_string(answer).map_err(Error::Yaml),
        Output::Table if single => serde_saphyr::to_string(answer).map_err(Error::Yaml),
        Output::Table => Ok(match arguments.what {
            What::Services => services(answer),
            What::Endpoints => endpoints(answer),
            What::Clusters => clusters(answer),
            What::Registries => registries(answer),
            What::Clients => clients(answer),
            What::Manifests => manifests(answer),
            What::Digests => digests(answer),
        }),
    }
}

/// A value as a cell: texts without quotes, nothing as nothing, lists with spaces.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn services(answer: &Value) -> String {
    let mut table = Table::new(["HOST", "PORTS", "SERVING", "FROM", "NOTES"]);
    for service in items(&answer["services"]) {
        let published = service["published"] == true;
        let port = |p: &Value| format!("{}/{}", text(&p["number"]), text(&p["protocol"]));
        let ports: Vec<String> = items(&service["ports"]).iter().map(port).collect();
        let mut notes: Vec<String> = items(&service["notes"]).iter().map(|n| text(&n["reason"])).collect();
        notes.dedup();
        let counts = &service["endpoints"];
        table.row([
            if published { text(&service["host"]) } else { "(not published)".into() },
            ports.join(" "),
            format!("{}/{}", text(&counts["serving"]), text(&counts["total"])),
            text(&service["sources"]),
            notes.join(" "),
        ]);
    }
    table.to_string()
}

fn registries(answer: &Value) -> String {
    let mut table = Table::new(["NAME", "KIND", "STATE", "AGE", "SERVICES", "ENDPOINTS", "HELD BACK", "LAST ERROR"]);
    for registry in items(answer) {
        let age = registry["age_seconds"].as_f64().map(|age| format!("{age:.0}s"));
        table.row([
            text(&registry["name"]),
            text(&registry["kind"]),
            text(&registry["state"]),
            age.unwrap_or_default(),
            text(&registry["services"]),
            text(&registry["endpoints"]),
            text(&registry["hold"]["endpoints"]),
            text(&registry["last_error"]["text"]),
        ]);
    }
    table.to_string()
}

/// Of several problems the first; the others are in the other forms of the answer.
fn manifests(answer: &Value) -> String {
    let mut table = Table::new(["REGISTRY", "NAMESPACE", "NAME", "STATE", "SERVED", "ERROR"]);
    for manifest in items(answer) {
        let error = text(&manifest["error"]);
        let (first, more) = error.split_once('\n').map_or((&*error, 0), |(first, rest)| (first, rest.lines().count()));
        let error = if more > 0 { format!("{first} (and {more} more)") } else { first.to_owned() };
        table.row([
            text(&manifest["registry"]),
            text(&manifest["namespace"]),
            text(&manifest["name"]),
            text(&manifest["state"]),
            items(&manifest["resources"]).len().to_string(),
            error,
        ]);
    }
    table.to_string()
}

fn clients(answer: &Value) -> String {
    let mut table = Table::new(["NODE", "CLUSTER", "PEER", "AGENT", "VARIANT", "TYPE", "ACKNOWLEDGED", "REFUSED"]);
    for client in items(answer) {
        for kind in items(&client["types"]) {
            table.row([
                text(&client["node"]["id"]),
                text(&client["node"]["cluster"]),
                text(&client["peer"]),
                text(&client["node"]["agent"]),
                text(&client["variant"]),
                text(&kind["type_url"]).rsplit('.').next().unwrap_or_default().to_owned(),
                text(&kind["acknowledged"]["version"]),
                text(&kind["refused"]["message"]),
            ]);
        }
    }
    table.to_string()
}

fn clusters(answer: &Value) -> String {
    let mut table = Table::new(["NAME", "TYPE", "ENDPOINTS OF", "VERSION"]);
    for item in items(&answer["resources"]) {
        let (name, cluster) = (text(&item["name"]), &item["resource"]);
        let service = text(&cluster["edsClusterConfig"]["serviceName"]);
        table.row([
            name.clone(),
            text(&cluster["type"]),
            if service.is_empty() { name } else { service },
            text(&item["version"]),
        ]);
    }
    table.to_string()
}

fn endpoints(answer: &Value) -> String {
    let mut table = Table::new(["CLUSTER", "ADDRESS", "HEALTH", "WEIGHT", "LOCALITY", "PRIORITY"]);
    for item in items(&answer["resources"]) {
        let groups = items(&item["resource"]["endpoints"]);
        if groups.is_empty() {
            table.row([
                text(&item["name"]),
                "(none)".into(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
        for group in groups {
            let locality = ["region", "zone", "subZone"].map(|part| text(&group["locality"][part])).join("/");
            for endpoint in items(&group["lbEndpoints"]) {
                let address = &endpoint["endpoint"]["address"];
                let socket = &address["socketAddress"];
                table.row([
                    text(&item["name"]),
                    match socket["address"].as_str() {
                        Some(ip) => format!("{ip}:{}", text(&socket["portValue"])),
                        None => text(&address["pipe"]["path"]),
                    },
                    text(&endpoint["healthStatus"]).to_lowercase(),
                    text(&endpoint["loadBalancingWeight"]),
                    locality.trim_end_matches('/').to_owned(),
                    group["priority"].as_u64().unwrap_or(0).to_string(),
                ]);
            }
        }
    }
    table.to_string()
}

fn digests(answer: &Value) -> String {
    let mut table = Table::new(["KIND", "COUNT", "DIGEST"]);
    for (kind, digest) in answer.as_object().into_iter().flatten() {
        table.row([kind.clone(), text(&digest["count"]), text(&digest["digest"])]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::Running;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// What is printed, or the error with its causes.
    async fn get(admin: &str, words: &str) -> Result<String, String> {
        let words = format!("get {words} --admin {admin}");
        tokio::task::spawn_blocking(move || {
            let line = Line::try_parse_from(words.split(' ')).map_err(|error| error.to_string())?;
            run(&line.arguments).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn every_kind_is_shown_in_columns() {
        let admin = Running::good().await;
        for (words, expected) in [
            (
                "services",
                "HOST             PORTS    SERVING  FROM                   NOTES\n\
                 orders.example   80/grpc  1/2      held/ns/g/orders       disabled\n\
                 users.example    80/grpc  0/0      held/ns/g/users        disabled\n\
                 (not published)  -        0/1      other/ns/g/secret-svc  excluded\n",
            ),
            (
                "endpoints example",
                "CLUSTER                      ADDRESS        HEALTH     WEIGHT  LOCALITY  PRIORITY\n\
                 outbound|80||orders.example  10.0.0.1:8080  healthy    100     r/z       0\n\
                 outbound|80||orders.example  10.0.0.2:8080  unhealthy  100     r/z       0\n\
                 outbound|80||users.example   (none)         -          -       -         -\n",
            ),
            (
                "clients",
                "NODE  CLUSTER  PEER             AGENT         VARIANT  TYPE     ACKNOWLEDGED  REFUSED\n\
                 n     c        127.0.0.1:40000  envoy 1.40.0  delta    Cluster  1             no such thing\n",
            ),
            ("clients somebody-else", "NODE  CLUSTER  PEER  AGENT  VARIANT  TYPE  ACKNOWLEDGED  REFUSED\n"),
        ] {
            assert_eq!(get(&admin.url, words).await.as_deref(), Ok(expected), "{words}");
        }
        let clusters = get(&admin.url, "clusters orders").await.unwrap();
        let lines: Vec<Vec<&str>> = clusters.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAME", "TYPE", "ENDPOINTS", "OF", "VERSION"]);
        assert_eq!(lines[1][..3], ["outbound|80||orders", "EDS", "outbound|80||orders.example"]);
        assert_eq!(lines.len(), 3);
        let registries = get(&admin.url, "registries").await.unwrap();
        assert!(registries.contains("held  nacos  synced"), "{registries}");
        let digests = get(&admin.url, "digests").await.unwrap();
        let counts: Vec<Vec<&str>> = digests.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
        assert!(counts.contains(&vec!["clusters", "4"]), "{digests}");
    }

    #[tokio::test]
    async fn the_whole_answer_is_shown_as_json_and_yaml() {
        let admin = Running::good().await;
        let json: Value = serde_json::from_str(&get(&admin.url, "services -o json").await.unwrap()).unwrap();
        assert_eq!(json["total"], 3);
        let yaml = get(&admin.url, "services orders.example").await.unwrap();
        assert!(yaml.contains("host: orders.example\n") && yaml.contains("instances:\n"), "{yaml}");
        assert_eq!(yaml, get(&admin.url, "services orders -o yaml").await.unwrap());
    }

    #[tokio::test]
    async fn the_address_may_be_a_host_with_a_port() {
        let admin = Running::good().await;
        let bare = admin.url.trim_start_matches("http://");
        assert_eq!(get(bare, "digests").await.unwrap(), get(&admin.url, "digests").await.unwrap());
        let refused = get("http://", "digests").await.unwrap_err();
        assert!(refused.contains("write it as http://127.0.0.1:8081"), "{refused}");
    }

    #[tokio::test]
    async fn whoever_does_not_answer_is_named_with_the_remedy() {
        let admin = Running::good().await;
        let refused = get(&admin.url, "services nobody").await.unwrap_err();
        assert!(refused.contains("answers 404: no service \"nobody\""), "{refused}");
        let other = get(&format!("{}/healthz?", admin.url), "services").await.unwrap_err();
        assert!(other.contains("404"), "{other}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = get(&format!("http://{free}"), "services").await.unwrap_err();
        assert!(nobody.contains(&free.to_string()) && nobody.contains("--admin"), "{nobody}");
    }
}
