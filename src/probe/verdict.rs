//! What an Istiod makes of one item of a list, for `portolan istio check`.

use crate::{
    pb::{
        google::protobuf::Any,
        istio::{
            mcp::v1alpha1::{Metadata, Resource as Envelope},
            networking::v1alpha3::ServiceEntry,
        },
        kinds,
    },
    resource::Kind,
    translate::istio::{Refusal, refusal},
};
use prost::{Message, Name};
use prost_reflect::DynamicMessage;

/// How an Istiod takes one item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Istiod stores it, unless it has this version already.
    Accepted {
        /// The item's name, `<namespace>/<name>`.
        name: String,
        /// The version in the item's metadata. If it is empty, Istiod takes the item as new with every list.
        version: String,
    },
    /// Istiod keeps what it has under this name; if that is nothing, it makes nothing.
    Refused {
        /// The item's name, `<namespace>/<name>`.
        name: String,
        /// The rule that it breaks.
        why: Refusal,
    },
    /// Istiod cannot read it, and deletes what it had.
    Unreadable {
        /// What cannot be read, such as "it has no body".
        why: &'static str,
    },
}

/// Judges an item with that type URL in a list of that kind. Only a `ServiceEntry` is judged in full; of other kinds
/// only the form is.
pub fn verdict(kind: Kind, type_url: &str, bytes: &[u8]) -> Verdict {
    let judged = read(type_url, bytes).and_then(|(metadata, body)| {
        let refusal = match kind {
            Kind::ServiceEntry => refusal(&metadata.name, &entry(&body)?),
            kind => decodes(kind, &body).map(|()| refused_name(&metadata.name))?,
        };
        Ok((metadata, refusal))
    });
    let (metadata, refusal) = match judged {
        Ok(judged) => judged,
        Err(why) => return Verdict::Unreadable { why },
    };
    match refusal {
        None => Verdict::Accepted { name: metadata.name, version: metadata.version },
        Some(Refusal::Name(_)) => Verdict::Unreadable { why: "its name is not a namespace, one slash and a name" },
        Some(why) => Verdict::Refused { name: metadata.name, why },
    }
}

fn read(type_url: &str, bytes: &[u8]) -> Result<(Metadata, Any), &'static str> {
    if type_url != Envelope::type_url() {
        return Err("it is no istio.mcp.v1alpha1.Resource");
    }
    let envelope = Envelope::decode(bytes).map_err(|_| "its envelope cannot be decoded")?;
    let body = envelope.body.ok_or("it has no body")?;
    Ok((envelope.metadata.ok_or("it has no metadata")?, body))
}

fn entry(body: &Any) -> Result<ServiceEntry, &'static str> {
    if body.type_url != ServiceEntry::type_url() {
        return Err("its body is no istio.networking.v1alpha3.ServiceEntry");
    }
    ServiceEntry::decode(&*body.value).map_err(|_| "its body cannot be decoded")
}

fn decodes(kind: Kind, body: &Any) -> Result<(), &'static str> {
    let message = kind.group_and_word().and_then(|(group, word)| kinds::message(group, word));
    let message = message.ok_or("its kind is none of Istio's")?;
    if body.type_url.strip_prefix("type.googleapis.com/") != Some(message.full_name()) {
        return Err("its body is of another kind");
    }
    DynamicMessage::decode(message, &*body.value).map(|_| ()).map_err(|_| "its body cannot be decoded")
}

fn refused_name(name: &str) -> Option<Refusal> {
    let fine =
        name.split_once('/').is_some_and(|(space, rest)| !space.is_empty() && !rest.is_empty() && !rest.contains('/'));
    (!fine).then(|| Refusal::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, host: &str, body_type: &str) -> Vec<u8> {
        let entry = ServiceEntry { hosts: vec![host.into()], resolution: 1, ..ServiceEntry::default() };
        let body = Any { type_url: body_type.into(), value: entry.encode_to_vec().into() };
        let metadata = Metadata { name: name.into(), version: "v".into(), ..Metadata::default() };
        Envelope { metadata: Some(metadata), body: Some(body) }.encode_to_vec()
    }

    #[test]
    fn items_are_taken_refused_or_unreadable() {
        let (envelope, entry) = (Envelope::type_url(), ServiceEntry::type_url());
        let accepted = Verdict::Accepted { name: "ns/a".into(), version: "v".into() };
        assert_eq!(verdict(Kind::ServiceEntry, &envelope, &item("ns/a", "a.example", &entry)), accepted);
        let why = Refusal::Host("a_b".into());
        let refused = Verdict::Refused { name: "ns/a".into(), why };
        assert_eq!(verdict(Kind::ServiceEntry, &envelope, &item("ns/a", "a_b", &entry)), refused);
        for (type_url, bytes, expected) in [
            (&entry, item("ns/a", "a.example", &entry), "it is no istio.mcp.v1alpha1.Resource"),
            (&envelope, item("ns/a", "a.example", "other"), "its body is no istio.networking.v1alpha3.ServiceEntry"),
            (&envelope, item("a", "a.example", &entry), "its name is not a namespace, one slash and a name"),
            (&envelope, vec![0x0b], "its envelope cannot be decoded"),
            (&envelope, vec![], "it has no body"),
        ] {
            assert_eq!(verdict(Kind::ServiceEntry, type_url, &bytes), Verdict::Unreadable { why: expected });
        }
    }

    #[test]
    fn an_item_of_another_kind_is_judged_by_its_form() {
        let envelope = Envelope::type_url();
        let gateway = "type.googleapis.com/istio.networking.v1alpha3.Gateway";
        let accepted = Verdict::Accepted { name: "ns/a".into(), version: "v".into() };
        assert_eq!(
            verdict(Kind::VirtualService, &envelope, &item("ns/a", "", gateway)),
            Verdict::Unreadable { why: "its body is of another kind" }
        );
        let body = |value: &'static [u8]| {
            let metadata = Metadata { name: "ns/a".into(), version: "v".into(), ..Metadata::default() };
            let body = Any { type_url: gateway.into(), value: value.into() };
            Envelope { metadata: Some(metadata), body: Some(body) }.encode_to_vec()
        };
        assert_eq!(verdict(Kind::Gateway, &envelope, &body(b"")), accepted);
        let why = "its body cannot be decoded";
        assert_eq!(verdict(Kind::Gateway, &envelope, &body(b"\x0b")), Verdict::Unreadable { why });
    }
}
