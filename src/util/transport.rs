//! The bytes of a connection, whatever they come through: TCP, a Unix socket, TLS over one of these.

use tokio::io::{AsyncRead, AsyncWrite};

/// What a connection's bytes are read from and written to.
pub trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

/// Any of them: the HTTP server above is compiled once for all.
pub type Transport = Box<dyn Bytes>;
