//! `traffic:` and `gateways:`: Istio's rules for proxies. The keys of mesh settings are Istio's own, in our spelling.

use super::{
    bounds::DAY,
    limit,
    names::{each_named, read_name},
};
use crate::{
    model::{Port, Template, Text},
    pb::istio::networking::v1alpha3::HttpRetry,
    translate::{
        Limit,
        gateway::{Gateway, Tls},
        traffic::{AccessLog, LogFormat, Mesh, OutboundPolicy, PathNormalization},
    },
    util::{
        label::is_label,
        yaml::{Section, Value},
    },
    views,
};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// The settings of `traffic:`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Traffic {
    /// Files and folders with Istio's resources as YAML (`path`).
    pub paths: Vec<PathBuf>,
    /// The namespace of resources and proxies that name none (`namespace`). `None`: the default, `portolan`.
    pub namespace: Option<Text>,
    /// Istio's mesh configuration, as far as it has a meaning here (all other keys).
    pub mesh: Mesh,
}

impl Traffic {
    /// The namespace of resources and proxies that name none: `namespace`, or its default.
    pub fn namespace(&self) -> Text {
        self.namespace.clone().unwrap_or_else(|| views::Traffic::default().namespace)
    }

    /// Keys: `path` (one or several), `namespace`, and those of [`read_mesh`].
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        Some(Traffic {
            paths: section.get("path", |v| v.one_or_each(Value::path)).unwrap_or_default(),
            namespace: section.get("namespace", namespace),
            mesh: read_mesh(section),
        })
    }
}

fn read_mesh(section: &mut Section<'_>) -> Mesh {
    let default = Mesh::default();
    let policies = OutboundPolicy::ALL.map(|policy| (policy.name(), policy));
    let normalizations = PathNormalization::ALL.map(|normalization| (normalization.name(), normalization));
    let file = section.get("access_log_file", Value::string);
    let format = section.get("access_log_format", log_format);
    let access_log = file.map(|path| AccessLog { path: path.into(), format: format.unwrap_or_default() });
    Mesh {
        root_namespace: section.get("root_namespace", namespace).unwrap_or(default.root_namespace),
        domain_suffix: section.get("domain_suffix", Value::string).map(Text::from),
        default_retries: section.section("default_http_retry_policy", retries),
        outbound_policy: section.get("outbound_traffic_policy", |v| v.word(&policies)).unwrap_or_default(),
        path_normalization: section.get("path_normalization", |v| v.word(&normalizations)).unwrap_or_default(),
        trusted_proxies: section.get("num_trusted_proxies", |v| v.integer(0..=100)).unwrap_or_default(),
        proxy_protocol: section.get("proxy_protocol", Value::bool).unwrap_or_default(),
        access_log,
        connect_timeout: section
            .get("connect_timeout", |v| v.duration(Duration::from_millis(1)..=DAY / 144))
            .unwrap_or(default.connect_timeout),
        virtual_service_export_to: section
            .get("default_virtual_service_export_to", export_to)
            .unwrap_or(default.virtual_service_export_to),
        destination_rule_export_to: section
            .get("default_destination_rule_export_to", export_to)
            .unwrap_or(default.destination_rule_export_to),
        service_export_to: section.get("default_service_export_to", export_to).unwrap_or(default.service_export_to),
        h2_upgrade: section.get("h2_upgrade", Value::bool).unwrap_or_default(),
        proxy_http_port: section.get("proxy_http_port", port),
        limits: section.get("rate_limits", limits).unwrap_or_default(),
        server_name: section.get("server_name", Value::string).map(Text::from),
        system_authorities: section
            .get("system_authorities", Value::string)
            .map_or(default.system_authorities, Text::from),
    }
}

/// A list of limits, each with the key `hosts` besides its own. A host may be in one of them only.
fn limits(list: &Value<'_>) -> Option<BTreeMap<Text, Limit>> {
    let mut all = BTreeMap::new();
    let each = list.each(|v| {
        v.section(|section| {
            let hosts = section.need("hosts", |v| v.one_or_each(Value::string));
            let limit = limit::read(section);
            Some((section.value().clone(), hosts?, limit?))
        })
    })?;
    for (value, hosts, limit) in each {
        for host in hosts {
            if all.insert(Text::from(host.to_ascii_lowercase()), limit).is_some() {
                value.problem::<()>(format!("{host:?} has a limit already; keep one of them"));
            }
        }
    }
    Some(all)
}

fn port(value: &Value<'_>) -> Option<Port> {
    let number = value.integer(1..=65_535_i64)?;
    value.check(Port::new(number))
}

fn namespace(value: &Value<'_>) -> Option<Text> {
    let text = value.string()?;
    match is_label(&text) {
        true => Some(text.into()),
        false => {
            value.problem(format!("{text:?} is no namespace: 1 to 63 of a-z, 0-9 and '-', the latter inside only"))
        }
    }
}

fn export_to(value: &Value<'_>) -> Option<Vec<Text>> {
    value.one_or_each(|v| {
        let who = v.string()?;
        match matches!(&*who, "*" | "." | "~") || is_label(&who) {
            true => Some(who.into()),
            false => v.problem(format!("{who:?} is no namespace, `.` (the resource's own), `*` (all) or `~` (none)")),
        }
    })
}

/// Keys: `attempts` (0 to 100), `per_try_timeout` and `retry_on`.
fn retries(section: &mut Section<'_>) -> Option<HttpRetry> {
    let attempts = section.need("attempts", |v| v.integer(0..=100));
    let per_try_timeout = section.get("per_try_timeout", |v| v.duration(Duration::from_millis(1)..=DAY));
    let duration = |time: Duration| crate::pb::google::protobuf::Duration {
        seconds: time.as_secs().cast_signed(),
        nanos: time.subsec_nanos().cast_signed(),
    };
    Some(HttpRetry {
        attempts: attempts?,
        per_try_timeout: per_try_timeout.map(duration),
        retry_on: section.get("retry_on", Value::string).unwrap_or_default(),
        ..HttpRetry::default()
    })
}

/// The format of the access log: a text, or a mapping for lines of JSON.
fn log_format(value: &Value<'_>) -> Option<LogFormat> {
    match value.is_map() {
        true => value.texts().map(LogFormat::Json),
        false => value.string().map(|text| LogFormat::Text(text.into())),
    }
}

/// Reads the list `gateways:`. Two gateways for the same proxies must not have the same address.
pub(super) fn read_gateways(list: &Value<'_>) -> Option<Vec<Gateway>> {
    let gateways = each_named("gateway", list, gateway)?;
    for (place, gateway) in gateways.iter().enumerate() {
        let taken = |other: &Gateway| addresses(other).any(|a| addresses(gateway).any(|b| a == b));
        if let Some(other) = gateways[..place].iter().find(|other| other.selector == gateway.selector && taken(other)) {
            let (name, other) = (&gateway.name, &other.name);
            list.problem::<()>(format!(
                "the gateways {other:?} and {name:?} listen on one address; change one of them"
            ));
        }
    }
    Some(gateways)
}

fn addresses(gateway: &Gateway) -> impl Iterator<Item = SocketAddr> {
    [gateway.listen].into_iter().chain(gateway.tls.as_ref().and_then(|tls| tls.redirect))
}

/// Keys: `name`, `listen`, `selector`, `hosts` (true), `paths` (`/{service}`, or false) and `tls`.
fn gateway(section: &mut Section<'_>) -> Option<Gateway> {
    let name = section.need("name", |v| {
        let name = read_name(v)?;
        match is_label(&name) {
            true => Some(name),
            false => v.problem(format!("{name:?} is no label of DNS: a-z, 0-9 and '-', the latter inside only")),
        }
    });
    let listen = section.need("listen", listen);
    let selector = section.get("selector", Value::texts).unwrap_or_default();
    let hosts = section.get("hosts", Value::bool).unwrap_or(true);
    let paths = section.get("paths", paths).unwrap_or_else(|| Template::parse_of_host("/{service}").ok());
    if !hosts && paths.is_none() {
        section.value().problem::<()>("leads to no service: give it `hosts: true`, or `paths`");
    }
    Some(Gateway {
        selector: selector.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        hosts,
        paths,
        tls: section.section("tls", tls),
        name: name?,
        listen: listen?,
    })
}

fn listen(value: &Value<'_>) -> Option<SocketAddr> {
    let address = value.socket_address()?;
    match address.port() {
        0 => value.problem("needs a port: an Envoy takes none by itself"),
        _ => Some(address),
    }
}

/// A template of a path, or `false` for no paths.
#[expect(clippy::option_option, reason = "a mistake, no paths, and a template")]
fn paths(value: &Value<'_>) -> Option<Option<Template>> {
    if value.text().is_some_and(|text| text == "false") {
        return Some(None);
    }
    let text = value.string()?;
    let template = value.check(Template::parse_of_host(&text))?;
    if !text.starts_with('/') {
        return value.problem(format!("{text:?} is no path; begin it with '/'"));
    }
    match template.tells_services_apart() {
        true => Some(Some(template)),
        false => value.problem(format!("{text:?} gives all services one path; put {{service}} or {{host}} into it")),
    }
}

/// Keys: `certificate`, `key`, `ca` and `redirect`.
fn tls(section: &mut Section<'_>) -> Option<Tls> {
    let mut file = |key| section.get(key, Value::string).map(PathBuf::from);
    let (certificate, key, ca) = (file("certificate"), file("key"), file("ca"));
    for (name, given) in [("certificate", &certificate), ("key", &key)] {
        if given.is_none() {
            section.value().problem::<()>(format!("has no `{name}`; name the file on the machine of the proxy"));
        }
    }
    Some(Tls { ca, redirect: section.get("redirect", listen), certificate: certificate?, key: key? })
}
