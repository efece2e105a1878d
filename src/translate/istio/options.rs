//! How services become `ServiceEntry`s. The configuration makes these options.

use crate::model::{PublishedService, Template, Text};
use ipnet::{IpNet, Ipv4Net};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// The beginning of 2020, in seconds since 1970. Without a time Istiod assumes 1970.
const CREATED: i64 = 1_577_836_800;

/// 241.0.0.0/8, of a range (240.0.0.0/4) that nobody has; Istio itself uses 240.240.0.0/16 of that range.
const VIP: Ipv4Addr = Ipv4Addr::new(241, 0, 0, 0);

/// Everything that entries depend on besides their service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The rules of all registries that are not in `registries`.
    pub rules: Rules,
    /// The rules of registries that have their own, by the registry's name.
    pub registries: BTreeMap<Text, Rules>,
    /// When all entries were created, in seconds since 1970. Of two entries with one host Istiod prefers the older, so
    /// it must be the same on every replica and after every restart. The beginning of 2020 by default.
    pub create_time: i64,
    /// Where virtual addresses come from; 241.0.0.0/8 by default. Those who need one get one of each network.
    pub vip: Vec<IpNet>,
    /// Which entries have virtual addresses. Those that Istio cannot do without by default.
    pub addresses: Addresses,
    /// Whether an entry without endpoints has a label that says so. It has by default: see [`EMPTY`].
    pub mark_empty: bool,
}

/// The label of an entry without endpoints. Istio up to 1.29 finds the ports of an update that alters endpoints alone in
/// the *new* endpoints; where there are none it pushes nothing, and even new sidecars get the last address. A change of a
/// label makes it push the whole entry.
pub const EMPTY: (&str, &str) = ("portolan/endpoints", "none");

/// Which entries have virtual addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addresses {
    /// Entries of TCP and Dubbo 2, whose hosts Istio can tell apart only by addresses.
    #[default]
    Tcp,
    /// Entries of every protocol.
    All,
}

impl Addresses {
    /// Each once, in the order of their declaration.
    pub const ALL: [Addresses; 2] = [Addresses::Tcp, Addresses::All];

    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Addresses::Tcp => "tcp",
            Addresses::All => "all",
        }
    }
}

/// How the entries of a registry's services look. Templates know the service's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The entry's namespace. `portolan` by default.
    pub namespace: Template,
    /// The entry's name. The host by default.
    pub name: Template,
    /// Who sees it: namespaces, `.` for its own, `*` for all. Empty, the default, is what the mesh has as default.
    pub export_to: Vec<Text>,
    /// Whether the service is inside the mesh. Inside by default.
    pub location: Location,
    /// Which ports the entry has. The service's own by default.
    pub ports: Ports,
    /// Labels of the entry. What comes out empty is left out. Istiod pushes everything anew when one changes.
    pub labels: BTreeMap<Text, Template>,
    /// Annotations of the entry. A change of one costs nothing.
    pub annotations: BTreeMap<Text, Template>,
    /// Further labels and annotations of the entries of single hosts.
    pub hosts: BTreeMap<Text, HostTexts>,
    /// Templates of the names that a server's certificate may have; empty: nothing is said of names.
    pub subject_alt_names: Vec<Template>,
    /// Whether endpoints have their weights. They do by default.
    pub weights: bool,
    /// Which labels endpoints have. All that Istio takes by default.
    pub endpoint_labels: EndpointLabels,
    /// The template of each endpoint's `network`; it may read the endpoint's labels. `None`: no network.
    pub network: Option<Template>,
    /// The template of each endpoint's `serviceAccount`; it may read the endpoint's labels. `None`: no account.
    pub service_account: Option<Template>,
}

/// Further labels and annotations for the entries of one host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostTexts {
    /// They replace labels of [`Rules`] with the same keys.
    pub labels: BTreeMap<String, String>,
    /// They replace annotations of [`Rules`] with the same keys.
    pub annotations: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            rules: Rules::default(),
            registries: BTreeMap::new(),
            create_time: CREATED,
            vip: vec![Ipv4Net::new_assert(VIP, 8).into()],
            addresses: Addresses::default(),
            mark_empty: true,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        let template = |source| Template::parse_of_host(source).expect("the default templates are valid");
        Rules {
            namespace: template("portolan"),
            name: template("{host}"),
            export_to: Vec::new(),
            location: Location::default(),
            ports: Ports::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            hosts: BTreeMap::new(),
            subject_alt_names: Vec::new(),
            weights: true,
            endpoint_labels: EndpointLabels::default(),
            network: None,
            service_account: None,
        }
    }
}

impl Options {
    /// The rules for a service: those of its first source's registry.
    pub(super) fn rules(&self, service: &PublishedService) -> &Rules {
        let own = service.sources.first().and_then(|owner| self.registries.get(&owner.registry));
        own.unwrap_or(&self.rules)
    }
}

/// Whether a service is inside the mesh: `location` of its ServiceEntry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Location {
    /// `MESH_INTERNAL`: its instances are workloads of the mesh.
    #[default]
    Internal,
    /// `MESH_EXTERNAL`: its instances are outside the mesh.
    External,
}

impl Location {
    /// Each once, in the order of their declaration.
    pub const ALL: [Location; 2] = [Location::Internal, Location::External];

    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Location::Internal => "internal",
            Location::External => "external",
        }
    }
}

/// Which ports a ServiceEntry has besides the service's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ports {
    /// Only the port that clients ask for, whatever port instances listen on.
    #[default]
    Own,
    /// Also every port that an instance listens on; each leads to all instances. Istiod pushes everything anew when an
    /// instance brings a port that no other has. Those of the last instances stay while there are none.
    Instances,
}

impl Ports {
    /// Each once, in the order of their declaration.
    pub const ALL: [Ports; 2] = [Ports::Own, Ports::Instances];

    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Ports::Own => "own",
            Ports::Instances => "instances",
        }
    }
}

/// How the labels of an entry's endpoints are made from those of the registry's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndpointLabels {
    /// All labels that Istio takes, unchanged.
    #[default]
    Whole,
    /// As Slime's meshregistry makes them of instances in Eureka.
    Slime,
    /// As Slime makes them of what is in Nacos, whose cluster is no label to it.
    SlimeNacos,
    /// As Slime makes them of the parameters of Dubbo.
    SlimeDubbo,
}
