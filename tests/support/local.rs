//! The whole product in this process, on ports that were free; ended when dropped.

use super::http;
use portolan::{
    app::{App, Start},
    config::Sources,
    xds::Address,
};
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running Portolan, without a log and without what belongs to a process.
pub struct Local {
    /// Address of the xDS server.
    pub xds: SocketAddr,
    /// Address of the admin API.
    pub admin: SocketAddr,
    /// Address of client status (CSDS); `None` unless the configuration has it.
    pub csds: Option<SocketAddr>,
    listeners: Vec<(Arc<str>, Address)>,
    folder: TempDir,
    _stop: DropGuard,
}

impl Local {
    /// Runs a configuration without `version:`, `xds:` and `admin:`.
    pub async fn start(rest_of_config: &str) -> Local {
        Local::start_with("", rest_of_config).await
    }

    /// Like [`Local::start`], with keys of `admin:` besides `listen`.
    pub async fn start_with(admin: &str, rest_of_config: &str) -> Local {
        Local::start_in(tempfile::tempdir().unwrap(), "", admin, rest_of_config).await
    }

    /// Like [`Local::start_with`], with further keys of `xds:`, in a folder that has its files already. With
    /// `listeners:` among them there is no other listener.
    pub async fn start_in(folder: TempDir, xds: &str, admin: &str, rest_of_config: &str) -> Local {
        let path = folder.path().join("portolan.yaml");
        std::fs::write(&path, text(xds, admin, rest_of_config)).unwrap();
        let start = Start::read(Sources::new(Some(path))).unwrap();
        let app = App::bind(start).await.unwrap();
        let (csds, listeners) = (app.csds_addr(), app.listeners());
        let (xds, admin, stop) = (app.xds_addr().unwrap(), app.admin_addr(), CancellationToken::new());
        tokio::spawn(app.run(stop.clone()));
        Local { xds, admin, csds, listeners, folder, _stop: stop.drop_guard() }
    }

    /// Address of the TCP listener with that name. Panics if there is none.
    pub fn listener(&self, name: &str) -> SocketAddr {
        match self.listeners.iter().find(|(of, _)| **of == *name) {
            Some((_, Address::Tcp(address))) => *address,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Puts a file in the place of another in its folder, in one step.
    pub fn put(&self, name: &str, text: &str) {
        let new = self.folder.path().join(format!(".{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    /// Replaces the configuration in one step; Portolan sees that by itself.
    pub fn reconfigure(&self, rest_of_config: &str) {
        self.reconfigure_with("", rest_of_config);
    }

    /// Like [`Local::reconfigure`], with further keys of `xds:`.
    pub fn reconfigure_with(&self, xds: &str, rest_of_config: &str) {
        let new = self.folder.path().join("portolan.new");
        std::fs::write(&new, text(xds, "", rest_of_config)).unwrap();
        std::fs::rename(new, self.folder.path().join("portolan.yaml")).unwrap();
    }

    /// The folder of the configuration, removed when this value is dropped.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The body of an admin page, with its status.
    pub async fn get(&self, path: &str) -> (u16, String) {
        http::get(self.admin, path).await
    }

    /// The JSON of an admin page. Panics unless the status is 200.
    pub async fn json(&self, path: &str) -> Value {
        http::json(self.admin, path).await
    }

    /// Waits until `/ready` answers 200.
    pub async fn ready(&self) -> &Self {
        http::ready(self.admin).await;
        self
    }
}

/// A whole configuration, with free ports and a drain of 200 ms.
fn text(xds: &str, admin: &str, rest: &str) -> String {
    let listen = if xds.contains("listeners:") { "" } else { "listen: '127.0.0.1:0', " };
    let xds = format!("xds: {{ {listen}drain: 200ms, {xds} }}");
    format!("version: 1\n{xds}\nadmin: {{ listen: '127.0.0.1:0', {admin} }}\n{rest}")
}
