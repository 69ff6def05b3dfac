//! `podwire policy test` and `podwire policy bench`, as a policy's author calls them: without root, and without leaving
//! anything. And what means harm: a corpus of components that are no policies, or bad ones, each of which ends with
//! a clear sentence, at whichever of the commands it is put to.
//!
//! How soon: not by the clock. What never ends by itself is ended by its fuel, and what is too large is not read; a
//! test that would wait for either would wait for ever.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use podwire_tests::Podwire;
use podwire_tests::command::{Printed, write_file};
use serde_json::{Value, json};

/// A folder for components, and podwire with its state in another, which is not there before something is installed.
struct Author {
    folder: PathBuf,
    podwire: Podwire,
}

impl Author {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trial").join(test);
        // Of a test that was killed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("it can be made");
        let podwire = Podwire::in_folder(&folder.join("state"));
        Self { folder, podwire }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.join(name);
        write_file(&path, content);
        text(&path)
    }

    /// `podwire policy`.
    fn policy(&self, arguments: &[&str]) -> Printed {
        self.podwire.run(&[&["policy"], arguments].concat())
    }

    /// A component of `tests/guests/malformed`.
    fn malformed(&self, name: &str) -> String {
        let source = repository().join("tests/guests/malformed").join(name).with_extension("wat");
        let component = wat::parse_file(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
        self.file(&format!("{name}.wasm"), component)
    }

    /// Panics unless each of the commands refuses the component with these words, and nothing is kept of it.
    #[track_caller]
    fn assert_refused(&self, component: &str, words: &[&str], commands: &[&str]) {
        for command in commands {
            let printed = self.policy(&[command, component]);
            let said = format!("{}{}", printed.stdout, printed.stderr);
            assert_eq!(printed.exit, Some(1), "{command} {component}: {printed}");
            for word in words {
                assert!(said.contains(word), "{command} {component}: {word:?} is not in {said}");
            }
            assert!(printed.stderr.lines().count() <= 1, "{command} {component}: {printed}");
        }
        assert_eq!(files_below(self.podwire.root()), [] as [PathBuf; 0], "{component}");
    }
}

impl Drop for Author {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("the workspace's path is text").to_owned()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is in the repository")
}

fn built(name: &str) -> String {
    text(&repository().join("tests/guests/built").join(name).with_extension("wasm"))
}

/// But for those that nothing is in, which are locked.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths =
        entries.map(|entry| entry.expect("it can be read").path()).filter(|path| !path.ends_with("lock"));
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// What becomes of a policy, whatever command it is put to.
const EVERYWHERE: [&str; 4] = ["inspect", "test", "bench", "install"];

/// For what nobody sees before the component is compiled, or run.
const WHERE_IT_RUNS: [&str; 3] = ["test", "bench", "install"];

#[test]
fn the_examples_cases_hold() {
    let author = Author::new("examples");
    let cases = text(&repository().join("guests/bridge/cases"));
    let said = author.policy(&["test", "bridge", "--cases", &cases]).done();
    assert!(said.ends_with(" passed, 0 failed\n") && said.matches("ok   ").count() > 5, "{said}");
    // Those of other policies do not hold for this one: a policy's author sees which, and the whole plan.
    let others = text(&repository().join("guests/by-namespace/cases/halves.toml"));
    let said = author.policy(&["test", "bridge", "--cases", &others]).no();
    assert!(said.contains("FAIL") && said.contains("answer: expected a plan, got a refusal: "), "{said}");
    let said = author.policy(&["test", "bridge", "--cases", &others, "--json"]).no();
    let said: Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!(said[0]["passed"], json!(false), "{said}");
    assert_eq!(files_below(author.podwire.root()), [] as [PathBuf; 0]);
}

#[test]
fn what_differs_is_told_with_the_whole_plan() {
    let author = Author::new("differs");
    let cases = "[[case]]\nname = 'jumbo frames'\npod = 'a/b'\nexpect.mtu = 9000\nexpect.wiring = 'bridge'\n";
    let cases = author.file("cases.toml", cases);
    let said = author.policy(&["test", "bridge", "--cases", &cases]).no();
    assert!(
        said.contains("jumbo frames\n     mtu: expected 9000, got none\n     | #!/bin/sh -e\n"),
        "{said}"
    );
    assert!(said.contains("| ip link add") && said.ends_with("0 passed, 1 failed\n"), "{said}");
    let wrong = author.file("wrong.toml", "[[case]]\nname = 'x'\nexpect.adresses = []\n");
    let said = author.policy(&["test", "bridge", "--cases", &wrong]);
    assert!(said.exit == Some(1) && said.stderr.contains("did you mean `addresses`?"), "{said}");
}

#[test]
fn the_battery_says_what_a_policy_did_and_spent() {
    let author = Author::new("battery");
    let said = author.policy(&["test", "bridge"]).done();
    for line in ["full pools ", "65,000 leases held ", "requests by chance ", "50,000,000", "it passes"] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
    let [first, second] = [(), ()].map(|()| author.policy(&["test", "bridge", "--json"]).done());
    assert_eq!(first, second, "equal batteries say the same");
    let report: Value = serde_json::from_str(&first).expect("it is JSON");
    assert_eq!(report["stopped"], Value::Null);
    let add = report["costs"].as_array().and_then(|costs| costs.iter().find(|cost| cost["export"] == "add"));
    assert!(add.is_some_and(|add| add["fuel"]["median"].as_u64() > Some(0)), "{report}");
    let refused = author.policy(&["test", "bridge", "--config", "[1]"]);
    assert!(refused.exit == Some(2) && refused.stderr.contains("it is no JSON object"), "{refused}");
    let both = author.policy(&["test", "bridge", "--config", "{}", "--config", r#"{"ipMasq": true}"#]).done();
    assert_eq!(both.matches("with the configuration ").count(), 2, "{both}");
    assert_eq!(files_below(author.podwire.root()), [] as [PathBuf; 0]);
}

#[test]
fn a_bench_measures_every_step() {
    let author = Author::new("bench");
    let said = author.policy(&["bench", "bridge", "--seconds", "1", "--json"]).done();
    let measured: Value = serde_json::from_str(&said).expect("it is JSON");
    for key in ["component", "code", "compile", "load", "instantiate"] {
        assert!(measured[key].as_f64() > Some(0.0), "{key}: {measured}");
    }
    for rate in ["warm", "fresh"] {
        assert!(measured[rate]["decisions"].as_u64() > Some(0), "{rate}: {measured}");
    }
    assert_eq!(measured["answer"], json!({ "Ok": null }), "{measured}");
    let said = author.policy(&["bench", "bridge", "--seconds", "1", "--config", r#"{"brigde": "x"}"#]).done();
    assert!(said.contains("no plan: config: unknown key `brigde`"), "{said}");
}

#[test]
fn what_is_no_policy_is_refused_everywhere() {
    let author = Author::new("none");
    let hostile = fs::read(built("hostile")).expect("tests/guests has it");
    let mut changed = hostile.clone();
    changed[hostile.len() / 2..][..64].fill(0xff);
    for (component, words) in [
        (author.malformed("core-module"), ["core WebAssembly module", "`wasm-tools component new"]),
        (
            author.malformed("other-world"),
            ["does not export \"check-config\"", "a policy exports check-config, add"],
        ),
        (author.malformed("wrong-types"), ["does not export", "a policy exports check-config, add"]),
        (author.malformed("other-version"), ["imports podwire:policy/leases@0.9.0", "of version 0.2"]),
        (author.file("script.wasm", "#!/bin/sh\nreboot\n"), ["not a WebAssembly component", "script.wasm"]),
        (author.file("empty.wasm", ""), ["not a WebAssembly component", "empty.wasm"]),
        (author.file("short.wasm", &hostile[..hostile.len() - 1]), ["not valid", "short.wasm"]),
        (author.file("changed.wasm", &changed), ["not valid", "changed.wasm"]),
        (author.file("nested.wasm", nested(100_000)), ["components within components", "nested.wasm"]),
        (text(&author.folder.join("absent.wasm")), ["cannot be read", "absent.wasm"]),
        (text(&author.folder), ["Is a directory", ""]),
    ] {
        author.assert_refused(&component, &words, &EVERYWHERE);
    }
}

/// Components within components, which whoever reads them by recursion falls into.
fn nested(depth: usize) -> Vec<u8> {
    const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";
    const SECTION: u8 = 4;
    let mut bytes = PREAMBLE.to_vec();
    for level in (0..depth).rev() {
        // Five bytes hold any length, by LEB128 that is longer than it must be.
        let within = level * (PREAMBLE.len() + 6) + PREAMBLE.len();
        bytes.push(SECTION);
        bytes.extend((0..5).map(|i| (within >> (7 * i)) as u8 & 0x7f | if i < 4 { 0x80 } else { 0 }));
        bytes.extend(PREAMBLE);
    }
    bytes
}

#[test]
fn what_is_too_large_is_not_even_read() {
    let author = Author::new("large");
    let path = author.file("large.wasm", b"\0asm\x0d\0\x01\0");
    let large = File::options().append(true).open(&path).expect("it is the test's own");
    large.set_len(200 << 20).expect("a hole takes no room");
    for endless in [path.as_str(), "/dev/zero"] {
        author.assert_refused(endless, &[endless, "may have 64 MiB at most"], &EVERYWHERE);
    }
}

#[test]
fn what_fails_before_its_first_function_is_refused_where_it_is_run() {
    let author = Author::new("start");
    let named =
        |name: &str, guest: &str| author.file(name, fs::read(built(guest)).expect("tests/guests has it"));
    for (guest, words) in [
        (named("endless-start.wasm", "endless_start"), "used up its 50,000,000 units of fuel"),
        (named("large-table.wasm", "large_table"), "elements, of at most 20,000"),
        (author.malformed("other-signatures"), "type-checking export func `add`"),
    ] {
        author.assert_refused(&guest, &[words], &WHERE_IT_RUNS);
    }
}

/// What else it can be told to do is found by the host's own tests, which compile it once.
#[test]
fn what_a_policy_ought_not_to_do_is_found_in_every_export() {
    let author = Author::new("deeds");
    let looping =
        ["check-config", "add", "del", "node"].map(|export| (export, "loop", "50,000,000 units of fuel"));
    let others =
        [("add", "memory", "of at most 64 MiB"), ("add", "routes", "passed more than 1 MiB to the host")];
    for (export, deed, words) in looping.into_iter().chain(others) {
        let config = json!({ "do": deed, "in": export, "count": 50_000 }).to_string();
        let said = author.policy(&["test", &built("hostile"), "--config", &config]).no();
        assert!(said.contains(words) && said.contains(&format!("failed in {export}")), "{config}: {said}");
    }
    assert_eq!(files_below(author.podwire.root()), [] as [PathBuf; 0]);
}
