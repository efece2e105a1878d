//! The configuration of a [`super::fake_nacos::FakeNacos`]: texts, and how the generations of Nacos list and give them.

use super::{
    fake_nacos::{Generation, Key, key},
    fault::{Answer, with_status},
};
use axum::http::Response;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The texts, and how lists and answers misrepresent them.
#[derive(Debug, Default)]
pub struct Configs {
    /// Contents by namespace, group and dataId.
    pub texts: BTreeMap<Key, String>,
    /// DataIds that lists lack.
    pub unlisted: BTreeSet<String>,
    /// DataIds that lists show and that do not exist when they are asked for.
    pub unknown: BTreeSet<String>,
    /// Lists give a `totalCount` that is too high by this.
    pub miscounted: usize,
    /// Lists of 3.x show this md5 for every text, instead of the true one.
    pub false_md5: Option<String>,
}

impl Configs {
    /// Puts a text of the public namespace's group ISTIO.
    pub fn put(&mut self, name: &str, text: &str) {
        self.texts.insert(key("public", "ISTIO", name), text.into());
    }

    /// Removes a text of the public namespace's group ISTIO.
    pub fn remove(&mut self, name: &str) {
        self.texts.remove(&key("public", "ISTIO", name));
    }

    /// The answer to a GET, as a server of that generation gives it.
    pub fn answer(&self, generation: Generation, path: &str, query: &HashMap<String, String>) -> Answer {
        let old = matches!(generation, Generation::V1 | Generation::V2);
        match path {
            "/v1/cs/configs" if old && query.contains_key("search") => json_answer(200, &self.page(query, true)),
            "/v1/cs/configs" if old => match self.one(query, true) {
                Some(text) => Response::new(text.clone().into()),
                None => with_status(404, "config data not exist\n"),
            },
            "/v3/admin/cs/config/list" if generation == Generation::V3 => {
                json_answer(200, &json!({"code": 0, "message": "success", "data": self.page(query, false)}))
            }
            "/v3/client/cs/config" if !old => match self.one(query, false) {
                Some(text) => {
                    let data = json!({"resultCode": 200, "content": text, "encryptedDataKey": "", "md5": md5_of(text)});
                    json_answer(200, &json!({"code": 0, "message": "success", "data": data}))
                }
                None => json_answer(200, &json!({"code": 20004, "message": "resource not found", "data": null})),
            },
            path if path.starts_with("/v3/admin/") && !old => {
                with_status(403, r#"{"message":"authorization failed!"}"#)
            }
            path if path.starts_with("/v1/") && !old => with_status(410, r#"{"message":"API is gone"}"#),
            _ => with_status(404, r#"{"status":404,"message":"No message available"}"#),
        }
    }

    /// The answer to a listener: dataIds and groups whose md5 is not the one that the client has sent in
    /// `Listening-Configs`. `None` if all are as it thinks.
    pub fn changed(&self, form: &HashMap<String, String>) -> Option<String> {
        let mut changed = String::new();
        for line in form["Listening-Configs"].split('\u{1}').filter(|line| !line.is_empty()) {
            let parts: Vec<&str> = line.split('\u{2}').collect();
            let found = self.texts.get(&key(parts.get(3).unwrap_or(&"public"), parts[1], parts[0]));
            if found.map(|text| md5_of(text)).unwrap_or_default() != parts[2] {
                changed += &format!("{}%02{}%01", parts[0], parts[1]);
            }
        }
        (!changed.is_empty()).then_some(changed)
    }

    fn one(&self, query: &HashMap<String, String>, old: bool) -> Option<&String> {
        let (namespace, group) = place(query, old);
        let there = !self.unknown.contains(&query["dataId"]);
        self.texts.get(&key(namespace, group, &query["dataId"])).filter(|_| there)
    }

    fn page(&self, query: &HashMap<String, String>, old: bool) -> Value {
        let (namespace, group) = place(query, old);
        let wanted = |(id, _): &(&Key, &String)| id.0 == namespace && id.1 == group && !self.unlisted.contains(&id.2);
        let all: Vec<_> = self.texts.iter().filter(wanted).collect();
        let number = |key: &str| query[key].parse::<usize>().unwrap();
        let (page, size) = (number("pageNo"), number("pageSize"));
        let items: Vec<Value> =
            all.iter().skip((page - 1) * size).take(size).map(|(id, text)| self.item(id, text, old)).collect();
        json!({"totalCount": all.len() + self.miscounted, "pageNumber": page, "pagesAvailable": 1, "pageItems": items})
    }

    fn item(&self, (namespace, group, name): &Key, text: &str, old: bool) -> Value {
        if old {
            let tenant = if namespace == "public" { "" } else { namespace };
            return json!({"id": "1", "dataId": name, "group": group, "content": text, "md5": null, "tenant": tenant});
        }
        let md5 = self.false_md5.clone().unwrap_or_else(|| md5_of(text));
        json!({"id": "1", "dataId": name, "groupName": group, "namespaceId": namespace, "md5": md5})
    }
}

fn place(query: &HashMap<String, String>, old: bool) -> (&str, &str) {
    let (namespace, group) = if old { ("tenant", "group") } else { ("namespaceId", "groupName") };
    match &*query[namespace] {
        "" => ("public", &query[group]),
        // To the lists of 2.x this is another one.
        "public" if old => ("another public", &query[group]),
        id => (id, &query[group]),
    }
}

fn md5_of(text: &str) -> String {
    format!("{:x}", md5::compute(text))
}

fn json_answer(status: u16, body: &Value) -> Answer {
    let mut answer = Response::new(axum::body::Body::from(body.to_string()));
    *answer.status_mut() = status.try_into().unwrap();
    answer
}
