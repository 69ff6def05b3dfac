//! A policy that is loaded, instantiated and has its configuration, before any lock is taken; and beside it, if one
//! is tried in its shadow, another version, whose answer has no effect.

use super::choice::Choice;
use super::error::{broken, refused};
use super::shadow::{Shadow, Shadowed};
use super::source::Source;
use super::{say, tell};
use crate::cni::{self, Error};
use crate::leases::View;
use crate::node::config::Settings;
use crate::plan::{AddRequest, Checked, check};
use crate::policy::{Engine, Instance, Policy};
use crate::registry::{self, Installed, Registry};

pub(super) struct Deciding<V: 'static> {
    installed: Installed,
    instance: Instance<V>,
    config: String,
    shadow: Option<Shadow<V>>,
}

impl<V: View + 'static> Deciding<V> {
    /// Loads the versions that were chosen.
    pub(super) fn prepare(
        choice: &Choice,
        load: impl Fn(&Registry, &Engine, &Installed) -> Result<Policy, registry::Error>,
    ) -> Result<Self, Error> {
        let (engine, config) = (Engine::new()?, choice.config.clone());
        let load = |installed: &Installed| -> Result<Instance<V>, Error> {
            Ok(load(&choice.registry, &engine, installed)?.instantiate()?)
        };
        let installed = choice.chosen.decides.clone();
        let instance = load(&installed)?;
        let shadow = choice.chosen.shadow.as_ref();
        let shadow = shadow.map(|shadow| Shadow::new(shadow.clone(), load(shadow)));
        Ok(Self { installed, instance, config, shadow })
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

    /// The policy's plan, if it has one and the plan keeps every rule; the view comes back in any case.
    pub(super) fn ask(&mut self, asked: &AddRequest, view: V) -> (Result<Checked, Error>, V) {
        let (decided, view) = decide(&self.installed, &mut self.instance, asked, view);
        match &mut self.shadow {
            Some(shadow) => {
                let view = shadow.ask(asked, view, &decided);
                (decided, view)
            }
            None => (decided, view),
        }
    }

    /// What the version in the shadow would have done, if there is one and it was asked.
    pub(super) fn shadowed(&self) -> Option<&Shadowed> {
        self.shadow.as_ref().and_then(Shadow::answer)
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
        if let Some(Shadowed { version, difference: Some(difference), .. }) = self.shadowed() {
            tell(format_args!("policy {version} in the shadow of {}: {difference}", self.installed.digest));
        }
    }

    /// Which policy it is.
    pub(super) fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Leaves the instance mapped: unmapping it would take longer than the process's end, which is near.
    pub(super) fn end(self) {
        std::mem::forget((self.instance, self.shadow));
    }
}

/// One version's plan, if it has one and the plan keeps every rule.
pub(super) fn decide<V: View + 'static>(
    installed: &Installed,
    instance: &mut Instance<V>,
    asked: &AddRequest,
    view: V,
) -> (Result<Checked, Error>, V) {
    let (answer, view) = instance.add(asked, view);
    let decided = answer.map_err(Error::from).and_then(|verdict| {
        let plan = verdict.map_err(|refusal| refused(installed, &refusal))?;
        check::add(asked, plan).map_err(|violation| broken(installed, &violation))
    });
    (decided, view)
}
