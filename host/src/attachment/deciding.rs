//! A policy that is loaded, instantiated and has its configuration, before any lock is taken.

use super::error::{broken, refused};
use super::say;
use super::source::Source;
use crate::cni::{self, Configuration, Error};
use crate::leases::View;
use crate::node::config::Settings;
use crate::plan::{AddRequest, Checked, check};
use crate::policy::{Engine, Instance, Policy};
use crate::registry::{self, Installed, Registry};
use crate::state::State;

pub(super) struct Deciding<V: 'static> {
    installed: Installed,
    instance: Instance<V>,
    config: String,
}

impl<V: View + 'static> Deciding<V> {
    /// Loads the policy that the network configuration names, or else the node's settings.
    pub(super) fn prepare(
        state: &State,
        settings: &Settings,
        network: &Configuration,
        load: impl FnOnce(&Registry, &Engine, &Installed) -> Result<Policy, registry::Error>,
    ) -> Result<Self, Error> {
        let name = network.policy.as_ref().or(settings.policy.as_ref()).cloned().unwrap_or_default();
        let config = network.config.as_deref().unwrap_or_else(|| settings.policy_config()).to_owned();
        let registry = Registry::open(state);
        let installed = registry.active(&name)?;
        let instance = load(&registry, &Engine::new()?, &installed)?.instantiate()?;
        Ok(Self { installed, instance, config })
    }

    /// What the policy is asked for an ADD.
    pub(super) fn question(
        &self,
        settings: &Settings,
        request: &cni::Add,
        source: &Source,
    ) -> Result<AddRequest, Error> {
        let network = &request.configuration;
        let pools = network.pools.as_deref().or(source.pools.as_deref());
        let cluster = source.pools.as_deref().map(|ranges| settings.cluster_with(ranges));
        let node = settings.node(pools, network.cluster.as_deref().or(cluster.as_deref()))?;
        let requested = &request.requested;
        Ok(AddRequest {
            network: network.network.clone(),
            attachment: request.attachment.clone(),
            pod: request.pod.clone(),
            requested_addresses: requested.addresses.iter().map(|a| a.in_pools(&node.pools)).collect(),
            requested_mac: requested.mac,
            range_sets: source.range_sets.clone(),
            requested_routes: source.routes.clone(),
            config: self.config.clone(),
            operators_bridge: network.bridge.clone(),
            port_mappings: requested.port_mappings.clone(),
            bandwidth: requested.bandwidth,
            node,
        })
    }

    /// The policy's plan, if it has one and the plan keeps every rule; the view comes back with it.
    pub(super) fn ask(&mut self, asked: &AddRequest, view: V) -> Result<(Checked, V), Error> {
        let (answer, view) = self.instance.add(asked, view);
        let plan = answer?.map_err(|refusal| refused(&self.installed, &refusal))?;
        match check::add(asked, plan) {
            Ok(checked) => Ok((checked, view)),
            Err(violation) => Err(broken(&self.installed, &violation)),
        }
    }

    /// Whether the policy can work with its configuration.
    pub(super) fn check_config(&mut self) -> Result<(), Error> {
        let answer = self.instance.check_config(&self.config);
        self.say();
        answer?.map_err(|refusal| refused(&self.installed, &refusal))
    }

    /// Passes on what the policy said to the operator when it was asked.
    pub(super) fn say(&self) {
        say(&self.installed.name, self.instance.notes());
    }

    /// Which policy it is.
    pub(super) fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Leaves the instance mapped: unmapping it would take longer than the process's end, which is near.
    pub(super) fn end(self) {
        std::mem::forget(self.instance);
    }
}
