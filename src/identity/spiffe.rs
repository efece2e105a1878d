//! SPIFFE ids: `spiffe://trust-domain/path` (the SPIFFE-ID standard, section 2).

/// The longest SPIFFE id that there may be, in bytes.
const MOST: usize = 2048;

/// An id of a workload. The path is not empty, and begins with its first segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpiffeId<'a> {
    pub(super) domain: &'a str,
    pub(super) path: &'a str,
}

/// Why a URI is no SPIFFE id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// It does not begin with `spiffe://`.
    #[error("it does not begin with spiffe://")]
    Scheme,
    /// It is longer than the standard allows.
    #[error("it is longer than {MOST} bytes")]
    Long,
    /// Its trust domain has other characters than the standard allows, or none.
    #[error("its trust domain is not made of lower-case letters, digits, '.', '-' and '_'")]
    Domain,
    /// It names a trust domain, and no workload in it.
    #[error("it names no workload, as it has no path")]
    NoPath,
    /// A segment is empty, a step, or has other characters than the standard allows.
    #[error("a segment of its path is empty, '.', '..', or not made of letters, digits, '.', '-' and '_'")]
    Path,
}

impl<'a> SpiffeId<'a> {
    pub(super) fn parse(uri: &'a str) -> Result<Self, SpiffeError> {
        let rest = uri.strip_prefix("spiffe://").ok_or(SpiffeError::Scheme)?;
        if uri.len() > MOST {
            return Err(SpiffeError::Long);
        }
        let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
        if !is_trust_domain(domain) {
            return Err(SpiffeError::Domain);
        }
        let path = path.ok_or(SpiffeError::NoPath)?;
        let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let segment = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(right);
        if path.split('/').all(segment) { Ok(SpiffeId { domain, path }) } else { Err(SpiffeError::Path) }
    }
}

/// Whether a text can be a trust domain: 1 to 255 of `[a-z0-9._-]`.
pub fn is_trust_domain(text: &str) -> bool {
    let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    (1..=255).contains(&text.len()) && text.chars().all(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_allows_is_an_id() {
        let id = SpiffeId { domain: "shop.example", path: "ns/a/sa/B_1" };
        assert_eq!(SpiffeId::parse("spiffe://shop.example/ns/a/sa/B_1"), Ok(id));
        for (uri, error) in [
            ("https://shop.example/a", SpiffeError::Scheme),
            ("SPIFFE://shop.example/a", SpiffeError::Scheme),
            ("spiffe://Shop.example/a", SpiffeError::Domain),
            ("spiffe:///a", SpiffeError::Domain),
            ("spiffe://user@shop.example/a", SpiffeError::Domain),
            ("spiffe://shop.example:8443/a", SpiffeError::Domain),
            ("spiffe://shop.example", SpiffeError::NoPath),
            ("spiffe://shop.example/", SpiffeError::Path),
            ("spiffe://shop.example/a/", SpiffeError::Path),
            ("spiffe://shop.example/a//b", SpiffeError::Path),
            ("spiffe://shop.example/a/../b", SpiffeError::Path),
            ("spiffe://shop.example/a?b", SpiffeError::Path),
            ("spiffe://shop.example/a%2fb", SpiffeError::Path),
        ] {
            assert_eq!(SpiffeId::parse(uri), Err(error), "{uri}");
        }
        assert_eq!(SpiffeId::parse(&format!("spiffe://a/{}", "b".repeat(2100))), Err(SpiffeError::Long));
    }
}
