//! The pages with what there is: registries, services, clients, views and resources.

use super::*;

#[tokio::test]
async fn the_page_health_and_metrics_answer() {
    let admin = Running::good().await;
    let (status, page) = admin.get("/").await;
    assert_eq!(status, 200);
    assert!(page.contains(telemetry::VERSION) && page.contains("/api/v1/services"), "{page}");
    for link in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        // There is no configuration behind this one.
        let expected = if link == "/api/v1/config" { 404 } else { 200 };
        assert_eq!(admin.get(link).await.0, expected, "{link}");
    }
    assert_eq!(admin.get("/healthz").await, (StatusCode::OK, "ok\n".into()));
    assert!(admin.get("/metrics").await.1.ends_with("# EOF\n"));
    let (status, body) = admin.get("/nothing").await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, "{\"error\":\"no such page; / lists them\"}"));
}

#[tokio::test]
async fn views_are_shown_by_key_and_each_has_its_own() {
    let admin = Running::good().await;
    assert_eq!(
        admin.json("/api/v1/views").await,
        json!([{
            "key": "envoy", "clients": 1, "parts": 1, "idle_seconds": 1.5, "generation": 1, "readiness": "complete",
            "resources": { "clusters": 4, "endpoints": 2, "listeners": 0, "routes": 0, "secrets": 0 },
        }])
    );
    let total = async |path: &str| admin.json(path).await["total"].clone();
    assert_eq!(total("/api/v1/resources/clusters?view=envoy").await, 4);
    assert_eq!(total("/api/v1/resources/serviceentries").await, 2);
    assert_eq!(total("/api/v1/resources/serviceentries?view=istio&q=orders").await, 1);
    let keys = |digests: &Value| digests.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let all = admin.json("/api/v1/digests").await;
    assert_eq!(keys(&all), ["clusters", "endpoints", "listeners", "routes", "secrets", "serviceentries"]);
    assert_eq!(all["serviceentries"]["count"], 2);
    assert_eq!(keys(&admin.json("/api/v1/digests?view=istio").await), ["serviceentries"]);
    for (path, status, text) in [
        ("/api/v1/resources/clusters?view=edge", StatusCode::BAD_REQUEST, "envoy/SCOPE"),
        ("/api/v1/resources/clusters?view=envoy/edge", StatusCode::NOT_FOUND, "no view envoy/edge"),
        ("/api/v1/resources/clusters?view=istio", StatusCode::BAD_REQUEST, "a view of istio has no clusters"),
        ("/api/v1/digests?view=envoy/edge", StatusCode::NOT_FOUND, "/api/v1/views lists them"),
    ] {
        let (found, body) = admin.get(path).await;
        assert!(found == status && body.contains(text), "{path}: {found} {body}");
    }
}

#[tokio::test]
async fn registries_show_state_age_cost_error_and_hold() {
    let mut found = Running::good().await.json("/api/v1/registries").await;
    let age = found[0]["age_seconds"].take();
    assert!(age.as_f64().unwrap() > 1e9, "{age}");
    let cost = json!({ "requests": 2, "bytes": 1000, "duration_ms": 1.5 });
    assert_eq!(
        found,
        json!([{
            "name": "held", "kind": "nacos", "state": "synced",
            "heard_at": "1970-01-01T00:01:00.000Z", "age_seconds": null,
            "services": 2, "endpoints": 3,
            "scopes": [{ "scope": "ns", "listed_at": "1970-01-01T00:01:00.000Z", "error": null }],
            "last_error": null, "last_cost": cost, "total_cost": cost,
            "hold": { "cause": "drop", "since": "1970-01-01T00:01:00.000Z", "until": "1970-01-01T00:06:00.000Z", "endpoints": 50 },
        }])
    );
}

#[tokio::test]
async fn services_are_listed_with_those_that_are_not_published() {
    let admin = Running::good().await;
    let list = admin.json("/api/v1/services").await;
    assert_eq!((&list["total"], &list["sync"], &list["number"]), (&json!(3), &json!("complete"), &json!(7)));
    assert_eq!(
        list["services"][0],
        json!({
            "published": true, "host": "orders.example", "aliases": ["orders"], "sources": ["held/ns/g/orders"],
            "ports": [{ "name": "http", "number": 80, "protocol": "grpc", "host": "orders.example" }],
            "endpoints": { "total": 2, "serving": 1 }, "protected": false,
            "notes": [{ "reason": "disabled", "subject": "10.0.0.9:8080", "detail": "" }],
        })
    );
    assert_eq!(
        list["services"][2],
        json!({
            "published": false, "host": null, "aliases": [], "sources": ["other/ns/g/secret-svc"], "ports": [],
            "endpoints": { "total": 1, "serving": 0 }, "protected": false,
            "notes": [{ "reason": "excluded", "subject": "", "detail": "exclude[0]" }],
        })
    );
}

#[tokio::test]
async fn filters_restrict_lists_and_unknown_ones_are_refused() {
    let admin = Running::good().await;
    for (query, hosts) in [
        ("host=orders.example", vec!["orders.example"]),
        ("host=users", vec!["users.example"]),
        ("q=er", vec!["orders.example", "users.example"]),
        ("q=secret", vec![""]),
        ("registry=other", vec![""]),
        ("reason=excluded", vec![""]),
        ("published=true&offset=1&limit=5", vec!["users.example"]),
        ("limit=1", vec!["orders.example"]),
        ("host=nobody", vec![]),
    ] {
        let list = admin.json(&format!("/api/v1/services?{query}")).await;
        let found: Vec<&str> =
            list["services"].as_array().unwrap().iter().map(|s| s["host"].as_str().unwrap_or("")).collect();
        assert_eq!(found, hosts, "{query}");
    }
    for query in ["/api/v1/services?hots=a", "/api/v1/services?limit=-1", "/api/v1/resources/clusters?x=1"] {
        assert_eq!(admin.get(query).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn one_service_is_shown_whole_by_host_alias_or_id() {
    let admin = Running::good().await;
    let by_host = admin.json("/api/v1/services/orders.example").await;
    assert_eq!(by_host, admin.json("/api/v1/services/orders").await);
    assert_eq!(by_host, admin.json("/api/v1/services/held/ns/g/orders").await);
    assert_eq!(
        by_host["instances"][1],
        json!({
            "address": "10.0.0.2", "ports": { "http": 8080 }, "weight": 1.0, "health": "unhealthy",
            "locality": "r/z", "labels": { "version": "v1" }, "secure": false, "priority": 0,
        })
    );
    assert_eq!(by_host["records"][0]["id"], "held/ns/g/orders");
    assert_eq!(by_host["rejected"], admin.json("/api/v1/rejected").await);
    assert_eq!(by_host["rejected"][0]["code"], "twice");
    assert_eq!(admin.json("/api/v1/services/users").await["rejected"], json!([]));
    let unpublished = admin.json("/api/v1/services/other/ns/g/secret-svc").await;
    assert_eq!(unpublished["records"][0]["notes"][0]["reason"], "excluded");
    assert_eq!(admin.get("/api/v1/services/nobody").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn of_services_with_one_name_the_published_one_is_shown() {
    let stock = PublishedService { aliases: Vec::new(), ..published("stock", vec![endpoint(1, Health::Healthy)]) };
    let mut catalog = catalog(Readiness::Complete, Vec::new(), vec![stock]);
    let excluded = Record {
        service: Arc::new(Service::new(id("first", "stock"), Vec::new())),
        hosts: Vec::new(),
        notes: vec![Note::new(Reason::Excluded, "", "exclude[0]")],
    };
    catalog.records.insert(excluded.service.id.clone(), Arc::new(excluded));
    let admin = Running::start(catalog).await;
    let by_host = admin.json("/api/v1/services/stock.example").await;
    assert_eq!((&by_host["published"], &by_host["instances"][0]["address"]), (&json!(true), &json!("10.0.0.1")));
    assert_eq!(admin.json("/api/v1/services/stock").await, by_host);
    assert_eq!(admin.json("/api/v1/services/first/ns/g/stock").await["published"], false);
}

#[tokio::test]
async fn clients_show_what_they_took_and_refused() {
    let at = "1970-01-01T00:00:01.500Z";
    assert_eq!(
        Running::good().await.json("/api/v1/clients").await["clients"],
        json!([{
            "stream": 1, "peer": "127.0.0.1:40000", "listener": "default", "identity": null, "variant": "delta", "connected_at": at,
            "node": { "id": "n", "cluster": "c", "locality": "r/z", "agent": "envoy 1.40.0" },
            "view": "envoy",
            "why": "there are no scopes",
            "types": [{
                "type_url": Kind::Cluster.type_url(), "wildcard": true, "names": 0,
                "sent": { "version": "2", "nonce": "7", "at": at },
                "acknowledged": { "version": "1", "at": at },
                "refused": { "version": "2", "message": "no such thing", "at": at },
                "withheld": [{ "name": "x", "version": "3", "found": "named" }],
                "resources_sent": 3, "bytes_sent": 300,
            }],
        }])
    );
}

#[tokio::test]
async fn clients_come_in_pages_and_by_a_part_of_their_id() {
    let admin = Running::good().await;
    for (query, expected) in [
        ("", (1, 1, json!(null))),
        ("?q=n", (1, 1, json!(null))),
        ("?q=nobody", (0, 0, json!(null))),
        ("?offset=1", (1, 0, json!(null))),
        ("?continue=1", (1, 0, json!(null))),
    ] {
        let page = admin.json(&format!("/api/v1/clients{query}")).await;
        let shown = page["clients"].as_array().unwrap().len();
        assert_eq!((page["total"].as_u64().unwrap(), shown, page["continue"].clone()), expected, "{query}");
    }
    for query in ["?limit=0", "?continue=x", "?node=n"] {
        assert_eq!(admin.get(&format!("/api/v1/clients{query}")).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    let (_, index) = admin.get("/").await;
    assert!(index.contains("href=\"/api/v1/config\""), "{index}");
}

#[tokio::test]
async fn resources_are_shown_as_they_are_sent() {
    let admin = Running::good().await;
    let clusters = admin.json("/api/v1/resources/clusters?name=outbound|80||orders").await;
    assert_eq!(
        clusters["resources"][0]["resource"],
        json!({
            "name": "outbound|80||orders", "altStatName": "outbound_80__orders", "type": "EDS",
            "edsClusterConfig": {
                "edsConfig": { "ads": {}, "resourceApiVersion": "V3" }, "serviceName": "outbound|80||orders.example",
            },
            "connectTimeout": "5s", "lbPolicy": "LEAST_REQUEST",
            "commonLbConfig": { "healthyPanicThreshold": {} },
            "typedExtensionProtocolOptions": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicitHttpConfig": { "http2ProtocolOptions": {} },
                },
            },
        })
    );
    let endpoints = admin.json("/api/v1/resources/endpoints?q=orders").await;
    assert_eq!(endpoints["total"], 1);
    let group = &endpoints["resources"][0]["resource"]["endpoints"][0];
    assert_eq!(group["locality"], json!({ "region": "r", "zone": "z" }));
    assert_eq!(
        group["lbEndpoints"][1],
        json!({
            "endpoint": { "address": { "socketAddress": { "address": "10.0.0.2", "portValue": 8080 } } },
            "healthStatus": "UNHEALTHY",
            "loadBalancingWeight": 100,
            "metadata": { "filterMetadata": { "envoy.lb": { "version": "v1" } } },
        })
    );
    assert_eq!(admin.get("/api/v1/resources/pods").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn digests_are_equal_for_equal_content_only() {
    let [one, other] = [Running::good().await, Running::good().await];
    let digests = one.json("/api/v1/digests").await;
    assert_eq!(digests, other.json("/api/v1/digests").await);
    assert_eq!(digests["clusters"]["count"], 4);
    let less = Running::start(catalog(Readiness::Complete, Vec::new(), vec![published("orders", Vec::new())])).await;
    assert_ne!(digests["endpoints"], less.json("/api/v1/digests").await["endpoints"]);
}

#[tokio::test]
async fn a_drop_is_released_only_by_a_request_that_means_it() {
    let admin = Running::good().await;
    let send = |method: Method, registry: &str, content_type: Option<&str>| {
        let request = client().request(method, format!("{}/api/v1/registries/{registry}/release", admin.url));
        let request = content_type.into_iter().fold(request, |r, t| r.header("content-type", t));
        async move { request.send().await.unwrap().status() }
    };
    let json = Some("application/json");
    assert_eq!(send(Method::GET, "held", None).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(Method::POST, "held", None).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(send(Method::POST, "held", Some("text/plain")).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(send(Method::POST, "nobody", json).await, StatusCode::NOT_FOUND);
    assert!(admin.fake.released.lock().unwrap().is_empty());
    assert_eq!(send(Method::POST, "held", json).await, StatusCode::OK);
    assert_eq!(*admin.fake.released.lock().unwrap(), ["held"]);
}

#[tokio::test]
async fn ten_thousand_services_are_listed_at_once() {
    let endpoints: Vec<PublishedEndpoint> = (0..10).map(|i| endpoint(i, Health::Healthy)).collect();
    let services = (0..10_000).map(|i| published(&format!("svc-{i}"), endpoints.clone())).collect();
    let admin = Running::start(catalog(Readiness::Complete, Vec::new(), services)).await;
    for path in ["/api/v1/services", "/api/v1/resources/clusters", "/api/v1/resources/endpoints", "/metrics"] {
        // By the square of their number this would take minutes.
        assert_eq!(admin.get(path).await.0, 200, "{path}");
    }
}
