//! How podwire knows again on the node what it made, and leaves alone what it did not.

/// The alias of a bridge that podwire may use: `ip link set dev cni0 alias podwire` hands one over, and
/// `ip link` shows it.
pub const ALIAS: &str = "podwire";

/// The link group of everything that podwire makes: "pwir" in ASCII. It is set in the message that makes the
/// link, so none is ever without it; `ip link show group 1886873970` lists them.
pub const GROUP: u32 = 0x7077_6972;

/// The protocol number of podwire's routes and its bridges' addresses (`rtm_protocol`, and `IFA_PROTO` from
/// Linux 5.18 on): "p". In nobody's use in iproute2's rt_protos; `ip route show proto 112` lists them.
pub const PROTOCOL: u8 = 112;
