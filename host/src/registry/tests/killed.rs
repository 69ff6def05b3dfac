//! Processes that activate one version after the other, and are killed meanwhile. They are this test program, started
//! anew for the same test, and say on standard output which version they are about to activate.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const ROOT: &str = "PODWIRE_TEST_REGISTRY_ROOT";

/// This test, as the test program calls it.
const TEST: &str = "registry::tests::killed::whoever_is_killed_leaves_the_old_version_or_the_new_one";

const KILLS: u64 = 100;

/// Activates in turn, until it is killed.
fn activate_for_ever(root: &Path) {
    let registry = Registry::open(&State::new(Some(root)));
    let name = "p".parse().unwrap();
    let versions: Vec<_> = registry
        .standing(&name)
        .unwrap()
        .installed
        .iter()
        .map(|v| registry.version(&name, v.digest))
        .collect();
    for version in versions.iter().cycle() {
        writeln!(std::io::stdout(), "next {}", version.digest).unwrap();
        registry.activate(version, None, BY).unwrap();
    }
}

/// Starts such a process, and kills it a while after it has said a few lines. Returns which versions the last lines
/// were about: the one that was activated for sure, and the one that may be.
fn kill_one(root: &Path, lines: usize, moment: u64) -> [Digest; 2] {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", TEST])
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let digest =
        |line: &String| line.split_once("next ").and_then(|(_, digest)| digest.parse::<Digest>().ok());
    while said.len() < lines {
        said.extend(digest(&output.next().expect("it goes on until it is killed")));
    }
    (0..moment).for_each(|_| std::hint::spin_loop());
    child.kill().unwrap();
    child.wait().unwrap();
    said.extend(output.filter_map(|line| digest(&line)));
    said.last_chunk().copied().unwrap()
}

#[test]
fn whoever_is_killed_leaves_the_old_version_or_the_new_one() {
    if let Some(root) = std::env::var_os(ROOT) {
        return activate_for_ever(Path::new(&root));
    }
    let node = node();
    let name: PolicyName = "p".parse().unwrap();
    let versions: Vec<_> = (1..4)
        .map(|pages| node.registry.install(&name, &Guest { pages, ..Guest::default() }.build(), BY).unwrap())
        .collect();
    node.registry.activate(&versions[0], None, BY).unwrap();
    let (random, is_over) = (RandomState::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(versions.contains(&node.active("p").unwrap()));
            }
        });
        for kill in 0..KILLS {
            let lines = 2 + random.hash_one(kill) % 4;
            let maybe = kill_one(node.root.path(), lines as usize, random.hash_one(!kill) % 50_000);
            let active = node.active("p").unwrap().digest;
            assert!(maybe.contains(&active), "{active} is neither of {maybe:?}");
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    // Whatever they left is in nobody's way, and nobody holds the lock.
    node.registry.activate(&versions[1], None, BY).unwrap();
    assert_eq!(node.active("p").unwrap(), versions[1]);
}
