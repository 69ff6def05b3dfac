//! Programs that manage interfaces and routes of their own accord.

use super::super::facts::{Facts, Kind, Manager};
use super::super::finding::Finding;
use super::or_ok;

const MANAGERS: &str = "network managers";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let unrestrained = facts.managers.iter().filter(|manager| !manager.restrained);
    or_ok(unrestrained.map(unrestrained_one).collect(), || {
        Finding::ok(MANAGERS, "none that would touch what podwire makes")
    })
}

fn unrestrained_one(manager: &Manager) -> Finding {
    match manager.kind {
        Kind::Networkd => {
            let found =
                "systemd-networkd runs, and takes routes away that it did not make whenever it is restarted";
            let part = "/etc/systemd/networkd.conf.d";
            Finding::warning(MANAGERS, found)
                .mended_by(format!(
                    "mkdir -p {part} && printf '[Network]\\nManageForeignRoutes=no\\nManageForeignRoutingPolicyRules=no\\n' \
                     >{part}/podwire.conf"
                ))
                .mended_by("systemctl restart systemd-networkd")
        }
        Kind::NetworkManager => {
            let part = "/etc/NetworkManager/conf.d";
            Finding::warning(MANAGERS, "NetworkManager runs, and may take bridges and veths for its own")
                .mended_by(format!(
                    "mkdir -p {part} && printf '[keyfile]\\nunmanaged-devices=type:bridge;type:veth;type:vxlan\\n' \
                     >{part}/podwire.conf"
                ))
                .mended_by("systemctl reload NetworkManager")
        }
    }
}
