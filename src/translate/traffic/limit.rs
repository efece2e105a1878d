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

/// The filter that counts.
pub(super) const FILTER: &str = "envoy.filters.http.local_ratelimit";

/// The words that Envoy gives to the cluster that was chosen.
const CLUSTER: &str = "destination_cluster";

/// What says that a proxy has answered, and not the service.
const HEADER: &str = "x-local-rate-limit";

/// Envoy wants times to be multiples of that of the bucket for all others.
const SECOND: Duration = Duration::from_secs(1);

/// Where a request is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bucket {
    /// Of a host of a gateway.
    Host(String),
    /// Of a service, whatever leads to it.
    Service(Text),
    /// Of a cluster, on routes that divide requests between several services.
    Cluster(Name),
}

/// Buckets, with what comes into them.
pub(super) type Buckets = BTreeMap<Bucket, Limit>;

/// A destination whose requests are counted.
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

    /// What says that a request is counted in it.
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

/// Has a route's requests counted, for the service to which all of them go, else for each cluster. `counted` knows clusters.
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

/// The settings that hold the buckets; `None`: there are none.
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

/// The filter's own settings, by which everything passes.
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
