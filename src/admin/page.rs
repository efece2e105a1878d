//! The page at `/`: links to all other pages. The example in the documentation also uses it as the answer of a service.

use crate::telemetry::VERSION;

const LINKS: [(&str, &str); 21] = [
    ("/ready", "whether clients may be sent here, and why not"),
    ("/metrics", "metrics, as OpenMetrics text"),
    ("/api/v1/registries", "registries: state, age, cost, last error"),
    ("/api/v1/services", "services, published or not, with the reasons (?q= ?host= ?registry= ?reason= ?published=)"),
    ("/api/v1/rejected", "what is published and still not sent, because clients would refuse it"),
    ("/api/v1/manifests", "manifests: what of each is served, and what is wrong with it"),
    ("/api/v1/findings", "what of Istio's rules has no effect, or another one than is written"),
    ("/api/v1/gateways", "the gateways of the configuration, as Istio's own resources"),
    ("/api/v1/clients", "clients: what they have, what they refused (?q=)"),
    ("/api/v1/quarantine", "what clients refuse and are not sent, until it changes or is released"),
    ("/api/v1/calls", "who calls whom: what consumers that register themselves need (?application=)"),
    ("/api/v1/views", "views: who sees them, and what is in them"),
    ("/api/v1/resources/clusters", "clusters as they are sent (?q= ?name=)"),
    ("/api/v1/resources/endpoints", "endpoints as they are sent (?q= ?name=)"),
    ("/api/v1/resources/listeners", "listeners as they are sent (?q= ?name= ?view=)"),
    (
        "/api/v1/resources/routes",
        "routes as they are sent (?q= ?name= ?view=); /api/v1/route?host= says which one a request takes",
    ),
    ("/api/v1/config", "the configuration in force: its files, its hash, and what became of the last change"),
    ("/api/v1/rollout", "how far other output settings have come, and who refuses them"),
    ("/api/v1/history", "what was published when, and what has led to it (?since=10m ?host= ?limit=)"),
    ("/api/v1/overrides", "what is laid over what is published by hand: pins, drains, weights"),
    ("/api/v1/digests", "digests of everything, to compare replicas"),
];

pub(super) fn index() -> String {
    let links: String =
        LINKS.iter().map(|(path, what)| format!("<li><a href=\"{path}\">{path}</a>: {what}</li>\n")).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Portolan</title>\n<h1>Portolan {VERSION}</h1>\n<ul>\n{links}</ul>\n</html>\n"
    )
}
