//! A policy that is loaded, instantiated and has its configuration, before any lock is taken; and beside it, if one
//! is tried in its shadow, another version, whose answer has no effect.

use std::borrow::Cow;
use std::time::Instant;

use super::choice::Choice;
use super::error::{broken, refused};
use super::journal::Asked;
use super::shadow::{Shadow, Shadowed};
use super::source::Source;
use super::{say, tell};
use crate::cni::{self, Error};
use crate::journal::{Outcome, Recorder};
use crate::leases::View;
use crate::node::config::Settings;
use crate::plan::{AddPlan, AddRequest, Checked, check};
use crate::policy::{self, Engine, Instance, Policy, Verdict};
use crate::registry::{self, Installed, Registry};

pub(super) struct Deciding {
    installed: Installed,
    instance: Instance,
    config: String,
    shadow: Option<Shadow>,
    asked: Option<Asked>,
}

impl Deciding {
    /// Loads the versions that were chosen.
    pub(super) fn prepare(
        choice: &Choice,
        load: impl Fn(&Registry, &Engine, &Installed) -> Result<Policy, registry::Error>,
    ) -> Result<Self, Error> {
        let (engine, config) = (Engine::new()?, choice.config.clone());
        let load = |installed: &Installed| load(&choice.registry, &engine, installed);
        let installed = choice.chosen.decides.clone();
        let instance = load(&installed)?.instantiate()?;
        let shadow = choice.chosen.shadow.as_ref().map(|shadow| {
            let instance = load(shadow).map_err(Error::from).and_then(|policy| Ok(policy.instantiate()?));
            Shadow::new(shadow.clone(), instance, choice.others_chose)
        });
        Ok(Self { installed, instance, config, shadow, asked: None })
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
    pub(super) fn ask<V: View + 'static>(
        &mut self,
        asked: &AddRequest,
        view: V,
    ) -> (Result<Checked, Error>, V) {
        let begun = Instant::now();
        let (answer, recorder) = self.instance.add(asked, Recorder::new(view));
        let took = begun.elapsed();
        let (mut view, facts) = recorder.into_parts();
        let (no, decided) = judge(&self.installed, asked, answer);
        if let Some(shadow) = &mut self.shadow {
            view = shadow.ask(asked, view, &decided);
        }
        let shadow = self.shadowed().and_then(Shadowed::told);
        self.asked = Some(Asked { facts, took, spent: self.instance.spent(), no, shadow });
        (decided, view)
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
        if let Some(told) = self.shadowed().and_then(Shadowed::told) {
            tell(format_args!("in the shadow of {}: {told}", self.installed.digest));
        }
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
        std::mem::forget((self.instance, self.shadow));
    }
}

/// The plan that keeps every rule, or why there is none: for the journal, and for the runtime.
pub(super) fn judge(
    installed: &Installed,
    asked: &AddRequest,
    answer: Result<Verdict<AddPlan>, policy::Error>,
) -> (Option<Outcome<'static>>, Result<Checked, Error>) {
    match answer.map(|verdict| verdict.map(|plan| check::add(asked, plan))) {
        Ok(Ok(Ok(checked))) => (None, Ok(checked)),
        Ok(Ok(Err(violation))) => (Some(Outcome::broken(&violation)), Err(broken(installed, &violation))),
        Ok(Err(refusal)) => {
            let error = refused(installed, &refusal);
            (Some(Outcome::Refused(Cow::Owned(refusal))), Err(error))
        }
        Err(failure) => (Some(Outcome::failed(&failure)), Err(failure.into())),
    }
}
