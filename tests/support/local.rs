//! The whole product in this process, on ports that were free; ended when dropped.

use super::http;
use portolan::{
    app::{App, Start},
    config::Sources,
};
use serde_json::Value;
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running Portolan, without a log and without what belongs to a process.
pub struct Local {
    /// Where Envoys connect.
    pub xds: SocketAddr,
    /// Where people ask.
    pub admin: SocketAddr,
    folder: TempDir,
    _stop: DropGuard,
}

impl Local {
    /// Runs a configuration without `version:`, `xds:` and `admin:`.
    pub async fn start(rest_of_config: &str) -> Local {
        Local::start_with("", rest_of_config).await
    }

    /// The same with keys of `admin:` besides `listen`.
    pub async fn start_with(admin: &str, rest_of_config: &str) -> Local {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portolan.yaml");
        std::fs::write(&path, text("", admin, rest_of_config)).unwrap();
        let start = Start::read(Sources::new(Some(path))).unwrap();
        let app = App::bind(start).await.unwrap();
        let (xds, admin, stop) = (app.xds_addr(), app.admin_addr(), CancellationToken::new());
        tokio::spawn(app.run(stop.clone()));
        Local { xds, admin, folder, _stop: stop.drop_guard() }
    }

    /// Changes the configuration, which is followed.
    pub fn reconfigure(&self, rest_of_config: &str) {
        self.reconfigure_with("", rest_of_config);
    }

    /// The same with further keys of `xds:`.
    pub fn reconfigure_with(&self, xds: &str, rest_of_config: &str) {
        let new = self.folder.path().join("portolan.new");
        std::fs::write(&new, text(xds, "", rest_of_config)).unwrap();
        std::fs::rename(new, self.folder.path().join("portolan.yaml")).unwrap();
    }

    /// A folder that lives as long as it does.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The body of an admin page, with its status.
    pub async fn get(&self, path: &str) -> (u16, String) {
        http::get(self.admin, path).await
    }

    /// The JSON of an admin page.
    pub async fn json(&self, path: &str) -> Value {
        http::json(self.admin, path).await
    }

    /// Waits until `/ready` says yes.
    pub async fn ready(&self) -> &Self {
        http::ready(self.admin).await;
        self
    }
}

/// A whole configuration.
fn text(xds: &str, admin: &str, rest: &str) -> String {
    let addresses =
        format!("xds: {{ listen: '127.0.0.1:0', drain: 200ms, {xds} }}\nadmin: {{ listen: '127.0.0.1:0', {admin} }}");
    format!("version: 1\n{addresses}\n{rest}")
}
