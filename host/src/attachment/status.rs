//! STATUS: whether an ADD would be served now.

use ipnet::IpNet;

use super::deciding::Deciding;
use crate::cni::{self, Code, Error};
use crate::leases::{Empty, Steps, Store, View};
use crate::node::config::Settings;
use crate::plan::Node;
use crate::registry::Registry;
use crate::state::State;

pub(super) fn status(state: &State, request: &cni::Status) -> Result<(), Error> {
    ready(state, request)
        .map_err(|error| Error::new(Code::NOT_AVAILABLE, error.msg()).with_details(error.details()))
}

fn ready(state: &State, request: &cni::Status) -> Result<(), Error> {
    let settings = Settings::read(&state.node_config())?;
    Deciding::<Empty>::prepare(state, &settings, &request.configuration, Registry::load)?.check_config()?;
    let node =
        settings.node(request.configuration.pools.as_deref(), request.configuration.cluster.as_deref())?;
    for ipv4 in [true, false] {
        room(state, &node, ipv4)?;
    }
    Ok(())
}

/// Some pool of the family has a free address, if there are any of it.
fn room(state: &State, node: &Node, ipv4: bool) -> Result<(), Error> {
    let pools: Vec<IpNet> = node.pools.iter().filter(|pool| pool.addr().is_ipv4() == ipv4).copied().collect();
    let leases = Store::open(&state.leases_dir())?.snapshot()?;
    let mut steps = Steps(u64::MAX);
    for pool in &pools {
        if leases.first_free(*pool, None, &mut steps)?.is_some() {
            return Ok(());
        }
    }
    match pools.as_slice() {
        [] => Ok(()),
        full => {
            let names = full.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
            Err(Error::new(
                Code::NOT_AVAILABLE,
                format!("no address is free in {names}: delete pods, or add a pool"),
            ))
        }
    }
}
