//! What the operator asks of the bridge that they named, in the words of the reference plugin's configuration.
//!
//! The policy reads the same text, and may ask less of that bridge; more would be a node's own bridge disarmed by a
//! policy. Knows nothing of what other keys a policy has.

use serde::Deserialize;

use super::Bridge;
use super::check::{Outcome, violation};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Wishes {
    force_address: Option<bool>,
    promisc_mode: Option<bool>,
    mtu: Option<u32>,
}

impl Wishes {
    /// Of a configuration that cannot be read: none.
    pub(super) fn of(config: &str) -> Self {
        serde_json::from_str(config).unwrap_or_default()
    }

    /// Whether the bridge is changed as the operator asks, and no further.
    pub(super) fn cover(&self, bridge: &Bridge) -> Outcome {
        let asked = |wish: Option<bool>| wish == Some(true);
        if bridge.exclusive && !asked(self.force_address) {
            return Err(unasked(bridge, "exclusive", true, "\"forceAddress\": true"));
        }
        if bridge.promiscuous && !asked(self.promisc_mode) {
            return Err(unasked(bridge, "promiscuous", true, "\"promiscMode\": true"));
        }
        match bridge.mtu {
            Some(mtu) if self.mtu != Some(mtu) => {
                Err(unasked(bridge, "mtu", mtu, &format!("\"mtu\": {mtu}")))
            }
            _ => Ok(()),
        }
    }
}

fn unasked(bridge: &Bridge, field: &str, value: impl ToString, key: &str) -> super::check::Violation {
    let rule = format!("bridge {} is the operator's, whose configuration has no {key}", bridge.name);
    violation(format!("wiring.bridge.{field}"), value, rule)
}
