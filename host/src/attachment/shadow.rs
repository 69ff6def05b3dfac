//! A version of a policy that is asked beside the one that decides. Nothing of what it says is done, and whatever
//! becomes of it, the ADD goes on.

use super::deciding::judge;
use super::error::is_fault;
use crate::cni::Error;
use crate::journal::differences;
use crate::leases::View;
use crate::plan::{AddRequest, Checked};
use crate::policy::Instance;
use crate::registry::Installed;

/// Bytes of a difference: it goes to the operator's log in one line.
const DIFFERENCE: usize = 1_000;

pub(super) struct Shadow {
    installed: Installed,
    /// Or why it could not be loaded.
    instance: Result<Instance, Error>,
    others_chose: bool,
    answer: Option<Shadowed>,
}

/// What a version in the shadow said.
pub(super) struct Shadowed {
    /// Which one: name and digest.
    version: String,
    /// What it would have done differently; none: nothing.
    pub(super) difference: Option<String>,
    /// It did not answer as a policy must.
    pub(super) failed: bool,
}

impl Shadowed {
    /// In one line, unless it would have done the same.
    pub(super) fn told(&self) -> Option<String> {
        self.difference.as_ref().map(|difference| format!("policy {}: {difference}", self.version))
    }
}

impl Shadow {
    pub(super) fn new(installed: Installed, instance: Result<Instance, Error>, others_chose: bool) -> Self {
        Self { installed, instance, others_chose, answer: None }
    }

    /// Asks it what another version was asked, and compares.
    pub(super) fn ask<V: View + 'static>(
        &mut self,
        asked: &AddRequest,
        view: V,
        decided: &Result<Checked, Error>,
    ) -> V {
        let (own, view) = match &mut self.instance {
            Ok(instance) => {
                let (answer, view) = instance.add(asked, view);
                (judge(&self.installed, asked, answer).1, view)
            }
            Err(why) => (Err(why.clone()), view),
        };
        let is_fault = |error: &Error| is_fault(error, self.others_chose);
        let failed = own.as_ref().is_err_and(is_fault);
        let difference = difference(decided, &own, failed && !decided.as_ref().is_err_and(is_fault));
        self.answer = Some(Shadowed { version: self.installed.to_string(), difference, failed });
        view
    }

    /// What it said, once it was asked.
    pub(super) fn answer(&self) -> Option<&Shadowed> {
        self.answer.as_ref()
    }
}

/// In one line, if there is one. Two refusals are alike, whatever they say.
fn difference(
    decided: &Result<Checked, Error>,
    own: &Result<Checked, Error>,
    only_this_failed: bool,
) -> Option<String> {
    let mut line = match (decided, own) {
        (Ok(decided), Ok(own)) if decided == own => return None,
        (Ok(decided), Ok(own)) => between(decided, own),
        (Ok(_), Err(own)) => format!("would not have wired the pod: {own}"),
        (Err(decided), Ok(own)) => format!("would have given {}, not refused: {decided}", given(own)),
        (Err(_), Err(own)) if only_this_failed => format!("would have failed: {own}"),
        (Err(_), Err(_)) => return None,
    };
    line.truncate(line.floor_char_boundary(DIFFERENCE));
    Some(line)
}

fn given(plan: &Checked) -> String {
    let addresses: Vec<_> = plan.addresses.iter().map(|address| address.prefix.to_string()).collect();
    addresses.join(", ")
}

/// The fields of two plans that are not equal.
fn between(decided: &Checked, own: &Checked) -> String {
    let value = |value: Option<String>| value.unwrap_or_else(|| "absent".to_owned());
    let unequal = differences(decided, own).into_iter();
    let told = unequal.map(|unequal| {
        format!("{} would be {}, not {}", unequal.field, value(unequal.now), value(unequal.was))
    });
    told.collect::<Vec<_>>().join("; ")
}
