//! What an Istiod makes of one item of a list: for those who look at what a server sends.

use super::validate::{Refusal, refusal};
use crate::pb::istio::{mcp::v1alpha1::Resource as Envelope, networking::v1alpha3::ServiceEntry};
use prost::{Message, Name};

/// What an Istiod makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It takes it, if it has not this version already.
    Taken {
        /// `<namespace>/<name>`.
        name: String,
        /// Empty: it is taken again with every list.
        version: String,
    },
    /// It keeps what it had under this name; if that is nothing, it makes nothing.
    Refused {
        /// `<namespace>/<name>`.
        name: String,
        /// Why.
        why: Refusal,
    },
    /// It cannot read it, and deletes what it had.
    Unreadable {
        /// Why.
        why: &'static str,
    },
}

/// What an Istiod makes of an item of that type.
pub fn verdict(type_url: &str, bytes: &[u8]) -> Verdict {
    let (metadata, entry) = match read(type_url, bytes) {
        Ok(read) => read,
        Err(why) => return Verdict::Unreadable { why },
    };
    match refusal(&metadata.name, &entry) {
        None => Verdict::Taken { name: metadata.name, version: metadata.version },
        Some(Refusal::Name(_)) => Verdict::Unreadable { why: "its name is not a namespace, one slash and a name" },
        Some(why) => Verdict::Refused { name: metadata.name, why },
    }
}

fn read(
    type_url: &str,
    bytes: &[u8],
) -> Result<(crate::pb::istio::mcp::v1alpha1::Metadata, ServiceEntry), &'static str> {
    if type_url != Envelope::type_url() {
        return Err("it is no istio.mcp.v1alpha1.Resource");
    }
    let envelope = Envelope::decode(bytes).map_err(|_| "its envelope cannot be decoded")?;
    let body = envelope.body.ok_or("it has no body")?;
    if body.type_url != ServiceEntry::type_url() {
        return Err("its body is no istio.networking.v1alpha3.ServiceEntry");
    }
    let entry = ServiceEntry::decode(&*body.value).map_err(|_| "its body cannot be decoded")?;
    Ok((envelope.metadata.ok_or("it has no metadata")?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{google::protobuf::Any, istio::mcp::v1alpha1::Metadata};

    fn item(name: &str, host: &str, body_type: &str) -> Vec<u8> {
        let entry = ServiceEntry { hosts: vec![host.into()], resolution: 1, ..ServiceEntry::default() };
        let body = Any { type_url: body_type.into(), value: entry.encode_to_vec().into() };
        let metadata = Metadata { name: name.into(), version: "v".into(), ..Metadata::default() };
        Envelope { metadata: Some(metadata), body: Some(body) }.encode_to_vec()
    }

    #[test]
    fn items_are_taken_refused_or_unreadable() {
        let (envelope, entry) = (Envelope::type_url(), ServiceEntry::type_url());
        let taken = Verdict::Taken { name: "ns/a".into(), version: "v".into() };
        assert_eq!(verdict(&envelope, &item("ns/a", "a.example", &entry)), taken);
        let why = Refusal::Host("a_b".into());
        let refused = Verdict::Refused { name: "ns/a".into(), why };
        assert_eq!(verdict(&envelope, &item("ns/a", "a_b", &entry)), refused);
        for (type_url, bytes, expected) in [
            (&entry, item("ns/a", "a.example", &entry), "it is no istio.mcp.v1alpha1.Resource"),
            (&envelope, item("ns/a", "a.example", "other"), "its body is no istio.networking.v1alpha3.ServiceEntry"),
            (&envelope, item("a", "a.example", &entry), "its name is not a namespace, one slash and a name"),
            (&envelope, vec![0x0b], "its envelope cannot be decoded"),
            (&envelope, vec![], "it has no body"),
        ] {
            assert_eq!(verdict(type_url, &bytes), Verdict::Unreadable { why: expected });
        }
    }
}
