//! The contract as Rust: generated from wit/policy.wit.
#![allow(missing_docs, unreachable_pub)] // Generated; the WIT has the documentation.

wasmtime::component::bindgen!({
    path: "../wit/policy.wit",
    world: "policy",
    imports: { default: trappable },
});
