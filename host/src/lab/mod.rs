//! The lecture on one machine: nodes that are network namespaces, joined by a switch, each with its own
//! state and pods, wired by this very binary called through CNI.
//!
//! Everything lives in namespaces that one process holds ([`holder`]): when it ends, nothing is left.
//! For people to see, and to try policies on; the plugin has no part in it.

pub mod holder;
pub mod layout;
pub mod namespaces;
pub mod ping;
