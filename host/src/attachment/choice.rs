//! Which version of a policy is asked for a call, and what is done when it fails.

use super::error::is_fault;
use super::shadow::Shadowed;
use super::tell;
use crate::cni::{self, Configuration, Error};
use crate::node::config::Settings;
use crate::registry::{Chosen, Installed, Occasion, Registry};
use crate::state::State;

pub(super) struct Choice {
    pub(super) registry: Registry,
    pub(super) chosen: Chosen,
    /// The policy's own configuration.
    pub(super) config: String,
}

impl Choice {
    /// Of the policy that the network configuration names, or else the node's settings; for the pod of this
    /// identity, or for none in particular.
    pub(super) fn make(
        state: &State,
        settings: &Settings,
        network: &Configuration,
        pod: Option<&str>,
    ) -> Result<Self, Error> {
        let name = network.policy.as_ref().or(settings.policy.as_ref()).cloned().unwrap_or_default();
        let config = network.config.as_deref().unwrap_or_else(|| settings.policy_config()).to_owned();
        let registry = Registry::open(state);
        let chosen = registry.choose(&name, &network.network, pod)?;
        Ok(Self { registry, chosen, config })
    }

    /// Counts what went wrong, and takes a version that failed too often out of use. The ADD has its outcome by now.
    pub(super) fn settle(
        &self,
        settings: &Settings,
        request: &cni::Add,
        error: Option<&Error>,
        shadowed: Option<&Shadowed>,
    ) {
        let occasion = Occasion { network: &request.configuration.network, attachment: &request.attachment };
        let has_wishes = !request.requested.addresses.is_empty() || request.requested.mac.is_some();
        if let Some(error) = error.filter(|error| is_fault(error, has_wishes)) {
            self.count(&self.chosen.decides, occasion, &error.to_string(), settings);
        }
        let failed =
            shadowed.filter(|shadowed| shadowed.failed).and_then(|shadowed| shadowed.difference.as_ref());
        if let (Some(shadow), Some(what)) = (&self.chosen.shadow, failed) {
            self.count(shadow, occasion, what, settings);
        }
    }

    fn count(&self, version: &Installed, occasion: Occasion<'_>, what: &str, settings: &Settings) {
        match self.registry.failed(version, occasion, what, settings.policy_faults()) {
            Ok(Some(change)) => tell(format_args!("{change}")),
            Ok(None) => {}
            // What the pod was refused for is what matters.
            Err(why) => tell(format_args!("policy {version} failed: {why}")),
        }
    }
}

/// By what a pod is known when it is asked for again: its name, since each attempt has a container of its own.
pub(super) fn identity(request: &cni::Add) -> String {
    match &request.pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => request.attachment.container_id.to_string(),
    }
}
