//! What happens in folders: files that others write, replace and remove.
//!
//! Editors and podwire itself replace a file by renaming, so that folders are watched, never files. Which file it was
//! is not told: whoever asks reads it again and compares.

use std::fs::DirBuilder;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::readable::Readable;
use crate::state;

/// Everything that changes what a folder's files hold.
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// Watched folders.
#[derive(Debug)]
pub(super) struct Folders {
    folders: Vec<PathBuf>,
    inotify: OwnedFd,
    readable: Readable,
}

impl Folders {
    /// Watches these; those that are missing are made, for a file may come at any time.
    pub(super) fn watch(folders: &[&Path]) -> Result<Self, state::Error> {
        let first = folders.first().copied().unwrap_or(Path::new("/"));
        let failed = |error| state::Error::io(first, "watch")(error);
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let inotify = inotify.map_err(|errno| failed(errno.into()))?;
        let readable = Readable::of(&inotify).map_err(failed)?;
        let folders = folders.iter().map(|path| (*path).to_owned()).collect();
        let this = Self { folders, inotify, readable };
        this.folders.iter().try_for_each(|folder| this.add(folder)).map(|()| this)
    }

    fn add(&self, folder: &Path) -> Result<(), state::Error> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
        made.map_err(state::Error::io(folder, "make the directory"))?;
        inotify::add_watch(&self.inotify, folder, CHANGES | WatchFlags::ONLYDIR)
            .map(|_| ())
            .map_err(|errno| state::Error::io(folder, "watch")(errno.into()))
    }

    /// Waits until something has changed. What changes while nobody waits is told the next time.
    pub(super) async fn changed(&mut self) -> Result<(), state::Error> {
        let taken = self.readable.take(|| drain(&self.inotify)).await;
        let failed = |error| {
            let first = self.folders.first().map_or(Path::new("/"), PathBuf::as_path);
            state::Error::io(first, "watch")(error)
        };
        taken.flatten().map_err(failed)?;
        // A folder that was replaced is watched in its new place; one that is watched already, as it was.
        self.folders.iter().try_for_each(|folder| self.add(folder))
    }
}

fn drain(inotify: &OwnedFd) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    loop {
        match reader.next() {
            Ok(_) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(work)
    }

    #[test]
    fn every_way_to_change_a_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let watched = folder.path().join("etc");
        run(async {
            let mut folders = Folders::watch(&[&watched]).expect("it is made");
            let file = watched.join("peers.json");
            state::write_atomically(&file, b"1").expect("room");
            folders.changed().await.expect("replaced");
            drop(std::fs::File::create(&file).expect("room"));
            folders.changed().await.expect("written in place");
            std::fs::remove_file(&file).expect("it is there");
            folders.changed().await.expect("removed");
            std::fs::rename(&watched, folder.path().join("old")).expect("ours");
            folders.changed().await.expect("moved away");
            state::write_atomically(&file, b"1").expect("it was made again");
            folders.changed().await.expect("written in its new place");
        });
    }
}
