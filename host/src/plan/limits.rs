//! How much a plan may hold: the numbers that `wit/policy.wit` promises to policies, in one place.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// Addresses of one pod, and of one bridge: dual stack with room for a service mesh's or two.
pub const ADDRESSES: usize = 8;
/// Routes of one pod: each is a message to the kernel while the pod waits.
pub const ROUTES: usize = 64;
/// Bridges of a node.
pub const BRIDGES: usize = 16;
/// Routes of a node: three for each of 5,000 peers.
pub const NODE_ROUTES: usize = 16_384;
/// Blocks that a node masquerades: its pools, and room for parts of them.
pub const MASQUERADED: usize = 64;
/// Sysctls of one pod.
pub const SYSCTLS: usize = 16;
/// Ports of the node that lead to one pod: what is said of them to the kernel must fit into one message.
pub const PORT_MAPPINGS: usize = 256;
/// Ranges of tagged VLANs of a port.
pub const VLAN_RANGES: usize = 64;
/// Name servers, search domains, resolver options, each; resolv.conf(5) itself takes three servers.
pub const DNS_ENTRIES: usize = 8;
/// Entries of `extra`.
pub const EXTRA: usize = 16;
/// Bytes of a string: the longest domain name, and longer than any interface name or sysctl.
pub const STRING: usize = 253;
/// Bytes of a refusal's message.
pub const MESSAGE: usize = 1_024;
/// Longest time that an address rests after a DEL, in seconds: a day.
pub const REST: u32 = 86_400;

/// The IPv4 link-local addresses that a plan may name as the gateway of a routed pod, and the node then
/// answers for. Others mean something on the node itself: clouds have their metadata service at
/// 169.254.169.254, Kubernetes its node-local name server at 169.254.20.10.
pub const LINK_LOCAL_GATEWAYS: RangeInclusive<Ipv4Addr> =
    Ipv4Addr::new(169, 254, 1, 0)..=Ipv4Addr::new(169, 254, 1, 255);

/// What Linux takes as MTU of a veth or bridge (`ETH_MIN_MTU`, `ETH_MAX_MTU` of linux/if_ether.h).
pub const MTU: RangeInclusive<u32> = 68..=65_535;
/// The least MTU with which IPv6 works (RFC 8200, section 5); Linux switches IPv6 off below.
pub const MTU_IPV6: u32 = 1_280;

/// VLAN identifiers that can be used (IEEE 802.1Q: 0 and 4,095 are reserved).
pub const VLAN_IDS: RangeInclusive<u16> = 1..=4_094;
/// VXLAN network identifiers (RFC 7348, section 5: 24 bits); 0 is taken by many for none.
pub const VXLAN_IDS: RangeInclusive<u32> = 1..=0xff_ffff;

/// What a tunnel that begins at an address takes of its uplink's MTU, in bytes: an outer header of 20 (IPv4) or 40
/// (IPv6), 8 of UDP, 8 of VXLAN, and the inner frame's 14.
pub fn vxlan_overhead(local: IpAddr) -> u32 {
    if local.is_ipv4() { 50 } else { 70 }
}

/// What a TCP segment can hold in bytes (`tcp_mss_clamp`): as much as a packet at most.
pub const ADVMSS: RangeInclusive<u32> = 1..=65_535;
/// Scopes of a route (`enum rt_scope_t` of linux/rtnetlink.h): universe, site, link, host.
pub const SCOPES: [u8; 4] = [0, 200, 253, 254];
/// The routing table of routes that do not say (`RT_TABLE_MAIN`).
pub const MAIN_TABLE: u32 = 254;
/// Routing tables that are no plan's: unspecified, and the kernel's own (`RT_TABLE_LOCAL`).
pub const KERNEL_TABLES: [u32; 2] = [0, 255];

/// Names below /proc/sys/net/ipv4/conf and /proc/sys/net/ipv6/conf that stand for all interfaces: the kernel
/// lets none be called so (`sysctl_dev_name_is_allowed` of linux/inetdevice.h).
pub const KERNEL_NAMES: [&str; 2] = ["all", "default"];

/// The sysctls that a plan may set in its pod's network namespace; `{interface}` stands for the name of
/// the container's interface. Each is confined to the network namespace (the kernel's
/// Documentation/networking/ip-sysctl.rst) and cannot reach the node or another pod. The first group is
/// the network part of what Kubernetes calls safe sysctls.
pub const ALLOWED_SYSCTLS: &[&str] = &[
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
    // Behaviour of the interface that the plan itself wires.
    "net.ipv4.conf.{interface}.arp_announce",
    "net.ipv4.conf.{interface}.arp_ignore",
    "net.ipv4.conf.{interface}.arp_notify",
    "net.ipv4.conf.{interface}.rp_filter",
    "net.ipv6.conf.{interface}.accept_dad",
    "net.ipv6.conf.{interface}.accept_ra",
    "net.ipv6.conf.{interface}.keep_addr_on_down",
    "net.ipv6.conf.{interface}.use_tempaddr",
];
