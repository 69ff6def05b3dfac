//! The VLANs of a bridge's port: the requests that put it into them, and what the kernel says of it.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use netlink_packet_core::{DecodeError, NlasIterator, parse_u16};
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags as Flags, LinkAttribute, LinkExtentMask, LinkHeader,
    LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::plan::{DEFAULT_VLAN as DEFAULT, PortVlans};

use super::Error;
use super::frame::attribute;
use super::link::{IFLA_AF_SPEC, Interface, LINK_HEADER};
use super::socket::{Request, Socket};

/// Puts a port into VLANs: first out of the kernel's, then into the tagged ones, and last into the native one,
/// which may lie among those.
pub(super) fn set(port: Interface<'_>, vlans: &PortVlans) -> Vec<Request> {
    let mut requests = Vec::with_capacity(2);
    if !vlans.keep_default {
        let message = message(port.index, vec![entry(DEFAULT, Flags::empty())]);
        let step = format!("take port {} out of VLAN {DEFAULT}", port.name);
        let request = Request::new(RouteNetlinkMessage::DelLink(message), 0, step);
        requests.push(request.tolerating(&[Errno::NOENT]));
    }
    let message = RouteNetlinkMessage::SetLink(message(port.index, entries(vlans)));
    let step = format!("put port {} into VLANs {}", port.name, Memberships::planned(vlans));
    requests.push(Request::new(message, 0, step));
    requests
}

fn entries(vlans: &PortVlans) -> Vec<AfSpecBridge> {
    let tagged = vlans.tagged.iter().flat_map(|range| tagged(*range));
    tagged.chain([entry(vlans.native, Flags::Pvid | Flags::Untagged)]).collect()
}

/// One entry or two: the kernel takes no range of one.
fn tagged((first, last): (u16, u16)) -> Vec<AfSpecBridge> {
    if first == last {
        return vec![entry(first, Flags::empty())];
    }
    vec![entry(first, Flags::RangeBegin), entry(last, Flags::RangeEnd)]
}

fn entry(vid: u16, flags: Flags) -> AfSpecBridge {
    AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid })
}

fn message(port: u32, entries: Vec<AfSpecBridge>) -> LinkMessage {
    let mut message = LinkMessage::default();
    let interface_family = AddressFamily::Bridge;
    message.header = LinkHeader { index: port, interface_family, ..LinkHeader::default() };
    message.attributes = vec![LinkAttribute::AfSpecBridge(entries)];
    message
}

/// The VLANs in which a port is, and how frames of each pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memberships(BTreeMap<u16, Passing>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// Frames come in and leave without a tag.
    Native,
    /// Frames leave without a tag.
    Untagged,
    /// Frames come in and leave with their tag.
    Tagged,
}

impl Memberships {
    /// What [`set`] makes of a port, VLAN 1 excepted if it is kept: that is as the bridge has it.
    pub(super) fn planned(vlans: &PortVlans) -> Self {
        let tagged = vlans.tagged.iter().flat_map(|(first, last)| *first..=*last);
        let mut all: BTreeMap<_, _> = tagged.map(|vid| (vid, Passing::Tagged)).collect();
        all.insert(vlans.native, Passing::Native);
        Self(all)
    }

    /// What the kernel says of a port, without VLAN 1 if the plan leaves that to the bridge.
    pub(super) fn of(socket: &mut Socket, port: u32, vlans: &PortVlans) -> Result<Self, Error> {
        let mut question = LinkMessage::default();
        question.header.interface_family = AddressFamily::Bridge;
        question.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed])];
        let decode = |body: &[u8]| decode(body, port);
        let found = socket.dump(&RouteNetlinkMessage::GetLink(question), "VLANs of ports", decode)?;
        let mut all = found.into_iter().next().unwrap_or_default();
        if vlans.keep_default && !Self::planned(vlans).0.contains_key(&DEFAULT) {
            all.0.remove(&DEFAULT);
        }
        Ok(all)
    }

    fn insert(&mut self, range: std::ops::RangeInclusive<u16>, flags: Flags) {
        let passing = if flags.contains(Flags::Pvid) {
            Passing::Native
        } else if flags.contains(Flags::Untagged) {
            Passing::Untagged
        } else {
            Passing::Tagged
        };
        self.0.extend(range.map(|vid| (vid, passing)));
    }
}

/// As `bridge vlan` writes them: neighbours of one kind as a range.
impl Display for Memberships {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.iter().peekable();
        let mut separator = "";
        while let Some((first, passing)) = left.next() {
            let mut last = *first;
            while let Some((vid, _)) = left.next_if(|(vid, other)| **vid == last + 1 && *other == passing) {
                last = *vid;
            }
            let range = if last == *first { first.to_string() } else { format!("{first}-{last}") };
            let passing = match passing {
                Passing::Native => " native",
                Passing::Untagged => " untagged",
                Passing::Tagged => "",
            };
            write!(f, "{separator}{range}{passing}")?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
/// Where ifi_index stands in struct ifinfomsg.
const INDEX: std::ops::Range<usize> = 4..8;

/// None for other ports: a kernel cannot be asked for one alone.
fn decode(body: &[u8], port: u32) -> Result<Option<Memberships>, DecodeError> {
    if body.get(INDEX) != Some(&port.to_ne_bytes()) {
        return Ok(None);
    }
    let mut all = Memberships::default();
    let Some(entries) = attribute(body.get(LINK_HEADER..).unwrap_or_default(), IFLA_AF_SPEC)? else {
        return Ok(Some(all));
    };
    let mut first = None;
    for entry in NlasIterator::new(entries.value()) {
        let entry = entry?;
        if entry.kind() != IFLA_BRIDGE_VLAN_INFO {
            continue;
        }
        let [flags, vid] = [0, 2].map(|at| parse_u16(entry.value().get(at..at + 2).unwrap_or_default()));
        let (flags, vid) = (Flags::from_bits_retain(flags?), vid?);
        match first.take() {
            Some(first) if flags.contains(Flags::RangeEnd) => all.insert(first..=vid, flags),
            _ if flags.contains(Flags::RangeBegin) => first = Some(vid),
            _ => all.insert(vid..=vid, flags),
        }
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, NlaBuffer};

    use super::*;

    const PORT: Interface<'_> = Interface { index: 7, name: "pw2" };

    fn vlans(native: u16, tagged: &[(u16, u16)], keep_default: bool) -> PortVlans {
        PortVlans { native, tagged: tagged.to_vec(), keep_default }
    }

    /// What a message to the kernel says of the port of number 7: flags and VLAN of each entry.
    fn said(entries: Vec<AfSpecBridge>) -> Vec<[u16; 2]> {
        let message = message(PORT.index, entries);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        assert_eq!((bytes[0], &bytes[INDEX]), (7, &7u32.to_ne_bytes()[..]), "AF_BRIDGE, and the port");
        let list = NlaBuffer::new_checked(&bytes[LINK_HEADER..]).expect("one attribute");
        assert_eq!((list.kind(), bytes.len()), (IFLA_AF_SPEC, LINK_HEADER + usize::from(list.length())));
        let number = |bytes: &[u8]| u16::from_ne_bytes(bytes.try_into().expect("two"));
        let entry = |entry: NlaBuffer<&[u8]>| {
            assert_eq!((entry.kind(), entry.length()), (IFLA_BRIDGE_VLAN_INFO, 8));
            [number(&entry.value()[..2]), number(&entry.value()[2..])]
        };
        NlasIterator::new(list.value()).map(|found| entry(found.expect("whole"))).collect()
    }

    /// The kernel's numbers (linux/if_bridge.h): 2 and 4 for the native VLAN, 8 and 16 for a range's ends.
    #[test]
    fn a_port_is_put_into_its_vlans() {
        assert_eq!(said(entries(&vlans(100, &[], false))), [[6, 100]]);
        let trunk = vlans(1, &[(10, 20), (30, 30)], false);
        assert_eq!(said(entries(&trunk)), [[8, 10], [16, 20], [0, 30], [6, 1]]);
        assert_eq!(said(entries(&vlans(5, &[(4, 6)], true))), [[8, 4], [16, 6], [6, 5]]);
        assert_eq!(said(vec![entry(DEFAULT, Flags::empty())]), [[0, 1]]);
        let requests = |keep_default| set(PORT, &vlans(5, &[], keep_default)).len();
        assert_eq!((requests(false), requests(true)), (2, 1), "out of VLAN 1, unless that is kept");
    }

    /// An answer of the kernel's about the port of number 7.
    fn answer(entries: &[[u16; 2]]) -> Vec<u8> {
        let mut body = vec![0; LINK_HEADER];
        body[INDEX].copy_from_slice(&7u32.to_ne_bytes());
        body.extend((4 + 8 * entries.len() as u16).to_ne_bytes());
        body.extend((IFLA_AF_SPEC | 1 << 15).to_ne_bytes());
        for [flags, vid] in entries {
            [8, IFLA_BRIDGE_VLAN_INFO, *flags, *vid].iter().for_each(|it| body.extend(it.to_ne_bytes()));
        }
        body
    }

    #[test]
    fn what_the_kernel_says_reads_as_planned() {
        let answer = answer(&[[6, 5], [8, 10], [16, 20], [0, 30], [4, 40]]);
        let found = decode(&answer, 7).expect("whole").expect("of the port");
        assert_eq!(found.to_string(), "5 native, 10-20, 30, 40 untagged");
        assert_eq!(decode(&answer, 8).expect("whole"), None);
        let planned = Memberships::planned(&vlans(5, &[(10, 20), (30, 30)], false));
        assert_eq!(planned.to_string(), "5 native, 10-20, 30");
        assert_ne!(found, planned);
        assert_eq!(Memberships::planned(&vlans(5, &[(4, 6)], false)).to_string(), "4, 5 native, 6");
        assert_eq!(Memberships::default().to_string(), "none");
    }
}
