//! The registry under the load: a folder of catalogue files, changed one file at a time.

use std::{
    fmt::Write,
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};
use tempfile::TempDir;

/// Services in one file: a change parses this many again.
const PER_FILE: usize = 20;

pub struct Registry {
    folder: TempDir,
    services: usize,
    endpoints: usize,
    weight: AtomicU32,
}

impl Registry {
    pub fn create(services: usize, endpoints: usize) -> anyhow::Result<Registry> {
        let registry = Registry { folder: tempfile::tempdir()?, services, endpoints, weight: AtomicU32::new(1) };
        for file in 0..services.div_ceil(PER_FILE) {
            registry.write(file, None)?;
        }
        Ok(registry)
    }

    /// The section of the configuration.
    pub fn config(&self) -> String {
        format!("registries:\n- name: load\n  file: {{ path: '{}' }}\n", self.folder.path().display())
    }

    /// The clusters' names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..self.services).map(|i| format!("outbound|80||{}", host(i)))
    }

    /// Gives one endpoint of a service another weight; the moment just before the registry can see it.
    pub fn change(&self, service: usize) -> anyhow::Result<Instant> {
        let weight = 2 + self.weight.fetch_add(1, Ordering::Relaxed) % 90;
        self.write(service / PER_FILE, Some((service, weight)))
    }

    fn write(&self, file: usize, changed: Option<(usize, u32)>) -> anyhow::Result<Instant> {
        let mut text = String::from("services:\n");
        for service in (file * PER_FILE..(file + 1) * PER_FILE).take_while(|s| *s < self.services) {
            writeln!(text, "- host: {}\n  endpoints:", host(service))?;
            for endpoint in 0..self.endpoints {
                let weight = changed.filter(|(s, _)| *s == service && endpoint == 0).map_or(1, |(_, w)| w);
                let address = format!("10.{}.{}.{}", service >> 8 & 255, service & 255, endpoint + 1);
                writeln!(text, "  - {{ address: {address}, port: 8080, weight: {weight} }}")?;
            }
        }
        // Beside the folder's catalogue files, so that nobody sees half a file.
        let new = self.folder.path().join(".new");
        fs::write(&new, text)?;
        let at = Instant::now();
        fs::rename(new, self.folder.path().join(format!("services-{file:05}.yaml")))?;
        Ok(at)
    }
}

fn host(service: usize) -> String {
    format!("svc-{service:05}.load")
}
