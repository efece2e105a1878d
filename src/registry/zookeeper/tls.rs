//! TLS to ZooKeeper, where it is built in.
//!
//! The library brings a second provider of cryptography into the program, and TLS refuses to choose one of two by itself:
//! before the first use the one that everything else here uses is made the program's own.

use super::error::Error;
use crate::{registry::transport::Tls, util::tls};
use zookeeper_client::TlsOptions;

/// What a connection is made with.
pub(super) fn options(settings: &Tls) -> Result<TlsOptions, Error> {
    // An error means that there is one already, which is as good.
    let _ = std::sync::Arc::unwrap_or_clone(tls::provider()).install_default();
    let mut options = TlsOptions::new();
    if let Some(ca) = &settings.ca {
        options = options.with_pem_ca(ca).map_err(Error::Certificates)?;
    }
    if let Some(identity) = &settings.identity {
        options = options.with_pem_identity(&identity.cert, identity.key.expose()).map_err(Error::Certificates)?;
    }
    Ok(options)
}
