//! The node's end of tunnels to its peers.

use super::super::facts::Facts;
use super::super::finding::Finding;
use super::or_ok;

const TUNNELS: &str = "tunnels";

/// A VXLAN that is up has its port, which a program may have taken for another address nevertheless.
pub(super) fn port(facts: &Facts) -> Vec<Finding> {
    let found = facts.survey.interfaces.iter().find_map(|it| Some((it, it.vxlan.filter(|_| it.ours)?)));
    let Some((device, tunnels)) = found else {
        return vec![Finding::not_applicable(TUNNELS, "this node has none")];
    };
    let port = tunnels.port;
    let taken = facts.taken_ports.contains(&port).then(|| {
        let found = format!("a program has UDP port {port}, which is that of {}", device.name);
        Finding::wrong(TUNNELS, found)
            .advised(format!("`ss --udp --listening --processes 'sport = {port}'` shows it: stop it, or give the policy another port"))
    });
    let down = (!device.up).then(|| {
        Finding::wrong(TUNNELS, format!("{} is down", device.name))
            .mended_by(format!("ip link set dev {} up", device.name))
    });
    let closed = facts.closed.iter().map(|obstacle| {
        let finding = Finding::wrong(TUNNELS, obstacle.problem.clone());
        obstacle.remedy.iter().fold(finding, Finding::mended_by)
    });
    or_ok(taken.into_iter().chain(down).chain(closed).collect(), || {
        Finding::ok(TUNNELS, format!("{} (VXLAN {}) is reached at UDP port {port}", device.name, tunnels.id))
    })
}
