//! Many processes on one database, some of them killed.
//!
//! The processes are this test program, started anew for one test, which does the [`work`] that the
//! environment names instead. Each says on its standard output what it is about to do and what it has done, a
//! line each, so that what it was told can be compared with what is on record, wherever it was killed.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::super::{Release, Sequence, Steps, Transaction};
use super::*;

const JOB: &str = "PODWIRE_TEST_LEASES_JOB";
const DIRECTORY: &str = "PODWIRE_TEST_LEASES_DIRECTORY";

/// The test that started processes run.
const WORKERS: &str = "leases::tests::processes::two_hundred_processes_open_at_once_and_each_gets_an_address";

/// Addresses that all workers quarrel about.
const POOL: &str = "10.0.0.0/26";

fn start(job: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", WORKERS])
        .env(JOB, job)
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started")
}

fn work(job: &str, directory: &Path) {
    say("open");
    let map = if job == "grow" { 2 * MAP } else { MAP };
    let store = Store::open_boot(directory, BOOT, map).expect("opened");
    match job {
        "once" => once(&store),
        "grow" => grow(&store),
        _ => quarrel(&store),
    }
}

/// Straight to the descriptor: what was said before a kill was said.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("the parent listens");
}

fn plan_for(transaction: &Transaction, name: &str) -> Option<Intent> {
    // The first address is the bridge's, which is not known while no attachment names it.
    let start = Some(ip("10.0.0.2"));
    let free = transaction.first_free(net(POOL), start, &mut Steps(1_000)).expect("readable");
    let free = free.filter(|free| *free != ip("10.0.0.1"))?;
    Some(with_bridge(intent(name, &[&free.to_string()]), &["10.0.0.1/26"]))
}

fn once(store: &Store) {
    let mut transaction = store.transaction().expect("open");
    let mut free = intent(&std::process::id().to_string(), &[]);
    let address = transaction.first_free(net("10.0.0.0/16"), None, &mut Steps(1_000)).expect("readable");
    free.plan.addresses = intent("x", &[&address.expect("not full").to_string()]).plan.addresses;
    transaction.reserve(free).expect("free");
    transaction.commit().expect("committed");
}

/// Writes one row that no smaller map can hold.
fn grow(store: &Store) {
    let mut large = intent("large", &[]);
    large.config = "x".repeat(MAP + MAP / 2);
    add(store, large).expect("room");
}

/// Adds and deletes until it is killed.
fn quarrel(store: &Store) {
    let mut mine: Vec<(String, Sequence)> = Vec::new();
    for round in 0u64.. {
        let full = try_add(store, &format!("{}-{round}", std::process::id()), &mut mine);
        if full || mine.len() > (round % 4) as usize {
            try_delete(store, &mut mine, round);
        }
    }
}

/// Whether the pool is full.
fn try_add(store: &Store, name: &str, mine: &mut Vec<(String, Sequence)>) -> bool {
    say(&format!("adding {name}"));
    let mut transaction = store.transaction().expect("open");
    let Some(intent) = plan_for(&transaction, name) else { return true };
    let sequence = transaction.reserve(intent).expect("free, as it was told").sequence;
    transaction.commit().expect("committed");
    say(&format!("added {name}"));
    mine.push((name.to_owned(), sequence));
    false
}

fn try_delete(store: &Store, mine: &mut Vec<(String, Sequence)>, round: u64) {
    let Some((name, sequence)) = mine.pop() else { return };
    say(&format!("deleting {name}"));
    let mut transaction = store.transaction().expect("open");
    let rest = Duration::from_micros(round % 3 * 100);
    let release = transaction.release(&id(&name), sequence, rest).expect("possible");
    assert_eq!(release, Release::Released, "{name}");
    transaction.commit().expect("committed");
    say(&format!("deleted {name}"));
}

/// What one worker must have on record, and what it may have.
#[derive(Default)]
struct Told {
    recorded: BTreeSet<String>,
    uncertain: Option<String>,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let Some((what, name)) = line.split_once(' ') else { return };
        let name = name.to_owned();
        self.uncertain = None;
        match what {
            "adding" => self.uncertain = Some(name),
            "added" => drop(self.recorded.insert(name)),
            "deleting" => {
                self.recorded.remove(&name);
                self.uncertain = Some(name);
            }
            _ => (),
        }
    }
}

struct Worker {
    child: Child,
    lines: BufReader<ChildStdout>,
    told: Told,
}

impl Worker {
    fn start(directory: &Path) -> Self {
        let mut child = start("quarrel", directory);
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines, told: Told::default() }
    }

    /// Hears so many lines of it, then kills it at some moment after.
    fn kill(mut self, after: u64, moment: u64) -> Told {
        for _ in 0..after {
            let mut line = String::new();
            let length = self.lines.read_line(&mut line).expect("readable");
            assert_ne!(length, 0, "a worker ended by itself: {:?}", self.child.wait());
            self.told.hear(line.trim_end());
        }
        (0..moment).for_each(|_| std::hint::spin_loop());
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("readable");
        rest.lines().for_each(|line| self.told.hear(line));
        self.told
    }
}

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

/// Every worker's committed work is on record, what it did not commit is not, and nothing else is.
fn compare(recorded: &[Attachment], told: &[Told]) {
    let name = |row: &Attachment| row.intent.attachment.container_id.to_string();
    let recorded: BTreeSet<_> = recorded.iter().map(name).collect();
    for told in told {
        let lost: Vec<_> = told.recorded.difference(&recorded).collect();
        assert!(lost.is_empty(), "committed and lost: {lost:?}");
    }
    let known = |name: &String| {
        told.iter().any(|told| told.recorded.contains(name) || told.uncertain.as_ref() == Some(name))
    };
    assert!(recorded.iter().all(known), "on record, and nobody's: {recorded:?}");
}

/// So that the pool does not fill up with the attachments of the dead, as GC does.
fn collect(store: &Store, told: &mut Vec<Told>) {
    let mut transaction = store.transaction().expect("open");
    let rows = transaction.attachments().expect("readable").map(|row| row.expect("readable"));
    for Attachment { intent, sequence, .. } in rows.collect::<Vec<_>>() {
        let release = transaction.release(&intent.attachment, sequence, Duration::ZERO);
        assert_eq!(release.expect("possible"), Release::Released);
    }
    transaction.commit().expect("committed");
    told.clear();
}

#[test]
fn processes_killed_at_any_moment_leave_a_whole_database() {
    let (done, heard) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        kill_and_compare();
        let _ = done.send(());
    });
    // A lock that is lost with its holder would let all wait for ever.
    let outcome = heard.recv_timeout(Duration::from_secs(600));
    assert_ne!(outcome, Err(RecvTimeoutError::Timeout), "the processes wait for a lock that nobody has");
    test.join().expect("no panic");
}

fn kill_and_compare() {
    let state = tempfile::tempdir().expect("a folder");
    let mut told = Vec::new();
    for round in 0..12 {
        // In the odd rounds, all die before any lives on: the next that opens finds nobody there.
        let mut workers: Vec<_> = (0..4).map(|_| Worker::start(state.path())).collect();
        for _ in 0..12 {
            let victim = workers.swap_remove(random(workers.len() as u64) as usize);
            // Half of them while they open: libtest says two lines, then they say that they do.
            let after = if random(2) == 0 { 3 } else { random(40) };
            told.push(victim.kill(after, random(1 << random(18))));
            if round % 2 == 0 || workers.is_empty() {
                workers.push(Worker::start(state.path()));
            }
        }
        told.extend(workers.into_iter().map(|worker| worker.kill(0, 0)));
        let store = Store::open_boot(state.path(), BOOT, MAP).expect("opened");
        compare(&audit(&store.snapshot().expect("readable")), &told);
        collect(&store, &mut told);
        assert_eq!(audit(&store.snapshot().expect("readable")), []);
        store.close();
    }
}

#[test]
fn two_hundred_processes_open_at_once_and_each_gets_an_address() {
    if let (Ok(job), Ok(directory)) = (std::env::var(JOB), std::env::var(DIRECTORY)) {
        return work(&job, Path::new(&directory));
    }
    let state = tempfile::tempdir().expect("a folder");
    let workers: Vec<_> = (0..200).map(|_| start("once", state.path())).collect();
    for worker in workers {
        let output = worker.wait_with_output().expect("ended");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let store = Store::open_boot(state.path(), BOOT, MAP).expect("opened");
    assert_eq!(audit(&store.snapshot().expect("readable")).len(), 200);
}

#[test]
fn a_map_that_another_process_enlarged_is_an_error_and_opens_anew() {
    let mut scratch = Scratch::new();
    let output = start("grow", scratch.state.path()).wait_with_output().expect("ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let error = add(&scratch.store, intent("a", &[])).expect_err("outside of the map");
    assert!(matches!(error, Error::Grown { .. }), "{error}");
    scratch.reopen();
    let transaction = scratch.store.transaction().expect("opened with the larger map");
    assert!(transaction.attachment(&id("large")).expect("readable").is_some());
}
