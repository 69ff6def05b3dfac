//! Cases that somebody wrote: what is asked, and what is expected of the answer.
//!
//! | module | owns |
//! | --- | --- |
//! | `file` | how a case is written, in TOML |
//! | `wanted` | what can be expected, and how it differs from what came |
//! | this one | the running of a case, on leases of its own |

mod file;
#[cfg(test)]
mod tests;
mod wanted;

use serde::Serialize;

pub use file::{Case, Error, load, read};
pub use wanted::Difference;

use super::decision::{self, Decision};
use crate::leases::Ledger;
use crate::plan::{AddRequest, Pod, script};
use crate::policy::Policy;
use file::Step;

/// What became of a case.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The file in which the case stands.
    pub file: String,
    /// The case.
    pub name: String,
    /// Where what came is not what was expected.
    pub differences: Vec<Difference>,
    /// What came instead, if it differs and is a plan: as a script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

impl Outcome {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Asks the policy for each case, on leases that are the case's own.
pub fn run(policy: &Policy, cases: &[Case]) -> Vec<Outcome> {
    cases.iter().map(|case| run_one(policy, case)).collect()
}

fn run_one(policy: &Policy, case: &Case) -> Outcome {
    let (differences, script) = match earlier(policy, case) {
        Err(difference) => (vec![difference], None),
        Ok(leases) => {
            let decided = decision::add(policy, &case.request, &leases).decision;
            let differences = case.wanted.compare(&decided);
            let script = match decided {
                Decision::Plan(plan) if !differences.is_empty() => Some(script::add(&plan)),
                _ => None,
            };
            (differences, script)
        }
    };
    Outcome { file: case.file.clone(), name: case.name.clone(), differences, script }
}

/// The leases at the time of the case: what is said to be held, and what the policy itself did before.
fn earlier(policy: &Policy, case: &Case) -> Result<Ledger, Difference> {
    let leases = Ledger::new();
    for (address, holder) in &case.held {
        leases.hold(*address, holder.clone());
    }
    let mut added: Vec<AddRequest> = Vec::new();
    for (i, step) in case.after.iter().enumerate() {
        let failed = |got: String| Difference::new(format!("after[{i}]"), "that this goes well", got);
        match step {
            Step::Add(pod) => {
                let request = before(&case.request, pod, i);
                match decision::add(policy, &request, &leases).decision {
                    Decision::Plan(_) => added.push(request),
                    other => return Err(failed(other.to_string())),
                }
            }
            Step::Del(pod) => {
                let there =
                    added.iter().rposition(|request| request.pod.as_ref().is_some_and(|p| is(p, pod)));
                let request = there.map(|i| added.remove(i));
                let request = request.ok_or_else(|| failed("no ADD before it is this pod's".to_owned()))?;
                delete(policy, &request, &leases).map_err(failed)?;
            }
        }
    }
    Ok(leases)
}

fn is(pod: &Pod, other: &Pod) -> bool {
    (&pod.namespace, &pod.name) == (&other.namespace, &other.name)
}

/// The same, for another pod that asked for nothing in particular.
fn before(request: &AddRequest, pod: &Pod, number: usize) -> AddRequest {
    AddRequest {
        attachment: super::battery::attachment(&format!("earlier-{number}")),
        pod: Some(Pod { annotations: request.pod.clone().unwrap_or_default().annotations, ..pod.clone() }),
        requested_addresses: Vec::new(),
        requested_mac: None,
        ..request.clone()
    }
}

fn delete(policy: &Policy, request: &AddRequest, leases: &Ledger) -> Result<(), String> {
    let told = decision::del_request(request, leases);
    let rest = decision::del(policy, &told, leases).answer.map_err(|none| none.to_string())?;
    leases.release(&request.attachment, rest > 0);
    Ok(())
}
