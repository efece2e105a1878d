//! TLS that ends at the gateway and begins anew behind it, and bytes that are handed on as they are: by port, or by the name in
//! their handshake.

use super::{Gate, LIMIT, Ports, World};
use crate::support::{
    mesh,
    tls::{self, ONE, OTHER},
};
use std::path::Path;

/// The rules of all cases, with the certificates that the gateway shows to services.
pub fn routes(ways: &[(&str, Ports)], folder: &Path) -> String {
    ONE.write(folder);
    let path = |name: &str| folder.join(name).display().to_string();
    let mut text = format!(
        "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: secure }}
spec:
  host: secure-service.example
  trafficPolicy:
    tls:
      mode: MUTUAL
      sni: localhost
      subjectAltNames: [localhost]
      caCertificates: '{}'
      clientCertificate: '{}'
      privateKey: '{}'
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: secure }}
spec:
  hosts: [secure.test]
  gateways: [delta, sotw]
  http: [{{ route: [{{ destination: {{ host: secure-service.example }} }}] }}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: names }}
spec:
  hosts: ['*.sni.test']
  gateways: [delta, sotw]
  tls:
  - match: [{{ sniHosts: [one.sni.test] }}]
    route: [{{ destination: {{ host: one-service.example }} }}]
  - match: [{{ sniHosts: [two.sni.test] }}]
    route: [{{ destination: {{ host: two-service.example }} }}]
",
        path("ca.pem"),
        path("client.pem"),
        path("client.key"),
    );
    for (way, ports) in ways {
        text += &format!(
            "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: bytes-{way} }}
spec:
  hosts: ['bytes.test']
  gateways: [{way}]
  tcp:
  - match: [{{ port: {} }}]
    route: [{{ destination: {{ host: bytes-service.example }} }}]
",
            ports.tcp
        );
    }
    text
}

pub async fn end_their_tls_and_begin_another(world: &World) {
    for gate in &world.gates {
        let port = gate.ports.https;
        let expected = "secure /in secure.test";
        let answer = until_asked(gate, port, "secure.test", &mesh::text("shop.pem"), "secure.test", "/in").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(expected), "{}: {answer}", gate.way);
        // Not in plain bytes, and not for a name that no certificate is for.
        let plain = gate.envoy.ask(&format!("http://127.0.0.1:{port}/"), &[("host", "secure.test")]).await;
        assert_eq!(plain.0, 0, "{}: {plain:?}", gate.way);
        let other = ask(port, "elsewhere.test", &mesh::text("shop.pem"), "secure.test", "/").await;
        assert!(other.is_err(), "{}: {other:?}", gate.way);
    }
}

pub async fn are_handed_on_by_port_and_by_name(world: &World) {
    for gate in &world.gates {
        let url = format!("http://127.0.0.1:{}/x", gate.ports.tcp);
        gate.answers(&url, &[("host", "any.test")], (200, "bytes /x any.test")).await;
        // Each shows a certificate of its own, which no other could.
        for (name, authority, body) in [("one.sni.test", ONE.pem, "one /"), ("two.sni.test", OTHER.pem, "two /")] {
            let answer = until_asked(gate, gate.ports.sni, name, authority, name, "/").await;
            assert!(answer.contains(body), "{}: {answer}", gate.way);
        }
        let nobody = ask(gate.ports.sni, "three.sni.test", ONE.pem, "localhost", "/").await;
        assert!(nobody.is_err(), "{}: {nobody:?}", gate.way);
    }
}

async fn until_asked(gate: &Gate, port: u16, name: &str, authority: &str, host: &str, path: &str) -> String {
    gate.envoy.wait_until(&format!("TLS for {name}"), LIMIT, || ask(port, name, authority, host, path)).await
}

async fn ask(port: u16, name: &str, authority: &str, host: &str, path: &str) -> Result<String, String> {
    tls::ask(([127, 0, 0, 1], port).into(), name, authority, host, path).await
}
