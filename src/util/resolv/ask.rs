//! Asks name servers so that "there is no such name" is told from "nobody knows".
//!
//! A name may stand for several by the search list, and has addresses of two families: several questions, some of which may
//! fail. The resolver tells of the last one alone, so each is asked by itself here, by an absolute name.

use super::search::Search;
use futures_util::future::join;
use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{IntoName, Name, Record, RecordType},
};
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long an address holds that needs no name server.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// Asks the name servers of one configuration.
#[derive(Debug)]
pub struct Asker {
    resolver: TokioResolver,
    search: Search,
}

/// Which addresses a question is for: each family has a type of record, and may fail by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// By records of type A.
    V4,
    /// By records of type AAAA.
    V6,
}

/// The addresses of a name.
#[derive(Debug, Default)]
pub struct Addresses {
    /// In order, each once; if it is empty, there is no such name, or it has none.
    pub ips: Vec<IpAddr>,
    /// The shortest time to live; zero without an answer.
    pub ttl: Duration,
    /// The family of which nothing is known, because its question failed while that of the other has an answer.
    pub unknown: Option<(Family, NetError)>,
}

impl Asker {
    /// Asks as this configuration says, for the addresses of both families.
    ///
    /// # Errors
    /// If no resolver can be set up by it.
    pub fn new(config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, NetError> {
        // The hosts file is looked at for each family by itself.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let search = Search::new(&config, &options);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        Ok(Asker { resolver: builder.with_options(options).build()?, search })
    }

    /// All addresses of a name. One with a dot at its end is absolute.
    ///
    /// # Errors
    /// If a question failed that may have had the only answer.
    pub async fn addresses(&self, name: &str) -> Result<Addresses, NetError> {
        if let Ok(ip) = name.parse() {
            return Ok(Addresses { ips: vec![ip], ttl: FOREVER, unknown: None });
        }
        let found = first(self.search.names(name.into_name()?), |name| self.of_both(name)).await?;
        Ok(found.unwrap_or_default())
    }

    /// All records of one type that a name has.
    ///
    /// # Errors
    /// If a question failed that may have had the only answer.
    pub async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, NetError> {
        let names = self.search.names(name.into_name()?);
        let found = first(names, |name| self.lookup(name, kind)).await?;
        Ok(found.map(|found| found.answers().to_vec()).unwrap_or_default())
    }

    async fn of_both(&self, name: Name) -> Result<Option<Addresses>, NetError> {
        let v4 = self.lookup(name.clone(), RecordType::A);
        let (v4, v6) = join(v4, self.lookup(name, RecordType::AAAA)).await;
        both(v4, v6)
    }

    /// The answer to one question; `None` if there are no such records.
    async fn lookup(&self, name: Name, kind: RecordType) -> Result<Option<Lookup>, NetError> {
        match self.resolver.lookup(name, kind).await {
            Ok(found) => Ok(found.answers().iter().any(|record| record.record_type() == kind).then_some(found)),
            Err(error) if error.is_no_records_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What the first of these names has that has anything.
///
/// # Errors
/// The first failure, if none has anything: one of those that failed may have.
async fn first<T, F>(names: Vec<Name>, ask: impl Fn(Name) -> F) -> Result<Option<T>, NetError>
where
    F: Future<Output = Result<Option<T>, NetError>>,
{
    let mut failure = None;
    for name in names {
        match ask(name).await {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// The answers for both families as one.
///
/// # Errors
/// If one failed and the other has no addresses.
fn both(
    v4: Result<Option<Lookup>, NetError>,
    v6: Result<Option<Lookup>, NetError>,
) -> Result<Option<Addresses>, NetError> {
    let (found, unknown) = match (v4, v6) {
        (Ok(None), Ok(None)) => return Ok(None),
        (Ok(v4), Ok(v6)) => (v4.into_iter().chain(v6).collect(), None),
        (Ok(Some(v4)), Err(error)) => (vec![v4], Some((Family::V6, error))),
        (Err(error), Ok(Some(v6))) => (vec![v6], Some((Family::V4, error))),
        (Ok(None), Err(error)) | (Err(error), _) => return Err(error),
    };
    Ok(Some(Addresses::of(&found, unknown)))
}

impl Addresses {
    fn of(found: &[Lookup], unknown: Option<(Family, NetError)>) -> Self {
        let answers = found.iter().flat_map(Lookup::answers);
        let mut ips: Vec<IpAddr> = answers.filter_map(|record| record.data.ip_addr()).collect();
        ips.sort();
        ips.dedup();
        let until = found.iter().map(Lookup::valid_until).min();
        let ttl = until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        Addresses { ips, ttl, unknown }
    }
}

impl Family {
    /// Whether this is an address of the family.
    pub fn has(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == (self == Family::V4)
    }

    /// `IPv4` or `IPv6`, for notes and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::{op::Query, rr::RData};
    use std::{cell::RefCell, future::ready};

    /// A search list of one domain, for which names without a dot are completed first.
    fn search() -> Search {
        let (corp, options) = (Name::from_ascii("corp.test.").unwrap(), ResolverOpts::default());
        Search::new(&ResolverConfig::from_parts(Some(corp.clone()), vec![corp], vec![]), &options)
    }

    fn failed() -> NetError {
        NetError::from("SERVFAIL")
    }

    /// What comes of a name where a question has one of these outcomes, and any other that there is no such name.
    async fn found(name: &str, outcomes: &[(&str, Result<u8, ()>)]) -> (Result<Option<u8>, String>, Vec<String>) {
        let asked = RefCell::new(Vec::new());
        let ask = |name: Name| {
            let name = name.to_ascii();
            let outcome = outcomes.iter().find(|(known, _)| *known == name);
            asked.borrow_mut().push(name);
            ready(outcome.map(|(_, outcome)| outcome.map_err(|()| failed())).transpose())
        };
        let found = first(search().names(Name::from_ascii(name).unwrap()), ask).await;
        (found.map_err(|error| error.to_string()), asked.into_inner())
    }

    #[tokio::test]
    async fn a_failure_is_no_answer_whatever_the_names_behind_it_come_to() {
        let (failed, gone): (Result<_, String>, _) = (Err("SERVFAIL".into()), Ok(None));
        let both = ["db.internal.".to_owned(), "db.internal.corp.test.".to_owned()];
        assert_eq!(found("db.internal", &[("db.internal.", Err(()))]).await, (failed.clone(), both.to_vec()));
        assert_eq!(found("db.internal", &[("db.internal.corp.test.", Err(()))]).await, (failed.clone(), both.to_vec()));
        assert_eq!(found("db.internal", &[]).await, (gone.clone(), both.to_vec()));
        let outcomes = [("db.internal.", Err(())), ("db.internal.corp.test.", Ok(7))];
        assert_eq!(found("db.internal", &outcomes).await, (Ok(Some(7)), both.to_vec()));
        assert_eq!(found("db.internal", &[("db.internal.", Ok(7))]).await, (Ok(Some(7)), both[..1].to_vec()));
        // An absolute name is asked for as it is.
        assert_eq!(found("db.internal.", &[("db.internal.corp.test.", Ok(7))]).await, (gone, both[..1].to_vec()));
    }

    #[test]
    fn a_family_that_fails_is_told_apart_from_one_without_addresses() {
        let lookup = |ip: IpAddr| {
            let (query, data) = (Query::query(Name::root(), RecordType::A), RData::from(ip));
            Ok(Some(Lookup::new_with_max_ttl(query, [Record::from_rdata(Name::root(), 60, data)])))
        };
        let (v4, v6): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), "2001:db8::1".parse().unwrap());
        let shown = |found: Result<Option<Addresses>, NetError>| {
            let family = |unknown: Option<(Family, NetError)>| unknown.map(|(family, _)| family);
            found.map(|found| found.map(|found| (found.ips, family(found.unknown)))).map_err(|error| error.to_string())
        };
        assert_eq!(shown(both(lookup(v4), lookup(v6))), Ok(Some((vec![v4, v6], None))));
        assert_eq!(shown(both(Ok(None), lookup(v6))), Ok(Some((vec![v6], None))));
        assert_eq!(shown(both(Err(failed()), lookup(v6))), Ok(Some((vec![v6], Some(Family::V4)))));
        assert_eq!(shown(both(lookup(v4), Err(failed()))), Ok(Some((vec![v4], Some(Family::V6)))));
        assert_eq!(shown(both(Ok(None), Err(failed()))), Err("SERVFAIL".into()));
        assert_eq!(shown(both(Err(failed()), Ok(None))), Err("SERVFAIL".into()));
        assert_eq!(shown(both(Ok(None), Ok(None))), Ok(None));
    }
}
