//! podwire: a CNI plugin whose decisions are made by sandboxed WebAssembly policies.
//!
//! The host speaks CNI and alone holds privilege; a *policy* is asked for a *plan*; the host checks the
//! plan and does it. Each room knows only its own matter, and data flows one way:
//!
//! | room | owns | must not know |
//! | --- | --- | --- |
//! | [`cni`] | the protocol: environment, configuration, results, errors | policies, netlink, leases |
//! | [`policy`] | wasmtime: limits, compiled code, the contract's bindings | netlink, CNI, the lease database |
//! | [`plan`] | what a plan is, every rule it must keep, how it reads as a script | everything else: pure functions |
//! | [`leases`] | the database of addresses and attachments | policies, netlink |
//! | [`net`] | the kernel: namespaces, links, addresses, routes | policies, leases, CNI |
//! | [`attachment`] | the way of one ADD, DEL, CHECK, GC and STATUS through these rooms | |
//! | [`node`] | what is true per node: its configuration, bridges and routes to peers | CNI |
//! | `agent` | keeping that true: where members come from, what the kernel tells, what is said of it | CNI, how a plan is carried out |
//! | [`registry`] | installed policies, by name and digest | netlink, leases |
//! | [`journal`] | what was decided, given back and changed, and when | how anything is decided or done |
//! | [`oci`] | policies in OCI registries, and signatures | how a policy is installed |
//! | [`state`] | where everything lies on disk | what it means |
//! | `trial` | trying policies: written cases, the built-in battery, what a decision costs | CNI, netlink, what is installed |
//! | [`install`] | what lies where on a node, and who put it there | what the files mean, the kernel |
//! | `doctor` | what on a node keeps pods from each other, and the command that mends it | how podwire decides or wires |
//! | `topology` | the node, or the lab, as a picture | why it is so |
//! | [`conform`] | the specification's requirements as checks of any plugin | podwire's own CNI, plans and leases |
//! | `child` | waiting for programs of others, but not for ever | what they are |
//! | [`memory`] | the heap of the plugin's process, and how podwire copies bytes | what the bytes mean |
//! | [`names`] | identities that are checked once, when they are made | |

#[cfg(feature = "cli")]
pub mod agent;
pub mod attachment;
#[cfg(feature = "cli")]
mod child;
#[cfg(feature = "cli")]
pub mod cli;
pub mod cni;
#[cfg(feature = "cli")]
pub mod conform;
#[cfg(feature = "cli")]
pub mod doctor;
#[cfg(feature = "cli")]
pub mod install;
pub mod journal;
#[cfg(feature = "cli")]
pub mod lab;
pub mod leases;
pub mod memory;
pub mod names;
pub mod net;
pub mod node;
#[cfg(feature = "cli")]
pub mod oci;
pub mod plan;
pub mod policy;
pub mod registry;
pub mod state;
#[cfg(feature = "cli")]
pub mod topology;
#[cfg(feature = "compiler")]
pub mod trial;
