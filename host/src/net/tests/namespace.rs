use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

use super::super::namespace::{Namespace, NamespaceError};
use super::{isolated, link_named, name, new_namespace};

#[test]
fn what_is_no_network_namespace_is_told_apart() {
    let folder = tempfile::tempdir().expect("folder");
    let open = |path: &Path| Namespace::open(path).expect_err("refused");
    let missing = folder.path().join("missing");
    assert_eq!(open(&missing), NamespaceError::Missing(missing.clone()));
    let not = |path: &Path| NamespaceError::NotANamespace(path.to_owned());
    assert_eq!(open(folder.path()), not(folder.path()));
    assert_eq!(open(Path::new("/dev/null")), not(Path::new("/dev/null")));
    let link = folder.path().join("link");
    symlink("/etc/passwd", &link).expect("symlink");
    assert_eq!(open(&link), not(&link));
    let path = Path::new("/proc/self/ns/mnt");
    assert_eq!(open(path), NamespaceError::OtherKind { path: path.to_owned(), kind: "mount" });
    assert!(Namespace::open(Path::new("/proc/self/ns/net")).is_ok());
}

#[test]
fn a_namespace_is_itself_by_whatever_path() {
    isolated(|| {
        let folder = tempfile::tempdir().expect("folder");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
        let path = folder.path().join("bound");
        std::fs::File::create(&path).expect("file");
        mount_bind("/proc/thread-self/ns/net", &path).expect("bound");

        let current = Namespace::current().expect("current");
        let bound = Namespace::open(&path).expect("a network namespace");
        assert_eq!(bound.id(), current.id());
        assert!(bound.is_current().expect("known"));
        let other = new_namespace();
        assert_ne!(other.id(), current.id());
        assert!(!other.is_current().expect("known"));
        other.run(|| assert!(other.is_current().expect("known"))).expect("entered");
        assert!(current.is_current().expect("known"));
        rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
    });
}

#[test]
fn work_happens_inside_and_a_panic_comes_home() {
    isolated(|| {
        let home = Namespace::current().expect("current");
        let other = new_namespace();
        super::run("ip link add only-here type bridge");
        assert!(link_named("only-here").is_some());
        assert!(other.run(|| link_named("only-here")).expect("entered").is_none());
        let panics = || other.run(|| name("a name with blanks"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert!(home.is_current().expect("known"));
    });
}
