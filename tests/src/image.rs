//! An image made on the spot: busybox and nothing else, as an archive of the kind that `docker save` writes.

use std::fs;

use serde_json::json;
use sha2::{Digest, Sha256};

/// The image's reference. `.invalid` belongs to nobody (RFC 2606): no registry can be asked for it.
pub(crate) const NAME: &str = "podwire.invalid/busybox:test";

/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// The archive: one layer, its configuration, the manifest.
pub(crate) fn archive() -> Vec<u8> {
    let layer = layer();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": [BUSYBOX, "sleep", "86400"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"] }]);
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "layer.tar", 0o644, &layer);
    append(&mut archive, "config.json", 0o644, config.to_string().as_bytes());
    append(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes());
    archive.into_inner().expect("memory can be written to")
}

fn layer() -> Vec<u8> {
    let busybox = fs::read(BUSYBOX).unwrap_or_else(|e| panic!("{BUSYBOX}: {e}: install busybox-static"));
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "bin/busybox", 0o755, &busybox);
    layer.into_inner().expect("memory can be written to")
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content).expect("memory can be written to");
}

fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

/// As Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
