//! The documents of an artifact, by the CNCF's convention for WebAssembly in OCI registries: a manifest, a
//! config that says what the component is, and one layer, which is the component itself.
//!
//! Pure: bytes in, judgement out. What is not a component is refused with what it is instead.
//!
//! Written here, since the crate for it, oci-wasm, brings another HTTP client and a second copy of wasmtime's
//! parsers along for two small documents.

use serde::{Deserialize, Serialize};

use super::{Error, Reference, digest};
use crate::names::Digest;
use crate::policy::{Inspection, limits};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What is asked for, so that a registry shows what it has, and an error can say it.
pub(super) const ACCEPTED: [&str; 4] = [MANIFEST, INDEX, DOCKER, DOCKER_INDEX];

/// Bytes of a manifest: registries need not keep larger ones (OCI distribution specification, "Pushing
/// manifests").
pub(super) const MANIFEST_BYTES: u64 = 4 << 20;

/// A manifest, as far as it matters here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// Where a document refers to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub(super) annotations: serde_json::Map<String, serde_json::Value>,
}

impl Descriptor {
    pub(super) fn of(media_type: &str, bytes: &[u8]) -> Self {
        let (media_type, size) = (media_type.to_owned(), bytes.len() as u64);
        Self { media_type, digest: digest(bytes), size, annotations: serde_json::Map::new() }
    }
}

/// What a manifest may be, before it is known to be one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyManifest {
    media_type: Option<String>,
    manifests: Option<Vec<serde::de::IgnoredAny>>,
}

/// The component's layer, if the manifest is that of one component. `content_type` is what the registry says.
pub(super) fn component(
    reference: &Reference,
    content_type: &str,
    manifest: &[u8],
) -> Result<Descriptor, Error> {
    let wrong = |found| Error::WrongArtifact { reference: reference.clone(), found };
    let unreadable = |error| wrong(format!("a manifest that cannot be read ({error})"));
    let any: AnyManifest = serde_json::from_slice(manifest).map_err(unreadable)?;
    match any.media_type.as_deref().unwrap_or(content_type) {
        INDEX | DOCKER_INDEX => {
            let count = any.manifests.map_or(0, |manifests| manifests.len());
            return Err(wrong(format!("an image index of {count} manifests (name one by its digest)")));
        }
        DOCKER => return Err(wrong("a Docker image".to_owned())),
        MANIFEST => {}
        other => return Err(wrong(format!("a document of type {other:?}"))),
    }
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(unreadable)?;
    if manifest.config.media_type != CONFIG {
        return Err(wrong(format!(
            "an artifact whose config is {:?}, not {CONFIG}",
            manifest.config.media_type
        )));
    }
    let layer = match <[Descriptor; 1]>::try_from(manifest.layers) {
        Ok([layer]) if layer.media_type == LAYER => layer,
        Ok([layer]) => return Err(wrong(format!("a layer of type {:?}, not {LAYER}", layer.media_type))),
        Err(layers) => return Err(wrong(format!("{} layers, and a component is one", layers.len()))),
    };
    if layer.size > limits::COMPONENT_BYTES as u64 {
        return Err(Error::TooLarge { reference: reference.clone(), size: layer.size });
    }
    Ok(layer)
}

/// The config's document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    layer_digests: [Digest; 1],
    component: World<'a>,
}

/// What the component asks for and offers.
#[derive(Serialize)]
struct World<'a> {
    exports: &'a [String],
    imports: Vec<&'a str>,
    target: Option<&'a str>,
}

/// The config and the manifest of a component. No time is in them: the same component is the same artifact, with
/// the same digest, whoever pushes it, and how often.
pub(super) fn describe(component: &[u8], found: &Inspection) -> (Vec<u8>, Vec<u8>) {
    let imports = found.imports.iter().map(|import| import.name.as_str()).collect();
    let config = Config {
        created: "1970-01-01T00:00:00Z",
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [digest(component)],
        component: World { exports: &found.exports, imports, target: None },
    };
    let config = json(&config);
    let manifest = manifest(Descriptor::of(CONFIG, &config), vec![Descriptor::of(LAYER, component)]);
    (config, json(&manifest))
}

pub(super) fn manifest(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
    Manifest { schema_version: 2, media_type: Some(MANIFEST.to_owned()), config, layers }
}

/// Writes a document that holds text and numbers only.
pub(super) fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("text and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const COMPONENT: &[u8] = b"component";

    fn found() -> Inspection {
        let mut found = Inspection::default();
        found.exports.push("add".to_owned());
        found
    }

    fn good() -> Value {
        serde_json::from_slice(&describe(COMPONENT, &found()).1).unwrap()
    }

    fn judged(content_type: &str, manifest: &Value) -> Result<Descriptor, String> {
        let reference = "oci://r.test/a".parse().unwrap();
        component(&reference, content_type, manifest.to_string().as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_described_is_a_component() {
        let layer = judged(MANIFEST, &good()).unwrap();
        assert_eq!((layer.digest, layer.size), (digest(COMPONENT), COMPONENT.len() as u64));
    }

    #[test]
    fn the_config_is_the_conventions() {
        let config: Value = serde_json::from_slice(&describe(COMPONENT, &found()).0).unwrap();
        let expected = json!({
            "created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2",
            "layerDigests": [digest(COMPONENT)],
            "component": { "exports": ["add"], "imports": [], "target": null },
        });
        assert_eq!(config, expected);
    }

    #[test]
    fn a_manifest_may_leave_its_type_to_the_registry() {
        let mut manifest = good();
        manifest.as_object_mut().unwrap().remove("mediaType");
        judged(MANIFEST, &manifest).unwrap();
        assert!(judged(DOCKER, &manifest).unwrap_err().contains("a Docker image"));
    }

    #[test]
    fn what_is_no_component_is_refused_with_what_it_is() {
        let layer = good()["layers"][0].clone();
        for (pointer, value, found) in [
            ("/mediaType", json!(DOCKER), "a Docker image"),
            ("/mediaType", json!("text/plain"), "a document of type \"text/plain\""),
            ("/config/mediaType", json!("application/vnd.oci.image.config.v1+json"), "vnd.oci.image.config"),
            (
                "/layers/0/mediaType",
                json!("application/vnd.wasm.content.layer.v1+wasm"),
                "content.layer.v1+wasm",
            ),
            ("/layers", json!([]), "0 layers"),
            ("/layers", json!([layer, layer]), "2 layers"),
            ("/layers/0/size", json!(limits::COMPONENT_BYTES + 1), "64 MiB at most"),
            ("/layers/0/digest", json!("sha256:.."), "cannot be read"),
            ("/layers/0/size", json!(-1), "cannot be read"),
        ] {
            let mut manifest = good();
            *manifest.pointer_mut(pointer).unwrap() = value;
            let error = judged(MANIFEST, &manifest).unwrap_err();
            assert!(error.contains(found) && error.contains("oci://r.test/a"), "{pointer}: {error}");
        }
        let index = json!({ "mediaType": INDEX, "manifests": [{}, {}] });
        assert!(judged(INDEX, &index).unwrap_err().contains("an image index of 2 manifests"));
        assert!(judged(MANIFEST, &json!("x")).unwrap_err().contains("cannot be read"));
    }
}
