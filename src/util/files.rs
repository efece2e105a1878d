//! Files and folders that users write: which of them are read, and how they are opened without blocking.

use rustix::fs::OFlags;
use std::{
    fs::{self, DirEntry, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The endings of files in a folder that are read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The `*.yaml`, `*.yml` and `*.json` of a folder, sorted by name. Hidden files are left out: they belong to editors or
/// ConfigMaps. What cannot be inspected, such as a broken link, counts as a file.
///
/// # Errors
/// If the folder cannot be listed.
pub fn documents(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = Path::new(&name).extension().and_then(|e| e.to_str()).is_some_and(|e| ENDINGS.contains(&e));
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        if is_ours && !is_hidden && !is_folder(&entry) {
            names.push(name);
        }
    }
    // Before they are paths: those are compared part by part, which takes most of the time of looking at a large folder.
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Whether an entry is a folder. Only a link needs a further system call: the folder's list says it of all others.
fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if !kind.is_symlink() => kind.is_dir(),
        _ => entry.path().is_dir(),
    }
}

/// The folder to watch for changes of a path: the path itself if it is a folder, else the folder of the file.
pub fn folder_of(path: &Path) -> &Path {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Opens a file to read it. Opening a pipe does not wait for a writer.
///
/// # Errors
/// The error of the system.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

/// Opens a regular file to read it: of a pipe or a device the end might never come.
///
/// # Errors
/// If it is no regular file, and the error of the system.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::symlink, process::Command};

    #[test]
    fn ours_are_told_by_their_names_and_what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.yaml", "a.yml", "c.json", ".hidden.yaml", "d.txt"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at("folder.yaml")).unwrap();
        symlink(at("folder.yaml"), at("link-to-folder.yaml")).unwrap();
        symlink(at("nowhere"), at("link-to-nowhere.yaml")).unwrap();
        let ours = documents(folder.path()).unwrap();
        assert_eq!(ours, ["a.yml", "b.yaml", "c.json", "link-to-nowhere.yaml"].map(at));
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for special in [at("pipe"), at("folder.yaml"), "/dev/zero".into()] {
            assert_eq!(open_regular(&special).unwrap_err().to_string(), "it is no regular file");
        }
        assert!(open_regular(&at("a.yml")).is_ok() && open_regular(&at("none")).is_err());
        assert_eq!((folder_of(&at("none")), folder_of(folder.path())), (folder.path(), folder.path()));
        assert_eq!(folder_of(Path::new("none")), Path::new("."));
    }
}
