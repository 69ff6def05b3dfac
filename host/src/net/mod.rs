//! The kernel: namespaces, links, addresses, routes, rules, limits.
//!
//! Owns everything that speaks netlink or writes below /proc/sys, and knows what is podwire's among the
//! node's links and routes. Knows plans that are checked; neither policies, leases nor CNI.
//!
//! | what | how podwire's own is told apart | why that way |
//! | --- | --- | --- |
//! | veth, bridge, ifb | link group [`marks::GROUP`](crate::plan::marks::GROUP) | the kernel takes it in the message that creates the link: no moment without |
//! | bridge handed over by an operator | alias [`marks::ALIAS`](crate::plan::marks::ALIAS) | `ip link set dev cni0 alias podwire` is easy to say, and `ip link` shows it |
//! | route, bridge address | protocol number [`marks::PROTOCOL`](crate::plan::marks::PROTOCOL) | made for this: `ip route show proto 112` |
//! | masquerade, port mapping, spoof check | nftables tables called [`rules::TABLE`] | a table has one owner, and `nft list ruleset` shows it |
//!
//! Everything that one namespace needs goes out in as few sends as possible; requests in one send are
//! carried out in order, also after one of them was refused. So none may harm a stranger's interface when
//! the one before it fails: interfaces are named by index, and an index is asked for after its link exists.

pub mod address;
mod announcement;
pub mod bridge;
mod carrier;
mod error;
pub mod firewall;
mod forwarding;
mod frame;
mod impairment;
mod imported;
mod inspect;
pub mod link;
pub mod namespace;
mod neighbour;
mod netfilter;
pub mod node;
pub mod route;
pub mod rules;
pub mod shaping;
pub mod socket;
#[cfg(feature = "cli")]
pub mod survey;
mod sys;
pub mod sysctl;
#[cfg(test)]
pub(crate) mod tests;
mod tunnel;
mod unattended;
mod unwiring;
mod vlan;
mod vxlan;
pub mod watch;
mod wiring;

pub use error::{Error, Refused};
pub use impairment::impairment;
pub use imported::{inspect_imported, take_away};
pub use inspect::{Difference, inspect};
pub use unwiring::{Unwiring, unwire};
pub use wiring::{Wired, WiredBridge, announce, wire};

/// For what there are thousands of in a plan.
type QuickMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// What podwire uses where nothing else is said: what the kernel gives a veth (`ETH_DATA_LEN`).
pub const DEFAULT_MTU: u32 = 1500;
