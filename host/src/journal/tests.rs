//! The journal in files: many who append, files that are moved aside, and what a power cut leaves.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

use super::writer::{FILE_BYTES, KEPT, MOST_BYTES};
use super::*;
use crate::leases::{Empty, Holder, Sequence, Steps, View};
use crate::names::AttachmentId;

fn journal() -> (tempfile::TempDir, Journal) {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::open(&State::new(Some(root.path())));
    (root, journal)
}

fn holder(container: &str) -> Holder {
    Holder {
        network: "pods".parse().unwrap(),
        attachment: AttachmentId {
            container_id: container.parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        },
        pod: None,
    }
}

/// A release that is known by its number, and as long as `why`.
fn release(number: u64, why: &str) -> Entry<'static> {
    Entry::Release(Release {
        time: Time { seconds: 1, nanoseconds: 2 },
        boot: "boot".to_owned(),
        sequence: Sequence(number),
        after: Sequence(number),
        holder: holder("a"),
        addresses: vec!["10.244.1.2".parse().unwrap()],
        gateways: Vec::new(),
        rest: 0,
        failure: Some(why.to_owned()),
    })
}

fn number(entry: &Entry<'_>) -> u64 {
    match entry {
        Entry::Release(release) => release.sequence.0,
        other => panic!("{other:?}"),
    }
}

fn append_raw(journal: &Journal, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().append(true).open(journal.file(0));
    file.unwrap().write_all(bytes).unwrap();
}

#[test]
fn what_many_append_at_once_is_whole_and_none_is_lost() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 400;
    let (_root, journal) = journal();
    let why = "x".repeat(8 << 10);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (journal, why) = (&journal, &why);
            scope.spawn(move || {
                let mut appender = Appender::new(journal.clone());
                for number in writer * EACH..(writer + 1) * EACH {
                    appender.append(&release(number, why)).unwrap();
                }
            });
        }
    });
    assert!(journal.file(2).exists(), "nothing was moved aside: the test is too small");
    let reading = journal.read().unwrap();
    assert_eq!(reading.notes, [""; 0]);
    let numbers: BTreeSet<u64> = reading.entries.iter().map(number).collect();
    assert_eq!(reading.entries.len() as u64, WRITERS * EACH);
    assert!(numbers.into_iter().eq(0..WRITERS * EACH));
}

#[test]
fn the_journal_is_bounded_and_its_end_is_kept() {
    let (_root, journal) = journal();
    // Just under what is cut, and looked at each time.
    let why = "x".repeat(MOST_BYTES - 1024);
    let enough = (KEPT as u64 + 2) * (FILE_BYTES / MOST_BYTES as u64 + 1);
    for number in 0..enough {
        journal.append(&release(number * 16, &why)).unwrap();
    }
    let length = |number| journal.file(number).metadata().map(|found| found.len()).unwrap();
    assert!((1..=KEPT).all(|number| (FILE_BYTES..FILE_BYTES + MOST_BYTES as u64).contains(&length(number))));
    assert!(!journal.file(KEPT + 1).exists());
    let kept: Vec<u64> = journal.read().unwrap().entries.iter().map(number).collect();
    assert_eq!(kept.last(), Some(&((enough - 1) * 16)));
    assert!(kept.is_sorted() && kept.len() < enough as usize, "{kept:?}");
}

#[test]
fn a_gap_that_a_killed_process_left_is_filled_first() {
    let (_root, journal) = journal();
    journal.append(&release(1, "current")).unwrap();
    for number in [1, 3, 4] {
        std::fs::copy(journal.file(0), journal.file(number)).unwrap();
    }
    let why = "x".repeat(FILE_BYTES as usize);
    journal.append(&release(16, &why)).unwrap();
    assert!((1..=KEPT).all(|number| journal.file(number).exists()));
    assert_eq!(journal.read().unwrap().entries.len(), 5);
}

#[test]
fn half_an_entry_is_left_out_and_the_next_one_is_not() {
    let (_root, journal) = journal();
    journal.append(&release(1, "whole")).unwrap();
    append_raw(&journal, b"{\"format\":1,\"entry\":{\"release\":{\"time\":\"2026-");
    journal.append(&release(2, "{\"format\":1,\"entry\":")).unwrap();
    append_raw(&journal, &[0; 512]);
    journal.append(&release(3, "behind nothing")).unwrap();
    append_raw(&journal, b"{\"format\":2,\"entry\":{\"later\":{}}}\n{\"format\":1,\"ent");
    let reading = journal.read().unwrap();
    assert_eq!(reading.entries.iter().map(number).collect::<Vec<_>>(), [1, 2, 3]);
    let found: Vec<&str> = reading.notes.iter().map(|note| note.split_once("line ").unwrap().1).collect();
    assert!(
        matches!(found.as_slice(), [a, b, c, d] if a.starts_with("2: is no entry")
        && b.starts_with("3: is no entry")
        && *c == "4: has format 2, of another version of podwire, and is left out"
        && *d == "5: breaks off, and is left out"),
        "{found:?}"
    );
}

#[test]
fn only_root_reads_it_and_what_is_missing_is_made() {
    let (root, journal) = journal();
    assert!(journal.read().unwrap().entries.is_empty());
    assert_eq!(root.path().read_dir().unwrap().count(), 0, "reading made something");
    journal.append(&release(1, "")).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&journal.directory), mode(&journal.file(0))), (0o700, 0o600));
    assert_eq!(mode(journal.directory.parent().unwrap()) & 0o022, 0);
}

#[test]
fn what_stands_in_the_way_is_named() {
    let (_root, journal) = journal();
    std::fs::create_dir_all(journal.file(0)).unwrap();
    let error = journal.append(&release(1, "")).unwrap_err().to_string();
    assert!(error.contains(journal.file(0).to_str().unwrap()) && error.contains("cannot open"), "{error}");
    std::fs::remove_dir(journal.file(0)).unwrap();
    std::os::unix::fs::symlink("elsewhere", journal.file(0)).unwrap();
    assert!(journal.append(&release(1, "")).is_err(), "a link was followed");
}

#[test]
fn a_recorder_answers_as_the_view_within_and_remembers() {
    let recorder = Recorder::new(Empty);
    let (block, start) = ("10.244.1.0/24".parse().unwrap(), "10.244.1.7".parse().ok());
    let address = "10.244.1.9".parse().unwrap();
    let (mut steps, mut other) = (Steps(100), Steps(100));
    let free = recorder.first_free(block, start, &mut steps).unwrap();
    assert_eq!(free, Empty.first_free(block, start, &mut other).unwrap());
    assert_eq!(recorder.holder_of(address, &mut steps).unwrap(), None);
    assert_eq!(recorder.last_taken(block, &mut steps).unwrap(), None);
    for _ in 0..300 {
        assert_eq!(recorder.taken(block, &mut steps).unwrap(), 0);
    }
    assert!(recorder.taken(block, &mut Steps(0)).is_ok() == Empty.taken(block, &mut Steps(0)).is_ok());
    let (_, facts) = recorder.into_parts();
    let first = [
        Fact::FirstFree { block, start, free },
        Fact::HolderOf { address, holder: None },
        Fact::LastTaken { block, last: None },
        Fact::Taken { block, count: 0 },
    ];
    assert_eq!(facts.told[..4], first);
    assert_eq!((facts.told.len() as u64 + facts.more, facts.told.len()), (304, 256));
}
