//! A policy whose table is larger than the host allows from its first element on: `build.rs` has it
//! begin behind the limit.

#![no_std]

use podwire_sdk::{AddPlan, AddRequest, Leases, Policy, Refusal};

#[derive(serde::Deserialize)]
struct LargeTable {}

podwire_sdk::export!(LargeTable);

impl Policy for LargeTable {
    fn add(&self, _: &AddRequest, _: &dyn Leases) -> Result<AddPlan, Refusal> {
        Ok(AddPlan::routed())
    }
}
