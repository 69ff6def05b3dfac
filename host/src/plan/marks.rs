//! How podwire knows again on the node what it made, and leaves alone what it did not.

/// The alias of a bridge that podwire may use: `ip link set dev cni0 alias podwire` hands one over.
pub const BRIDGE_ALIAS: &str = "podwire";

/// The group of podwire's veths: "pwir" in ASCII. It is set in the message that makes the link, so no
/// veth of podwire's is ever without it.
pub const LINK_GROUP: u32 = 0x7077_6972;

/// The protocol number of podwire's routes on the node: "p". Nobody claims it in iproute2's rt_protos.
pub const ROUTE_PROTOCOL: u8 = 112;
