//! Manifests in files: each file of some paths is one, read when it changes.
//!
//! A path is a file, or a folder whose `*.yaml`, `*.yml` and `*.json` count. Each path is a scope: it is sent whole or as a failure. A file
//! that cannot be read is a wrong manifest, so that what it gave before stays, as it does where its text is wrong; a file
//! that is gone from its folder is a manifest that is deleted.

use crate::{
    model::{Manifest, ManifestId, ManifestUpdate, Scope, Text},
    util::{
        error::chain,
        files::{documents, folder_of, open_regular},
        watch::Watch,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

/// The most files that a folder of manifests may have.
const MOST_FILES: usize = 10_000;

/// The most bytes that the text of a manifest may have.
const MOST_BYTES: u64 = 1 << 20;

/// Device, inode, size and time of change of a file: another stamp means that it was written.
type Stamp = (u64, u64, u64, i64, i64);

/// What was read of a file.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    stamp: Option<Stamp>,
    text: Result<Text, Text>,
}

/// The files of each path by their names, or why they cannot be listed.
type Look = BTreeMap<PathBuf, Result<BTreeMap<Text, Seen>, Text>>;

/// Reads these paths, and sends what they hold as manifests of that registry, until `stop`.
pub async fn run(registry: Text, paths: Vec<PathBuf>, out: mpsc::Sender<ManifestUpdate>, stop: CancellationToken) {
    let reading = async {
        let scopes = paths.iter().map(|path| scope(path)).collect();
        if out.send(ManifestUpdate::Scopes(scopes)).await.is_err() {
            return;
        }
        let mut watch = Watch::new(folders(&paths));
        let mut sent = Look::new();
        loop {
            let now = watch.settled(&mut None, &sent, |before| look(paths.clone(), before)).await;
            for update in changes(&registry, &sent, &now) {
                if out.send(update).await.is_err() {
                    return;
                }
            }
            sent = now;
            watch.set(folders(&paths));
            watch.changed_or_time().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = reading => {}
    }
}

async fn look(paths: Vec<PathBuf>, before: Look) -> Look {
    let stays = before.clone();
    let looked = spawn_blocking(move || {
        let path = |path: PathBuf| {
            let known = before.get(&path).and_then(|known| known.as_ref().ok());
            let seen = files(&path, known).map_err(|error| refusal(&path, &error));
            (path, seen)
        };
        paths.into_iter().map(path).collect()
    });
    // It fails with the end of the process.
    looked.await.unwrap_or(stays)
}

/// What must be sent after `before`.
fn changes(registry: &Text, before: &Look, now: &Look) -> Vec<ManifestUpdate> {
    let update = |(path, seen): (&PathBuf, &Result<BTreeMap<Text, Seen>, Text>)| {
        let texts = |files: &BTreeMap<Text, Seen>| -> Vec<_> {
            files.iter().map(|(name, seen)| (name.clone(), seen.text.clone())).collect()
        };
        let scope = scope(path);
        match (before.get(path), seen) {
            (Some(Ok(old)), Ok(new)) if texts(old) == texts(new) => None,
            (Some(Err(old)), Err(new)) if old == new => None,
            (_, Err(error)) => Some(ManifestUpdate::Failed(Some(scope), error.clone())),
            (_, Ok(files)) => {
                let manifest = |(name, seen): (&Text, &Seen)| {
                    let id = ManifestId {
                        registry: registry.clone(),
                        namespace: scope.0.clone(),
                        group: "".into(),
                        name: name.clone(),
                    };
                    Arc::new(Manifest { id, text: seen.text.clone() })
                };
                let manifests = files.iter().map(manifest).collect();
                Some(ManifestUpdate::Listed(scope, manifests))
            }
        }
    };
    now.iter().filter_map(update).collect()
}

fn scope(path: &Path) -> Scope {
    Scope(path.display().to_string().into())
}

fn refusal(path: &Path, error: &io::Error) -> Text {
    // What is wrong with the content says itself what to do.
    let advice = if error.kind() == io::ErrorKind::Other { "" } else { "; check `traffic.path` and the permissions" };
    format!("cannot read {}: {}{advice}", path.display(), chain(error)).into()
}

/// The files of a path, each read if it is another than it was.
fn files(path: &Path, before: Option<&BTreeMap<Text, Seen>>) -> io::Result<BTreeMap<Text, Seen>> {
    if !fs::metadata(path)?.is_dir() {
        let name: Text = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default().into();
        return Ok(BTreeMap::from([(name.clone(), file(path, before.and_then(|before| before.get(&name))))]));
    }
    let inner = documents(path)?;
    if inner.len() > MOST_FILES {
        return Err(io::Error::other(format!("it holds more than {MOST_FILES} files")));
    }
    let seen = |inner: PathBuf| {
        let name: Text = inner.file_name().unwrap_or_default().to_string_lossy().into();
        let seen = file(&inner, before.and_then(|before| before.get(&name)));
        (name, seen)
    };
    Ok(inner.into_iter().map(seen).collect())
}

fn file(path: &Path, before: Option<&Seen>) -> Seen {
    let stamp = fs::metadata(path).ok().map(|m| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec()));
    match before {
        Some(seen) if stamp.is_some() && seen.stamp == stamp => seen.clone(),
        _ => Seen { stamp, text: text(path).map_err(|error| refusal(path, &error)) },
    }
}

fn text(path: &Path) -> io::Result<Text> {
    let mut bytes = Vec::new();
    let file = open_regular(path)?;
    let size = file.metadata()?.len();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    let size = size.max(bytes.len() as u64);
    if size > MOST_BYTES {
        let text = format!("it has {size} bytes, and at most {MOST_BYTES} are read; divide it into several files");
        return Err(io::Error::other(text));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!("it is no UTF-8: see the byte {at}; save it as UTF-8"))
    })?;
    match text.trim().is_empty() {
        true => Err(io::Error::other("it is empty; delete the file if what it held is to go")),
        false => Ok(text.into()),
    }
}

/// The folders to be watched, of files the ones that they stand in.
fn folders(paths: &[PathBuf]) -> BTreeSet<&Path> {
    paths.iter().map(|path| folder_of(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    /// The next update, as `SCOPE: NAME=TEXT ...` or `SCOPE! ERROR`, the folder written as `DIR`.
    async fn next(updates: &mut mpsc::Receiver<ManifestUpdate>, folder: &Path) -> String {
        let update = timeout(Duration::from_secs(60), updates.recv()).await.expect("an update comes");
        let text = match update.expect("the reading goes on") {
            ManifestUpdate::Scopes(scopes) => format!("{} scopes", scopes.len()),
            ManifestUpdate::Listed(scope, manifests) => {
                let text = |m: &Arc<Manifest>| match &m.text {
                    Ok(text) => format!(" {}={}", m.id.name, &text[..text.len().min(20)]),
                    Err(error) => format!(" {}! {error}", m.id.name),
                };
                format!("{}:{}", scope.0, manifests.iter().map(text).collect::<String>())
            }
            ManifestUpdate::Failed(scope, error) => format!("{}! {error}", scope.map(|s| s.0).unwrap_or_default()),
        };
        text.replace(&folder.display().to_string(), "DIR")
    }

    #[tokio::test]
    async fn files_are_followed_and_what_cannot_be_read_costs_itself() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let write = |name: &str, text: &[u8]| {
            fs::write(dir.join("new.tmp"), text).unwrap();
            fs::rename(dir.join("new.tmp"), dir.join(name)).unwrap();
        };
        fs::create_dir(dir.join("sub.yaml")).unwrap();
        write(".hidden.yaml", b"x: 1");
        write("a.yaml", b"a: 1");
        let (out, mut updates) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let paths = vec![dir.to_owned(), dir.join("missing/one.yaml")];
        let reading = tokio::spawn(run("traffic".into(), paths, out, stop.clone()));
        let mut next = async || next(&mut updates, dir).await;
        assert_eq!(next().await, "2 scopes");
        assert_eq!(next().await, "DIR: a.yaml=a: 1");
        let error = next().await;
        assert!(error.starts_with("DIR/missing/one.yaml! cannot read DIR/missing/one.yaml: No such file"), "{error}");
        write("b.json", b"b: \xff");
        let b = next().await;
        assert!(
            b.starts_with("DIR: a.yaml=a: 1 b.json! cannot read DIR/b.json: it is no UTF-8: see the byte 3"),
            "{b}"
        );
        write("b.json", b"");
        let b = next().await;
        assert!(b.contains("b.json! cannot read DIR/b.json: it is empty; delete the file"), "{b}");
        write("b.json", "x".repeat(3 << 20).as_bytes());
        let b = next().await;
        assert!(
            b.contains("b.json! cannot read DIR/b.json: it has 3145728 bytes, and at most 1048576 are read"),
            "{b}"
        );
        fs::remove_file(dir.join("b.json")).unwrap();
        assert_eq!(next().await, "DIR: a.yaml=a: 1");
        // Nobody writes into it: it costs itself, and nobody waits for it.
        assert!(std::process::Command::new("mkfifo").arg(dir.join("pipe.yaml")).status().unwrap().success());
        let pipe = next().await;
        assert!(pipe.contains("a.yaml=a: 1 pipe.yaml! cannot read DIR/pipe.yaml: it is no regular file"), "{pipe}");
        fs::remove_file(dir.join("pipe.yaml")).unwrap();
        assert_eq!(next().await, "DIR: a.yaml=a: 1");
        fs::create_dir(dir.join("missing")).unwrap();
        write("missing/one.yaml", b"one: 1");
        assert_eq!(next().await, "DIR/missing/one.yaml: one.yaml=one: 1");
        stop.cancel();
        reading.await.unwrap();
    }
}
