//! The tables of `get`: the columns of each kind of answer.

use super::arguments::What;
use crate::cli::table::{Table, items, text};
use serde_json::Value;

/// Makes the table of a page. Its columns are at least as wide as those of former pages.
pub(super) type Columns = Box<dyn FnMut(&Value) -> String>;

/// The table for a kind of answer.
pub(super) fn of(what: What) -> Columns {
    match what {
        What::Services => table(["HOST", "PORTS", "SERVING", "FROM", "NOTES"], services),
        What::Endpoints => table(["CLUSTER", "ADDRESS", "HEALTH", "WEIGHT", "LOCALITY", "PRIORITY"], endpoints),
        What::Clusters => table(["NAME", "TYPE", "ENDPOINTS OF", "VERSION"], clusters),
        What::Listeners => table(["NAME", "ADDRESS", "CHAINS", "ROUTES", "VERSION"], listeners),
        What::Routes => table(["NAME", "VIRTUAL HOST", "DOMAINS", "ROUTES", "VERSION"], routes),
        What::Findings => table(["RESOURCE", "PLACE", "CODE", "TEXT"], findings),
        What::Serviceentries => table(["NAME", "HOSTS", "ADDRESSES", "PORTS", "ENDPOINTS", "VERSION"], entries),
        What::Views => table(["KEY", "CLIENTS", "IDLE", "GENERATION", "READINESS", "RESOURCES"], views),
        What::Registries => {
            table(["NAME", "KIND", "STATE", "AGE", "SERVICES", "ENDPOINTS", "HELD BACK", "LAST ERROR"], registries)
        }
        What::Clients => table(
            [
                "NODE",
                "CLUSTER",
                "PEER",
                "IDENTITY",
                "AGENT",
                "VARIANT",
                "VIEW",
                "TYPE",
                "ACKNOWLEDGED",
                "WITHHELD",
                "REFUSED",
            ],
            clients,
        ),
        What::Calls => table(["APPLICATION", "NEEDS", "HOSTS", "GONE SINCE"], calls),
        What::Quarantine => {
            table(["KIND", "NAME", "VERSION", "VIEW", "FROM", "STREAMS", "SINCE", "NODES", "MESSAGE"], quarantine)
        }
        What::Manifests => table(["REGISTRY", "NAMESPACE", "NAME", "STATE", "SERVED", "ERROR"], manifests),
        What::Digests => table(["KIND", "COUNT", "DIGEST"], digests),
    }
}

fn table<const N: usize>(head: [&str; N], fill: fn(&mut Table<N>, &Value)) -> Columns {
    let mut table = Table::new(head);
    Box::new(move |answer| {
        fill(&mut table, answer);
        table.take()
    })
}

/// The text, or the default if it is empty: protobuf's JSON has no fields at their default.
fn or(text: String, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text }
}

fn services(table: &mut Table<5>, answer: &Value) {
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
}

fn registries(table: &mut Table<8>, answer: &Value) {
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
}

/// The needs of applications; below them the notes on what is wrong, in the same columns.
fn calls(table: &mut Table<4>, answer: &Value) {
    for application in items(&answer["applications"]) {
        let name = text(&application["application"]);
        if application["everything"] == true {
            table.row([name.clone(), "(everything)".into(), String::new(), String::new()]);
        }
        for need in items(&application["needs"]) {
            table.row([name.clone(), text(&need["service"]), text(&need["hosts"]), text(&need["gone_since"])]);
        }
    }
    for note in items(&answer["notes"]) {
        table.row(["(note)".into(), text(&note["subject"]), text(&note["detail"]), String::new()]);
    }
}

/// Of several problems only the first is shown; `-o yaml` shows all.
fn manifests(table: &mut Table<6>, answer: &Value) {
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
}

fn clients(table: &mut Table<11>, answer: &Value) {
    for client in items(&answer["clients"]) {
        for kind in items(&client["types"]) {
            table.row([
                text(&client["node"]["id"]),
                text(&client["node"]["cluster"]),
                text(&client["peer"]),
                text(&client["identity"]),
                text(&client["node"]["agent"]),
                text(&client["variant"]),
                text(&client["view"]),
                text(&kind["type_url"]).rsplit('.').next().unwrap_or_default().to_owned(),
                text(&kind["acknowledged"]["version"]),
                items(&kind["withheld"]).iter().map(|of| text(&of["name"])).collect::<Vec<_>>().join(" "),
                text(&kind["refused"]["message"]),
            ]);
        }
    }
}

fn quarantine(table: &mut Table<9>, answer: &Value) {
    for entry in items(answer) {
        let from = if entry["for_all"] == true { "all" } else { "those who refuse it" };
        table.row([
            text(&entry["kind"]),
            text(&entry["name"]),
            text(&entry["version"]),
            text(&entry["view"]),
            from.into(),
            text(&entry["streams"]),
            text(&entry["since"]),
            items(&entry["nodes"]).iter().map(text).collect::<Vec<_>>().join(" "),
            text(&entry["message"]),
        ]);
    }
}

fn clusters(table: &mut Table<4>, answer: &Value) {
    for item in items(&answer["resources"]) {
        let (name, cluster) = (text(&item["name"]), &item["resource"]);
        let service = text(&cluster["edsClusterConfig"]["serviceName"]);
        table.row([
            name.clone(),
            or(text(&cluster["type"]), "STATIC"),
            if service.is_empty() { name } else { service },
            text(&item["version"]),
        ]);
    }
}

/// The column ROUTES has the names of the route configurations of all chains.
fn listeners(table: &mut Table<5>, answer: &Value) {
    for item in items(&answer["resources"]) {
        let listener = &item["resource"];
        let socket = &listener["address"]["socketAddress"];
        let address = socket["address"].as_str().map(|ip| format!("{ip}:{}", text(&socket["portValue"])));
        let chains = items(&listener["filterChains"]);
        let mut names: Vec<String> = Vec::new();
        let api = &listener["apiListener"]["apiListener"];
        let configs = chains.iter().flat_map(|chain| items(&chain["filters"])).map(|filter| &filter["typedConfig"]);
        for config in configs.chain([api]) {
            let name = text(&config["rds"]["routeConfigName"]);
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        let (name, version) = (text(&item["name"]), text(&item["version"]));
        table.row([name, address.unwrap_or_default(), chains.len().to_string(), names.join(" "), version]);
    }
}

fn routes(table: &mut Table<5>, answer: &Value) {
    for item in items(&answer["resources"]) {
        let hosts = items(&item["resource"]["virtualHosts"]);
        let (name, version) = (text(&item["name"]), text(&item["version"]));
        if hosts.is_empty() {
            table.row([name.clone(), "(none)".into(), String::new(), String::new(), version.clone()]);
        }
        for host in hosts {
            let count = items(&host["routes"]).len().to_string();
            table.row([name.clone(), text(&host["name"]), text(&host["domains"]), count, version.clone()]);
        }
    }
}

fn findings(table: &mut Table<4>, answer: &Value) {
    for finding in items(answer) {
        let resource = format!("{}/{}", text(&finding["kind"]), text(&finding["name"]));
        table.row([resource, text(&finding["place"]), text(&finding["code"]), text(&finding["text"])]);
    }
}

fn entries(table: &mut Table<6>, answer: &Value) {
    for item in items(&answer["resources"]) {
        let spec = &item["resource"]["spec"];
        let port = |p: &Value| format!("{}/{}", text(&p["number"]), text(&p["protocol"]));
        table.row([
            text(&item["name"]),
            text(&spec["hosts"]),
            text(&spec["addresses"]),
            items(&spec["ports"]).iter().map(port).collect::<Vec<_>>().join(" "),
            items(&spec["endpoints"]).len().to_string(),
            text(&item["version"]),
        ]);
    }
}

fn views(table: &mut Table<6>, answer: &Value) {
    for view in items(answer) {
        let idle = view["idle_seconds"].as_f64().map(|seconds| format!("{seconds:.0}s"));
        let counts = view["resources"].as_object().into_iter().flatten().filter(|(_, count)| **count != 0);
        let counts: Vec<String> = counts.map(|(kind, count)| format!("{kind}={}", text(count))).collect();
        table.row([
            text(&view["key"]),
            text(&view["clients"]),
            idle.unwrap_or_default(),
            text(&view["generation"]),
            text(&view["readiness"]),
            counts.join(" "),
        ]);
    }
}

fn endpoints(table: &mut Table<6>, answer: &Value) {
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
                        Some(ip) if ip.contains(':') => format!("[{ip}]:{}", text(&socket["portValue"])),
                        Some(host) => format!("{host}:{}", text(&socket["portValue"])),
                        None => text(&address["pipe"]["path"]),
                    },
                    or(text(&endpoint["healthStatus"]), "unknown").to_lowercase(),
                    text(&endpoint["loadBalancingWeight"]),
                    locality.trim_end_matches('/').to_owned(),
                    group["priority"].as_u64().unwrap_or(0).to_string(),
                ]);
            }
        }
    }
}

fn digests(table: &mut Table<3>, answer: &Value) {
    for (kind, digest) in answer.as_object().into_iter().flatten() {
        table.row([kind.clone(), text(&digest["count"]), text(&digest["digest"])]);
    }
}
