//! CHECK: the kernel is compared with what is on record, and with the result that the runtime has.

use super::add::container_namespace;
use super::delegate::Delegate;
use crate::cni::{self, Code, Error, Input};
use crate::leases::{Attachment, Intent, Origin};
use crate::net;
use crate::plan::Checked;
use crate::state::State;

pub(super) fn check(state: &State, input: &Input, request: &cni::Check) -> Result<(), Error> {
    let store = super::del::store(state, Some(&request.configuration))?;
    let on_record = match store {
        Some(store) => store.snapshot()?.attachment(&request.attachment)?,
        None => None,
    };
    let attachment = on_record.ok_or_else(|| {
        let what =
            format!("{} is not on record: it was deleted, or the node has booted since", request.attachment);
        Error::new(Code::CHECK_DIFFERS, what)
    })?;
    if let Some(delegated) = &attachment.intent.delegated {
        Delegate::new(&delegated.plugin, input)?.pass_on("CHECK")?;
    }
    let mut found = of_record(request, &attachment);
    found.extend(of_kernel(request, attachment.intent)?);
    match found.split_first() {
        None => Ok(()),
        Some((first, others)) => Err(Error::new(Code::CHECK_DIFFERS, first).with_details(others.join("; "))),
    }
}

fn of_kernel(request: &cni::Check, intent: Intent) -> Result<Vec<String>, Error> {
    let pod = || container_namespace(&request.netns, request.netns_override);
    let differences = match intent.origin {
        Origin::Lent => Vec::new(),
        Origin::Imported => net::inspect_imported(&pod()?, &intent.plan)?,
        Origin::Wired => {
            let (pod, path) = (pod()?, request.netns.display());
            if (intent.netns.device, intent.netns.inode) != (pod.id().device, pod.id().inode) {
                let what = "is another network namespace than the one that was attached";
                return Ok(vec![format!("{path} {what}")]);
            }
            net::inspect(&pod, &expected(request, intent.plan))?
        }
    };
    Ok(differences.iter().map(ToString::to_string).collect())
}

/// The plan, with the hardware address that the container's interface has in the result of the whole chain: a
/// plugin after podwire may have changed it.
fn expected(request: &cni::Check, plan: Checked) -> Checked {
    let container = |interface: &&cni::Interface| {
        interface.sandbox.is_some() && interface.name == plan.container_interface.as_str()
    };
    let reported = request.previous.interfaces.iter().find(container);
    let mac = reported.and_then(|interface| interface.mac.as_ref()?.parse().ok());
    Checked { mac: mac.unwrap_or(plan.mac), ..plan }
}

/// What the runtime believes against what is on record.
fn of_record(request: &cni::Check, attachment: &Attachment) -> Vec<String> {
    let intent = &attachment.intent;
    let mut found = Vec::new();
    if intent.network != request.configuration.network {
        found.push(format!("{} is attached to network {}", intent.attachment, intent.network));
    }
    let given = |address| request.previous.ips.iter().any(|ip| ip.address.addr() == address);
    for address in intent.addresses().filter(|address| !given(*address)) {
        found.push(format!("prevResult does not have {address}, which was given to {}", intent.attachment));
    }
    found
}
