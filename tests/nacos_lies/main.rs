//! A Nacos that lies: in its lists, in its entries, in its errors, and where it pushes. Nothing of it takes away what is good.

mod entries;
mod lists;
mod messages;
mod push;
#[path = "../support/mod.rs"]
mod support;

use portolan::{
    model::Service,
    registry::{
        Kind,
        nacos::{Config, Mode},
        transport::Connection,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use support::{
    fake_nacos::{FakeNacos, Generation},
    reading::Reading,
};

const ALL: [Generation; 5] = [Generation::V1, Generation::V2, Generation::V2Plain, Generation::V3, Generation::V3Plain];

fn config(fake: &FakeNacos) -> Config {
    let connection = Connection { timeout: Duration::from_secs(5), ..Connection::default() };
    let servers = vec![Config::server(&fake.url()).unwrap()];
    Config { mode: Mode::Poll, period: Config::MIN_PERIOD, connection, ..Config::new(servers) }
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Nacos(config))
}

fn names(reading: &Reading) -> Vec<String> {
    reading.endpoints().into_keys().collect()
}

/// Each endpoint as `address:port weight`.
fn weights(service: &Arc<Service>) -> BTreeMap<String, f64> {
    let shown = |e: &portolan::model::Endpoint| (format!("{}:{}", e.address, e.ports[0].number), e.weight.get());
    service.endpoints.iter().map(shown).collect()
}
