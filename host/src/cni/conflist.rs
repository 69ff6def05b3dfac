//! Network configurations in files, as runtimes keep them in /etc/cni/net.d.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

/// What a runtime would call podwire with: from a list the entry of type podwire, with the list's name and version.
pub fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut outer: Map<String, Value> =
        serde_json::from_slice(&text).with_context(|| format!("{} is no JSON object", path.display()))?;
    let Some(Value::Array(plugins)) = outer.remove("plugins") else {
        return match outer.get("type") {
            Some(kind) if kind != "podwire" => bail!("{} is of type {kind}, not podwire", path.display()),
            _ => Ok(outer),
        };
    };
    let ours = plugins.into_iter().find(|plugin| plugin["type"] == "podwire");
    let Some(Value::Object(mut ours)) = ours else {
        bail!("{} has no plugin of type podwire", path.display())
    };
    for key in ["name", "cniVersion"] {
        ours.extend(outer.remove_entry(key));
    }
    ours.remove("capabilities");
    Ok(ours)
}
