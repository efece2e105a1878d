//! Host names that every client accepts.

use super::Text;
use idna::punycode;
use std::fmt;

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Why a name is no host name. The text names the name and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// Nothing is left of the name.
    #[error("host name {0:?} is empty, or has nothing that a host name may hold")]
    Empty(String),
    /// Nothing is left of a part of the name.
    #[error("host name {0:?} has the part {1:?}, and nothing in it that a host name may hold")]
    Lost(String, String),
    /// More than 253 characters.
    #[error("host name {0:?} has more than {MAX_NAME} characters")]
    Long(String),
    /// An empty label, one of more than 63 characters, or one with a dash at an end.
    #[error("host name {0:?} has the label {1:?}: a label has 1 to {MAX_LABEL} characters and no dash at its ends")]
    Label(String, String),
    /// A character outside `[a-z0-9-.]`.
    #[error("host name {0:?} has the character {1:?}: only lower-case letters, digits, '-' and '.' are possible")]
    Character(String, char),
    /// It would read as an IP address.
    #[error("host name {0:?} ends in a number and would be read as an address")]
    Numeric(String),
}

/// A DNS name in lower case: labels of 1 to 63 of `[a-z0-9-]`, together at most 253, the last not a number. Only
/// [`Hostname::or_wildcard`] makes one that stands for many, by a `*` before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Text);

impl Hostname {
    /// Takes a name as it is.
    ///
    /// # Errors
    /// If it breaks a rule of names in DNS: length, characters, labels, or a number at the end.
    pub fn new(name: &str) -> Result<Self, HostnameError> {
        if name.is_empty() {
            return Err(HostnameError::Empty(name.into()));
        }
        if name.len() > MAX_NAME {
            return Err(HostnameError::Long(name.into()));
        }
        if let Some(c) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.')) {
            return Err(HostnameError::Character(name.into(), c));
        }
        let bad = |label: &&str| {
            label.is_empty() || label.len() > MAX_LABEL || label.starts_with('-') || label.ends_with('-')
        };
        if let Some(label) = name.split('.').find(bad) {
            return Err(HostnameError::Label(name.into(), label.into()));
        }
        if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return Err(HostnameError::Numeric(name.into()));
        }
        Ok(Hostname(name.into()))
    }

    /// Takes a name as it is, or one whose first label is, or begins with, `*`, as hosts of Istio's ServiceEntries may.
    ///
    /// # Errors
    /// If what stands behind the `*` breaks a rule of names in DNS, or nothing does.
    pub fn or_wildcard(name: &str) -> Result<Self, HostnameError> {
        let Some(rest) = name.strip_prefix('*') else { return Self::new(name) };
        let plain = rest.strip_prefix(['.', '-']).unwrap_or(rest);
        match Self::new(plain) {
            Ok(_) if name.len() <= MAX_NAME => Ok(Hostname(name.into())),
            Ok(_) => Err(HostnameError::Long(name.into())),
            Err(error) => Err(error),
        }
    }

    /// Makes a name out of what registries call things: lower case, labels with letters beyond ASCII as DNS writes them
    /// (`xn--`), every other character a dash, dashes at the ends of labels and empty labels left out. What then still
    /// breaks a rule (length, a number at the end) is refused, and so is a name of which a label would vanish.
    ///
    /// # Errors
    /// If what is left of it, or of a label, is nothing, too long, or ends in a number.
    pub fn sanitized(name: &str) -> Result<Self, HostnameError> {
        if let Ok(fine) = Self::new(name) {
            return Ok(fine);
        }
        let labels = name.split('.').filter(|label| !label.is_empty());
        let labels: Vec<String> = labels.map(|label| made(name, label, true)).collect::<Result<_, _>>()?;
        Self::new(&labels.join(".")).map_err(|error| match error {
            HostnameError::Empty(_) => HostnameError::Empty(name.into()),
            other => other,
        })
    }

    /// This host as [`Hostname::sanitized`] makes it of a name, but with the name's own upper case. `None`: it has none.
    pub fn spelled(&self, name: &str) -> Option<Text> {
        let labels = name.split('.').filter(|label| !label.is_empty());
        let labels: Vec<String> = labels.map(|label| made(name, label, false)).collect::<Result<_, _>>().ok()?;
        let spelled = labels.join(".");
        (spelled != *self.0 && spelled.eq_ignore_ascii_case(&self.0)).then(|| spelled.into())
    }

    /// In lower case, without a dot at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As [`Hostname::as_str`], as shared text: a clone copies no bytes.
    pub fn text(&self) -> &Text {
        &self.0
    }
}

/// A label made of one part of a name. `lower`: also a label of ASCII alone.
fn made(name: &str, part: &str, lower: bool) -> Result<String, HostnameError> {
    let possible =
        |c: char| if c.is_ascii() { c.is_ascii_alphanumeric() } else { !c.is_whitespace() && !c.is_control() };
    let dashed: String = part.chars().map(|c| if possible(c) { c } else { '-' }).collect();
    let dashed = if lower || !dashed.is_ascii() { dashed.to_lowercase() } else { dashed };
    let label = dashed.trim_matches('-');
    if label.is_empty() {
        return Err(HostnameError::Lost(name.into(), part.into()));
    }
    if label.is_ascii() {
        return Ok(label.to_owned());
    }
    // Longer ones are too long in any case.
    let written = Some(label).filter(|label| label.len() <= 4 * MAX_LABEL).and_then(punycode::encode_str);
    written.map(|written| format!("xn--{written}")).ok_or_else(|| HostnameError::Label(name.into(), part.into()))
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of section 7.1 of RFC 3492, and usual names of services.
    #[test]
    fn letters_beyond_ascii_are_written_as_the_rfc_has_it() {
        for (text, written) in [
            ("他们为什么不说中文", "ihqwcrb4cv8a8dqg056pqjye"),
            ("pročprostěnemluvíčesky", "proprostnemluvesky-uyb24dma41a"),
            ("ひとつ屋根の下2", "2-u9tlzr9756bt3uc0v"),
            ("3年b組金八先生", "3b-ww4c5e180e575a65lsy2b"),
            ("订单", "4kr132k"),
            ("支付", "bnq875c"),
            ("订单-svc", "-svc-kt0g2590a"),
            ("münchen", "mnchen-3ya"),
        ] {
            assert_eq!(made(text, text, true), Ok(format!("xn--{written}")), "{text}");
        }
    }

    #[test]
    fn a_wildcard_stands_before_a_name() {
        for name in ["*.example", "*.a.example", "*-a.example", "*a.example", "a.example"] {
            assert_eq!(Hostname::or_wildcard(name).unwrap().as_str(), name);
        }
        let long = format!("*.{}a", "a.".repeat(126));
        for name in ["*", "*.", "**.example", "*.*.example", "a.*.example", "*..example", "*.A", "*.1", &long] {
            assert!(Hostname::or_wildcard(name).is_err(), "{name}");
            assert!(Hostname::new(name).is_err(), "{name}");
        }
        assert!(Hostname::new("*.example").is_err());
    }

    #[test]
    fn names_are_checked_rule_by_rule() {
        assert!(Hostname::new("orders.default-group.public.nacos").is_ok());
        let long = "a.".repeat(127) + "ab";
        let label = "a".repeat(64);
        for (name, why) in [
            ("", "empty"),
            (long.as_str(), "253"),
            (label.as_str(), "63"),
            ("a..b", "label"),
            ("-a", "dash"),
            ("Orders", "'O'"),
            ("a_b", "'_'"),
            ("10.0.0.1", "address"),
        ] {
            let error = Hostname::new(name).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn registry_names_become_host_names() {
        for (name, host) in [
            ("Orders", "orders"),
            ("DEFAULT_GROUP@@orders", "default-group--orders"),
            ("com.foo.Bar:1.0:g", "com.foo.bar-1.0-g"),
            ("a_.b", "a.b"),
            ("..a..b..", "a.b"),
            ("订单-svc", "xn---svc-kt0g2590a"),
            ("订单.eureka", "xn--4kr132k.eureka"),
            ("Zürich_A", "xn--zrich-a-n2a"),
            ("xn--4kr132k.eureka", "xn--4kr132k.eureka"),
        ] {
            assert_eq!(Hostname::sanitized(name).unwrap().as_str(), host, "{name}");
        }
        let long = "订单".repeat(40);
        for (name, spelled) in [
            ("orders.DEFAULT_GROUP.public", Some("orders.DEFAULT-GROUP.public")),
            ("ORDERS", Some("ORDERS")),
            ("..X_.订单", Some("X.xn--4kr132k")),
            ("orders", None),
            ("ÄB", None),
        ] {
            assert_eq!(Hostname::sanitized(name).unwrap().spelled(name).as_deref(), spelled, "{name}");
        }
        for (name, why) in [
            ("svc.1", "address"),
            ("orders.###.public", "\"###\""),
            ("__", "\"__\""),
            ("...", "empty"),
            (long.as_str(), "63"),
        ] {
            let error = Hostname::sanitized(name).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
