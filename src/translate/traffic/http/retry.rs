//! When a request is tried again.

use crate::{
    pb::{
        envoy::{
            config::route::v3::{
                RetryPolicy,
                retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority},
            },
            extensions::retry::{
                host::previous_hosts::v3::PreviousHostsPredicate,
                priority::previous_priorities::v3::PreviousPrioritiesConfig,
            },
        },
        istio::networking::v1alpha3::HttpRetry,
    },
    translate::traffic::{
        check::is_status,
        message::{any, number},
    },
};

/// The reasons for a retry where a rule names none. They are safe: no server has begun to work on the request.
const DEFAULT: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

const STATUS_CODES: &str = "retriable-status-codes";

/// The retry policy of a route: two retries if `retries` is `None`; no policy if it says `attempts: 0`. `hashed`: the
/// request decides the endpoint, so retries do not look for another one.
pub(super) fn policy(retries: Option<&HttpRetry>, hashed: bool) -> Option<RetryPolicy> {
    let mut policy = RetryPolicy {
        retry_on: DEFAULT.to_owned(),
        num_retries: number(2),
        retry_host_predicate: if hashed { Vec::new() } else { vec![other_hosts()] },
        host_selection_retry_max_attempts: 5,
        ..RetryPolicy::default()
    };
    let Some(retries) = retries else { return Some(policy) };
    policy.num_retries = number(u32::try_from(retries.attempts).ok().filter(|attempts| *attempts > 0)?);
    if !retries.retry_on.is_empty() {
        (policy.retry_on, policy.retriable_status_codes) = retry_on(&retries.retry_on);
    }
    policy.per_try_timeout.clone_from(&retries.per_try_timeout);
    if let Some(ignore) = &retries.retry_ignore_previous_hosts {
        policy.retry_host_predicate = if ignore.value { vec![other_hosts()] } else { Vec::new() };
    }
    if retries.retry_remote_localities.as_ref().is_some_and(|remote| remote.value) {
        policy.retry_priority = Some(RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            typed_config: Some(any(&PreviousPrioritiesConfig { update_frequency: 2 })),
        });
    }
    let back_off = |interval: &_| RetryBackOff { base_interval: Some(Clone::clone(interval)), max_interval: None };
    policy.retry_back_off = retries.backoff.as_ref().map(back_off);
    Some(policy)
}

fn other_hosts() -> RetryHostPredicate {
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        typed_config: Some(any(&PreviousHostsPredicate {})),
    }
}

/// Splits `retryOn` into Envoy's words and status codes.
fn retry_on(text: &str) -> (String, Vec<u32>) {
    let (mut words, mut codes) = (Vec::new(), Vec::new());
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse().ok().filter(|code| is_status(*code)) {
            Some(code) => codes.push(code),
            None => words.push(part),
        }
    }
    if !codes.is_empty() && !words.iter().any(|word| word.contains(STATUS_CODES)) {
        words.push(STATUS_CODES);
        // Istio writes a comma before it even where it is alone; Envoy reads both alike.
    }
    (words.join(","), codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_split_into_words_and_statuses() {
        for (text, words, codes) in [
            ("5xx", "5xx", &[][..]),
            ("503", "retriable-status-codes", &[503]),
            ("gateway-error, 503,502", "gateway-error,retriable-status-codes", &[503, 502]),
            ("retriable-status-codes,503", "retriable-status-codes", &[503]),
        ] {
            assert_eq!(retry_on(text), (words.to_owned(), codes.to_vec()), "{text}");
        }
    }

    #[test]
    fn two_retries_are_the_default_and_none_is_possible() {
        let default = policy(None, false).unwrap();
        assert_eq!((default.num_retries, default.retry_host_predicate.len()), (number(2), 1));
        assert_eq!(policy(None, true).unwrap().retry_host_predicate.len(), 0);
        assert_eq!(policy(Some(&HttpRetry::default()), false), None);
        let three = HttpRetry { attempts: 3, ..HttpRetry::default() };
        let three = policy(Some(&three), false).unwrap();
        assert_eq!((three.num_retries, &*three.retry_on), (number(3), DEFAULT));
    }
}
