//! Signatures, in the form that cosign has made common.
//!
//! An artifact's lie beside it, in an artifact of their own under the tag `sha256-HEX.sig`: a layer for each, a
//! small document that names the digest of the manifest, with the signature of that document as an annotation. A
//! file's lies beside it as `FILE.sig`, as `cosign sign-blob` writes it: in base64, over the file's bytes.
//!
//! Nothing is fetched here, and no certificates are asked: a key on this node says yes or no.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::artifact::{self, Descriptor, Manifest};
use super::{Error, Keys, PrivateKey, Reference, Version};
use crate::names::Digest;
use crate::state;

/// The document that is signed.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";

/// Bytes of the document, at most.
pub(super) const PAYLOAD_BYTES: u64 = 64 << 10;

/// Signatures of one artifact that are looked at. Whoever can push could add any number.
const SIGNATURES: usize = 32;

/// Bytes of a file's signature, at most.
const FILE_BYTES: u64 = 4 << 10;

#[derive(Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    optional: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: Digest,
}

/// Where the signatures of a manifest lie.
pub(super) fn place(reference: &Reference, manifest: Digest) -> Reference {
    reference.with(Version::Tag(format!("{}.sig", manifest.to_string().replace(':', "-"))))
}

/// The layers of an artifact of signatures that hold one.
pub(super) fn layers(manifest: &[u8]) -> Vec<(Descriptor, Vec<u8>)> {
    let layers =
        serde_json::from_slice(manifest).map(|manifest: Manifest| manifest.layers).unwrap_or_default();
    let layers =
        layers.into_iter().filter(|layer| layer.media_type == PAYLOAD && layer.size <= PAYLOAD_BYTES);
    layers
        .filter_map(|layer| Some((signature(&layer)?, layer)))
        .map(|(s, l)| (l, s))
        .take(SIGNATURES)
        .collect()
}

fn signature(layer: &Descriptor) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(layer.annotations.get(ANNOTATION)?.as_str()?).ok()
}

/// The name of the key that signed this document, if the document vouches for that manifest.
pub(super) fn signer<'a>(
    keys: &'a Keys,
    manifest: Digest,
    payload: &[u8],
    signature: &[u8],
) -> Option<&'a str> {
    let signer = keys.signer(payload, signature)?;
    let critical = serde_json::from_slice::<Payload>(payload).ok()?.critical;
    let vouches = critical.kind == KIND && critical.image.docker_manifest_digest == manifest;
    vouches.then_some(signer)
}

/// An artifact of signatures with one more in it.
pub(super) struct Signed {
    pub(super) payload: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) manifest: Vec<u8>,
}

/// Signs the manifest that lies there. `others` is what holds its signatures so far, if there are any.
pub(super) fn sign(
    reference: &Reference,
    manifest: Digest,
    key: &PrivateKey,
    others: Option<&[u8]>,
) -> Signed {
    let docker_reference = format!("{}/{}", reference.registry(), reference.repository());
    let payload = artifact::json(&Payload {
        critical: Critical {
            identity: Identity { docker_reference },
            image: Image { docker_manifest_digest: manifest },
            kind: KIND.to_owned(),
        },
        optional: None,
    });
    let mut layer = Descriptor::of(PAYLOAD, &payload);
    layer.annotations.insert(ANNOTATION.to_owned(), BASE64_STANDARD.encode(key.sign(&payload)).into());
    let mut layers =
        others.and_then(|others| serde_json::from_slice(others).ok()).map_or(vec![], |m: Manifest| m.layers);
    layers.push(layer);
    let config = config(&layers);
    let manifest = artifact::manifest(Descriptor::of(CONFIG, &config), layers);
    Signed { payload, config, manifest: artifact::json(&manifest) }
}

/// An image's, since cosign takes signatures for the layers of one.
fn config(layers: &[Descriptor]) -> Vec<u8> {
    let digests = layers.iter().map(|layer| layer.digest).collect::<Vec<_>>();
    artifact::json(&serde_json::json!({
        "architecture": "", "os": "", "config": {}, "created": "0001-01-01T00:00:00Z",
        "rootfs": { "type": "layers", "diff_ids": digests },
    }))
}

/// The name of the key that signed a file, whose signature lies beside it.
pub(super) fn of_file(keys: &Keys, path: &Path, component: &[u8]) -> Result<String, Error> {
    let beside = beside(path);
    let what = path.display().to_string();
    let text = match read(&beside) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let remedy = format!(
                "`openssl dgst -sha256 -sign KEY {what} | base64 -w0 >{}`, or cosign sign-blob, signs it",
                beside.display()
            );
            return Err(Error::Unsigned { what, demand: keys.demand(), remedy });
        }
        Err(error) => return Err(state::Error::io(&beside, "read")(error).into()),
    };
    let signature = BASE64_STANDARD.decode(text.trim()).unwrap_or_default();
    let signer = keys.signer(component, &signature).map(str::to_owned);
    signer.ok_or_else(|| Error::WronglySigned { what, demand: keys.demand() })
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    beside.into()
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::{Pair, keys};
    use super::*;

    const MANIFEST: Digest = Digest([7; 32]);

    fn reference() -> Reference {
        "oci://r.test:5000/team/tenant:1".parse().unwrap()
    }

    fn key(pair: &Pair) -> PrivateKey {
        let file = tempfile::NamedTempFile::new().unwrap();
        state::write_atomically(file.path(), pair.private.as_bytes()).unwrap();
        PrivateKey::read(file.path()).unwrap()
    }

    fn signed(pair: &Pair, others: Option<&[u8]>) -> Signed {
        sign(&reference(), MANIFEST, &key(pair), others)
    }

    #[test]
    fn signatures_lie_where_cosign_looks_for_them() {
        let expected = format!("oci://r.test:5000/team/tenant:sha256-{}.sig", "07".repeat(32));
        assert_eq!(place(&reference(), MANIFEST).to_string(), expected);
    }

    #[test]
    fn what_is_signed_is_cosigns_document() {
        let expected = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.test:5000/team/tenant"}},"image":{{"docker-manifest-digest":"{MANIFEST}"}},"type":"cosign container image signature"}},"optional":null}}"#
        );
        assert_eq!(String::from_utf8(signed(&Pair::p256(), None).payload).unwrap(), expected);
    }

    #[test]
    fn every_signature_is_kept_and_each_counts() {
        let (one, two) = (Pair::p256(), Pair::edwards());
        let first = signed(&one, None);
        let second = signed(&two, Some(&first.manifest));
        let layers = layers(&second.manifest);
        assert_eq!(layers.len(), 2);
        for (pair, (_, signature)) in [&one, &two].into_iter().zip(&layers) {
            let keys = keys(&format!("friend\n{}", pair.public));
            assert_eq!(signer(&keys, MANIFEST, &first.payload, signature), Some("friend"));
        }
    }

    #[test]
    fn a_signature_of_something_else_counts_for_nothing() {
        let pair = Pair::p256();
        let keys = keys(&pair.public);
        let Signed { payload, manifest, .. } = signed(&pair, None);
        let signature = &layers(&manifest)[0].1;
        assert!(signer(&keys, MANIFEST, &payload, signature).is_some());
        assert_eq!(signer(&keys, Digest([8; 32]), &payload, signature), None);
        for (from, to) in [(KIND, "another kind"), ("critical", "optional")] {
            let other = String::from_utf8(payload.clone()).unwrap().replace(from, to).into_bytes();
            let signature = pair.sign(&other);
            assert_eq!(signer(&keys, MANIFEST, &other, &signature), None, "{to}");
        }
    }

    #[test]
    fn a_manifest_of_anything_else_holds_no_signatures() {
        assert!(layers(b"{}").is_empty());
        let others = signed(&Pair::p256(), None).manifest;
        let others = String::from_utf8(others).unwrap().replace(ANNOTATION, "other");
        assert!(layers(others.as_bytes()).is_empty());
    }

    #[test]
    fn a_files_signature_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tenant.wasm");
        let (pair, beside) = (Pair::p256(), beside(&path));
        let keys = keys(&format!("friend\n{}", pair.public));
        let missing = of_file(&keys, &path, b"bytes").unwrap_err().to_string();
        assert!(missing.contains("not signed") && missing.contains(&*beside.to_string_lossy()), "{missing}");
        let text = BASE64_STANDARD.encode(pair.sign(b"bytes")) + "\n";
        state::write_atomically(&beside, text.as_bytes()).unwrap();
        assert_eq!(of_file(&keys, &path, b"bytes").unwrap(), "friend");
        assert!(matches!(of_file(&keys, &path, b"other"), Err(Error::WronglySigned { .. })));
        state::write_atomically(&beside, b"no base64").unwrap();
        assert!(matches!(of_file(&keys, &path, b"bytes"), Err(Error::WronglySigned { .. })));
    }
}
