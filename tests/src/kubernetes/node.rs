//! Nodes as kubelet and the control plane write them: what counts is little, the rest is long.

use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// Who wrote which field: it changes with each heartbeat, and is the longest part.
static MANAGED: LazyLock<String> = LazyLock::new(|| {
    repeated(60, |i| format!(r#"{{"f:status":{{"f:k{i}":{{".":{{}},"f:lastHeartbeatTime":{{}}}}}}}}"#))
});
/// What kubelet reports of its images.
static IMAGES: LazyLock<String> = LazyLock::new(|| {
    repeated(50, |i| format!(r#"{{"names":["registry.test/image-{i}@sha256:{i:064}"],"sizeBytes":{i}}}"#))
});

/// A Node.
#[derive(Debug, Clone)]
pub struct KubeNode {
    pub(super) name: String,
    fields: Value,
    heartbeat: u64,
}

impl KubeNode {
    /// With one block and one address.
    pub fn new(name: &str, block: &str, address: &str) -> Self {
        Self::unassigned(name).with_blocks(&[block]).with_addresses(&[address])
    }

    /// The nth of many.
    pub fn nth(n: u16) -> Self {
        let [high, low] = n.to_be_bytes();
        Self::new(
            &format!("n{n}"),
            &format!("10.{}.{low}.0/24", 100 + high),
            &format!("192.168.{high}.{low}"),
        )
    }

    /// As it is registered, before anybody gave it addresses for its pods.
    pub fn unassigned(name: &str) -> Self {
        let fields = json!({"labels": {"kubernetes.io/hostname": name}, "spec": {}, "addresses": []});
        Self { name: name.into(), fields, heartbeat: 0 }
    }

    /// What the control plane gives to its pods.
    pub fn with_blocks(mut self, blocks: &[&str]) -> Self {
        self.fields["spec"] = json!({"podCIDR": blocks[0], "podCIDRs": blocks});
        self
    }

    /// What kubelet reports.
    pub fn with_addresses(mut self, internal: &[&str]) -> Self {
        let internal = internal.iter().map(|address| json!({"type": "InternalIP", "address": address}));
        let host_name = json!({"type": "Hostname", "address": self.name});
        self.fields["addresses"] = internal.chain([host_name]).collect();
        self
    }

    /// What an operator says of it.
    pub fn with_label(mut self, key: &str, value: &str) -> Self {
        self.fields["labels"][key] = value.into();
        self
    }

    /// Deleted, and held by a finalizer.
    pub fn leaving(mut self) -> Self {
        self.fields["deletion"] = json!("2026-11-23T12:00:00Z");
        self
    }

    /// The same Node when kubelet reported again.
    pub fn beat(mut self) -> Self {
        self.heartbeat += 1;
        self
    }

    /// What stands between the braces, but for kind and version: a list leaves these out of its items.
    pub(super) fn members(&self, version: u64) -> String {
        let Self { name, fields, heartbeat } = self;
        let (labels, spec, addresses) = (&fields["labels"], &fields["spec"], &fields["addresses"]);
        let deletion = match &fields["deletion"] {
            Value::Null => String::new(),
            moment => format!(r#""deletionTimestamp":{moment},"#),
        };
        let (managed, images) = (MANAGED.as_str(), IMAGES.as_str());
        format!(
            r#""metadata":{{"name":"{name}",{deletion}"resourceVersion":"{version}","labels":{labels},"managedFields":[{{"manager":"kubelet","fieldsV1":{{"all":[{managed}]}}}}]}},"spec":{spec},"status":{{"conditions":[{{"type":"Ready","lastHeartbeatTime":"{heartbeat}"}}],"addresses":{addresses},"images":[{images}]}}"#
        )
    }
}

fn repeated(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        let comma = if i == 0 { "" } else { "," };
        write!(text, "{comma}{}", item(i)).expect("memory");
        text
    })
}
