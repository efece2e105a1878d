//! What several tests need. Each test program uses a part of it.
#![allow(dead_code, reason = "each test program uses a part")]

pub mod callers;
pub mod clock;
pub mod connecting;
pub mod consul;
pub mod envoy;
pub mod eureka;
pub mod fake_configs;
pub mod fake_consul;
pub mod fake_dns;
pub mod fake_eureka;
pub mod fake_http;
pub mod fake_nacos;
pub mod fake_push;
pub mod fault;
pub mod http;
pub mod judge;
pub mod landing;
pub mod local;
pub mod mesh;
pub mod nacos;
pub mod netns;
pub mod portolan;
pub mod process;
pub mod programs;
pub mod reading;
pub mod servers;
pub mod tagging;
pub mod tcp_proxy;
pub mod tls;
pub mod traffic;
mod until;
pub mod upstream;
pub mod wrong;
pub mod zookeeper;

pub use until::until;
