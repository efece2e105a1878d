//! Nacos 2 and 3 by gRPC: one protobuf envelope with JSON in it (`docs/adr/0008-own-client-for-nacos-push.md`).

mod client;
mod connection;
mod endpoint;
pub(crate) mod wire;

pub(super) use client::GrpcClient;
pub(crate) use client::Link;
pub(crate) use connection::Connection;
