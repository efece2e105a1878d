//! What goes wrong with real Nacos servers and with what they hold: whatever it is, no service is lost, and what changed
//! meanwhile is there afterwards, by push and by polling.
//!
//! One server of each generation, with users and rights, walks through all cases, because starting one costs more than
//! most of them. Each case has services and readers of its own.

mod content;
mod rights;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use portolan::{
    registry::{
        Kind,
        nacos::{Config, Login, Mode},
        transport::Connection,
    },
    util::secret::Secret,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use support::{nacos::Nacos, reading::Reading, tcp_proxy::TcpProxy};

/// Longer than any of these tests: with push, what is heard was pushed.
const NEVER: Duration = Duration::from_secs(3600);
const ADMIN: (&str, &str) = ("nacos", "nacos");
const READER: (&str, &str) = ("reader", "reads");

async fn walk(script: &'static str) {
    let started = Instant::now();
    let environment = [("NACOS_AUTH", "on"), ("NACOS_OLD_API", "client")];
    let Some(mut nacos) = Nacos::start_with(script, &environment).await else { return };
    if script == "nacos3" {
        nacos.create_admin(ADMIN.1).await;
    }
    nacos.create_user(READER.0, READER.1, "public:*:*").await;
    let done = |what: &str| println!("{script}: {what} done after {:.1?}", started.elapsed());
    done("start");
    content::any_name_and_metadata_that_nacos_takes(&nacos, script).await;
    content::a_name_with_a_group_before_it(&nacos, script).await;
    done("names");
    content::five_thousand_instances(&nacos).await;
    done("five thousand instances");
    rights::a_wrong_password_is_tried_seldom(&nacos).await;
    done("wrong password");
    rights::are_withdrawn_and_given_back(&nacos).await;
    done("rights");
    rights::that_are_given_later_lead_to_the_better_interface(&nacos).await;
    done("rights given later");
    rights::of_rules_come_and_go(&nacos).await;
    done("rights to rules");
    rights::a_namespace_is_removed(&nacos).await;
    done("namespace");
    servers::one_takes_over_from_another(&nacos).await;
    done("take-over");
    servers::another_token_key_costs_a_login(&mut nacos, &environment).await;
    done("token key");
}

#[tokio::test]
async fn nacos_2_fails_and_nothing_is_lost() {
    walk("nacos2").await;
}

#[tokio::test]
async fn nacos_3_fails_and_nothing_is_lost() {
    walk("nacos3").await;
}

/// Settings that read the servers at these addresses.
fn settings(servers: &[SocketAddr], grpc: u16, mode: Mode, (user, password): (&str, &str)) -> Config {
    let url = |address: &SocketAddr| Config::server(&format!("http://{address}")).unwrap();
    let login = Login { username: user.into(), password: Secret::new(password) };
    let connection = Connection { timeout: Duration::from_secs(3), ..Connection::default() };
    Config {
        mode,
        period: Config::MIN_PERIOD,
        resync: NEVER,
        grpc_port: Some(grpc),
        login: Some(login),
        connection,
        ..Config::new(servers.iter().map(url).collect())
    }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Nacos(config))
}

/// A reader by push and one by polling, each with the proxy through which it speaks HTTP.
async fn readers(nacos: &Nacos, user: (&str, &str), more: impl Fn(Config) -> Config) -> Vec<(Reading, TcpProxy)> {
    let mut readers = Vec::new();
    for mode in [Mode::Push, Mode::Poll] {
        let proxy = TcpProxy::start(nacos.http()).await;
        let reading = read(more(settings(&[proxy.address], nacos.grpc().port(), mode, user)));
        readers.push((reading, proxy));
    }
    readers
}

/// How often somebody tried to log in. Where the path of 3.x is not there, that of 2.x is asked.
fn logins(proxy: &TcpProxy) -> usize {
    proxy.asked().iter().filter(|line| line.starts_with("POST /nacos/v3/auth/user/login")).count()
}

fn persistent(weight: u32) -> String {
    format!("ephemeral=false&weight={weight}")
}

/// The weight of a service's first instance.
fn weight(reading: &Reading, service: &str) -> Option<f64> {
    reading.service(service)?.endpoints.first().map(|endpoint| endpoint.weight.get())
}

/// Waits for something; meanwhile the service does not go.
async fn while_there(reading: &mut Reading, service: &str, what: &str, holds: impl Fn(&Reading) -> bool) -> Duration {
    let there = |h: &Reading| {
        let endpoints = h.service(service).map_or(0, |s| s.endpoints.len());
        assert_eq!(endpoints, 1, "{service} before {what}; errors {:?}", h.errors);
        holds(h)
    };
    reading.until(what, there).await
}
