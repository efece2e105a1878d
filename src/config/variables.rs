//! Values over the files': variables `PORTOLAN_SECTION__KEY`, and `--set KEY=VALUE` over these.
//!
//! A value is read as YAML, as if it stood behind its key in a file; what is no YAML is text. Two underscores in a
//! variable's name separate levels, because keys have single ones in them.

use crate::util::{
    suggest::suggest,
    yaml::{Document, Limits, Place, Problem, Step},
};

const PREFIX: &str = "PORTOLAN_";

/// Keys at the top of a configuration. A variable with a similar first word is taken for one that sets a key.
const TOP: [&str; 14] = [
    "version",
    "xds",
    "admin",
    "registries",
    "scopes",
    "envoy",
    "istio",
    "traffic",
    "gateways",
    "catalog",
    "calls",
    "state",
    "log",
    "csds",
];

/// Variables that the program reads in other ways; they set no key.
const OTHERS: [&str; 6] = ["CONFIG", "ADMIN", "ADMIN_TOKEN", "ADMIN_TOKEN_FILE", "ADMIN_CA", "LOG"];

/// Whether a variable is meant to set a key. An empty one is not, nor are those that Kubernetes sets for a service with
/// the name of this product.
pub(super) fn is_meant(name: &str, value: &str) -> bool {
    let Some(name) = name.strip_prefix(PREFIX) else { return false };
    if value.is_empty() || OTHERS.contains(&name) || is_kubernetes(name) {
        return false;
    }
    let first = name.split('_').next().unwrap_or_default().to_ascii_lowercase();
    name.contains("__") || suggest(&first, TOP).is_some()
}

/// Whether Kubernetes sets it: `X_SERVICE_HOST`, `X_SERVICE_PORT[_NAME]`, `X_PORT` or `X_PORT_80_TCP[_...]`.
fn is_kubernetes(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    let protocol = |word: &str| matches!(word, "TCP" | "UDP" | "SCTP");
    words.ends_with(&["SERVICE", "HOST"])
        || words.ends_with(&["PORT"])
        || words.windows(2).any(|pair| pair == ["SERVICE", "PORT"])
        || words.windows(3).any(|three| three[0] == "PORT" && number(three[1]) && protocol(three[2]))
}

/// The name of a `KEY=VALUE` in problems: `--set KEY`.
pub(super) fn name_of_setting(setting: &str) -> String {
    format!("--set {}", setting.split_once('=').map_or(setting, |(key, _)| key))
}

/// Sets the values in a document: first variables, then settings, which go before them.
pub(super) fn apply(
    document: &mut Document,
    variables: &[(String, String)],
    settings: &[String],
    problems: &mut Vec<Problem>,
) {
    for (name, value) in variables {
        match way_of_variable(name) {
            Ok(way) => set(document, &way, value, name, problems),
            Err(text) => problems.push(problem(name, text)),
        }
    }
    for setting in settings {
        let origin = name_of_setting(setting);
        let parsed = setting.split_once('=').ok_or_else(|| "write it as KEY=VALUE".to_owned());
        match parsed.and_then(|(key, value)| Ok((way_of_key(key)?, value))) {
            Ok((way, value)) => set(document, &way, value, &origin, problems),
            Err(text) => problems.push(problem(&origin, text)),
        }
    }
}

fn set(document: &mut Document, way: &[Step], value: &str, origin: &str, problems: &mut Vec<Problem>) {
    let parsed = Document::parse(origin, value.as_bytes(), &Limits::default());
    let value = parsed.unwrap_or_else(|_| Document::text(origin, value));
    problems.extend(document.set(way, value, origin).err());
}

fn problem(origin: &str, text: String) -> Problem {
    Problem { file: origin.into(), place: Place::default(), path: String::new(), text }
}

/// The path of a variable's key: `PORTOLAN_XDS__LISTEN` is `xds.listen`.
fn way_of_variable(name: &str) -> Result<Vec<Step>, String> {
    let lower = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase();
    let steps: Vec<&str> = lower.split("__").collect();
    if let [single] = steps.as_slice()
        && !TOP.contains(single)
    {
        let (first, rest) = single.split_once('_').unwrap_or((single, "key"));
        let top = suggest(first, TOP).unwrap_or(first);
        let meant = format!("{PREFIX}{}__{}", top, rest).to_ascii_uppercase();
        return Err(format!("no key; did you mean {meant}? Two underscores separate levels"));
    }
    if steps.iter().any(|step| step.is_empty()) {
        return Err("no key: a name is missing between, before or after two underscores".into());
    }
    Ok(steps.into_iter().map(|step| Step::Key(step.into())).collect())
}

/// The path of a key as it is written for `--set`: `registries[nacos].publish.port`.
fn way_of_key(key: &str) -> Result<Vec<Step>, String> {
    let refused = || format!("{key:?} is no key: write it as xds.listen, or as registries[NAME].publish.port");
    let (mut way, mut rest) = (Vec::new(), key);
    loop {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            return Err(refused());
        }
        way.push(Step::Key(name.into()));
        rest = after;
        while let Some(inside) = rest.strip_prefix('[') {
            let (name, after) = inside.split_once(']').filter(|(name, _)| !name.is_empty()).ok_or_else(refused)?;
            way.push(Step::Named(name.into()));
            rest = after;
        }
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(way),
            None => return Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::yaml::Resolver;
    use std::collections::BTreeSet;

    #[test]
    fn variables_of_others_are_left_alone_and_misspelt_ones_are_not() {
        let meant = |name: &str| is_meant(name, "value");
        for name in [
            "PORTOLAN_CONFIG",
            "PORTOLAN_LOG",
            "PORTOLAN_ADMIN",
            "PORTOLAN_ADMIN_TOKEN",
            "PORTOLAN_SERVICE_HOST",
            "PORTOLAN_SERVICE_PORT_GRPC_XDS",
            "PORTOLAN_PORT",
            "PORTOLAN_PORT_16010_TCP_ADDR",
            "PORTOLAN_XDS_SERVICE_PORT",
            "PORTOLAN_ADMIN_PORT_8081_TCP",
            "PORTOLAN_REAL_SERVERS",
            "PORTOLAN_SEED",
            "HOME",
        ] {
            assert!(!meant(name), "{name}");
        }
        for name in [
            "PORTOLAN_XDS__LISTEN",
            "PORTOLAN_XDS_LISTEN",
            "PORTOLAN_AMDIN_LISTEN",
            "PORTOLAN_STATE_DIR",
            "PORTOLAN_A__B",
        ] {
            assert!(meant(name), "{name}");
        }
        assert!(!is_meant("PORTOLAN_XDS__LISTEN", ""));
    }

    #[test]
    fn all_keys_at_the_top_are_known() {
        let problems = crate::config::parse("f.yaml", b"nothing-near: 1\nversion: 1", &Resolver::new(".")).unwrap_err();
        let known = problems.to_string().split_once("known here: ").unwrap().1.trim_end().to_owned();
        let known: BTreeSet<&str> = known.split(", ").collect();
        assert_eq!(known, BTreeSet::from(TOP), "{problems}");
    }

    #[test]
    fn names_and_keys_are_ways_or_say_what_was_meant() {
        let key = |text: &str| Step::Key(text.into());
        assert_eq!(
            way_of_variable("PORTOLAN_XDS__LIMITS__NAMES_PER_STREAM").unwrap(),
            ["xds", "limits", "names_per_stream"].map(key)
        );
        assert_eq!(way_of_variable("PORTOLAN_REGISTRIES").unwrap(), ["registries"].map(key));
        let way = [key("registries"), Step::Named("a.b".into()), key("file"), key("path")];
        assert_eq!(way_of_key("registries[a.b].file.path").unwrap(), way);
        for (name, meant) in
            [("XDS_LISTEN", "XDS__LISTEN"), ("AMDIN_LISTEN", "ADMIN__LISTEN"), ("STATE_DIR", "STATE__DIR")]
        {
            let error = way_of_variable(&format!("{PREFIX}{name}")).unwrap_err();
            assert!(error.contains(&format!("{PREFIX}{meant}?")), "{error}");
        }
        for wrong in ["", ".a", "a.", "a..b", "a[", "a[]", "a[b", "a[b]c"] {
            assert!(way_of_key(wrong).is_err(), "{wrong}");
        }
        assert!(way_of_variable("PORTOLAN_A____B").is_err());
    }
}
