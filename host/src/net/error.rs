//! What the operator reads when the kernel did not do what was asked.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use netlink_packet_core::DecodeError;
use rustix::io::Errno;

use crate::names::InterfaceName;
use crate::plan::marks::ALIAS;

use super::namespace::NamespaceError;

/// One request that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which of the requests sent together it was, counted from 0.
    pub position: usize,
    /// What it was to do, in words: "add address 10.244.1.2/24 to eth0".
    pub step: String,
    /// The kernel's error number.
    pub errno: Errno,
    /// What the kernel added in words (NETLINK_EXT_ACK).
    pub reason: Option<String>,
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel refused to {}: {}", self.step, self.errno)?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        if self.errno == Errno::PERM {
            f.write_str("; podwire needs CAP_NET_ADMIN in this network namespace")?;
        }
        Ok(())
    }
}

/// Why the kernel's state is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace cannot be used.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel said no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The kernel said no more than once.
    #[error("{} requests were refused: {}", .0.len(), sentences(.0))]
    ManyRefused(Vec<Refused>),
    /// The socket itself failed.
    #[error("netlink: cannot {action}: {errno}")]
    Socket {
        /// What was to be done with it.
        action: &'static str,
        /// The kernel's error number.
        errno: Errno,
    },
    /// The table changed while it was read, every time.
    #[error("the kernel's {what} changed {attempts} times while they were read; try again")]
    Unsettled {
        /// What was read.
        what: &'static str,
        /// How often.
        attempts: usize,
    },
    /// The kernel's answer is not understood.
    #[error("the kernel's answer is not understood: {0}")]
    Malformed(DecodeError),
    /// A file below /proc/sys.
    #[error("cannot set {name} to {value:?}: {error}")]
    Sysctl {
        /// As sysctl(8) writes it.
        name: String,
        /// What it was to be.
        value: String,
        /// What the file system said.
        error: std::io::Error,
    },
    /// CNI_IFNAME is in use.
    #[error("the container already has an interface {0}; give CNI_IFNAME another name or DEL it first")]
    ContainerInterfaceTaken(InterfaceName),
    /// The plan's name for the host's end is in use.
    #[error("the node already has an interface {0}; the plan must name another host interface")]
    HostInterfaceTaken(InterfaceName),
    /// The bridge's name belongs to something else.
    #[error("{name} is a {kind}, not a bridge; name another bridge")]
    NotABridge {
        /// The plan's name for the bridge.
        name: InterfaceName,
        /// The kernel's name for what it is.
        kind: String,
    },
    /// The bridge is somebody else's.
    #[error(
        "bridge {0} was not made by podwire; name another, or hand it over: `ip link set dev {0} alias {ALIAS}`"
    )]
    ForeignBridge(InterfaceName),
    /// The node's interface in a VLAN cannot have its name.
    #[error(
        "{0} shall be the gateway of a VLAN (`vlan` with `isGateway`), but is no veth, or podwire did not make it; \
         rename it, or hand it over: `ip link set dev {0} alias {ALIAS}`"
    )]
    VlanGatewayTaken(String),
    /// Without it, nobody would reach the node.
    #[error(
        "bridge {bridge} has {address}, an address of the node itself, which would give way to the pods' gateway \
         (`forceAddress`): leave that out, or name another bridge"
    )]
    NodeAddressInTheWay {
        /// Which has it.
        bridge: InterfaceName,
        /// As the bridge has it.
        address: IpNet,
    },
    /// The kernel was built without `CONFIG_BRIDGE_VLAN_FILTERING`.
    #[error(
        "bridge {0} cannot filter by VLAN, as a pod's VLANs (`vlan`, `vlanTrunk`) need it: this node's kernel lacks \
         CONFIG_BRIDGE_VLAN_FILTERING; leave them out, or run a kernel that has it"
    )]
    NoVlanFiltering(InterfaceName),
    /// The kernel's limit for a bridge (`BR_MAX_PORTS`).
    #[error(
        "bridge {0} has 1023 ports, as many as the kernel allows; let the policy give further pods another"
    )]
    BridgeFull(InterfaceName),
    /// The node itself would answer for the pod's address.
    #[error(
        "the node itself has the address {0}, on some interface: give the pod another, or take it away \
         there (`ip address show to {0}`)"
    )]
    AddressOfNode(IpAddr),
    /// A port of the node leads to another pod.
    #[error(
        "{port} of the node is taken{}: give the pod another host port, or another address of the node, or \
         remove the pod that has it", to(.holder)
    )]
    PortTaken {
        /// "tcp port 8080", "udp port 53 of 192.168.1.11".
        port: String,
        /// The pod that has it, and its port.
        holder: Option<SocketAddr>,
    },
    /// A route of another origin stands where a planned one belongs.
    #[error(
        "route {destination} exists already ({found}), and podwire did not make it; remove it, or give the \
         planned one another metric"
    )]
    RouteTaken {
        /// The planned destination.
        destination: IpNet,
        /// The other route, in words.
        found: String,
    },
    /// The name of the VXLAN device belongs to something else.
    #[error(
        "{name} is a {kind} that podwire did not make; remove it (`ip link delete {name}`), or let the policy name the \
         VXLAN device otherwise"
    )]
    VxlanTaken {
        /// The plan's name for the device.
        name: InterfaceName,
        /// The kernel's name for what it is.
        kind: String,
    },
    /// Frames for one would go to the other.
    #[error(
        "the nodes {0} and {1} would have tunnels with the same hardware address, so that there is none to {1}: give \
         one of them another address"
    )]
    TunnelsAlike(IpAddr, IpAddr),
    /// The next hop would be another peer's.
    #[error(
        "no tunnel can lead to {0}: every address of that block is the next hop of another peer's; give one of them \
         another block"
    )]
    NoTunnelAddress(IpNet),
    /// A route leads through a tunnel, but there is none.
    #[error("route {0} leads through a tunnel, but the plan has no VXLAN device; let the policy name one")]
    NoVxlan(IpNet),
    /// Something is to be said of the VXLAN device, but there is none.
    #[error("there is no VXLAN device: the plan names none")]
    NoVxlanDevice,
    /// Something failed, and undoing what was done before failed too.
    #[error("{error}; and undoing it failed, so that {interface} is left: {left}")]
    NotUndone {
        /// What failed first.
        error: Box<Error>,
        /// The host's end of the veth that is left.
        interface: InterfaceName,
        /// Why it could not be undone.
        left: Box<Error>,
    },
    /// The bridge went away between being made and being used.
    #[error("bridge {0} was removed by somebody else while podwire made it; try again")]
    BridgeGone(InterfaceName),
    /// An end of the veth went away between being made and being used.
    #[error("interface {0} was removed or renamed by somebody else while podwire made it; try again")]
    InterfaceGone(InterfaceName),
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl Error {
    /// Whether something of the pod's wiring may be left: undoing failed, the kernel's answer was
    /// lost, or the veth was renamed.
    pub fn may_leave_something(&self) -> bool {
        let lost = matches!(self, Self::Socket { .. } | Self::Malformed(_) | Self::InterfaceGone(_));
        lost || matches!(self, Self::NotUndone { .. })
    }

    /// The outcome of requests that do not depend on each other: none, one or many refusals.
    pub(super) fn from_refusals(mut refused: Vec<Refused>) -> Result<(), Self> {
        match refused.len() {
            0 => Ok(()),
            1 => Err(Self::Refused(refused.remove(0))),
            _ => Err(Self::ManyRefused(refused)),
        }
    }
}

fn to(holder: &Option<SocketAddr>) -> String {
    holder.map(|pod| format!(", and leads to {pod}")).unwrap_or_default()
}

fn sentences(refused: &[Refused]) -> String {
    refused.iter().map(Refused::to_string).collect::<Vec<_>>().join("; ")
}
