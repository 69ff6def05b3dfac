//! The node's own interface in a VLAN of a bridge, where the bridge itself is in another: made with the first pod that
//! needs it.

use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use rustix::io::Errno;

use super::super::bridge::{self, Lacks};
use super::super::link::{self, Interface, Link};
use super::super::socket::{Request, Socket};
use super::super::{Error, neighbour, vlan};
use crate::names::{InterfaceName, MacAddress};
use crate::plan::derived::{VlanGateway, bridge_mac};
use crate::plan::marks::GROUP;
use crate::plan::{Bridge, Checked};

/// Makes sure of the interface, of its addresses, and of its port, which is a port of this bridge.
pub(super) fn ensure(
    host: &mut Socket,
    bridge: &Link,
    gateway: &VlanGateway,
    plan: &Checked,
) -> Result<(), Error> {
    let planned = &gateway.interface;
    let found = match find(host, planned)? {
        Some(found) => found,
        None => create(host, bridge, gateway)?,
    };
    // Whoever made it may have been killed before the port was in its VLAN.
    if Lacks::of(&found, planned).settling {
        host.apply(&connect(host.index_of(gateway.port.as_str())?, gateway))?;
    }
    let (end, mac) = (found.interface(), found.hardware_address());
    let mut requests = bridge::settle(&found, planned)?;
    requests.extend(bridge::clear(host, &found, planned)?);
    requests.extend(bridge::ensure_addresses(end, mac, planned, &[]));
    requests.extend(neighbour::correct(end, plan));
    host.apply(&requests)
}

/// The interface, if it is there; an error if podwire may not use it.
fn find(host: &mut Socket, planned: &Bridge) -> Result<Option<Link>, Error> {
    let Some(found) = link::find(host, &planned.name)? else { return Ok(None) };
    let may_be_used = found.is_ours() || planned.operators;
    if found.is_veth() && may_be_used { Ok(Some(found)) } else { Err(Error::VlanGatewayTaken(found.name)) }
}

/// Two that make it at the same time both get it.
fn create(host: &mut Socket, bridge: &Link, gateway: &VlanGateway) -> Result<Link, Error> {
    let planned = &gateway.interface;
    let creation = creation(bridge, gateway);
    host.apply(&[creation.tolerating(&[Errno::EXIST])])?;
    find(host, planned)?.ok_or_else(|| Error::InterfaceGone(planned.name.clone()))
}

fn creation(bridge: &Link, gateway: &VlanGateway) -> Request {
    let (interface, port) = (&gateway.interface.name, &gateway.port);
    let step = format!("create {interface} with its port {port} of bridge {}", bridge.name);
    link::create(link::header(0), pair(bridge, gateway), step)
}

/// Both ends are down. It is the port that is made, and the interface as its peer: of a peer, the kernel would not take
/// a bridge.
fn pair(bridge: &Link, gateway: &VlanGateway) -> Vec<LinkAttribute> {
    let planned = &gateway.interface;
    let mtu = planned.mtu.unwrap_or(bridge.mtu);
    let mut interface = LinkMessage::default();
    interface.attributes = end(&planned.name, bridge_mac(planned), mtu);
    let mut port = end(&gateway.port, gateway.port_mac, mtu);
    port.push(LinkAttribute::Controller(bridge.index));
    port.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(interface))),
    ]));
    port
}

fn end(name: &InterfaceName, mac: MacAddress, mtu: u32) -> Vec<LinkAttribute> {
    vec![
        LinkAttribute::IfName(name.to_string()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Group(GROUP),
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
    ]
}

/// The requests that put the port into its VLAN. Somebody else's has another name, and is left as it is.
fn connect(index: Option<u32>, gateway: &VlanGateway) -> Vec<Request> {
    let Some(index) = index else { return Vec::new() };
    let port = Interface { index, name: gateway.port.as_str() };
    let mut requests = vlan::set(port, &gateway.vlans);
    requests.extend([link::no_link_local(port), link::set_up(port)]);
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PortVlans;
    use crate::plan::derived::vlan_gateway;

    #[test]
    fn the_port_is_the_bridges_and_the_interface_its_peer() {
        let carried = vec!["10.244.1.1/24".parse().expect("valid")];
        let planned = Bridge::plain("cni0".parse().expect("valid"), carried);
        let vlans = PortVlans { native: 100, tagged: vec![(7, 9)], keep_default: true };
        let gateway = vlan_gateway(&planned, Some(&vlans)).expect("it is in another VLAN");
        let bridge = Link { index: 7, mtu: 1400, ..Link::default() };
        let mut port = pair(&bridge, &gateway);
        let Some(LinkAttribute::LinkInfo(info)) = port.pop() else { panic!("no peer") };
        let [LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))] =
            &info[..]
        else {
            panic!("{info:?}")
        };
        let named = |name: &str| LinkAttribute::IfName(name.to_owned());
        for all in [&port, &peer.attributes] {
            assert!(all.contains(&LinkAttribute::Mtu(1400)) && all.contains(&LinkAttribute::Group(GROUP)));
        }
        assert!(port.contains(&named("cni0-100")) && port.contains(&LinkAttribute::Controller(7)));
        let mac = LinkAttribute::Address(vec![0x0a, 0x58, 10, 244, 1, 1]);
        assert!(peer.attributes.contains(&named("cni0.100")) && peer.attributes.contains(&mac));
        assert_eq!(connect(Some(9), &gateway).len(), 4, "out of VLAN 1, into 100, no link-local address, up");
        assert_eq!(connect(None, &gateway).len(), 0);
    }
}
