//! What must not be installed, and why: nothing of it is kept, and what was active stays so.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Bench, built, good_plan, guests, hostile, wording, write};

impl Bench {
    /// Puts a component where an installed policy lies, without asking whether it can be one.
    pub(crate) fn put_in_place(&self, name: &str, component: &Path) {
        let bytes = fs::read(component).expect("tests/guests has it");
        let hex = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let version = self.policies().join(&hex);
        fs::create_dir_all(&version).expect("the root is the test's own");
        write(version.join("policy.wasm"), bytes);
        let version = json!({ "digest": format!("sha256:{hex}"), "at": "1970-01-01T00:00:00.000000000Z", "by": "a test" });
        let standing = json!({ "everywhere": { "active": version }, "installed": [version] });
        write(self.policies().join("names").join(name).with_extension("json"), standing.to_string());
    }

    /// Panics unless installing it as the hostile policy is refused with these words, and what was active is.
    #[track_caller]
    fn assert_not_installed(&self, component: &Path, words: &[&str]) {
        let before = self.snapshot();
        let path = component.to_str().expect("a test writes text");
        let message = self.podwire.run(&["policy", "install", path, "--name", "hostile"]).failed();
        wording::assert_helpful(message.trim_end());
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        before.assert_unchanged();
    }
}

/// A file with this content, in the test's own memory.
fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = Path::new("/run").join(name);
    write(&path, content);
    path
}

/// A component of tests/guests that is written as text.
fn malformed(name: &str) -> PathBuf {
    let text = guests().join("malformed").join(name).with_extension("wat");
    let component = wat::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", text.display()));
    file(&format!("{name}.wasm"), &component)
}

#[test]
fn what_cannot_be_a_policy_is_not_installed() {
    let Some(bench) = Bench::new() else { return };
    for (component, words) in [
        (malformed("core-module"), ["core WebAssembly module", "`wasm-tools component new"]),
        (
            malformed("other-world"),
            ["does not export \"check-config\"", "a policy exports check-config, add"],
        ),
        (malformed("wrong-types"), ["does not export", "a policy exports check-config, add"]),
        (malformed("imports-wasi"), ["imports wasi:cli/environment@0.3.0", "WASI of version 0.2"]),
        (file("script.wasm", b"#!/bin/sh\nreboot\n"), ["not a WebAssembly component", "script.wasm"]),
        (file("empty.wasm", b""), ["not a WebAssembly component", "empty.wasm"]),
        (built("endless_start"), ["failed in start", "units of fuel"]),
        (built("large_table"), ["failed in start", "elements, of at most 20,000"]),
        (PathBuf::from("/run/absent.wasm"), ["/run/absent.wasm", "No such file"]),
        (PathBuf::from("/run"), ["/run", "Is a directory"]),
    ] {
        bench.assert_not_installed(&component, &words);
    }
    // What was active still is.
    bench.add(&hostile(serde_json::json!({ "plan": good_plan() })), &bench.node.pod("after")).result();
}

#[test]
fn a_component_that_is_cut_short_or_changed_is_not_installed() {
    let Some(bench) = Bench::new() else { return };
    let whole = fs::read(built("hostile")).expect("tests/guests has it");
    for length in [8, 100, whole.len() / 2, whole.len() - 1] {
        bench.assert_not_installed(&file("short.wasm", &whole[..length]), &["short.wasm"]);
    }
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle..middle + 64].fill(0xff);
    bench.assert_not_installed(&file("changed.wasm", &changed), &["changed.wasm", "not valid"]);
}

#[test]
fn a_component_that_is_too_large_is_not_even_read() {
    let Some(bench) = Bench::new() else { return };
    let path = file("large.wasm", b"\0asm\x0d\0\x01\0");
    let large = File::options().append(true).open(&path).expect("/run is the test's own");
    large.set_len(200 << 20).expect("a hole takes no room");
    bench.assert_not_installed(&path, &["large.wasm", "may have 64 MiB at most"]);
    // Would fill the memory, if it were read to its end.
    bench.assert_not_installed(Path::new("/dev/zero"), &["/dev/zero", "may have 64 MiB at most"]);
}

#[test]
fn a_name_that_no_policy_can_have_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.snapshot();
    let component = built("hostile");
    for name in ["../evil", "Upper", "", "a b", ".hidden", "names/x"] {
        let path = component.to_str().expect("text");
        let outcome = bench.podwire.run(&["policy", "install", path, "--name", name]);
        assert_ne!(outcome.exit, Some(0), "{name}: {outcome}");
        assert!(outcome.stderr.contains("policy name"), "{outcome}");
    }
    before.assert_unchanged();

    let unknown = bench.podwire.run(&["policy", "remove", "absent"]);
    assert!(unknown.stderr.contains("policy absent is not installed"), "{unknown}");
}
