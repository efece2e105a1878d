//! The Consul registry against real servers, started from `tests/servers`, and what must hold of real ones and of the stand-in
//! alike. Without what a real one needs its tests print `SKIP` and pass; with `PORTOLAN_REAL_SERVERS=required` they fail.

#[path = "../support/mod.rs"]
mod support;

mod alike;
mod faults;
mod figures;
mod real;

use portolan::registry::{
    Kind,
    consul::{Config, server},
};
use support::reading::Reading;

fn config(url: &str) -> Config {
    Config::new(vec![server(url).unwrap()])
}

fn read(config: Config) -> Reading {
    Reading::new(Kind::Consul(config))
}
