//! What a version must stand before it decides anything.

use anyhow::{Context as _, Result};

use crate::leases::Empty;
use crate::names::AttachmentId;
use crate::plan::{AddRequest, Node};
use crate::policy::{Engine, Policy};

/// Whether the version answers at all. It may refuse: its configuration may be another one.
pub(super) fn prove(_: &Engine, policy: &Policy) -> Result<()> {
    let (answer, _) = policy.instantiate()?.add(&question()?, Empty);
    drop(answer.context("an ADD that is nothing special")?);
    Ok(())
}

fn question() -> Result<AddRequest> {
    let block = vec!["10.244.1.0/24".parse()?];
    Ok(AddRequest {
        network: "pods".parse()?,
        attachment: AttachmentId { container_id: "nobody".parse()?, ifname: "eth0".parse()? },
        pod: None,
        node: Node { name: "node".to_owned(), addresses: Vec::new(), pools: block.clone(), cluster: block },
        requested_addresses: Vec::new(),
        range_sets: None,
        requested_routes: Vec::new(),
        operators_bridge: None,
        port_mappings: Vec::new(),
        bandwidth: None,
        requested_mac: None,
        config: "{}".to_owned(),
    })
}
