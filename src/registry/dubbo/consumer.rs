//! What consumers say that register themselves: which application they are, and which service they need. Pure.
//!
//! Dubbo writes it where its providers are: in ZooKeeper as the name of a node below `<interface>/consumers`, in Nacos (with
//! `register-consumer-url`) as the metadata of an instance of `consumers:INTERFACE:VERSION:GROUP`. How many instances an
//! application has does not matter to what it needs, so that is all that is kept.

use super::{Identity, url::Url};
use crate::model::{Need, Needs, Note, Reason, Text};

/// The beginning of the names that Nacos has for services of consumers.
const CONSUMERS: &str = "consumers:";
/// The most characters of a bad entry that a note shows.
const SHOWN: usize = 80;
/// The most bytes of an application's name.
const LONGEST_APPLICATION: usize = 256;
/// The most notes about bad entries of one place.
const MOST_NOTES: usize = 10;

/// The application and what it needs, from the parameters of a consumer of that interface; or why that is not known.
fn need<'a>(interface: &str, parameters: impl Fn(&str) -> Option<&'a str>) -> Result<(Text, Need), String> {
    if let Some(side) = parameters("side").filter(|side| *side != "consumer") {
        return Err(format!("says side={side}, so it is no consumer"));
    }
    let application = parameters("application").ok_or("says no application, so nobody knows who needs it")?;
    if application.len() > LONGEST_APPLICATION {
        return Err(format!("names an application of {} bytes", application.len()));
    }
    let of = Identity::new(
        parameters("interface").unwrap_or(interface),
        parameters("group").unwrap_or_default(),
        parameters("version").unwrap_or_default(),
    );
    Ok((application.into(), Need { interface: of.interface, group: of.group, version: of.version }))
}

/// The needs of an interface's consumers, by the names of their nodes. One that cannot be read makes a note, and the
/// others count.
pub(crate) fn callers(interface: &str, names: &[String]) -> Needs {
    let mut callers = Needs::default();
    for name in names {
        let read = Url::parse_rule(name).map_err(|error| error.to_string());
        let read = read.and_then(|url| match &*url.scheme {
            "consumer" => need(interface, |key| url.get(key)).map_err(|why| format!("{} {why}", url.host)),
            scheme => Err(format!("{scheme}:// is no consumer")),
        });
        callers.add(interface, read);
    }
    callers.finish()
}

impl Needs {
    /// Adds what one consumer says, or why it could not be read.
    pub(crate) fn add(&mut self, place: &str, read: Result<(Text, Need), String>) {
        match read {
            Ok((application, need)) => drop(self.needs.entry(application).or_default().insert(need)),
            Err(why) => {
                let subject: String = place.chars().take(SHOWN).collect();
                self.notes.push(Note::new(Reason::EntryInvalid, subject, why));
            }
        }
    }

    /// The same with its notes sorted, each once, and at most [`MOST_NOTES`] of them.
    pub(crate) fn finish(mut self) -> Self {
        self.notes.sort();
        self.notes.dedup();
        self.notes.truncate(MOST_NOTES);
        self
    }
}

/// The interface, version and group in the Nacos name of consumers; `None` if it is no such name.
pub(crate) fn needed(name: &str) -> Option<Need> {
    let mut parts = name.strip_prefix(CONSUMERS)?.split(':').map(str::trim);
    let interface = parts.next()?.replace("___", "$");
    let (version, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let of = Identity::new(&interface, group, version);
    Some(Need { interface: of.interface, group: of.group, version: of.version })
}

/// The application and what it needs, from the metadata of an instance. A group or version that it lacks is that of the
/// service's name, `named`.
pub(crate) fn in_service<'a>(
    named: &Need,
    parameters: impl Fn(&str) -> Option<&'a str>,
) -> Result<(Text, Need), String> {
    let (application, said) = need(&named.interface, parameters)?;
    let or = |said: Text, named: &Text| if said.is_empty() { named.clone() } else { said };
    let (group, version) = (or(said.group, &named.group), or(said.version, &named.version));
    Ok((application, Need { interface: said.interface, group, version }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(callers: &Needs) -> Vec<String> {
        let needs = callers.needs.iter().flat_map(|(application, needs)| {
            needs.iter().map(move |need| format!("{application} needs {}", need.service()))
        });
        needs.chain(callers.notes.iter().map(|note| format!("{}: {}", note.subject, note.detail))).collect()
    }

    #[test]
    fn a_consumer_says_who_it_is_and_what_it_needs() {
        let names = [
            "consumer%3A%2F%2F10.0.9.1%2Fa.B%3Fapplication%3Dcart%26interface%3Da.B%26group%3Dg%26version%3D1.0.0%26side%3Dconsumer",
            "consumer%3A%2F%2F10.0.9.2%2Fa.B%3Fapplication%3Dcart%26interface%3Da.B%26group%3Dg%26version%3D1.0.0%26side%3Dconsumer",
            "consumer%3A%2F%2F10.0.9.2%2Fa.B%3Fapplication%3Dcart%26group%3D%2A%26version%3D0.0.0",
            "consumer%3A%2F%2F%5Bfd00%3A%3A1%5D%3A0%2Fa.B%3Fapplication%3Dshop%26default.group%3Dx%2Cy",
            "consumer%3A%2F%2F10.0.9.3%2Fa.B%3Finterface%3Da.B",
            "dubbo%3A%2F%2F10.0.9.4%3A20880%2Fa.B%3Fapplication%3Dp",
            "%zz",
        ];
        let callers = callers("a.B", &names.map(String::from));
        assert_eq!(
            shown(&callers),
            [
                "cart needs a.B:*",
                "cart needs a.B:g:1.0.0",
                "shop needs a.B:x,y",
                "a.B: 10.0.9.3 says no application, so nobody knows who needs it",
                "a.B: dubbo:// is no consumer",
                "a.B: has a % that no two hexadecimal digits follow",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_some_times_only() {
        let names: Vec<String> = (0..1_000).map(|n| format!("consumer://10.0.0.1/a.B?interface=a.B{n}")).collect();
        let other = "consumer://10.0.0.1/a.B?application=a".to_owned();
        let callers = callers("a.B", &[names, vec![other]].concat());
        assert_eq!((callers.needs.len(), callers.notes.len()), (1, 1), "equal ones are told once");
        let names: Vec<String> = (0..1_000).map(|n| format!("consumer://10.0.0.{n}/a.B?interface=a.B")).collect();
        assert_eq!(super::callers("a.B", &names).notes.len(), MOST_NOTES);
    }

    #[test]
    fn a_name_in_nacos_says_what_the_metadata_does_not() {
        let of = |name: &str, query: &'static str| {
            let get = move |key: &str| query.split('&').filter_map(|p| p.split_once('=')).find(|(k, _)| *k == key);
            let read = in_service(&needed(name)?, move |key: &str| get(key).map(|(_, value)| value));
            Some(read.map_or_else(|why| why, |(application, need)| format!("{application} needs {}", need.service())))
        };
        for (name, query, expected) in [
            ("consumers:a.B:1.0.0:g", "application=cart", Some("cart needs a.B:g:1.0.0")),
            ("consumers:a.B___C::", "application=cart&side=consumer", Some("cart needs a.B$C")),
            ("consumers:a.B:*:*", "application=cart", Some("cart needs a.B:*:*")),
            ("consumers:a.B::", "application=cart&version=2", Some("cart needs a.B::2")),
            ("consumers:a.B::", "side=consumer", Some("says no application, so nobody knows who needs it")),
            ("providers:a.B::", "application=cart", None),
        ] {
            assert_eq!(of(name, query).as_deref(), expected, "{name} with {query}");
        }
    }
}
