//! `get`: asks the admin API of a running Portolan, and shows the answer.
//!
//! Long lists come in pages. Each page is printed before the next is requested, so a list of any length needs the memory of
//! one page, in both processes.

mod arguments;
mod columns;
mod error;
mod print;

pub(super) use arguments::Arguments;
pub(super) use error::Error;

use super::{ask, table::text};
use arguments::{What, with_parameter};
use print::Printer;
use serde_json::Value;
use std::io;

/// Asks page by page, and passes the text of each to `print`.
///
/// # Errors
/// If a request fails, or the answer cannot be printed.
pub(super) fn run(arguments: &Arguments, mut print: impl FnMut(&str) -> io::Result<()>) -> Result<(), Error> {
    ask::block_on(async {
        let (admin, mut printer) = (arguments.admin.client()?, Printer::new(arguments));
        let mut url = arguments.url(&admin);
        loop {
            let mut page = admin.get(&url).await?;
            if let (
                What::Registries | What::Manifests | What::Views | What::Findings | What::Quarantine,
                Some(name),
                Value::Array(items),
            ) = (arguments.what, &arguments.name, &mut page)
            {
                items.retain(|item| [&item["name"], &item["key"]].iter().any(|n| text(n).contains(name)));
            }
            let next = page.as_object_mut().and_then(|page| page.remove("continue")).filter(Value::is_string);
            print(&printer.page(page, next.is_none())?).map_err(Error::Print)?;
            let Some(next) = next else { return Ok(()) };
            url = with_parameter(url, "continue", &text(&next));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::Running;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// The text that `get` prints, or its error with all causes.
    async fn get(admin: &str, words: &str) -> Result<String, String> {
        let words = format!("get {words} --admin {admin}");
        tokio::task::spawn_blocking(move || {
            let line = Line::try_parse_from(words.split(' ')).map_err(|error| error.to_string())?;
            let mut text = String::new();
            let print = |part: &str| {
                text.push_str(part);
                Ok(())
            };
            run(&line.arguments, print).map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
            Ok(text)
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn every_kind_is_shown_in_columns() {
        let admin = Running::good().await;
        for (words, expected) in [
            (
                "services",
                "HOST             PORTS    SERVING  FROM                   NOTES\n\
                 orders.example   80/grpc  1/2      held/ns/g/orders       disabled\n\
                 users.example    80/grpc  0/0      held/ns/g/users        disabled\n\
                 (not published)  -        0/1      other/ns/g/secret-svc  excluded\n",
            ),
            (
                "endpoints example",
                "CLUSTER                      ADDRESS        HEALTH     WEIGHT  LOCALITY  PRIORITY\n\
                 outbound|80||orders.example  10.0.0.1:8080  healthy    100     r/z       0\n\
                 outbound|80||orders.example  10.0.0.2:8080  unhealthy  100     r/z       0\n\
                 outbound|80||users.example   (none)         -          -       -         -\n",
            ),
            (
                "clients",
                "NODE  CLUSTER  PEER             IDENTITY  AGENT         VARIANT  VIEW   TYPE     ACKNOWLEDGED  WITHHELD  REFUSED\n\
                 n     c        127.0.0.1:40000  -         envoy 1.40.0  delta    envoy  Cluster  1             x         no such thing\n",
            ),
            (
                "clients somebody-else",
                "NODE  CLUSTER  PEER  IDENTITY  AGENT  VARIANT  VIEW  TYPE  ACKNOWLEDGED  WITHHELD  REFUSED\n",
            ),
            (
                "calls",
                "APPLICATION  NEEDS         HOSTS                         GONE SINCE\n\
                 cart         a.A:*:1.0     -                             -\n\
                 cart         a.A:g:1.0     -                             1970-01-01T00:00:01.500Z\n\
                 console      (everything)  -                             -\n\
                 console      *:*:*         -                             -\n\
                 (note)       a.A           10.0.0.1 says no application  -\n",
            ),
            (
                "views",
                "KEY    CLIENTS  IDLE  GENERATION  READINESS  RESOURCES\n\
                 envoy  1        2s    1           complete   clusters=4 endpoints=2\n",
            ),
        ] {
            assert_eq!(get(&admin.url, words).await.as_deref(), Ok(expected), "{words}");
        }
        let clusters = get(&admin.url, "clusters orders").await.unwrap();
        let lines: Vec<Vec<&str>> = clusters.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAME", "TYPE", "ENDPOINTS", "OF", "VERSION"]);
        assert_eq!(lines[1][..3], ["outbound|80||orders", "EDS", "outbound|80||orders.example"]);
        assert_eq!(lines.len(), 3);
        let entries = get(&admin.url, "serviceentries users --view istio").await.unwrap();
        let line: Vec<&str> = entries.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(line[..6], ["portolan/users.example", "users.example", "users", "-", "80/GRPC", "0"]);
        let wrong = get(&admin.url, "clusters --view istio").await.unwrap_err();
        assert!(wrong.contains("a view of istio has no clusters"), "{wrong}");
        let registries = get(&admin.url, "registries").await.unwrap();
        assert!(registries.contains("held  nacos  synced"), "{registries}");
        let digests = get(&admin.url, "digests").await.unwrap();
        let counts: Vec<Vec<&str>> = digests.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
        assert!(counts.contains(&vec!["clusters", "4"]), "{digests}");
    }

    #[tokio::test]
    async fn the_whole_answer_is_shown_as_json_and_yaml() {
        let admin = Running::good().await;
        let json: Value = serde_json::from_str(&get(&admin.url, "services -o json").await.unwrap()).unwrap();
        assert_eq!(json["total"], 3);
        let yaml = get(&admin.url, "services orders.example").await.unwrap();
        assert!(yaml.contains("host: orders.example\n") && yaml.contains("instances:\n"), "{yaml}");
        assert_eq!(yaml, get(&admin.url, "services orders -o yaml").await.unwrap());
    }

    #[tokio::test]
    async fn the_address_may_be_a_host_with_a_port() {
        let admin = Running::good().await;
        let bare = admin.url.trim_start_matches("http://");
        assert_eq!(get(bare, "digests").await.unwrap(), get(&admin.url, "digests").await.unwrap());
        let refused = get("http://", "digests").await.unwrap_err();
        assert!(refused.contains("write it as http://127.0.0.1:8081"), "{refused}");
    }

    #[tokio::test]
    async fn whoever_does_not_answer_is_named_with_the_remedy() {
        let admin = Running::good().await;
        let refused = get(&admin.url, "services nobody").await.unwrap_err();
        assert!(refused.contains("answers 404: no service \"nobody\""), "{refused}");
        let other = get(&format!("{}/healthz?", admin.url), "services").await.unwrap_err();
        assert!(other.contains("404"), "{other}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = get(&format!("http://{free}"), "services").await.unwrap_err();
        assert!(nobody.contains(&free.to_string()) && nobody.contains("--admin"), "{nobody}");
    }
}
