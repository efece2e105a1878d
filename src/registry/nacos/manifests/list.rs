//! What a server says of one group of one namespace: the list, whole, and one text by itself.

use super::{meant::Meant, wire};
use crate::{
    model::Text,
    registry::{
        nacos::{
            api::{
                budget::Budget,
                configuration::{Content, says_nothing_there},
                pages::{List as Pages, Page, Size, Value},
            },
            error::Error,
            name::tenant,
            transport::{Client, Question, json},
        },
        transport::{Answer, Origin},
    },
    util::error::chain,
};
use std::collections::BTreeMap;
use wildmatch::WildMatch;

/// The interface by which manifests are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// 3.x: the list has md5s, and each text is asked for.
    AdminV3,
    /// 1.x and 2.x: the list has the texts.
    ConfigsV1,
}

/// One text in a list: its md5 or its content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Md5(Option<Text>),
    Text(Text),
}

/// `None` is a text of another group.
impl Value for Option<Listed> {}

/// A list, by dataId.
pub(crate) type List = BTreeMap<Text, Listed>;

/// The namespace that is read, and by which client.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) registry: &'a Text,
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a Text,
    pub(crate) meant: &'a Meant,
    /// The `dataId`s that count match one of them.
    pub(crate) patterns: &'a [WildMatch],
    pub(crate) page_size: usize,
    pub(crate) concurrency: usize,
    pub(crate) budget: &'a Budget,
}

impl Way {
    /// All interfaces, the best one first.
    const ALL: [Way; 2] = [Way::AdminV3, Way::ConfigsV1];

    const fn list(self) -> &'static str {
        match self {
            Way::AdminV3 => "/v3/admin/cs/config/list",
            Way::ConfigsV1 => "/v1/cs/configs",
        }
    }

    const fn one(self) -> &'static str {
        match self {
            Way::AdminV3 => "/v3/client/cs/config",
            Way::ConfigsV1 => "/v1/cs/configs",
        }
    }

    /// The keys of namespace and group in a query.
    const fn keys(self) -> (&'static str, &'static str) {
        match self {
            Way::AdminV3 => ("namespaceId", "groupName"),
            Way::ConfigsV1 => ("tenant", "group"),
        }
    }

    fn page<'a>(self, origin: &Origin, body: &'a [u8]) -> Result<wire::Page<'a>, Error> {
        match self {
            Way::AdminV3 => json::enveloped(origin, body),
            Way::ConfigsV1 => json::bare(origin, body),
        }
    }
}

impl Source<'_> {
    /// Lists all texts of the group, by the interface that worked last or else by the best that works.
    pub(crate) async fn list(&self, known: Option<Way>) -> Result<(Way, List), Error> {
        let (mut tried, mut causes) = (Vec::new(), Vec::new());
        for way in known.map_or(Way::ALL.to_vec(), |way| vec![way]) {
            match self.list_by(way).await {
                Err(error) if known.is_none() && error.is_not_offered() => {
                    causes.push((!error.is_denied(), error.cause()));
                    tried.push(chain(&error));
                }
                outcome => return outcome.map(|list| (way, list)),
            }
        }
        // That it is forbidden says more than that it is not there.
        let cause = causes.into_iter().min().map(|(_, cause)| cause).unwrap_or_default();
        Err(Error::NoConfigList { cause, group: self.meant.group.clone(), tried: tried.join("; ") })
    }

    /// Reads one text, from a server whose list has none; `None` if it says that there is none.
    pub(crate) async fn text(&self, name: &Text) -> Result<Option<Text>, Error> {
        let way = Way::AdminV3;
        let read = |answer: Answer| {
            json::enveloped::<Content<'_>>(&answer.origin, &answer.body).map(|found| Text::from(found.content))
        };
        match self.ask(way, way.one(), &[("dataId", name)]).await.and_then(read) {
            Ok(text) => {
                self.budget.take("texts", 1, text.len())?;
                Ok(Some(text))
            }
            Err(error) if says_nothing_there(&error) => Ok(None),
            Err(source) => Err(Error::Manifest { name: name.clone(), source: Box::new(source) }),
        }
    }

    /// True if the server says, asked for it by itself, that there is no such text.
    pub(crate) async fn is_gone(&self, way: Way, name: &Text) -> Result<bool, Error> {
        if way == Way::AdminV3 {
            return Ok(self.text(name).await?.is_none()); // said with status 200
        }
        match self.ask(way, way.one(), &[("dataId", name)]).await {
            Ok(_) => Ok(false),
            Err(error) if says_nothing_there(&error) => Ok(true),
            Err(source) => Err(Error::Manifest { name: name.clone(), source: Box::new(source) }),
        }
    }

    async fn list_by(&self, way: Way) -> Result<List, Error> {
        let pages = Pages { what: "texts", path: way.list(), budget: self.budget };
        let searches = match self.meant.by_pattern {
            true => self.meant.data_ids.iter().map(|pattern| ("blur", &**pattern)).collect(),
            false => vec![("accurate", "")],
        };
        let mut list = List::new();
        for search in searches {
            let all = pages.whole(|number| self.page(way, search, number)).await?;
            list.extend(all.into_iter().filter_map(|((_, name), listed)| Some((name, listed?))));
        }
        Ok(list)
    }

    async fn page(
        &self,
        way: Way,
        (search, name): (&str, &str),
        number: usize,
    ) -> Result<Page<(Text, Text), Option<Listed>>, Error> {
        let (number, size) = (number.to_string(), self.page_size.to_string());
        let query = [("dataId", name), ("search", search), ("pageNo", &number), ("pageSize", &size)];
        let answer = self.ask(way, way.list(), &query).await?;
        let wire::Page { total_count, page_items } = way.page(&answer.origin, &answer.body)?;
        let entry = |item: wire::Item<'_>| {
            let name = (Text::from(&*item.group), Text::from(&*item.data_id));
            // Texts of another group are none of the list, whoever has put them there.
            let listed = if *name.0 == *self.meant.group { Some(entry(way, item)?.1) } else { None };
            Ok((name, listed))
        };
        let entries = page_items.into_iter().map(entry).collect::<Result<_, Error>>()?;
        Ok(Page { entries, total: Some(total_count), size: Size { bytes: answer.body.len(), parts: 0 } })
    }

    async fn ask(&self, way: Way, path: &str, more: &[(&str, &str)]) -> Result<Answer, Error> {
        let (namespace_key, group_key) = way.keys();
        let namespace = self.called(way);
        let group = &*self.meant.group;
        let mut query = vec![(namespace_key, namespace), (group_key, group)];
        query.extend(more);
        let question = Question { path, query: &query, config: Some((namespace, group)), wait: None };
        self.client.http.ask(&question).await
    }

    /// The namespace as this interface names it.
    pub(crate) fn called(&self, way: Way) -> &str {
        match way {
            Way::AdminV3 => self.namespace,
            Way::ConfigsV1 => tenant(self.namespace),
        }
    }
}

fn entry(way: Way, item: wire::Item<'_>) -> Result<(Text, Listed), Error> {
    let name: Text = item.data_id.into();
    match (way, item.content) {
        (Way::AdminV3, _) => Ok((name, Listed::Md5(item.md5.map(Text::from)))),
        (Way::ConfigsV1, Some(text)) => Ok((name, Listed::Text(text.into()))),
        (Way::ConfigsV1, None) => Err(Error::NoContent { path: way.list(), name }),
    }
}
