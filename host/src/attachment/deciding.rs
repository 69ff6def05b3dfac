//! A policy that is loaded, instantiated and has its configuration, before any lock is taken.

use std::borrow::Cow;
use std::time::Instant;

use super::error::{broken, refused};
use super::journal::Asked;
use super::say;
use super::source::Source;
use crate::cni::{self, Configuration, Error};
use crate::journal::{Outcome, Recorder};
use crate::leases::View;
use crate::node::config::Settings;
use crate::plan::{AddPlan, AddRequest, Checked, check};
use crate::policy::{self, Engine, Instance, Policy, Verdict};
use crate::registry::{self, Installed, Registry};
use crate::state::State;

pub(super) struct Deciding<V: 'static> {
    installed: Installed,
    instance: Instance<Recorder<V>>,
    config: String,
    asked: Option<Asked>,
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
        Ok(Self { installed, instance, config, asked: None })
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
        let begun = Instant::now();
        let (answer, recorder) = self.instance.add(asked, Recorder::new(view));
        let took = begun.elapsed();
        let (view, facts) = recorder.into_parts();
        let (outcome, decided) = self.judge(asked, answer);
        self.asked = Some(Asked { facts, took, spent: self.instance.spent(), no: outcome, shadow: None });
        decided.map(|checked| (checked, view))
    }

    /// The plan, or why there is none: for the journal, and for the runtime.
    fn judge(
        &self,
        asked: &AddRequest,
        answer: Result<Verdict<AddPlan>, policy::Error>,
    ) -> (Option<Outcome<'static>>, Result<Checked, Error>) {
        match answer.map(|verdict| verdict.map(|plan| check::add(asked, plan))) {
            Ok(Ok(Ok(checked))) => (None, Ok(checked)),
            Ok(Ok(Err(violation))) => {
                (Some(Outcome::broken(&violation)), Err(broken(&self.installed, &violation)))
            }
            Ok(Err(refusal)) => {
                let error = refused(&self.installed, &refusal);
                (Some(Outcome::Refused(Cow::Owned(refusal))), Err(error))
            }
            Err(failure) => (Some(Outcome::failed(&failure)), Err(failure.into())),
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

    /// How the policy was asked, if it was.
    pub(super) fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
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
