//! Which version of a policy is asked for a call, and what is done when it fails.

use super::error::is_fault;
use super::shadow::Shadowed;
use super::tell;
use crate::cni::{self, Configuration, Error, Ipam};
use crate::node::config::Settings;
use crate::registry::{Chosen, Installed, Occasion, Registry};
use crate::state::State;

pub(super) struct Choice {
    pub(super) registry: Registry,
    pub(super) chosen: Chosen,
    /// The policy's own configuration.
    pub(super) config: String,
    /// A pod, which must not be able to get a policy out of the way, asked for addresses; or another plugin gives them.
    pub(super) others_chose: bool,
}

impl Choice {
    /// Of the policy that the network configuration names, or else the node's settings; for the pod of this ADD, or for
    /// none in particular.
    pub(super) fn make(
        state: &State,
        settings: &Settings,
        network: &Configuration,
        add: Option<&cni::Add>,
    ) -> Result<Self, Error> {
        let name = network.policy.as_ref().or(settings.policy.as_ref()).cloned().unwrap_or_default();
        let config = network.config.as_deref().unwrap_or_else(|| settings.policy_config()).to_owned();
        let registry = Registry::open(state);
        let chosen = registry.choose(&name, &network.network, add.map(identity).as_deref())?;
        Ok(Self { registry, chosen, config, others_chose: add.is_some_and(is_chosen_for) })
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
        if let Some(error) = error.filter(|error| is_fault(error, self.others_chose)) {
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
fn identity(request: &cni::Add) -> String {
    match &request.pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => request.attachment.container_id.to_string(),
    }
}

fn is_chosen_for(request: &cni::Add) -> bool {
    let wishes = &request.requested;
    let is_lent = matches!(request.configuration.ipam, Ipam::Delegate(_));
    is_lent || !wishes.addresses.is_empty() || wishes.mac.is_some()
}
