//! ADD: a policy decides, the host checks, records and wires.

use std::path::Path;

use super::deciding::Deciding;
use crate::cni::{self, AddResult, Code, Error, Facts};
use crate::leases::{Attachment, Intent, NetworkNamespace, Store, Transaction};
use crate::net::namespace::Namespace;
use crate::net::{self, Wired};
use crate::node::config::Settings;
use crate::plan::AddRequest;
use crate::registry::{Installed, Registry};
use crate::state::State;

pub(super) fn add(state: &State, request: &cni::Add) -> Result<String, Error> {
    let pod = container_namespace(&request.netns, request.netns_override)?;
    let settings = Settings::read(&state.node_config())?;
    let deciding = Deciding::prepare(state, &settings, &request.configuration, Registry::load)?;
    let asked = deciding.question(&settings, request)?;
    let store = Store::open(&state.leases_dir())?;
    let _turn = store.turn(&request.attachment)?;
    let attachment = decide(deciding, &store, asked, namespace_of(&request.netns, &pod))?;
    let wired =
        net::wire(&pod, &attachment.intent.plan).map_err(|error| give_back(&store, &attachment, error))?;
    Ok(result(request, &attachment, &wired))
}

/// Opened once, so that everything that follows happens to the same one.
pub(super) fn container_namespace(path: &Path, may_be_own: bool) -> Result<Namespace, Error> {
    let wrong = |what: String| Error::new(Code::INVALID_ENVIRONMENT, format!("CNI_NETNS: {what}"));
    let namespace = Namespace::open(path).map_err(|error| wrong(error.to_string()))?;
    if !may_be_own && namespace.is_current().map_err(|error| wrong(error.to_string()))? {
        let what = format!(
            "{} is the network namespace that podwire itself runs in, not a container's: \
             set CNI_NETNS_OVERRIDE=1 if that is meant",
            path.display()
        );
        return Err(wrong(what));
    }
    Ok(namespace)
}

fn namespace_of(path: &Path, namespace: &Namespace) -> NetworkNamespace {
    let id = namespace.id();
    NetworkNamespace { path: path.to_owned(), device: id.device, inode: id.inode }
}

fn decide(
    mut deciding: Deciding<Transaction>,
    store: &Store,
    asked: AddRequest,
    netns: NetworkNamespace,
) -> Result<Attachment, Error> {
    let decided = record(&mut deciding, store, asked, netns);
    // Not before: whoever is slow to read it would keep every other ADD waiting for the database.
    deciding.say();
    deciding.end();
    decided
}

/// Asks the policy inside the transaction that records what it chose: nobody else chooses meanwhile.
fn record(
    deciding: &mut Deciding<Transaction>,
    store: &Store,
    asked: AddRequest,
    netns: NetworkNamespace,
) -> Result<Attachment, Error> {
    let transaction = store.transaction()?;
    if let Some(there) = transaction.attachment(&asked.attachment)? {
        return Err(already_there(&there));
    }
    let (plan, mut transaction) = deciding.ask(&asked, transaction)?;
    let Installed { name, digest, .. } = deciding.installed().clone();
    let attachment = transaction.reserve(Intent {
        attachment: asked.attachment,
        network: asked.network,
        pod: asked.pod,
        netns,
        policy: name,
        digest,
        config: asked.config,
        plan,
        pools: asked.node.pools,
    })?;
    transaction.commit()?;
    Ok(attachment)
}

fn already_there(there: &Attachment) -> Error {
    let intent = &there.intent;
    let msg = format!(
        "container {} has an interface {} already, in network {}: DEL comes before another ADD",
        intent.attachment.container_id, intent.attachment.ifname, intent.network
    );
    Error::new(Code::ATTACHMENT_EXISTS, msg)
}

/// Nothing was wired, so nothing must stay on record; if that fails too, DEL does it. What a link may still
/// answer for is not given back: DEL removes the link first.
pub(super) fn give_back(store: &Store, attachment: &Attachment, error: net::Error) -> Error {
    let id = &attachment.intent.attachment;
    if error.may_leave_something() {
        return Error::from(error).with_details("its addresses stay on record until DEL");
    }
    let release = || -> Result<(), crate::leases::Error> {
        let mut transaction = store.transaction()?;
        let _ = transaction.release(id, attachment.sequence, std::time::Duration::ZERO)?;
        transaction.commit()
    };
    match release() {
        Ok(()) => Error::from(error),
        Err(kept) => {
            Error::from(error).with_details(format!("its addresses stay on record until DEL: {kept}"))
        }
    }
}

fn result(request: &cni::Add, attachment: &Attachment, wired: &Wired) -> String {
    let facts = Facts {
        netns: &request.netns,
        mtu: wired.mtu,
        bridge: wired.bridge.as_ref().map(|bridge| (bridge.mac, bridge.mtu)),
    };
    let result = AddResult::new(&attachment.intent.plan, &facts, request.configuration.dns.as_ref());
    result.to_json(request.configuration.version, request.previous.as_ref())
}
