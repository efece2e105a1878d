//! How Nacos names namespaces, groups and services. Pure.

/// The id of the namespace that every server has.
pub(crate) const PUBLIC: &str = "public";
/// The group of services that name none.
pub(crate) const DEFAULT_GROUP: &str = "DEFAULT_GROUP";

/// The id of a namespace as servers write it: the public one may be empty or absent.
pub(crate) fn namespace(id: Option<&str>) -> &str {
    id.filter(|id| !id.is_empty()).unwrap_or(PUBLIC)
}

/// What the configuration interface up to 2.x calls a namespace: the public one has no name there.
pub(crate) fn tenant(namespace: &str) -> &str {
    if namespace == PUBLIC { "" } else { namespace }
}

/// Group and name of a service whose name may carry its group as `GROUP@@name`. Another prefix is part of the name: 3.1.0
/// lets `a@@b` be registered in any group, where 2.3.2 takes that for `b` in group `a` (measured).
pub(crate) fn group_and_name<'a>(full: &'a str, group: Option<&'a str>) -> (&'a str, &'a str) {
    let split = full.split_once("@@").filter(|(prefix, _)| !prefix.is_empty());
    match (group.filter(|group| !group.is_empty()), split) {
        (Some(group), Some((prefix, name))) if prefix == group => (group, name),
        (Some(group), _) => (group, full),
        (None, Some((prefix, name))) => (prefix, name),
        (None, None) => (DEFAULT_GROUP, full),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_carry_its_group_and_no_other() {
        for (group, name, expected) in [
            (Some("g"), "orders", ("g", "orders")),
            (Some("g"), "g@@orders", ("g", "orders")),
            (Some("g"), "a@@b", ("g", "a@@b")),
            (Some("g"), "g@@a@@b", ("g", "a@@b")),
            (None, "g@@orders", ("g", "orders")),
            (Some(""), "g@@a@@b", ("g", "a@@b")),
            (None, "orders", ("DEFAULT_GROUP", "orders")),
            (None, "@@b", ("DEFAULT_GROUP", "@@b")),
        ] {
            assert_eq!(group_and_name(name, group), expected, "{group:?} {name}");
        }
    }
}
