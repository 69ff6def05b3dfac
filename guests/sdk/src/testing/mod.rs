//! What a policy's unit tests need in the place of a host. Not there on wasm32.
//!
//! [`decide`] asks as the host does: twice, for the same answer; the plan is held against the [rules](broken_rule)
//! that are most easily broken, and recorded.
//!
//! ```
//! # use podwire_sdk::{AddPlan, AddRequest, Leases, Policy, Refusal};
//! # #[derive(serde::Deserialize)]
//! # struct Routed {}
//! # impl Policy for Routed {
//! #     fn add(&self, request: &AddRequest, leases: &dyn Leases) -> Result<AddPlan, Refusal> {
//! #         let pool = request.node.pools[0];
//! #         let address = leases.next_free(pool, &[]).ok_or_else(|| Refusal::exhausted("the pool is full"))?;
//! #         let gateway = "169.254.1.1".parse().expect("an address");
//! #         Ok(AddPlan::routed().address(address.into(), Some(gateway)).default_route(gateway))
//! #     }
//! # }
//! use podwire_sdk::config;
//! use podwire_sdk::testing::{FakeLeases, add_request, decide};
//!
//! let policy: Routed = config::read("{}")?;
//! let mut leases = FakeLeases::new();
//! let request = add_request("0abc", &["10.244.1.0/24"]).for_pod("db", "postgres-0");
//! let plan = decide(&policy, &request, &mut leases)?;
//! assert_eq!(
//!     plan.to_string(),
//!     "address 10.244.1.1/32 gateway 169.254.1.1\n\
//!      route 0.0.0.0/0 via 169.254.1.1\n\
//!      routed"
//! );
//! # Ok::<(), Refusal>(())
//! ```

extern crate std;

mod leases;
mod requests;
mod rules;

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::{AddPlan, AddRequest, Policy, Refusal};

pub use leases::FakeLeases;
pub use requests::{add_request, node, node_request, peer, prefixes, range};
pub use rules::broken_rule;

/// What a policy answers to an ADD, recorded in the leases.
///
/// # Errors
/// The policy's refusal.
///
/// # Panics
/// If it answers the same question in two ways, and if the host would refuse the plan: then with the rule that it
/// breaks.
#[track_caller]
pub fn decide(
    policy: &impl Policy,
    request: &AddRequest,
    leases: &mut FakeLeases,
) -> Result<AddPlan, Refusal> {
    let answer = policy.add(request, leases);
    assert_eq!(answer, policy.add(request, leases), "the same question, and another answer");
    let plan = answer?;
    if let Some(broken) = broken_rule(request, &plan, leases) {
        panic!("the host refuses this plan: {broken}\n{plan}");
    }
    leases.record(request, &plan);
    Ok(plan)
}

std::thread_local! {
    static NOTES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What was [logged](crate::log) by this thread, and so by this test, since it was last asked.
pub fn notes() -> Vec<String> {
    NOTES.take()
}

pub(crate) fn note(message: &str) {
    NOTES.with_borrow_mut(|notes| notes.push(message.to_string()));
}
