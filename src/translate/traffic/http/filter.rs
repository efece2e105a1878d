//! Per-route settings of HTTP filters: faults and CORS.

use super::condition::string_matcher;
use crate::{
    pb::{
        envoy::{
            extensions::filters::{
                common::fault::v3::FaultDelay,
                http::{
                    cors::v3::CorsPolicy as Cors,
                    fault::v3::{FaultAbort, HttpFault, fault_abort::ErrorType},
                },
            },
            r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
        },
        google::protobuf::Any,
        istio::networking::v1alpha3::{
            CorsPolicy, HttpFaultInjection, HttpRoute, Percent,
            cors_policy::UnmatchedPreflights,
            http_fault_injection::{abort, delay::HttpDelayType},
        },
    },
    translate::traffic::{
        check::GRPC_CODES,
        message::{any, boolean, fraction, percent, whole_percent},
    },
};
use std::collections::BTreeMap;

/// The name of the filter that delays or aborts requests.
pub(super) const FAULT: &str = "envoy.filters.http.fault";

/// The name of the filter that answers preflight requests of browsers.
pub(super) const CORS: &str = "envoy.filters.http.cors";

/// `Route.typed_per_filter_config`: the settings by the name of the filter.
pub(super) fn of_route(route: &HttpRoute) -> BTreeMap<String, Any> {
    let mut filters = BTreeMap::new();
    if let Some(fault) = route.fault.as_ref().and_then(fault) {
        filters.insert(FAULT.to_owned(), any(&fault));
    }
    if let Some(policy) = &route.cors_policy {
        filters.insert(CORS.to_owned(), any(&cors(policy)));
    }
    filters
}

fn fault(fault: &HttpFaultInjection) -> Option<HttpFault> {
    let share = |share: &Percent| percent(share.value);
    let delay = fault.delay.as_ref().and_then(|delay| {
        let Some(HttpDelayType::FixedDelay(time)) = &delay.http_delay_type else { return None };
        let old = || whole_percent(u32::try_from(delay.percent).unwrap_or(0));
        let percentage = Some(delay.percentage.as_ref().map_or_else(old, share));
        Some(FaultDelay { fixed_delay: Some(*time), percentage })
    });
    let abort = fault.abort.as_ref().and_then(|abort| {
        let error_type = match abort.error_type.as_ref()? {
            abort::ErrorType::HttpStatus(status) => ErrorType::HttpStatus(u32::try_from(*status).ok()?),
            abort::ErrorType::GrpcStatus(name) => {
                ErrorType::GrpcStatus(u32::try_from(GRPC_CODES.iter().position(|code| code == name)?).ok()?)
            }
            abort::ErrorType::Http2Error(_) => return None,
        };
        Some(FaultAbort { percentage: abort.percentage.as_ref().map(share), error_type: Some(error_type) })
    });
    (delay.is_some() || abort.is_some()).then_some(HttpFault { delay, abort })
}

fn cors(policy: &CorsPolicy) -> Cors {
    let exact = |text: &String| StringMatcher {
        match_pattern: Some(MatchPattern::Exact(text.clone())),
        ..StringMatcher::default()
    };
    let origins = match policy.allow_origins.is_empty() {
        false => policy.allow_origins.iter().filter_map(string_matcher).collect(),
        true => policy.allow_origin.iter().map(exact).collect(),
    };
    Cors {
        allow_origin_string_match: origins,
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.as_ref().map(|age| age.seconds.to_string()).unwrap_or_default(),
        allow_credentials: policy.allow_credentials,
        filter_enabled: fraction(whole_percent(100)),
        forward_not_matching_preflights: boolean(policy.unmatched_preflights != UnmatchedPreflights::Ignore as i32),
    }
}
