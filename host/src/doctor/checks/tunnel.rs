//! The node's end of tunnels to its peers.

use super::super::facts::Facts;
use super::super::finding::Finding;
use super::or_ok;

const TUNNELS: &str = "tunnels";

/// A VXLAN that is up has its port: the kernel sets none up without.
pub(super) fn port(facts: &Facts) -> Vec<Finding> {
    let found = facts.survey.interfaces.iter().find_map(|it| Some((it, it.vxlan.filter(|_| it.ours)?)));
    let Some((device, tunnels)) = found else {
        return vec![Finding::not_applicable(TUNNELS, "this node has none")];
    };
    let port = tunnels.port;
    let down = (!device.up).then(|| is_down(&device.name, port, facts.taken_ports.contains(&port)));
    let closed = facts.closed.iter().map(|obstacle| {
        let finding = Finding::wrong(TUNNELS, obstacle.problem.clone());
        obstacle.remedy.iter().fold(finding, Finding::mended_by)
    });
    or_ok(down.into_iter().chain(closed).collect(), || {
        Finding::ok(TUNNELS, format!("{} (VXLAN {}) is reached at UDP port {port}", device.name, tunnels.id))
    })
}

fn is_down(device: &str, port: u16, is_taken: bool) -> Finding {
    if is_taken {
        let found = format!("{device} is down, and cannot be set up: a program has its UDP port {port}");
        let advice = format!(
            "`ss --udp --listening --processes 'sport = {port}'` shows it: stop it, or give the policy another port"
        );
        return Finding::wrong(TUNNELS, found).advised(advice);
    }
    Finding::wrong(TUNNELS, format!("{device} is down")).mended_by(format!("ip link set dev {device} up"))
}
