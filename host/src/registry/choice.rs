//! Which version decides for a pod.

use sha2::Digest as _;

use super::rollout::{Standing, Trial};
use super::{Error, Installed, Registry};
use crate::names::{Digest, NetworkName, PolicyName};

/// What an ADD asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The version that decides.
    pub decides: Installed,
    /// The version that is asked beside it, without effect.
    pub shadow: Option<Installed>,
}

impl Registry {
    /// What decides in a network for the pod of this identity: what is tried, if the pod is among those that it is
    /// tried on, else what is active there. For nobody in particular, what is active.
    pub fn choose(
        &self,
        name: &PolicyName,
        network: &NetworkName,
        pod: Option<&str>,
    ) -> Result<Chosen, Error> {
        let found = self.read(name)?;
        let standing = found.as_ref().unwrap_or(const { &Standing::NOTHING });
        let active = standing.active(name, Some(network)).ok_or_else(|| self.inactive(name, standing))?;
        let version = |digest| self.version(name, digest);
        let mut chosen = Chosen { decides: version(active), shadow: None };
        if let (Some(pod), Some(candidate)) = (pod, standing.candidate(Some(network))) {
            let digest = candidate.version.digest;
            match candidate.trial {
                Trial::Canary(percent) if is_among(&digest, pod, percent) => chosen.decides = version(digest),
                Trial::Canary(_) => {}
                Trial::Shadow => chosen.shadow = Some(version(digest)),
            }
        }
        Ok(chosen)
    }

    pub(super) fn inactive(&self, name: &PolicyName, standing: &Standing) -> Error {
        let name = name.clone();
        if standing.installed.is_empty() { Error::NotInstalled { name } } else { Error::NotActive { name } }
    }
}

/// Whether the pod is one of those. The same pod is among them each time it is asked for, but not with every version:
/// else it would always be the same pods that something is tried on.
fn is_among(digest: &Digest, pod: &str, percent: u8) -> bool {
    let hash = sha2::Sha256::new().chain_update(digest.0).chain_update(pod).finalize();
    let first = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    first % 100 < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_tried_on_that_many_pods_and_on_others_next_time() {
        let pods: Vec<_> = (0..10_000).map(|pod| format!("shop/web-{pod}")).collect();
        let [first, second] = [Digest([1; 32]), Digest([2; 32])];
        for percent in [0, 1, 10, 50, 99, 100] {
            let share = pods.iter().filter(|pod| is_among(&first, pod, percent)).count();
            assert!(share.abs_diff(usize::from(percent) * 100) <= 200, "{share} of {percent} %");
        }
        let both = pods.iter().filter(|pod| is_among(&first, pod, 10) && is_among(&second, pod, 10)).count();
        assert!(both < 200, "{both} pods are tried on twice");
    }

    #[test]
    fn a_pod_stays_among_them_when_there_are_more() {
        let digest = Digest([1; 32]);
        for pod in (0..1_000).map(|pod| pod.to_string()) {
            assert!(!is_among(&digest, &pod, 10) || is_among(&digest, &pod, 50), "{pod}");
        }
    }
}
