//! Whether somebody other than root could have written a file.
//!
//! Compiled policies are machine code that runs as root: this walk is what stands between them and every
//! other user of the node. It follows the path as the kernel does, since an element that is checked by
//! another way than the one it is opened by proves nothing.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, retry_on_intr};

use super::Error;

/// Whom files of unmapped users seem to belong to, in a user namespace (`/proc/sys/kernel/overflowuid`).
const OVERFLOW_UID: u32 = 65534;

/// As in the kernel's path resolution (`MAXSYMLINKS` of linux/namei.h).
const MAX_SYMLINKS: usize = 40;

/// Checks that nobody but root, or the user who runs this, could have written the file or directory or
/// put it there: every element of the path, links included, belongs to one of them, and is not writable
/// by group or others, unless it is a directory with the sticky bit. The root directory is not looked at:
/// whoever may write to it can replace the programs that would look.
///
/// In a user namespace the system's own directories belong to an unmapped user. Such an element counts as
/// root's, but not in a directory that others may write to, where anybody might have made it.
pub fn trusted(path: &Path) -> Result<(), Error> {
    is_shared(path).map(|_| ())
}

/// What a file holds that is [`trusted`], and is no link; none if it is not there.
pub fn read_trusted(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::io(path, "open")(errno.into())),
    };
    let parent_is_shared = is_shared(path.parent().unwrap_or(Path::new("/")))?;
    let found = file.metadata().map_err(Error::io(path, "look at"))?;
    check(path, &found, parent_is_shared)?;
    read_all(&file, found.len()).map(Some).map_err(Error::io(path, "read"))
}

/// In one system call: files that are replaced as a whole do not grow meanwhile.
fn read_all(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    while bytes.len() < bytes.capacity() && retry_on_intr(|| read(file, spare_capacity(&mut bytes)))? > 0 {}
    Ok(bytes)
}

/// Whether others may make entries in a directory that is trusted.
fn is_shared(path: &Path) -> Result<bool, Error> {
    let path = std::path::absolute(path).map_err(Error::io(path, "find"))?;
    let mut walk = Walk { here: PathBuf::new(), shared: false, ahead: Vec::new(), links: 0 };
    walk.plan(&path);
    while let Some(name) = walk.ahead.pop() {
        walk.step(&name)?;
    }
    Ok(walk.shared)
}

/// A way through the file system, element by element.
struct Walk {
    here: PathBuf,
    /// Others than root may make entries in `here`.
    shared: bool,
    /// The next name is the last.
    ahead: Vec<OsString>,
    links: usize,
}

impl Walk {
    /// Puts a path, or a link's target, before what is still ahead.
    fn plan(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.ahead.push(name.to_owned()),
                Component::ParentDir => self.ahead.push("..".into()),
                Component::RootDir => (self.here, self.shared) = (PathBuf::from("/"), false),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
    }

    fn step(&mut self, name: &OsStr) -> Result<(), Error> {
        if name == ".." {
            let parent = self.here.parent().unwrap_or(Path::new("/")).to_owned();
            return self.return_to(parent);
        }
        let next = self.here.join(name);
        let found = look_at(&next)?;
        if found.is_symlink() { self.follow(&next, &found) } else { self.enter(next, &found, self.shared) }
    }

    fn follow(&mut self, link: &Path, found: &Metadata) -> Result<(), Error> {
        check(link, found, self.shared)?;
        self.links += 1;
        if self.links > MAX_SYMLINKS {
            return Err(Error::io(link, "follow")(Errno::LOOP.into()));
        }
        let target = std::fs::read_link(link).map_err(Error::io(link, "follow"))?;
        self.plan(&target);
        Ok(())
    }

    /// Goes back to a directory that was come through before.
    fn return_to(&mut self, path: PathBuf) -> Result<(), Error> {
        let found = look_at(&path)?;
        self.enter(path, &found, false)
    }

    fn enter(&mut self, path: PathBuf, found: &Metadata, parent_is_shared: bool) -> Result<(), Error> {
        self.shared = check(&path, found, parent_is_shared)?;
        self.here = path;
        Ok(())
    }
}

fn look_at(path: &Path) -> Result<Metadata, Error> {
    std::fs::symlink_metadata(path).map_err(Error::io(path, "look at"))
}

/// Whether others may make entries in it; an error if it cannot be trusted at all.
fn check(path: &Path, found: &Metadata, parent_is_shared: bool) -> Result<bool, Error> {
    let ours = found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw();
    if !ours && (parent_is_shared || !is_unmapped(found.uid())) {
        return Err(Error::ForeignOwner { path: path.to_owned(), owner: found.uid() });
    }
    // A link's permission bits mean nothing: only its directory's do.
    let shared = !found.is_symlink() && found.mode() & 0o022 != 0;
    let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    if shared && !sticky {
        return Err(Error::Writable { path: path.to_owned(), mode: found.mode() & 0o777 });
    }
    Ok(shared)
}

/// Whether the owner is one whom this user namespace has no number for; in the initial one, all have.
fn is_unmapped(uid: u32) -> bool {
    uid == OVERFLOW_UID && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps_all(&map))
}

fn maps_all(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// `DIRECTORY/policies/file`, which is trusted.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policies/file");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        crate::state::write_atomically(&file, b"code").unwrap();
        trusted(&file).unwrap();
        (directory, file)
    }

    fn chmod(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_write_is_refused_by_name() {
        let (directory, file) = tree();
        for (path, mode) in
            [(file.as_path(), 0o664), (file.parent().unwrap(), 0o757), (directory.path(), 0o770)]
        {
            let before = path.metadata().unwrap().permissions().mode();
            chmod(path, mode);
            let error = trusted(&file).unwrap_err().to_string();
            assert!(error.contains(&format!("`chmod go-w {}`", path.display())), "{error}");
            chmod(path, before);
        }
        trusted(&file).unwrap();
    }

    #[test]
    fn what_others_own_is_refused_by_name() {
        if !rustix::process::geteuid().is_root() {
            let _ = writeln!(std::io::stderr(), "skipped, because only root can give a file away");
            return;
        }
        let (_directory, file) = tree();
        for path in [file.parent().unwrap(), file.as_path()] {
            std::os::unix::fs::chown(path, Some(1234), None).unwrap();
            let error = trusted(&file).unwrap_err().to_string();
            assert!(error.contains("belongs to user 1234"), "{error}");
            assert!(error.contains(&format!("`chown root {}`", path.display())), "{error}");
            std::os::unix::fs::chown(path, Some(0), None).unwrap();
        }
        trusted(&file).unwrap();
    }

    #[test]
    fn a_sticky_directory_protects_what_is_ours() {
        let (directory, file) = tree();
        chmod(directory.path(), 0o1777);
        trusted(&file).unwrap();
    }

    #[test]
    fn links_are_followed_and_their_targets_checked() {
        let (directory, file) = tree();
        let (elsewhere, _) = tree();
        let link = elsewhere.path().join("link");
        symlink(directory.path().join("policies"), &link).unwrap();
        symlink("../policies/file", directory.path().join("policies/again")).unwrap();
        trusted(&link.join("again")).unwrap();
        chmod(file.parent().unwrap(), 0o777);
        assert!(matches!(trusted(&link.join("again")), Err(Error::Writable { .. })));
    }

    #[test]
    fn links_that_lead_nowhere_end() {
        let (directory, _) = tree();
        let link = directory.path().join("link");
        symlink("link", &link).unwrap();
        assert!(matches!(trusted(&link), Err(Error::Io { action: "follow", .. })));
        assert!(trusted(&directory.path().join("absent")).unwrap_err().is_absent());
    }

    #[test]
    fn only_the_initial_user_namespace_maps_all() {
        assert!(maps_all("         0          0 4294967295\n"));
        assert!(!maps_all("         0       1000          1\n"));
        assert!(!maps_all("0 0 1\n1 1 4294967294\n"));
    }
}
