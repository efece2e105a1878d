//! Listeners, routes and clusters of Istio's resources: the cases of `tests/istio-judge/cases`.

use crate::support::judge::report;
use std::path::Path;

fn folder(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/istio-judge").join(name).to_str().unwrap().to_owned()
}

/// The cases say what Istio does: what its own generators make of them decides every call as is written there.
#[tokio::test]
async fn istios_generators_decide_as_the_cases_say() {
    let Some((good, text)) = report(&["traffic", "expect", "--cases", &folder("cases")]).await else { return };
    assert!(good, "{text}");
    let summary = text.lines().find(|line| line.contains(" written calls")).unwrap_or_else(|| panic!("{text}"));
    let cases: usize = summary.split_whitespace().next().unwrap().parse().unwrap();
    assert!(cases >= 150, "{summary}");
}
