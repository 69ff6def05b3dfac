//! Compiled code is machine code that runs as root: it is loaded if nobody but root could have written it, and
//! made again if it is not this podwire's or not whole.

use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use podwire_tests::network::V4;
use podwire_tests::{Network, kernel};
use serde_json::json;

use crate::{Bench, code, hostile, other_plan, wording, write};

impl Bench {
    /// The hostile policy's compiled code.
    fn code(&self) -> PathBuf {
        let entries = fs::read_dir(self.version("hostile")).expect("the root is the test's own").flatten();
        let mut code =
            entries.map(|entry| entry.path()).filter(|p| p.extension().is_some_and(|e| e == "cwasm"));
        code.next().expect("an installed policy is compiled")
    }

    /// Wires a pod by the hostile policy, and takes it away.
    fn assert_served(&self) {
        let (network, pod) = (hostile(json!({ "plan": other_plan() })), self.node.pod("served"));
        self.add(&network, &pod).result();
        self.del(&network, &pod);
        pod.namespace.remove();
    }

    /// Panics unless the policy is not used, for this reason.
    #[track_caller]
    fn assert_not_used(&self, words: &[&str]) {
        self.assert_refused(&hostile(json!({})), code::POLICY_UNUSABLE, words);
        let status = self.plugin.status(&hostile(json!({}))).error();
        assert_eq!(status.code, code::NOT_AVAILABLE, "{status:?}");
        wording::assert_helpful(&status.message);
        // Others are.
        let other = self.node.pod("other");
        let network = Network::new("1.1.0", &[V4]);
        if !words.iter().any(|word| word.ends_with("policies")) {
            self.add(&network, &other).result();
            self.del(&network, &other);
        }
        other.namespace.remove();
    }
}

#[test]
fn code_that_is_missing_cut_short_or_of_another_version_is_made_again() {
    let Some(bench) = Bench::new() else { return };
    let code = bench.code();
    let whole = fs::read(&code).expect("compiled code");
    let version = code.file_stem().and_then(|name| name.to_str()).expect("text").to_owned();
    let version = version.rsplit_once('-').expect("version, then architecture").0;
    let at =
        whole.windows(version.len()).position(|part| part == version.as_bytes()).expect("code has a version");
    let mut other_version = whole.clone();
    other_version[at] = b'9';
    let component = fs::read(code.with_file_name("policy.wasm")).expect("the component");
    for (what, content) in [
        ("nothing", None),
        ("empty", Some(&[][..])),
        ("cut short", Some(&whole[..whole.len() / 2])),
        ("its last byte missing", Some(&whole[..whole.len() - 1])),
        ("of another version", Some(&other_version)),
        ("the component itself", Some(&component)),
        ("a program", Some(b"\x7fELF\x02\x01\x01\0")),
    ] {
        fs::remove_file(&code).expect("it is there");
        if let Some(content) = content {
            write(&code, content);
        }
        bench.assert_served();
        assert!(fs::read(&code).expect("it was made again") == whole, "{what}");
        let made = fs::metadata(&code).expect("it is there").ino();
        bench.assert_served();
        assert_eq!(fs::metadata(&code).expect("it is there").ino(), made, "{what}: made once");
    }
}

#[test]
fn code_for_another_podwire_is_not_this_ones() {
    let Some(bench) = Bench::new() else { return };
    let code = bench.code();
    fs::rename(&code, code.with_file_name("0.0.9-47.0.0-1-x86_64.cwasm"))
        .expect("the root is the test's own");
    bench.assert_served();
    assert!(code.exists());
}

#[test]
fn what_others_can_write_is_not_used() {
    let Some(bench) = Bench::new() else { return };
    let code = bench.code();
    let version = code.parent().expect("a folder").to_owned();
    let root = bench.node.root().to_owned();
    for (path, mode) in [
        (code.clone(), 0o666),
        (code.clone(), 0o664),
        (version, 0o777),
        (bench.policies().join("names"), 0o757),
        (bench.policies().join("names/hostile.json"), 0o646),
        (bench.policies(), 0o777),
        (root, 0o777),
    ] {
        let before = fs::metadata(&path).expect("it is there").permissions();
        set_permissions(&path, Permissions::from_mode(mode)).expect("the root is the test's own");
        let remedy = format!("`chmod go-w {}`", path.display());
        let snapshot = kernel::Snapshot::take(&[]);
        let pod = bench.node.pod("refused");
        let error = bench.add(&hostile(json!({})), &pod).error();
        pod.namespace.remove();
        wording::assert_helpful(&error.message);
        assert_eq!(error.code, code::POLICY_UNUSABLE, "{error:?}");
        assert!(error.message.contains(&remedy), "{remedy} is not in {error:?}");
        snapshot.assert_unchanged();
        set_permissions(&path, before).expect("the root is the test's own");
        bench.assert_served();
    }
}

#[test]
fn what_others_own_is_not_used() {
    let Some(bench) = Bench::new() else { return };
    let code = bench.code();
    for path in [code.clone(), code.parent().expect("a folder").to_owned()] {
        chown(&path, Some(1000), None).expect("root gives files away");
        bench.assert_not_used(&["belongs to user 1000", &format!("`chown root {}`", path.display())]);
        chown(&path, Some(0), None).expect("root takes files back");
        bench.assert_served();
    }
}

#[test]
fn a_link_to_what_others_own_is_not_used() {
    let Some(bench) = Bench::new() else { return };
    let code = bench.code();
    let elsewhere = Path::new("/run/elsewhere.cwasm");
    fs::rename(&code, elsewhere).expect("both are in /run");
    chown(elsewhere, Some(1000), None).expect("root gives files away");
    symlink(elsewhere, &code).expect("the root is the test's own");
    bench.assert_not_used(&["/run/elsewhere.cwasm belongs to user 1000"]);
}

#[test]
fn a_component_that_was_changed_is_not_compiled() {
    let Some(bench) = Bench::new() else { return };
    let code = bench.code();
    fs::remove_file(&code).expect("it is there");
    let component = code.with_file_name("policy.wasm");
    fs::copy(crate::built("endless_start"), &component).expect("the root is the test's own");
    bench.assert_not_used(&["policy.wasm has been changed", "install the policy again"]);
    assert!(!code.exists());
}

#[test]
fn a_version_that_is_gone_is_named() {
    let Some(bench) = Bench::new() else { return };
    fs::remove_dir_all(bench.code().parent().expect("a folder")).expect("the root is the test's own");
    bench.assert_not_used(&["policy hostile was installed as sha256:", "install it again"]);
}

#[test]
fn the_built_in_policy_serves_with_nothing_installed() {
    let Some(bench) = Bench::empty() else { return };
    assert!(!bench.policies().exists());
    bench.assert_nothing_is_held();
    // Its unpacked component and code may go at any time.
    fs::remove_dir_all(bench.policies()).expect("it was unpacked");
    bench.assert_nothing_is_held();
}

#[test]
fn a_policy_that_is_not_installed_is_named_with_the_remedy() {
    let Some(bench) = Bench::new() else { return };
    let network = Network::new("1.1.0", &[V4]).with("policy", json!("tenants"));
    let words = ["policy tenants is not installed", "`podwire policy install --name tenants COMPONENT`"];
    bench.assert_refused(&network, code::POLICY_UNUSABLE, &words);
}
