//! A real Envoy reads all golden cases at once, from files instead of a server.

use super::{
    cases,
    support::{envoy::Envoy, until},
};
use portolan::{resource::Kind, translate::envoy::translate};
use prost_of_xds_api::{Message, Name};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use xds_api::pb::{
    envoy::{
        config::{
            cluster::v3::Cluster,
            core::v3::{ConfigSource, HealthStatus, PathConfigSource, address::Address, config_source},
            endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
        },
        service::discovery::v3::DiscoveryResponse,
    },
    google::protobuf::Any,
};

/// Everything that Envoy is given, under names that tell the cases apart.
#[derive(Default)]
struct Files {
    clusters: Vec<Cluster>,
    assignments: BTreeMap<String, ClusterLoadAssignment>,
}

impl Files {
    fn of_golden_cases(folder: &Path) -> Files {
        let mut files = Files::default();
        for (case, input) in cases() {
            let case = case.file_name().unwrap().to_str().unwrap().to_owned();
            for (kind, resource) in translate(&input.service(), &input.options()).0 {
                if kind == Kind::Endpoint {
                    let assignment = ClusterLoadAssignment::decode(resource.body()).unwrap();
                    files.assignments.insert(format!("{case}/{}", resource.name()), assignment);
                    continue;
                }
                let mut cluster = Cluster::decode(resource.body()).unwrap();
                cluster.alt_stat_name = format!("{case}_{}", files.clusters.len());
                cluster.name = format!("{case}/{}", cluster.name);
                if let Some(eds) = &mut cluster.eds_cluster_config {
                    eds.service_name = format!("{case}/{}", resource.refers_to().unwrap());
                    eds.eds_config = Some(from_file(&file_of(folder, &eds.service_name)));
                }
                files.clusters.push(cluster);
            }
        }
        files
    }

    fn write(&self, folder: &Path) {
        fs::write(folder.join("clusters.pb"), answer(&self.clusters)).unwrap();
        for (name, assignment) in &self.assignments {
            let assignment = ClusterLoadAssignment { cluster_name: name.clone(), ..assignment.clone() };
            fs::write(file_of(folder, name), answer(&[assignment])).unwrap();
        }
    }
}

fn file_of(folder: &Path, assignment: &str) -> String {
    folder.join(format!("{}.pb", assignment.replace(['/', '|'], "_"))).to_str().unwrap().to_owned()
}

fn from_file(path: &str) -> ConfigSource {
    let path = PathConfigSource { path: path.to_owned(), ..Default::default() };
    ConfigSource {
        resource_api_version: 2,
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::PathConfigSource(path)),
        ..Default::default()
    }
}

fn answer<M: Message + Name>(messages: &[M]) -> Vec<u8> {
    let any = |m: &M| Any { type_url: M::type_url(), value: m.encode_to_vec() };
    let resources = messages.iter().map(any).collect();
    DiscoveryResponse { version_info: "1".into(), resources, type_url: M::type_url(), ..Default::default() }
        .encode_to_vec()
}

fn bootstrap(folder: &Path) -> String {
    format!(
        r#"
node: {{ id: golden, cluster: golden }}
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 9901 }} }} }}
dynamic_resources:
  cds_config: {{ resource_api_version: V3, path_config_source: {{ path: "{}" }} }}
static_resources:
  listeners:
  - name: unused
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 10000 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.echo
        typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }}
"#,
        folder.join("clusters.pb").display()
    )
}

/// An endpoint as it was sent, in the same words as [`shown`] has it.
fn sent(group: &LocalityLbEndpoints, endpoint: &LbEndpoint) -> String {
    let Some(HostIdentifier::Endpoint(at)) = &endpoint.host_identifier else { panic!("no endpoint") };
    let place = match at.address.as_ref().unwrap().address.as_ref().unwrap() {
        Address::SocketAddress(socket) => format!("{} {:?}", socket.address, socket.port_specifier),
        Address::Pipe(pipe) => pipe.path.clone(),
        other => panic!("{other:?}"),
    };
    let locality = group.locality.as_ref().unwrap();
    // What is not known to be otherwise counts as healthy.
    let health = match HealthStatus::try_from(endpoint.health_status).unwrap() {
        HealthStatus::Unknown => HealthStatus::Healthy,
        other => other,
    };
    format!(
        "{place} weight {} {} priority {} in {}/{}/{}",
        endpoint.load_balancing_weight.unwrap().value,
        health.as_str_name(),
        group.priority,
        locality.region,
        locality.zone,
        locality.sub_zone
    )
}

/// An endpoint as Envoy's `/clusters` shows it.
fn shown(host: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let place = match &host["address"]["pipe"] {
        serde_json::Value::Null => {
            let socket = &host["address"]["socket_address"];
            format!("{} Some(PortValue({}))", text(&socket["address"]), socket["port_value"])
        }
        pipe => text(&pipe["path"]),
    };
    let locality = &host["locality"];
    format!(
        "{place} weight {} {} priority {} in {}/{}/{}",
        host["weight"],
        text(&host["health_status"]["eds_health_status"]),
        host["priority"].as_u64().unwrap_or(0),
        text(&locality["region"]),
        text(&locality["zone"]),
        text(&locality["sub_zone"])
    )
}

#[tokio::test]
async fn a_real_envoy_takes_every_golden_case_whole() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of_golden_cases(folder.path());
    files.write(folder.path());
    let Some(envoy) = Envoy::start_on(&bootstrap(folder.path())).await else { return };
    until("all clusters to be active", Duration::from_secs(60), async || {
        let active = envoy.stat("cluster_manager.active_clusters").await;
        let warming = envoy.stat("cluster_manager.warming_clusters").await;
        if (active, warming) == (Some(files.clusters.len() as u64), Some(0)) {
            return Ok(());
        }
        Err(format!("{active:?} active and {warming:?} warming of {}\n{}", files.clusters.len(), envoy.log()))
    })
    .await;
    assert_eq!(envoy.complaints().await, []);
    assert!(!envoy.log().contains("deprecated"), "{}", envoy.log());

    for cluster in files.clusters.iter().filter(|c| c.eds_cluster_config.is_some()) {
        let assignment = &files.assignments[&cluster.eds_cluster_config.as_ref().unwrap().service_name];
        let mut expected: Vec<String> =
            assignment.endpoints.iter().flat_map(|g| g.lb_endpoints.iter().map(|e| sent(g, e))).collect();
        let hosts = envoy.hosts(&cluster.name).await;
        let mut found: Vec<String> = hosts.as_array().into_iter().flatten().map(shown).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{}: {hosts:#}", cluster.name);
    }
}
