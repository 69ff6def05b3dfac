//! A policy that does and answers what its configuration says: `tests/guests/README.md` describes it.
//!
//! Answers with the contract's own types, because the SDK's cannot express what breaks a rule.

#![no_std]

extern crate alloc;

mod config;
mod deeds;
mod wire;

use alloc::string::String;
use alloc::vec::Vec;

use config::{Config, Export};
use podwire_sdk::config::read;
use podwire_sdk::raw::{
    self, AddPlan, AddRequest, DelRequest, NodePlan, NodeRequest, Refusal, Release, leases, types,
};

struct Hostile;

#[cfg(target_arch = "wasm32")]
raw::export_raw!(Hostile with_types_in podwire_sdk::raw);
#[cfg(not(target_arch = "wasm32"))]
const _: Hostile = Hostile;

impl raw::Guest for Hostile {
    fn check_config(config: String) -> Result<(), Refusal> {
        read::<Config>(&config)?.misbehave(Export::CheckConfig, None)
    }

    fn add(request: AddRequest) -> Result<AddPlan, Refusal> {
        let config: Config = read(&request.config)?;
        config.misbehave(Export::Add, request.node.pools.first())?;
        let mut plan = match config.plan {
            Some(plan) => plan.into(),
            None => harmless(&request),
        };
        if config.r#in == Export::Add {
            deeds::spoil(&mut plan, config.r#do, config.count);
        }
        Ok(plan)
    }

    fn del(request: DelRequest) -> Release {
        let Ok(config) = read::<Config>(&request.config) else { return Release::Now };
        // Nobody asks a DEL whether it may be.
        let _ = config.misbehave(Export::Del, None);
        config.release.map_or(Release::Now, Release::AfterSeconds)
    }

    fn node(request: NodeRequest) -> Result<NodePlan, Refusal> {
        let config: Config = read(&request.config)?;
        config.misbehave(Export::Node, request.node.pools.first())?;
        let mut plan: NodePlan = config.node_plan.unwrap_or_default().into();
        if config.r#in == Export::Node {
            deeds::spoil_node(&mut plan, config.r#do, config.count);
        }
        Ok(plan)
    }
}

/// What a policy answers that means well: the first free address of the first pool, point to point.
fn harmless(request: &AddRequest) -> AddPlan {
    let free = request.node.pools.first().and_then(|pool| leases::first_free(*pool, None));
    let address = free.map(|address| types::Address {
        prefix: types::IpPrefix {
            length: if matches!(address, types::IpAddress::Ipv4(_)) { 32 } else { 128 },
            address,
        },
        gateway: None,
    });
    AddPlan {
        host_interface: None,
        wiring: types::Wiring::Routed,
        addresses: address.into_iter().collect(),
        routes: Vec::new(),
        mac: None,
        mtu: None,
        dns: None,
        sysctls: Vec::new(),
        masquerade: false,
        spoof_check: types::SpoofCheck::empty(),
        duplicate_address_detection: false,
        interface_down: false,
        extra: Vec::new(),
    }
}
