//! What DestinationRules need to know of the place and labels of a proxy.

use crate::{
    model::{Locality, Text},
    pb::istio::networking::v1alpha3::{DestinationRule, LoadBalancerSettings, OutlierDetection},
};
use std::collections::BTreeSet;

/// The places and labels by which DestinationRules tell proxies apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The places in `from` of `distribute` and `failover`, with as many parts as are written there.
    pub places: BTreeSet<Locality>,
    /// The keys in `failoverPriority` without a value: the proxy's own value is compared with that of endpoints.
    pub keys: BTreeSet<Text>,
}

impl Asked {
    /// What these rules need to know. `None`: no rule looks at places. A place too many costs only a further view.
    pub(super) fn by<'a>(rules: impl Iterator<Item = &'a DestinationRule>) -> Option<Asked> {
        let mut asked = None;
        for (balancer, outlier) in rules.flat_map(settings) {
            let near = balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref());
            let is_off = near.and_then(|near| near.enabled.as_ref()).is_some_and(|enabled| !enabled.value);
            if is_off || near.is_none() && outlier.is_none() {
                continue;
            }
            let asked = asked.get_or_insert_with(Asked::default);
            if let Some(near) = near {
                let from =
                    near.distribute.iter().map(|rule| &rule.from).chain(near.failover.iter().map(|rule| &rule.from));
                asked.places.extend(from.map(|place| Locality::parse(place)));
                let keys = near.failover_priority.iter().filter(|label| !label.contains('='));
                asked.keys.extend(keys.map(|key| Text::from(&**key)));
            }
        }
        asked
    }
}

/// The load balancer and outlier settings of a rule: of the whole service, its ports, and its subsets.
fn settings(
    rule: &DestinationRule,
) -> impl Iterator<Item = (Option<&LoadBalancerSettings>, Option<&OutlierDetection>)> {
    let subsets = rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
    rule.traffic_policy.iter().chain(subsets).flat_map(|policy| {
        let ports = &policy.port_level_settings;
        let ports = ports.iter().map(|port| (port.load_balancer.as_ref(), port.outlier_detection.as_ref()));
        ports.chain([(policy.load_balancer.as_ref(), policy.outlier_detection.as_ref())])
    })
}
