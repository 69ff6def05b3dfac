//! Write podwire policies in Rust.
//!
//! A policy decides how a pod is wired: the host asks it, checks what it answers, and does the work. To
//! write one, make a struct of your configuration, let serde read it, implement [`Policy`] for it, and
//! name it to [`export!`]:
//!
//! ```
//! #![no_std]
//! # extern crate std;
//! use podwire_sdk::{AddPlan, AddRequest, Leases, Policy, Refusal};
//!
//! /// Every pod point to point, with the next free address of the node's first pool.
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct PointToPoint {
//!     mtu: Option<u32>,
//! }
//!
//! impl Policy for PointToPoint {
//!     fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal> {
//!         let pool = request.node.pools[0];
//!         let address = leases.next_free(pool, &[]).ok_or_else(|| Refusal::exhausted("the pool is full"))?;
//!         let gateway = "169.254.1.1".parse().expect("an address");
//!         let mut plan = AddPlan::routed().address(address.into(), Some(gateway)).default_route(gateway);
//!         plan.mtu = self.mtu;
//!         Ok(plan)
//!     }
//! }
//!
//! podwire_sdk::export!(PointToPoint);
//! # fn main() {}
//! ```
//!
//! A unit test of it is a question and the answer that is wanted: see [`testing`].
//!
//! The crate's type is `cdylib`; it has no `std`, so that its component imports nothing but the contract;
//! the SDK brings the allocator and the panic handler. On any other target than wasm32 the same code runs
//! in ordinary unit tests, with the stand-ins of [`testing`].
//!
//! | module | owns |
//! | --- | --- |
//! | crate root | requests, plans and refusals, in the types of `core::net` and `ipnet` |
//! | [`config`] | the policy's configuration: reading it, and sentences about what is wrong with it |
//! | [`hash`] | numbers that stay the same, derived from names |
//! | [`log`] | notes for the operator |
//! | [`testing`] | leases, requests and the host's rules for unit tests |
//! | [`ways`] | the ways between nodes: direct, through a router, through tunnels |
//! | [`raw`] | the contract as it is generated |

#![no_std]

extern crate alloc;

mod address;
mod answer;
mod choice;
pub mod config;
mod convert;
pub mod hash;
mod leases;
pub mod log;
mod policy;
mod range;
pub mod raw;
mod refusal;
mod request;
#[cfg(target_arch = "wasm32")]
mod runtime;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod ways;

pub use address::{Family, after, contains, nth, on_link};
pub use answer::{
    AddPlan, Address, Bridge, BridgePort, Dns, NextHop, NodePlan, NodeRoute, PortVlans, Release, Route,
    SpoofCheck, Vxlan, Wiring,
};
pub use choice::{choose, sets_of};
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
pub use leases::{Holder, Leases};
pub use policy::{Component, Policy};
pub use range::AddressRange;
pub use refusal::{Refusal, RefusalReason};
pub use request::{AddRequest, DelRequest, Node, NodeRequest, Peer, Pod, Role, Uplink};

/// Its example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Makes a component of a [`Policy`]. On other targets than wasm32 it only sees that it is one.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        const _: () = {
            type Exported = $crate::Component<$policy>;
            #[cfg(target_arch = "wasm32")]
    $crate::raw::export_raw!(Exported with_types_in $crate::raw);
            #[cfg(not(target_arch = "wasm32"))]
            const _: Exported = Exported::NEW;
        };
    };
}
