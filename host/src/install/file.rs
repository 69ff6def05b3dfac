//! One file on the node: as it is, as it shall be, and how it gets there whole.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;
use crate::names::Digest;

/// Permission bits.
const MODE: u32 = 0o7777;

/// Of these bytes.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// What a file holds; none if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, "read")(error)),
    }
}

/// Whether it is a file, no link, with these permissions, and belongs to whom we are.
pub(super) fn is_settled(path: &Path, mode: u32) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && found.mode() & MODE == mode && found.uid() == own)
}

/// Puts a file in its place, whole and on disk, if `is_fit` says so of it: whoever runs the old one keeps that.
///
/// The name beside it is always the same, so that what a killed process leaves is taken by the next; two at once are
/// kept apart by the receipt's lock.
pub(super) fn place(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    is_fit: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let new = beside(path);
    sweep(path)?;
    let placed = write(&new, bytes, mode)
        .map_err(Error::io(&new, "write"))
        .and_then(|()| is_fit(&new))
        .and_then(|()| fs::rename(&new, path).map_err(Error::io(path, "replace")))
        .and_then(|()| sync_directory(path));
    if placed.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&new);
    }
    placed
}

/// Takes away what a killed process left of a file that it had not put into its place yet.
pub(super) fn sweep(path: &Path) -> Result<(), Error> {
    remove(&beside(path)).map(|_| ())
}

/// Returns whether it was there.
pub(super) fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(path, "remove")(error)),
    }
}

/// Makes a directory and what is above it.
pub(super) fn make_directory(path: &Path, mode: u32) -> Result<(), Error> {
    let above = path.parent().unwrap_or(path);
    let made = DirBuilder::new().recursive(true).mode(0o755).create(above);
    let made = made.and_then(|()| DirBuilder::new().recursive(true).mode(mode).create(path));
    made.map_err(Error::io(path, "make the directory"))
}

/// Hidden, and with an ending that no runtime takes for a configuration's.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if rustix::process::geteuid().is_root() {
        fchown(&file, Some(0), Some(0))?;
    }
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|open| open.sync_all()).map_err(Error::io(directory, "write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_leaves_the_old_file_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podwire");
        place(&path, b"old", 0o755, |_| Ok(())).unwrap();
        let refused = place(&path, b"new", 0o755, |new| {
            assert_eq!(fs::read(new).unwrap(), b"new");
            Err(Error::Changed(new.to_owned()))
        });
        assert!(refused.is_err());
        assert_eq!(read(&path).unwrap().unwrap(), b"old");
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_taken_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podwire");
        write(&beside(&path), b"half", 0o600).unwrap();
        place(&path, b"whole", 0o755, |_| Ok(())).unwrap();
        assert!(is_settled(&path, 0o755) && !is_settled(&path, 0o644));
        assert_eq!(read(&path).unwrap().unwrap(), b"whole");
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_replaced_and_what_it_leads_to_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("podwire"), directory.path().join("other"));
        place(&other, b"other", 0o755, |_| Ok(())).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(!is_settled(&path, 0o755));
        place(&path, b"own", 0o755, |_| Ok(())).unwrap();
        assert_eq!(
            (read(&path).unwrap().unwrap(), read(&other).unwrap().unwrap()),
            (b"own".to_vec(), b"other".to_vec())
        );
    }
}
