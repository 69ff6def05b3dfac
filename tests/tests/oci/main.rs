//! Policies from a real registry: what is pushed is what is installed, and nothing else is.

mod artifacts;
mod liar;
mod login;
mod signed;

use std::path::PathBuf;

use podwire_tests::command::Printed;
use podwire_tests::registry::Registry;
use podwire_tests::{Node, Podwire};
use sha2::{Digest, Sha256};

/// Two components that podwire takes.
const HOSTILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/built/hostile.wasm");
const BRIDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guests/bridge.wasm");

/// Without what would lead elsewhere than to the test's own registry. Two minutes are no bound on speed: a command
/// that waits for ever would otherwise do so here too.
const ENVIRONMENT: &str = "timeout 120 env -u ALL_PROXY -u HTTPS_PROXY -u HTTP_PROXY -u all_proxy -u https_proxy \
    -u http_proxy -u REGISTRY_AUTH_FILE HOME=/run/home";

/// A node, and the command for people on it.
struct Bench {
    node: Node,
    podwire: Podwire,
}

impl Bench {
    fn new() -> Option<Self> {
        let node = Node::enter()?;
        let podwire = Podwire::on(&node).by(ENVIRONMENT.split(' '));
        Some(Self { node, podwire })
    }

    fn with_registry() -> Option<(Self, Registry)> {
        let bench = Self::new()?;
        let registry = Registry::open(&bench.node);
        Some((bench, registry))
    }

    /// With these variables in its environment.
    fn with(self, variables: &[&str]) -> Self {
        let variables = std::iter::once("env").chain(variables.iter().copied());
        let podwire = Podwire::on(&self.node).by(variables).by(ENVIRONMENT.split(' '));
        Self { podwire, ..self }
    }

    /// Pushes a component: the digest of its manifest.
    #[track_caller]
    fn push(&self, component: &str, reference: &str, more: &[&str]) -> String {
        let printed = self.try_push(component, reference, more).done();
        let (_, digest) = printed.trim_end().rsplit_once(' ').expect("it says what it is now");
        digest.to_owned()
    }

    fn try_push(&self, component: &str, reference: &str, more: &[&str]) -> Printed {
        self.podwire.run(&[&["policy", "push", component, reference], more].concat())
    }

    fn try_install(&self, source: &str, more: &[&str]) -> Printed {
        self.podwire.run(&[&["policy", "install", source], more].concat())
    }

    /// Installs it: what podwire says.
    #[track_caller]
    fn install(&self, source: &str, more: &[&str]) -> String {
        self.try_install(source, more).done()
    }

    /// Panics unless it is not installed, for a reason in these words, and nothing of it is kept.
    #[track_caller]
    fn assert_refused(&self, source: &str, more: &[&str], words: &[&str]) {
        let before = self.node.snapshot();
        let message = self.try_install(source, more).failed();
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        before.assert_unchanged();
    }

    /// Whether the component is installed under that name.
    fn has(&self, name: &str, component: &str) -> bool {
        let version = format!("{name}@{}", digest(component).trim_start_matches("sha256:"));
        self.podwire.run(&["policy", "inspect", &version]).exit == Some(0)
    }
}

/// Of a component.
fn digest(component: &str) -> String {
    let bytes = std::fs::read(component).unwrap_or_else(|e| panic!("{component}: {e}"));
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

#[test]
fn what_is_pushed_is_what_is_installed() {
    let Some((bench, registry)) = Bench::with_registry() else { return };
    let manifest = bench.push(HOSTILE, &registry.reference("team/hostile:1.0"), &[]);
    assert_eq!(
        manifest,
        bench.push(HOSTILE, &registry.reference("team/hostile"), &[]),
        "it is the same artifact"
    );
    for (source, name) in
        [("team/hostile:1.0".to_owned(), "by-tag"), (format!("team/hostile:absent@{manifest}"), "by-digest")]
    {
        let said = bench.install(&registry.reference(&source), &["--name", name]);
        let installed = format!("{} is installed under the name {name}, ", digest(HOSTILE));
        assert!(said.starts_with(&installed), "{said}");
        assert!(bench.has(name, HOSTILE), "{source}");
    }
    bench.install(&registry.reference("team/hostile"), &[]);
    assert!(bench.has("hostile", HOSTILE), "it is called as its repository");
}

#[test]
fn a_tag_can_move_and_a_digest_cannot() {
    let Some((bench, registry)) = Bench::with_registry() else { return };
    let reference = registry.reference("team/tenant:1");
    let first = bench.push(HOSTILE, &reference, &[]);
    let second = bench.push(BRIDGE, &reference, &[]);
    assert_ne!(first, second);
    bench.install(&reference, &["--name", "moved"]);
    assert!(bench.has("moved", BRIDGE));
    bench.install(&registry.reference(&format!("team/tenant@{first}")), &["--name", "pinned"]);
    assert!(bench.has("pinned", HOSTILE));
}

#[test]
fn a_pinned_component_is_that_or_none() {
    let Some((bench, registry)) = Bench::with_registry() else { return };
    let reference = registry.reference("team/hostile:1");
    bench.push(HOSTILE, &reference, &[]);
    let other = digest(BRIDGE);
    for source in [reference.as_str(), HOSTILE] {
        let found = digest(HOSTILE);
        bench.assert_refused(
            source,
            &["--digest", &other],
            &[source, &found, &other, "nothing was installed"],
        );
        bench.install(source, &["--digest", &found]);
    }
    let absent = registry.reference(&format!("team/hostile@{other}"));
    bench.assert_refused(&absent, &[], &[&absent, "is not in its registry"]);
    bench.assert_refused(
        &registry.reference("team/hostile:2"),
        &[],
        &["team/hostile:2 is not in its registry"],
    );
    bench.assert_refused(&registry.reference("team/none:1"), &[], &["team/none:1 is not in its registry"]);
    let malformed = bench.try_install(&reference, &["--digest", "sha256:12"]);
    assert!(malformed.exit == Some(2) && malformed.stderr.contains("64 hexadecimal digits"), "{malformed}");
}

#[test]
fn what_cannot_be_a_policy_is_not_pushed() {
    let Some((bench, registry)) = Bench::with_registry() else { return };
    let script = PathBuf::from("/run/script.wasm");
    podwire_tests::command::write_file(&script, "#!/bin/sh\nreboot\n");
    let reference = registry.reference("team/tenant:1");
    let tried =
        |component, reference: &str, more: &[&str]| bench.try_push(component, reference, more).failed();
    assert!(tried("/run/script.wasm", &reference, &[]).contains("not a WebAssembly component"));
    assert!(tried(HOSTILE, &reference, &["--sign", "/run/script.wasm"]).contains("it holds 0 keys"));
    assert!(
        tried(HOSTILE, &reference, &["--sign", "/run/absent.pem"]).contains("/run/absent.pem: cannot open")
    );
    let by_digest = registry.reference(&format!("team/tenant@{}", digest(HOSTILE)));
    assert!(tried(HOSTILE, &by_digest, &[]).contains("push to a tag"));
    bench.assert_refused(&reference, &[], &["is not in its registry"]);
}

#[test]
fn a_registry_that_is_not_there_is_no_reason_to_wait() {
    let Some(bench) = Bench::new() else { return };
    let refused = ["the registry 127.0.0.1:5000 cannot be reached", "Connection refused"];
    bench.assert_refused("oci://127.0.0.1:5000/team/tenant:1", &[], &refused);
    bench.assert_refused("oci://registry.invalid/team/tenant:1", &["--timeout", "5"], &["registry.invalid"]);
    let message = bench.try_push(HOSTILE, "oci://127.0.0.1:5000/team/tenant:1", &[]).failed();
    assert!(refused.iter().all(|word| message.contains(word)), "{message}");
}
