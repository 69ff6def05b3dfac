//! A registry with TLS that wants to know who asks.

use podwire_tests::command::write_file;
use podwire_tests::registry::{PASSWORD, Registry, USER};
use serde_json::{Value, json};

use crate::{Bench, HOSTILE};

fn guarded() -> Option<(Bench, Registry)> {
    let bench = Bench::new()?;
    let registry = Registry::guarded(&bench.node);
    let authority = format!("SSL_CERT_FILE={}", registry.authority());
    Some((bench.with(&[&authority, "DOCKER_CONFIG=/mnt"]), registry))
}

/// Writes docker's configuration.
fn configure(config: &Value) {
    write_file("/mnt/config.json", config.to_string());
}

/// USER:PASSWORD in base64.
fn entry(user_and_password: &str) -> Value {
    write_file("/mnt/plain", user_and_password);
    let text = podwire_tests::registry::openssl(&["base64", "-A", "-in", "/mnt/plain"]);
    json!({ "auth": String::from_utf8(text).expect("base64 is text") })
}

#[test]
fn who_logged_in_may_push_and_install() {
    let Some((bench, registry)) = guarded() else { return };
    configure(&json!({ "auths": { (registry.host()): entry(&format!("{USER}:{PASSWORD}")) } }));
    let reference = registry.reference("team/hostile:1");
    bench.push(HOSTILE, &reference, &[]);
    bench.install(&reference, &[]);
    assert!(bench.has("hostile", HOSTILE));
}

#[test]
fn who_did_not_log_in_is_told_how_to() {
    let Some((bench, registry)) = guarded() else { return };
    let login = format!("`docker login {}`", registry.host());
    let reference = registry.reference("team/hostile:1");
    bench.assert_refused(&reference, &[], &["no docker configuration says", &login]);
    configure(&json!({ "auths": { "elsewhere.test": entry("a:b") } }));
    bench.assert_refused(&reference, &[], &["no docker configuration says", &login]);
    configure(&json!({ "auths": { (registry.host()): entry(&format!("{USER}:open")) } }));
    bench.assert_refused(&reference, &[], &["does not take user \"pusher\"", "/mnt/config.json", &login]);
    let message = bench.try_push(HOSTILE, &reference, &[]).failed();
    assert!(message.contains("does not take user") && !message.contains("open"), "{message}");
}

#[test]
fn a_helper_is_named_and_not_run() {
    let Some((bench, registry)) = guarded() else { return };
    configure(&json!({ "credHelpers": { (registry.host()): "of-mine" } }));
    let words = ["docker-credential-of-mine", "runs no other programs", "`auths`"];
    bench.assert_refused(&registry.reference("team/hostile:1"), &[], &words);
}

#[test]
fn a_registry_of_an_unknown_authority_gets_nothing() {
    let Some((bench, registry)) = guarded() else { return };
    configure(&json!({ "auths": { (registry.host()): entry(&format!("{USER}:{PASSWORD}")) } }));
    let reference = registry.reference("team/hostile:1");
    // The key's owner is not the authority.
    let bench = bench.with(&["SSL_CERT_FILE=/mnt/other.pem"]);
    let made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-noenc",
        "-subj",
        "/CN=other",
    ];
    podwire_tests::registry::openssl(
        &[&made[..], &["-keyout", "/mnt/other.key", "-out", "/mnt/other.pem"]].concat(),
    );
    bench.assert_refused(&reference, &[], &["registry.test:5000 is not trusted", "SSL_CERT_FILE"]);
    // It speaks no plain HTTP either.
    bench.assert_refused(&reference, &["--plain-http"], &["registry.test:5000", "400 Bad Request"]);
}
