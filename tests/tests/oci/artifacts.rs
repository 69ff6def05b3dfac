//! What lies in a registry and is no component, or not the one that it should be.

use std::fs;

use podwire_tests::command::write_file;
use serde_json::{Value, json};

use crate::{BRIDGE, Bench, HOSTILE, digest};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[test]
fn other_artifacts_are_refused_with_what_they_are() {
    let Some((bench, registry)) = Bench::with_registry() else { return };
    let manifest = bench.push(HOSTILE, &registry.reference("team/tenant:good"), &[]);
    let good = registry.manifest("team/tenant", "good");
    let layer = &good["layers"][0];
    let with = |pointer: &str, value: Value| {
        let mut other = good.clone();
        *other.pointer_mut(pointer).expect("a manifest of podwire has it") = value;
        other
    };
    let entry = json!({ "mediaType": good["mediaType"], "digest": manifest, "size": good.to_string().len() });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    for (tag, other, words) in [
        ("index", index, "an image index of 1 manifests"),
        ("docker", with("/mediaType", json!(DOCKER)), "a Docker image"),
        ("image", with("/config/mediaType", json!(IMAGE_CONFIG)), IMAGE_CONFIG),
        ("layers", with("/layers", json!([layer, layer])), "2 layers"),
        (
            "tar",
            with("/layers/0/mediaType", json!("application/x-tar")),
            "a layer of type \"application/x-tar\"",
        ),
    ] {
        registry.put_manifest("team/tenant", tag, &other);
        let reference = registry.reference(&format!("team/tenant:{tag}"));
        bench.assert_refused(&reference, &[], &[&reference, "is no WebAssembly component", words]);
    }
}

#[test]
fn a_component_that_the_registry_changed_is_refused() {
    let Some((bench, registry)) = Bench::with_registry() else { return };
    let reference = registry.reference("team/tenant:1");
    bench.push(HOSTILE, &reference, &[]);
    let blob = registry.blob(&digest(HOSTILE));
    let good = fs::read(&blob).expect("the registry has it");
    let mut changed = good.clone();
    *changed.last_mut().expect("it has bytes") ^= 1;
    let other = fs::read(BRIDGE).expect("it is there");
    for (bytes, words) in
        [(changed, "sent something else than the blob"), (good[..9].to_vec(), ""), (other, "")]
    {
        write_file(&blob, bytes);
        bench.assert_refused(&reference, &[], &["the registry 127.0.0.1:5000", words]);
    }
    write_file(&blob, good);
    bench.install(&reference, &[]);
}

#[test]
fn a_manifest_that_the_registry_changed_is_refused() {
    let Some((bench, registry)) = Bench::with_registry() else { return };
    let manifest = bench.push(HOSTILE, &registry.reference("team/tenant:1"), &[]);
    bench.push(BRIDGE, &registry.reference("team/tenant:2"), &[]);
    let blob = registry.blob(&manifest);
    write_file(&blob, registry.manifest("team/tenant", "2").to_string());
    let pinned = registry.reference(&format!("team/tenant@{manifest}"));
    bench.assert_refused(&pinned, &[], &["127.0.0.1:5000"]);
}
