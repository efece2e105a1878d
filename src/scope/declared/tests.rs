//! What nodes declare, as YAML that becomes a `google.protobuf.Struct`.

use super::*;
use prost_of_xds_api::Message;
use serde_json::{Value as Json, json};
use xds_api::pb::google::protobuf::{ListValue, Struct, Value as WireValue, value::Kind};

pub(crate) fn metadata(json: &Json) -> Metadata {
    let Some(Kind::StructValue(fields)) = value(json).kind else { panic!("a struct") };
    Metadata::read(&fields.encode_to_vec()).unwrap()
}

fn value(json: &Json) -> WireValue {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(yes) => Kind::BoolValue(*yes),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(key, json)| (key.clone(), value(json))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    WireValue { kind: Some(kind) }
}

fn read(json: Json) -> Read<Option<Wanted>> {
    Declared::default().read(&metadata(&json))
}

fn dependencies(list: Json) -> Json {
    json!({ "proxy_settings": { "outgoing": { "dependencies": list } } })
}

fn plain(names: &[&str]) -> Wanted {
    Wanted::new(names.iter().map(|name| (Text::from(*name), None)), None)
}

fn tagged(tags: &[&str], or_any: bool) -> Pick {
    let tags = tags.iter().map(|tag| Text::from(*tag)).collect();
    Some(Arc::new(Preference { label: TAGS.into(), tags, or_any }))
}

#[test]
fn names_are_read_in_both_forms_and_what_both_say_counts() {
    let own = json!({ "portolan": { "services": ["b.example", "a", "a"] } });
    assert_eq!(read(own), Ok(Some(plain(&["a", "b.example"]))));
    let theirs = dependencies(json!([
        { "service": "a" }, { "domain": "https://api.example:8443/x" }, { "domain": "http://plain.example" },
        { "domainPattern": "*.example.com" }, { "service": "b", "domain": " ", "handleInternalRedirect": true },
    ]));
    assert_eq!(read(theirs.clone()), Ok(Some(plain(&["a", "api.example", "b", "plain.example"]))));
    let mut both = theirs;
    both["portolan"] = json!({ "services": ["c"] });
    assert_eq!(read(both).unwrap().unwrap().len(), 5);
    for all in
        [dependencies(json!([{ "service": "*" }, { "service": "a" }])), json!({ "portolan": { "services": ["*"] } })]
    {
        assert_eq!(read(all), Ok(None), "everything");
    }
    for nothing in [json!({}), dependencies(json!("a")), json!({ "proxy_settings": "x" }), dependencies(json!([]))] {
        assert_eq!(read(nothing), Ok(Some(Wanted::default())), "and no more");
    }
}

#[test]
fn a_preference_of_tags_is_inherited_setting_by_setting() {
    let preference = |tags: Json, any: bool| json!({ "autoServiceTag": true, "serviceTagPreference": tags, "fallbackToAnyInstance": any });
    let mut json = dependencies(json!([
        { "service": "plain" },
        { "service": "own", "routingPolicy": preference(json!(["v3"]), false) },
        { "service": "off", "routingPolicy": { "autoServiceTag": false } },
        { "service": "some", "routingPolicy": { "fallbackToAnyInstance": false } },
    ]));
    json["proxy_settings"]["outgoing"]["routingPolicy"] = preference(json!(["v1", 7, "v2"]), true);
    let expected = Wanted::new(
        [
            ("plain".into(), tagged(&["v1", "v2"], true)),
            ("own".into(), tagged(&["v3"], false)),
            ("off".into(), None),
            ("some".into(), tagged(&["v1", "v2"], false)),
        ],
        None,
    );
    assert_eq!(read(json), Ok(Some(expected)));
    let all = dependencies(json!([
        { "service": "*", "routingPolicy": preference(json!(["v1"]), false) }, { "service": "a" },
        { "service": "a", "routingPolicy": { "autoServiceTag": false } },
    ]));
    assert_eq!(read(all), Ok(Some(Wanted::new([("a".into(), None)], Some(tagged(&["v1"], false))))));
    let own = json!({ "portolan": { "services": [{ "service": "a", "tags": ["v1"], "fallback": true }, "b"] } });
    assert_eq!(read(own), Ok(Some(Wanted::new([("a".into(), tagged(&["v1"], true)), ("b".into(), None)], None))));
}

#[test]
fn mistakes_are_told_in_the_words_that_their_users_know() {
    const ONE: &str = "Define one of: 'service', 'domain' or 'domainPattern'";
    for (list, why) in [
        (json!([{}]), ONE),
        (json!(["a"]), ONE),
        (json!([{ "service": 5 }]), ONE),
        (json!([{ "service": "a", "domain": "http://b" }]), ONE),
        (json!([{ "domain": "b.example" }]), "Unsupported protocol for domain dependency for domain b.example"),
        (json!([{ "domain": "*" }]), "Unsupported 'all serviceDependencies identifier' for domain dependency: *"),
        (json!([{ "domainPattern": "http://*.b" }]), "domainPattern cannot contain a schema"),
        (json!([{ "service": "*" }, { "service": "*" }]), "Define at most one"),
        (json!([{ "service": "a", "timeoutPolicy": { "idleTimeout": 30 } }]), "number format"),
        (json!([{ "service": "a", "timeoutPolicy": { "requestTimeout": "30" } }]), "incorrect format"),
    ] {
        let error = read(dependencies(list.clone())).unwrap_err().to_string();
        assert!(error.starts_with("node.metadata: ") && error.contains(why), "{list}: {error}");
    }
    for (own, why) in [
        (json!("a"), "must be a struct"),
        (json!({ "service": ["a"] }), "unknown key \"service\""),
        (json!({ "services": "a" }), "must be a list"),
        (json!({ "services": [7] }), "portolan.services[0] must be the name"),
        (json!({ "services": ["a", ""] }), "portolan.services[1] names nothing"),
        (json!({ "services": [{ "service": "a", "tag": [] }] }), "unknown key \"tag\""),
        (json!({ "services": [{ "service": "a", "tags": "v1" }] }), "tags that are no list"),
        (json!({ "services": [{ "service": "a", "tags": [1] }] }), "a tag that is no text"),
        (json!({ "services": [{ "service": "a", "fallback": "x" }] }), "neither true nor false"),
    ] {
        let error = read(json!({ "portolan": own.clone() })).unwrap_err().to_string();
        assert!(error.contains(why), "{own}: {error}");
    }
}

#[test]
fn ten_thousand_are_read_and_what_is_too_long_to_be_kept_is_refused() {
    let many =
        |count: usize| json!((0..count).map(|n| json!({ "service": format!("service-{n}") })).collect::<Vec<_>>());
    assert_eq!(read(dependencies(many(10_000))).unwrap().unwrap().len(), 10_000);
    let error = read(dependencies(many(40_000))).unwrap_err().to_string();
    assert!(error.contains("more than 512 KiB"), "{error}");
}

#[test]
fn who_declares_nothing_gets_what_is_configured_and_all_what_everybody_has() {
    let always = Declared { always: vec!["auth".into()], ..Declared::default() };
    assert_eq!(always.read(&metadata(&json!({}))), Ok(Some(plain(&["auth"]))));
    let own = metadata(&json!({ "portolan": { "services": [{ "service": "auth", "tags": ["v1"] }, "a"] } }));
    assert_eq!(
        always.read(&own),
        Ok(Some(Wanted::new([("auth".into(), tagged(&["v1"], false)), ("a".into(), None)], None)))
    );
    let all = Declared { undeclared: Unmatched::All, ..Declared::default() };
    assert_eq!(all.read(&metadata(&json!({ "x": 1 }))), Ok(None));
    assert_eq!(all.read(&metadata(&json!({ "portolan": { "services": [] } }))), Ok(Some(Wanted::default())));
    let refuse = Declared { undeclared: Unmatched::Refuse, ..Declared::default() };
    assert!(refuse.read(&metadata(&json!({}))).unwrap_err().to_string().contains("declares no services"));
    let narrow = Declared { wildcard: false, ..Declared::default() };
    let error = narrow.read(&metadata(&dependencies(json!([{ "service": "*" }])))).unwrap_err().to_string();
    assert!(error.contains("not allowed"), "{error}");
}
