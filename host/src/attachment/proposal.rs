//! An ADD up to the point where something would be changed: for people who want to see the plan.

use super::choice::Choice;
use super::deciding::Deciding;
use super::source::Source;
use crate::cni::{Code, Error, Input, Ipam, Request};
use crate::leases::Empty;
use crate::node::config::Settings;
use crate::plan::Checked;
use crate::registry::Registry;
use crate::state::State;

/// What the policy would have done for this ADD if nobody held an address yet. Reads configuration and
/// component; compiles in memory; writes nothing.
pub fn propose(state: &State, input: &Input) -> Result<Checked, Error> {
    let Request::Add(request) = Request::read(input)? else {
        return Err(Error::new(Code::INVALID_ENVIRONMENT, "CNI_COMMAND: only an ADD has a plan"));
    };
    if let Ipam::Delegate(plugin) = &request.configuration.ipam {
        let msg = format!("ipam.type is {plugin}: what it would give is not known before it is asked");
        return Err(Error::new(Code::UNSUPPORTED_FIELD, msg));
    }
    let settings = Settings::read(&state.node_config())?;
    let choice = Choice::make(state, &settings, &request.configuration, Some(&request))?;
    let mut deciding = Deciding::prepare(&choice, Registry::load_unsaved)?;
    let source = Source::read(&request.configuration.ipam)?;
    let asked = deciding.question(&settings, &request, &source)?;
    let decided = deciding.ask(&asked, Empty);
    deciding.say();
    decided.0
}
