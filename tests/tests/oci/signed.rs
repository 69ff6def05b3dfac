//! A node that demands signatures: what none of its keys signed is not installed.

use std::fs;

use podwire_tests::command::write_file;
use podwire_tests::registry::{Registry, key, openssl};

use crate::{BRIDGE, Bench, HOSTILE};

const EC: [&str; 3] = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const EDWARDS: [&str; 1] = ["ED25519"];

/// Two keys, of which the node knows the first as `our team`.
fn demanding() -> Option<(Bench, Registry)> {
    let (bench, registry) = Bench::with_registry()?;
    let ours = key("/mnt/ours.pem", &EC);
    key("/mnt/other.pem", &EC);
    bench.podwire.write("policy.keys", &format!("# our team\n{ours}"));
    Some((bench, registry))
}

#[test]
fn what_a_key_of_the_node_signed_is_installed() {
    let Some((bench, registry)) = demanding() else { return };
    let friends = key("/mnt/friends.pem", &EDWARDS);
    let known = fs::read_to_string(bench.podwire.root().join("etc/policy.keys")).expect("it was written");
    bench.podwire.write("policy.keys", &format!("{known}\n# friends\n{friends}"));
    for (private, name) in [("/mnt/ours.pem", "our team"), ("/mnt/friends.pem", "friends")] {
        let reference = registry.reference(&format!("team/{}:1", &name[name.len() - 4..]));
        bench.push(HOSTILE, &reference, &["--sign", private]);
        let said = bench.install(&reference, &["--name", "hostile"]);
        assert!(said.contains(&format!(", signed by {name}, is installed")), "{said}");
    }
    assert!(bench.has("hostile", HOSTILE));
}

#[test]
fn what_is_not_signed_is_refused() {
    let Some((bench, registry)) = demanding() else { return };
    let reference = registry.reference("team/hostile:1");
    bench.push(HOSTILE, &reference, &[]);
    let words = ["is not signed", "policy.keys demands a signature by our team", "--sign"];
    bench.assert_refused(&reference, &[], &words);
    bench.assert_refused(HOSTILE, &[], &["is not signed", "hostile.wasm.sig", "openssl dgst"]);
    // Without the file nothing is demanded.
    fs::remove_file(bench.podwire.root().join("etc/policy.keys")).expect("it was written");
    bench.install(&reference, &[]);
    bench.install(HOSTILE, &[]);
}

#[test]
fn a_signature_of_somebody_else_counts_for_nothing_and_spoils_nothing() {
    let Some((bench, registry)) = demanding() else { return };
    let reference = registry.reference("team/hostile:1");
    bench.push(HOSTILE, &reference, &["--sign", "/mnt/other.pem"]);
    bench.assert_refused(&reference, &[], &["none that is right", "our team"]);
    bench.push(HOSTILE, &reference, &["--sign", "/mnt/ours.pem"]);
    bench.push(HOSTILE, &reference, &["--sign", "/mnt/other.pem"]);
    bench.install(&reference, &[]);
}

#[test]
fn a_signature_of_another_component_counts_for_nothing() {
    let Some((bench, registry)) = demanding() else { return };
    let place = |manifest: &str| format!("{}.sig", manifest.replace(':', "-"));
    let bridge = bench.push(BRIDGE, &registry.reference("team/tenant:1"), &["--sign", "/mnt/ours.pem"]);
    let hostile = bench.push(HOSTILE, &registry.reference("team/tenant:2"), &[]);
    // Whoever can push puts it where the other's would be.
    registry.put_manifest(
        "team/tenant",
        &place(&hostile),
        &registry.manifest("team/tenant", &place(&bridge)),
    );
    bench.assert_refused(&registry.reference("team/tenant:2"), &[], &["none that is right"]);
    bench.install(&registry.reference("team/tenant:1"), &[]);
}

#[test]
fn a_changed_signature_is_refused() {
    let Some((bench, registry)) = demanding() else { return };
    let reference = registry.reference("team/hostile:1");
    let manifest = bench.push(HOSTILE, &reference, &["--sign", "/mnt/ours.pem"]);
    let place = format!("{}.sig", manifest.replace(':', "-"));
    let good = registry.manifest("team/hostile", &place);
    let pointer = "/layers/0/annotations/dev.cosignproject.cosign~1signature";
    for wrong in ["", "AAAA", "no base64"] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).expect("it is signed") = wrong.into();
        registry.put_manifest("team/hostile", &place, &changed);
        bench.assert_refused(&reference, &[], &["none that is right"]);
    }
    registry.put_manifest("team/hostile", &place, &good);
    bench.install(&reference, &[]);
}

#[test]
fn a_files_signature_lies_beside_it() {
    let Some((bench, _registry)) = demanding() else { return };
    let path = "/mnt/tenant.wasm";
    fs::copy(HOSTILE, path).expect("there is room");
    for (private, installed) in [("/mnt/other.pem", false), ("/mnt/ours.pem", true)] {
        let signature = openssl(&["dgst", "-sha256", "-sign", private, path]);
        write_file("/mnt/signature", signature);
        write_file("/mnt/tenant.wasm.sig", openssl(&["base64", "-A", "-in", "/mnt/signature"]));
        match installed {
            true => assert!(bench.install(path, &[]).contains(", signed by our team, is installed")),
            false => bench.assert_refused(path, &[], &["none that is right", "our team"]),
        }
    }
    fs::copy(BRIDGE, path).expect("there is room");
    bench.assert_refused(path, &[], &["none that is right"]);
}

#[test]
fn keys_that_cannot_be_used_let_nothing_through() {
    let Some((bench, _registry)) = demanding() else { return };
    for (text, words) in [
        ("", "it holds no key, so nothing can be installed"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "key 1 is a public key of another kind",
        ),
    ] {
        bench.podwire.write("policy.keys", text);
        bench.assert_refused(HOSTILE, &[], &["etc/policy.keys", words]);
    }
    let path = bench.podwire.root().join("etc/policy.keys");
    std::os::unix::fs::chown(&path, Some(1234), None).expect("a test of namespaces runs as root");
    bench.assert_refused(HOSTILE, &[], &["belongs to user 1234"]);
    fs::remove_file(&path).expect("it was written");
    std::os::unix::fs::symlink("not-mounted", &path).expect("there is room");
    bench.assert_refused(HOSTILE, &[], &["not-mounted", "No such file"]);
}
