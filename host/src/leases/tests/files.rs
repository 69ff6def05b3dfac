//! Files that are not as podwire left them, and space that runs out.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::super::{Release, Steps};
use super::*;

/// A closed database with so many attachments, and its data file.
fn closed(attachments: u32) -> (TempDir, PathBuf) {
    let Scratch { state, store } = Scratch::new();
    for number in 0..attachments {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        add(&store, intent(&number.to_string(), &[&address])).expect("free");
    }
    let data = store.path().join("data.mdb");
    store.close();
    (state, data)
}

#[test]
fn a_database_is_found_again_by_every_path_and_only_in_its_boot() {
    let Scratch { state, store } = Scratch::new();
    add(&store, intent("a", &["10.0.0.1"])).expect("free");
    let other_path = state.path().join(".").join("..").join(state.path().file_name().expect("a name"));
    let again = Store::open_boot(&other_path, BOOT, MAP).expect("the same");
    assert_eq!(audit(&again.snapshot().expect("readable")).len(), 1);
    let next_boot = "00000000-0000-4000-8000-000000000002";
    let next = Store::open_boot(state.path(), next_boot, MAP).expect("a new one");
    assert_eq!(audit(&next.snapshot().expect("readable")).len(), 0);
}

#[test]
fn looking_makes_nothing_and_opening_does() {
    let state = tempfile::tempdir().expect("a folder");
    let directory = state.path().join("leases");
    assert!(Store::open_existing(&directory).expect("no error").is_none());
    assert!(!directory.exists());
    fs::create_dir(&directory).expect("made");
    assert!(Store::open_existing(&directory).expect("no error").is_none());
    assert_eq!(fs::read_dir(&directory).expect("readable").count(), 0);
    let store = Store::open(&directory).expect("made");
    add(&store, intent("a", &["10.0.0.1"])).expect("free");
    store.close();
    let found = Store::open_existing(&directory).expect("no error").expect("there");
    assert_eq!(audit(&found.snapshot().expect("readable")).len(), 1);
}

#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    let state = tempfile::tempdir().expect("a folder");
    let directory = state.path().join("leases");
    fs::create_dir(&directory).expect("made");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("set");
    for error in [Store::open(&directory).err(), Store::open_existing(&directory).err()] {
        let error = error.expect("anybody may have made what is in it").to_string();
        assert!(error.contains("chmod go-w"), "{error}");
    }
    assert_eq!(fs::read_dir(&directory).expect("readable").count(), 0);
}

#[test]
fn a_file_that_is_no_database_is_refused_with_a_remedy() {
    let (state, data) = closed(1);
    File::create(&data).and_then(|file| file.set_len(100_000)).expect("overwritten");
    let error = Store::open_boot(state.path(), BOOT, MAP).err().expect("damaged").to_string();
    assert!(error.contains("is damaged or no database of podwire") && error.contains("drain"), "{error}");
}

#[test]
fn a_file_that_was_cut_short_is_an_error_and_not_a_crash() {
    let (state, data) = closed(300);
    let file = OpenOptions::new().write(true).open(&data).expect("there");
    file.set_len(2 * 4096).expect("cut");
    let read = |store: Store| {
        let transaction = store.transaction()?;
        transaction.taken(net("10.0.0.0/8"), &mut Steps(1_000))
    };
    let error = Store::open_boot(state.path(), BOOT, MAP).and_then(read).expect_err("damaged");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_row_that_podwire_did_not_write_is_named() {
    let Scratch { store, .. } = &Scratch::new();
    add(store, intent("a", &["10.0.0.1"])).expect("free");
    let mut transaction = store.transaction().expect("open");
    transaction.put(&keys::attachment(&id("a")), b"{}").expect("written");
    transaction.put(&keys::address(ip("10.0.0.1")), b"x").expect("written");
    let row = transaction.attachment(&id("a")).expect_err("unreadable").to_string();
    assert!(row.contains("attachment a/eth0 (missing field"), "{row}");
    let lease = transaction.holder_of(ip("10.0.0.1"), &mut Steps(1)).expect_err("unreadable").to_string();
    assert!(lease.contains("the lease of 10.0.0.1 cannot be read"), "{lease}");
}

#[test]
fn a_database_that_was_removed_takes_no_more_leases() {
    let Scratch { state, store } = &Scratch::new();
    fs::remove_dir_all(state.path().join(BOOT)).expect("removed");
    let error = add(store, intent("a", &["10.0.0.1"])).expect_err("nobody would see it");
    assert!(matches!(error, Error::Removed { .. }), "{error}");
}

/// Adds attachments until it fails, then deletes one and adds another.
fn fill(store: &Store) -> Error {
    let sizeable = |number: u32| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        let mut intent = intent(&number.to_string(), &[&address]);
        intent.config = "x".repeat(8 << 10);
        intent
    };
    let mut added = Vec::new();
    let error = loop {
        match add(store, sizeable(added.len() as u32)) {
            Ok(attachment) => added.push(attachment),
            Err(error) => break error,
        }
    };
    let recorded = audit(&store.snapshot().expect("readable"));
    assert_eq!(recorded.len(), added.len());
    for Attachment { intent, sequence, .. } in &added[..added.len() / 2] {
        let mut transaction = store.transaction().expect("open");
        let release = transaction.release(&intent.attachment, *sequence, Duration::ZERO).expect("room");
        assert_eq!(release, Release::Released);
        transaction.commit().expect("room");
    }
    add(store, sizeable(0)).expect("room again");
    error
}

#[test]
fn a_full_map_refuses_and_recovers() {
    let state = tempfile::tempdir().expect("a folder");
    let store = Store::open_boot(state.path(), BOOT, 1 << 20).expect("a small one");
    let error = fill(&store).to_string();
    assert!(error.contains("has grown to the 1 MiB that it may have"), "{error}");
}

#[test]
fn a_full_file_system_refuses_and_recovers() {
    let state = tempfile::tempdir().expect("a folder");
    let test = || {
        if let Err(error) = mount_small_file_system(state.path()) {
            let _ = writeln!(std::io::stderr(), "skipped, because a mount is refused: {error}");
            return;
        }
        let store = Store::open_boot(state.path(), BOOT, MAP).expect("some space");
        let error = fill(&store).to_string();
        assert!(error.contains("is full"), "{error}");
        store.close();
    };
    std::thread::scope(|threads| threads.spawn(test).join()).expect("no panic");
}

/// A tmpfs of 1 MiB in a mount namespace of this thread alone, which takes it away with it.
#[allow(unsafe_code)]
fn mount_small_file_system(at: &Path) -> rustix::io::Result<()> {
    // SAFETY: neither memory nor descriptors are unshared, and no other thread relies on these mounts.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("none", at, "tmpfs", MountFlags::empty(), c"size=1m")
}
