//! Limits of requests, to services and to hosts of gateways.
//!
//! Envoy counts in buckets of the settings that a filter finds: those of a route would be a bucket for each route. So the buckets
//! stand in the configuration of routes, and routes and virtual hosts only say which of them a request is counted in.
//! The filter itself is in every listener and does nothing without them, so that a limit that comes, goes or changes drains no
//! connection.

use super::message::{any, boolean, fraction, number, time, whole_percent};
use crate::{
    model::Text,
    pb::{
        envoy::{
            config::{
                core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
                route::v3::{
                    RateLimit, RouteAction,
                    rate_limit::{
                        Action,
                        action::{ActionSpecifier, DestinationCluster, GenericKey},
                    },
                    route_action::ClusterSpecifier,
                },
            },
            extensions::{
                common::ratelimit::v3::{LocalRateLimitDescriptor, VhRateLimitsOptions, rate_limit_descriptor::Entry},
                filters::http::local_ratelimit::v3::LocalRateLimit,
            },
            r#type::v3::TokenBucket,
        },
        google::protobuf::Any,
    },
    resource::Name,
    translate::Limit,
};
use std::{collections::BTreeMap, time::Duration};

/// The name of the filter that counts requests.
pub(super) const FILTER: &str = "envoy.filters.http.local_ratelimit";

/// The key of the descriptor that Envoy makes of the cluster that was chosen.
const CLUSTER: &str = "destination_cluster";

/// A header of the answers to requests above a limit: the proxy has answered, not the service.
const HEADER: &str = "x-local-rate-limit";

/// The fill interval of the default bucket. Envoy wants those of all other buckets to be multiples of it.
const SECOND: Duration = Duration::from_secs(1);

/// What requests are counted together for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bucket {
    /// All requests for a host of a gateway.
    Host(String),
    /// All requests to a service, by whatever route.
    Service(Text),
    /// All requests to a cluster, on routes that divide requests between several services.
    Cluster(Name),
}

/// The buckets of a route configuration, with their limits.
pub(super) type Buckets = BTreeMap<Bucket, Limit>;

/// A port of a service that has a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) service: Text,
    pub(super) port: u32,
    pub(super) limit: Limit,
}

impl Bucket {
    fn entry(&self) -> Entry {
        let (key, value) = match self {
            Bucket::Host(host) => ("host", host.clone()),
            Bucket::Service(service) => ("service", service.to_string()),
            Bucket::Cluster(cluster) => (CLUSTER, cluster.to_string()),
        };
        Entry { key: key.to_owned(), value }
    }

    /// The entry of `rate_limits` of a route or virtual host, by which its requests are counted in this bucket.
    pub(super) fn counts(&self) -> RateLimit {
        let action = match self {
            Bucket::Cluster(_) => ActionSpecifier::DestinationCluster(DestinationCluster {}),
            Bucket::Host(_) | Bucket::Service(_) => {
                let Entry { key, value } = self.entry();
                ActionSpecifier::GenericKey(GenericKey { descriptor_key: key, descriptor_value: value })
            }
        };
        RateLimit { actions: vec![Action { action_specifier: Some(action) }] }
    }
}

/// Makes Envoy count a route's requests: for the service if all go to one, else for each cluster. `counted` gives the
/// limit of a cluster, by its name.
pub(super) fn count<'a>(action: &mut RouteAction, counted: impl Fn(&str) -> Option<&'a Counted>) -> Buckets {
    let names: Vec<&str> = match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![name],
        Some(ClusterSpecifier::WeightedClusters(of)) => of.clusters.iter().map(|of| of.name.as_str()).collect(),
        None => Vec::new(),
    };
    let service = |name: &&str| counted(name).map(|counted| &counted.service);
    let first = names.first().and_then(service);
    let is_one = names.iter().all(|name| service(name) == first);
    let bucket = |name: &&str| {
        let Counted { service, limit, .. } = counted(name)?;
        let bucket = if is_one { Bucket::Service(service.clone()) } else { Bucket::Cluster((*name).into()) };
        Some((bucket, *limit))
    };
    let buckets: Buckets = names.iter().filter_map(bucket).collect();
    // Which cluster it is Envoy asks itself.
    action.rate_limits = buckets.keys().take(1).map(Bucket::counts).collect();
    buckets
}

/// The filter's settings in a route configuration, with all buckets. `None`: there are no buckets.
pub(super) fn settings(buckets: &Buckets) -> Option<Any> {
    if buckets.is_empty() {
        return None;
    }
    let everybody = Limit { requests: u32::MAX, per: SECOND, burst: u32::MAX };
    let descriptors = buckets.iter().map(|(bucket, limit)| LocalRateLimitDescriptor {
        entries: vec![bucket.entry()],
        token_bucket: Some(tokens(limit)),
    });
    let header = HeaderValue { key: HEADER.to_owned(), value: "true".to_owned() };
    Some(any(&LocalRateLimit {
        token_bucket: Some(tokens(&everybody)),
        filter_enabled: fraction(whole_percent(100)),
        filter_enforced: fraction(whole_percent(100)),
        response_headers_to_add: vec![HeaderValueOption {
            header: Some(header),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
            ..HeaderValueOption::default()
        }],
        descriptors: descriptors.collect(),
        vh_rate_limits: VhRateLimitsOptions::Include.into(),
        always_consume_default_token_bucket: boolean(false),
        rate_limited_as_resource_exhausted: true,
        ..filter()
    }))
}

/// The filter's settings in a listener: without buckets, so that all requests pass.
pub(super) fn filter() -> LocalRateLimit {
    LocalRateLimit { stat_prefix: "rate_limit".to_owned(), ..LocalRateLimit::default() }
}

fn tokens(limit: &Limit) -> TokenBucket {
    TokenBucket {
        max_tokens: limit.burst,
        tokens_per_fill: number(limit.requests),
        fill_interval: Some(time(limit.per)),
    }
}
