//! Whom we ask, and as whom: the servers of one cluster, the login, the signature. Nothing here sends anything.

mod authentication;
mod servers;
mod signing;

pub(crate) use authentication::{Authentication, Session, Token};
pub(crate) use servers::{Servers, redirected};
pub(crate) use signing::{Subject, sign};
