//! The contract as wit-bindgen writes it, for what the rest of the SDK does not offer: answers that its
//! types cannot express, other allocators, other shapes. Each item is documented in `wit/policy.wit`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::too_many_arguments,
    reason = "generated; the documentation is the contract's"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "policy",
    pub_export_macro: true,
    export_macro_name: "export_raw",
    default_bindings_module: "podwire_sdk::raw",
    generate_all,
});

pub use podwire::policy::{leases, log, types};
