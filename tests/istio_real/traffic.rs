//! Listeners, routes and clusters of Istio's resources: the cases of `tests/istio-judge/cases`, and random ones.

use crate::support::{judge::report, local::Local, netns, servers::script};
use std::path::Path;
use tempfile::TempDir;
use tokio::process::Command;

/// The seed of random cases; `PORTOLAN_JUDGE_SEED` sets another one. `tests/long/judge` goes through thousands.
const SEED: &str = "16";

/// Services and rules as the judge writes them: each case has namespaces of its own.
const CONFIG: &str = "
registries: [{ name: cases, file: { path: services.yaml } }]
istio: { namespace: '{namespace}' }
traffic: { path: traffic }
";

/// What a comparison came to.
#[derive(Debug, Default)]
struct Outcome {
    good: bool,
    text: String,
    cases: usize,
    written: usize,
    generated: usize,
    differences: usize,
}

impl Outcome {
    fn of(good: bool, text: String) -> Outcome {
        let summary = text.lines().find(|line| line.contains(" written calls")).unwrap_or_default().to_owned();
        let number = |before: &str| -> usize {
            let words = summary.split(before).next().unwrap_or_default();
            words.rsplit([' ', ',']).find(|word| !word.is_empty()).and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        let (written, generated, differences) =
            (number(" written calls"), number(" generated calls"), number(" differences"));
        Outcome { good, cases: number(" cases"), written, generated, differences, text }
    }
}

fn folder(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/istio-judge").join(name).to_str().unwrap().to_owned()
}

/// The product on the files of these cases. `None` without a judge.
async fn portolan(files: TempDir, cases: &[&str], config: &str) -> Option<Local> {
    let into = files.path().to_str().unwrap();
    let (good, text) = report(&[&["traffic", "write", "--into", into], cases].concat()).await?;
    assert!(good, "{text}");
    let portolan = Local::start_in(files, "", "", config).await;
    portolan.ready().await;
    Some(portolan)
}

/// The same files with Istio's generators and with the product, as each proxy of the cases. `None` without a judge.
async fn compare(cases: &[&str], config: &str) -> Option<Outcome> {
    let portolan = portolan(tempfile::tempdir().unwrap(), cases, config).await?;
    let (xds, admin, allowed) = (portolan.xds.to_string(), portolan.admin.to_string(), folder("allowed.yaml"));
    let words = ["traffic", "compare", "--redirected", "--portolan", &xds, "--admin", &admin, "--allowed", &allowed];
    let (good, text) = report(&[&words, cases].concat()).await?;
    Some(Outcome::of(good, text))
}

/// The cases say what Istio does: what its own generators make of them decides every call as is written there.
#[tokio::test]
async fn istios_generators_decide_as_the_cases_say() {
    let Some((good, text)) = report(&["traffic", "expect", "--cases", &folder("cases")]).await else { return };
    assert!(good, "{text}");
    let outcome = Outcome::of(good, text);
    assert!(outcome.cases >= 150, "{}", outcome.text);
}

#[tokio::test]
async fn the_same_files_mean_the_same_with_istio_and_without() {
    let Some(outcome) = compare(&["--cases", &folder("cases")], CONFIG).await else { return };
    assert!(outcome.good && outcome.differences == 0, "{}", outcome.text);
    let compared = (outcome.cases, outcome.written, outcome.generated);
    assert!(outcome.cases >= 150 && outcome.written >= 500 && outcome.generated >= 5_000, "{compared:?}");
}

#[tokio::test]
async fn random_files_mean_the_same_with_istio_and_without() {
    let seed = std::env::var("PORTOLAN_JUDGE_SEED").unwrap_or_else(|_| SEED.to_owned());
    println!("random cases of seed {seed}");
    let Some(outcome) = compare(&["--random", "36", "--seed", &seed], CONFIG).await else { return };
    assert!(outcome.good && outcome.differences == 0, "seed {seed}: {}", outcome.text);
    assert!(outcome.cases == 36 && outcome.generated >= 1_000, "{outcome:?}");
}

/// A comparison that cannot fail would show nothing: here routes that say nothing of retries have others than Istio's.
#[tokio::test]
async fn a_decision_that_differs_is_told_with_its_case_and_its_call() {
    let others = CONFIG.replace("path: traffic", "path: traffic, default_http_retry_policy: { attempts: 3 }");
    let cases = ["--cases", &folder("cases"), "--only", "a prefix"];
    let Some(outcome) = compare(&cases, CONFIG).await else { return };
    assert!(outcome.good && outcome.cases > 0, "{}", outcome.text);
    let Some(outcome) = compare(&cases, &others).await else { return };
    assert!(!outcome.good && outcome.differences > 0, "{}", outcome.text);
    assert!(outcome.text.contains("route.retry_policy.num_retries: Istio \"2\""), "{}", outcome.text);
}

/// What decides calls could be wrong itself: so a real Envoy makes those of some cases, on what Istio's generators give it and
/// on what the product gives it. `tests/long/judge` does it for all.
#[tokio::test]
async fn calls_through_a_real_envoy_come_to_what_is_decided_with_both() {
    let name = "traffic::calls_through_a_real_envoy_come_to_what_is_decided_with_both";
    if !netns::inside(name, &["envoy", "istio-judge"]).await {
        return;
    }
    // The endpoints of all cases are here.
    let added = Command::new("ip").args(["addr", "add", "10.0.0.1/8", "dev", "lo"]).status().await.unwrap();
    assert!(added.success());
    let output = Command::new(script("envoy")).output().await.unwrap();
    let envoy = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let all = folder("cases");
    for only in ["a prefix", "a redirect to", "weights"] {
        let (files, certificates) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = certificates.path().to_str().unwrap();
        let cases = ["--cases", &all, "--only", only, "--files", place];
        let words = ["traffic", "envoy", "--envoy", &envoy, "--most", "20"];
        let (good, text) = report(&[&words, &cases[..]].concat()).await.unwrap();
        let istio = Outcome::of(good, text);
        assert!(istio.good && istio.written > 0, "{only}: {}", istio.text);
        let portolan = portolan(files, &cases, CONFIG).await.unwrap();
        let xds = portolan.xds.to_string();
        let (good, text) = report(&[&words[..], &["--portolan", &xds], &cases].concat()).await.unwrap();
        let own = Outcome::of(good, text);
        assert!(own.good, "{only}: {}", own.text);
        assert_eq!(own.written, istio.written, "{only}: as many calls");
    }
}
