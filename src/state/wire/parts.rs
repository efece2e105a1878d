//! The message of a registry, read by several threads at once: services and hosts are nearly all of it, and stand in it one after
//! the other. Each is a value as soon as it is read, so that no two forms of everything are in memory.

use super::{Known, Shared, Unreadable, WireError, name, scope};
use crate::{catalog::Memory, model::Text, pb::state as pb, util::side_by_side::in_parts};
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// Where a `Registry` has its services and hosts.
const SERVICES: u32 = 4;
const HOSTS: u32 = 5;
/// Each thread gets at least so many messages; fewer are not worth a thread.
const PART: usize = 1_000;

/// The memory of a registry by that name.
///
/// # Errors
/// If it is no message, or something in it means nothing.
pub(in crate::state) fn decode(registry: &Text, body: &[u8]) -> Result<Memory, Unreadable> {
    let Split { services, hosts, rest } = Split::of(body)?;
    let rest = pb::Registry::decode(&*rest)?;
    let shared = Shared::new(rest.labels, rest.localities);
    let scopes: Vec<_> = rest.scopes.into_iter().map(scope).collect();
    let services = read(&services, (registry, &shared), |known, message| known.service(message, scopes.len()))?;
    let hosts = read(&hosts, (registry, &shared), |known, message| known.host(message, &services))?;
    let mut known = Known::new(registry, &shared);
    let holds = known.holds(rest.hold, rest.lost)?;
    let parts = rest.parts.into_iter().map(|part| Ok((part.key.into(), known.holds(part.hold, part.lost)?)));
    let parts = parts.collect::<Result<_, WireError>>()?;
    let names = rest.names.into_iter().map(name).collect::<Result<_, _>>()?;
    Ok(Memory { scopes, services, hosts, holds, parts, names })
}

/// Reads each of these messages, in their order.
fn read<M: Message + Default, T: Send>(
    messages: &[&[u8]],
    (registry, shared): (&Text, &Shared),
    value: impl Fn(&mut Known<'_>, M) -> Result<T, WireError> + Sync,
) -> Result<Vec<T>, Unreadable> {
    let parts = in_parts(messages, PART, |part| {
        let mut known = Known::new(registry, shared);
        let one = |message: &&[u8]| Ok(value(&mut known, M::decode(*message)?)?);
        part.iter().map(one).collect::<Result<Vec<T>, Unreadable>>()
    });
    let mut all = Vec::with_capacity(messages.len());
    for part in parts {
        all.append(&mut part?);
    }
    Ok(all)
}

/// The fields of a message as they stand in it.
#[derive(Default)]
struct Split<'a> {
    services: Vec<&'a [u8]>,
    hosts: Vec<&'a [u8]>,
    /// All other fields, one after the other, still encoded.
    rest: Vec<u8>,
}

impl<'a> Split<'a> {
    fn of(body: &'a [u8]) -> Result<Self, Unreadable> {
        let (mut split, mut left) = (Split::default(), body);
        while !left.is_empty() {
            let field = left;
            let (tag, form) = decode_key(&mut left)?;
            let messages = match (tag, form) {
                (SERVICES, WireType::LengthDelimited) => &mut split.services,
                (HOSTS, WireType::LengthDelimited) => &mut split.hosts,
                _ => {
                    skip_field(form, tag, &mut left, DecodeContext::default())?;
                    split.rest.extend(&field[..field.len() - left.len()]);
                    continue;
                }
            };
            let length = usize::try_from(decode_varint(&mut left)?).ok();
            let (message, after) =
                length.and_then(|length| left.split_at_checked(length)).ok_or(WireError("a length"))?;
            messages.push(message);
            left = after;
        }
        Ok(split)
    }
}
