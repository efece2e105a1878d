//! `rate_limit:`, how many requests a proxy lets through.

use super::bounds::DAY;
use crate::{
    translate::Limit,
    util::yaml::{Section, Value},
};
use std::time::Duration;

/// Keys: `requests`, `per` (1 s; whole seconds, up to a day) and `burst` (as many as `requests`).
pub(super) fn read(section: &mut Section<'_>) -> Option<Limit> {
    let count = |v: &Value<'_>| v.integer(1..=1_000_000_000_u32);
    let requests = section.need("requests", count);
    let per = section.get("per", |v| match v.duration(Duration::from_secs(1)..=DAY)? {
        per if per.subsec_nanos() == 0 => Some(per),
        _ => v.problem("must be whole seconds: 10 in 100ms are 100 in 1s"),
    });
    let burst = section.get("burst", |v| match (count(v)?, requests) {
        (burst, Some(requests)) if burst < requests => {
            v.problem(format!("must not be less than `requests`, which is {requests}: so many never came at once"))
        }
        (burst, _) => Some(burst),
    });
    let requests = requests?;
    Some(Limit { requests, per: per.unwrap_or(Duration::from_secs(1)), burst: burst.unwrap_or(requests) })
}
