//! How an Envoy proves who it is and knows Portolan: certificates from files or from SPIRE's agent, and a token from a file.
//!
//! Envoy takes new files only where its secret discovery names them. These documents are written into a folder beside the
//! bootstrap; what they name may be replaced while Envoy runs.

use super::text::quoted;
use clap::Args;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

#[derive(Debug, Args, Default)]
pub(super) struct Secure {
    /// The authority of Portolan's certificate, a file in PEM: Envoy connects by TLS
    #[arg(long, value_name = "FILE", conflicts_with = "spire")]
    tls_ca: Option<PathBuf>,
    /// The name in Portolan's certificate: one of DNS, or a SPIFFE id; without it, the host of --xds
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// The certificate that Envoy shows, a file in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", requires = "tls_ca")]
    tls_cert: Option<PathBuf>,
    /// Its private key, a file in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The socket of SPIRE's agent, from which Envoy has certificate and authorities
    #[arg(long, value_name = "SOCKET", requires = "tls_name")]
    spire: Option<PathBuf>,
    /// A file with the token that Envoy sends; a new one is taken while it runs
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A folder for what Envoy reads to find these files: it is written there, and the bootstrap names it
    #[arg(long, value_name = "FOLDER")]
    sds: Option<PathBuf>,
}

/// Why there is no bootstrap.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum SecureError {
    #[error("name a folder with --sds: Envoy finds the files of certificates and tokens through documents in it")]
    NoFolder,
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The parts of a bootstrap, and the documents that it names.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) transport_socket: String,
    pub(super) upstream_filters: String,
    pub(super) clusters: String,
    documents: Vec<(PathBuf, String)>,
}

impl Secure {
    /// The parts of the bootstrap. `host` is where Envoy reaches Portolan: the name in the certificate, unless
    /// `--tls-name` says one.
    pub(super) fn parts(&self, host: &str) -> Result<Parts, SecureError> {
        let mut parts = Parts::default();
        let name = self.tls_name.as_deref().unwrap_or(host);
        if let Some(socket) = &self.spire {
            let source = |name: &str| format!("{{ name: {name}, sds_config: {SPIRE} }}");
            parts.transport_socket = transport_socket(name, &source("ROOTCA"), Some(&source("default")));
            parts.clusters = SPIRE_CLUSTER.replace("@SOCKET@", &path(socket));
        }
        if let Some(ca) = &self.tls_ca {
            let document = SECRET.replace("@NAME@", "portolan-authority").replace(
                "@SECRET@",
                &format!("validation_context:\n    trusted_ca: {{ filename: {} }}\n    {}", path(ca), watched(ca)),
            );
            let authority = self.document(&mut parts, "portolan-authority", document)?;
            let certificate = match (&self.tls_cert, &self.tls_key) {
                (Some(cert), Some(key)) => {
                    let secret = format!(
                        "tls_certificate:\n    certificate_chain: {{ filename: {} }}\n    private_key: {{ filename: {} }}\n    {}",
                        path(cert),
                        path(key),
                        watched(cert)
                    );
                    let document = SECRET.replace("@NAME@", "portolan-certificate").replace("@SECRET@", &secret);
                    Some(self.document(&mut parts, "portolan-certificate", document)?)
                }
                _ => None,
            };
            parts.transport_socket = transport_socket(name, &authority, certificate.as_deref());
        }
        if let Some(token) = &self.token_file {
            let secret = format!("generic_secret:\n    secret: {{ filename: {} }}", path(token));
            let document = SECRET.replace("@NAME@", "portolan-token").replace("@SECRET@", &secret);
            let source = self.document(&mut parts, "portolan-token", document)?;
            parts.upstream_filters = FILTERS.replace("@TOKEN@", &source);
        }
        Ok(parts)
    }

    /// Notes a document to be written, and returns the SDS source that names it.
    fn document(&self, parts: &mut Parts, name: &str, text: String) -> Result<String, SecureError> {
        let folder = self.sds.as_ref().ok_or(SecureError::NoFolder)?;
        let file = folder.join(format!("{name}.yaml"));
        let source = format!(
            "{{ name: {name}, sds_config: {{ resource_api_version: V3, path_config_source: {{ path: {} }} }} }}",
            path(&file)
        );
        parts.documents.push((file, text));
        Ok(source)
    }
}

impl Parts {
    /// Writes the documents into the folder of `--sds`.
    pub(super) fn write(&self) -> Result<(), SecureError> {
        for (path, text) in &self.documents {
            let folder = path.parent().unwrap_or(Path::new("."));
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
            written.map_err(|source| SecureError::Write { path: path.clone(), source })?;
        }
        Ok(())
    }
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// The folder that Envoy watches: it reads the files again when a file is moved there, as Kubernetes does it.
fn watched(file: &Path) -> String {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    format!("watched_directory: {{ path: {} }}", path(folder))
}

fn transport_socket(name: &str, authority: &str, certificate: Option<&str>) -> String {
    // An address is in no SNI.
    let (kind, sni) = match (name.starts_with("spiffe://"), name.parse::<std::net::IpAddr>().is_ok()) {
        (true, _) => ("URI", None),
        (_, true) => ("IP_ADDRESS", None),
        _ => ("DNS", Some(name)),
    };
    let sni = sni.map(|name| format!("        sni: {}\n", quoted(name))).unwrap_or_default();
    let certificate = certificate
        .map(|source| format!("          tls_certificate_sds_secret_configs:\n          - {source}\n"))
        .unwrap_or_default();
    SOCKET
        .replace("@SNI@", &sni)
        .replace("@CERTIFICATE@", &certificate)
        .replace("@KIND@", kind)
        .replace("@NAME@", &quoted(name))
        .replace("@AUTHORITY@", authority)
}

const SOCKET: &str = r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
@SNI@        common_tls_context:
          alpn_protocols: [h2]
@CERTIFICATE@          combined_validation_context:
            # Without a name, every certificate of the authority would pass for Portolan's.
            default_validation_context:
              match_typed_subject_alt_names:
              - { san_type: @KIND@, matcher: { exact: @NAME@ } }
            validation_context_sds_secret_config: @AUTHORITY@
"#;

const SECRET: &str = r#"# Read by Envoy, which looks at the files that this names again when they are replaced.
resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: @NAME@
  @SECRET@
"#;

const FILTERS: &str = r#"        http_filters:
        # The header `authorization`, with what is in the file of the token at that time.
        - name: envoy.filters.http.credential_injector
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
            overwrite: true
            credential:
              name: envoy.http.injected_credentials.generic
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic
                credential: @TOKEN@
                header_value_prefix: "Bearer "
        - name: envoy.filters.http.upstream_codec
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec
"#;

const SPIRE: &str = "{ resource_api_version: V3, api_config_source: { api_type: GRPC, transport_api_version: V3, \
                     grpc_services: [{ envoy_grpc: { cluster_name: spire } }] } }";

const SPIRE_CLUSTER: &str = r#"  - name: spire
    connect_timeout: 1s
    load_assignment:
      cluster_name: spire
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { pipe: { path: @SOCKET@ } } }
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
"#;
