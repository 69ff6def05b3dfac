//! A policy whose module never ends its initialisation: it is not an export that loops.

#![no_std]

use podwire_sdk::{AddPlan, AddRequest, Leases, Policy, Refusal};

#[derive(serde::Deserialize)]
struct EndlessStart {}

podwire_sdk::export!(EndlessStart);

impl Policy for EndlessStart {
    fn add(&self, _: &AddRequest, _: &dyn Leases) -> Result<AddPlan, Refusal> {
        Ok(AddPlan::routed())
    }
}

/// Called by the component when it is instantiated.
#[unsafe(export_name = "_initialize")]
extern "C" fn initialize() {
    loop {
        core::hint::spin_loop();
    }
}
