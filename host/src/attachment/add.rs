//! ADD: a policy decides, the host checks, records and wires.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::choice::Choice;
use super::deciding::Deciding;
use super::delegate::Delegate;
use super::error::decided_by;
use super::source::Source;
use super::{del, import, journal};
use crate::cni::{self, AddResult, Code, Error, Facts, Input, Ipam, Role};
use crate::leases::{Attachment, Delegated, Intent, NetworkNamespace, Origin, Store, Transaction, Turn};
use crate::names::AttachmentId;
use crate::net::namespace::Namespace;
use crate::net::{self, Wired};
use crate::node::config::Settings;
use crate::plan::{AddRequest, Dns};
use crate::registry::{Installed, Registry};
use crate::state::State;

pub(super) fn add(state: &State, input: &Input, request: &cni::Add) -> Result<String, Error> {
    let Ipam::Delegate(plugin) = &request.configuration.ipam else {
        return attach(state, request, Source::read(&request.configuration.ipam)?, None);
    };
    let delegate = Delegate::new(plugin, input)?;
    // Before it is asked: what it gives must not be taken back by a DEL that comes meanwhile, nor from a pod that
    // has it already.
    let store = Store::open(&state.leases_dir())?;
    let turn = store.turn(&request.attachment)?;
    refuse_if_there(&store.transaction()?, &request.attachment)?;
    let source = Source::lent(plugin, &delegate.add(request.configuration.version)?);
    let attached =
        source.and_then(|source| attach(state, request, source, Some((turn, delegate.on_record()))));
    attached.map_err(|error| match store.transaction().and_then(|now| now.attachment(&request.attachment)) {
        Ok(None) => delegate.take_back(error),
        // What may still answer for its addresses keeps them, until DEL.
        _ => error,
    })
}

/// The turn that a delegate was asked in, and what must be on record to tell it of a DEL.
type Lent = (Turn, Delegated);

fn attach(
    state: &State,
    request: &cni::Add,
    mut source: Source,
    lent: Option<Lent>,
) -> Result<String, Error> {
    let dns = request.configuration.dns.clone().or(source.dns.take());
    if request.configuration.role == Role::Ipam {
        let nobodys = NetworkNamespace { path: request.netns.clone(), device: 0, inode: 0 };
        let reserved = reserve(state, request, &source, lent, nobodys)?;
        let result = AddResult::of_addresses(&reserved.attachment.intent.plan, dns.as_ref());
        return Ok(result.to_json(request.configuration.version, None));
    }
    let pod = container_namespace(&request.netns, request.netns_override)?;
    let Reserved { store, attachment, never_held, _turn } =
        reserve(state, request, &source, lent, namespace_of(&request.netns, &pod))?;
    let plan = &attachment.intent.plan;
    let wired = net::wire(&pod, plan).map_err(|error| give_back(state, &store, &attachment, error))?;
    net::announce(&wired, plan, &never_held);
    // This process is about to end, which closes it.
    std::mem::forget(pod);
    Ok(result(request, dns.as_ref(), &attachment, &wired))
}

/// What is decided and on record, and whose turn it is until it is done.
struct Reserved {
    attachment: Attachment,
    /// Of its addresses.
    never_held: Vec<IpAddr>,
    _turn: Turn,
    store: Store,
}

fn reserve(
    state: &State,
    request: &cni::Add,
    source: &Source,
    lent: Option<Lent>,
    netns: NetworkNamespace,
) -> Result<Reserved, Error> {
    let settings = Settings::read(&state.node_config())?;
    let choice = Choice::make(state, &settings, &request.configuration, Some(request))?;
    let counted = |error: &Error| choice.settle(&settings, request, Some(error), None);
    let mut deciding = Deciding::prepare(&choice, Registry::load).inspect_err(counted)?;
    let reserved = reserve_by(&mut deciding, state, &settings, request, source, lent, netns);
    choice.settle(&settings, request, reserved.as_ref().err(), deciding.shadowed());
    deciding.end();
    reserved
}

fn reserve_by(
    deciding: &mut Deciding,
    state: &State,
    settings: &Settings,
    request: &cni::Add,
    source: &Source,
    lent: Option<Lent>,
    netns: NetworkNamespace,
) -> Result<Reserved, Error> {
    let asked = deciding.question(settings, request, source)?;
    let store = Store::open(&state.leases_dir())?;
    let (turn, delegated) = match lent {
        Some((turn, delegated)) => (turn, Some(delegated)),
        None => (store.turn(&request.attachment)?, None),
    };
    import::host_local(state, &store, &request.configuration)?;
    let (attachment, never_held) =
        decide(state, deciding, &store, (request, &asked), Beside { netns, delegated })?;
    Ok(Reserved { attachment, never_held, _turn: turn, store })
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

/// What is on record beside the plan.
struct Beside {
    netns: NetworkNamespace,
    delegated: Option<Delegated>,
}

fn decide(
    state: &State,
    deciding: &mut Deciding,
    store: &Store,
    (request, question): (&cni::Add, &AddRequest),
    beside: Beside,
) -> Result<(Attachment, Vec<IpAddr>), Error> {
    let decided = record(deciding, store, request, question, beside);
    // Not before: whoever is slow to read it would keep every other ADD waiting for the database.
    deciding.say();
    if let Some(asked) = deciding.asked() {
        let outcome = decided.as_ref().map(|(attachment, _)| attachment);
        journal::decided(state, store, deciding.installed(), (question, asked), outcome);
    }
    decided
}

/// Asks the policy inside the transaction that records what it chose: nobody else chooses meanwhile.
fn record(
    deciding: &mut Deciding,
    store: &Store,
    request: &cni::Add,
    asked: &AddRequest,
    Beside { netns, delegated }: Beside,
) -> Result<(Attachment, Vec<IpAddr>), Error> {
    let transaction = store.transaction()?;
    refuse_if_there(&transaction, &asked.attachment)?;
    let (decided, mut transaction) = deciding.ask(asked, transaction);
    let plan = decided?;
    cni::sayable(request.configuration.version, &plan, request.previous.as_ref())?;
    let Installed { name, digest, .. } = deciding.installed();
    let intent = Intent {
        attachment: asked.attachment.clone(),
        network: asked.network.clone(),
        pod: asked.pod.clone(),
        netns,
        policy: name.clone(),
        digest: *digest,
        config: asked.config.clone(),
        plan,
        pools: asked.node.pools.clone(),
        origin: match request.configuration.role {
            Role::Main => Origin::Wired,
            Role::Ipam => Origin::Lent,
        },
        delegated,
        host_local: None,
    };
    let never_held = transaction.never_held(intent.addresses())?;
    let attachment = transaction
        .reserve(intent)
        .map_err(|error| Error::from(error).with_details(decided_by(name, digest)))?;
    transaction.commit()?;
    Ok((attachment, never_held))
}

fn refuse_if_there(transaction: &Transaction, id: &AttachmentId) -> Result<(), Error> {
    let Some(there) = transaction.attachment(id)? else { return Ok(()) };
    let msg = format!(
        "container {} has an interface {} already, in network {}: DEL comes before another ADD",
        id.container_id, id.ifname, there.intent.network
    );
    Err(Error::new(Code::ATTACHMENT_EXISTS, msg))
}

/// Nothing was wired, so nothing must stay on record; if that fails too, DEL does it. What a link may still
/// answer for is not given back: DEL removes the link first.
pub(super) fn give_back(state: &State, store: &Store, attachment: &Attachment, error: net::Error) -> Error {
    let mut details = decided_by(&attachment.intent.policy, &attachment.intent.digest);
    if error.may_leave_something() {
        details.push_str("; its addresses stay on record until DEL");
    } else if let Err(kept) = release(state, store, attachment, &error) {
        details = format!("{details}; its addresses stay on record until DEL: {kept}");
    }
    Error::from(error).with_details(details)
}

fn release(state: &State, store: &Store, attachment: &Attachment, why: &net::Error) -> Result<(), Error> {
    let released = del::release(store.transaction()?, attachment, Duration::ZERO)?;
    released.note(state, store, attachment, Some(why.to_string()));
    Ok(())
}

fn result(request: &cni::Add, dns: Option<&Dns>, attachment: &Attachment, wired: &Wired) -> String {
    let facts = Facts {
        netns: &request.netns,
        mtu: wired.mtu,
        bridge: wired.bridge.as_ref().map(|bridge| (bridge.mac, bridge.mtu)),
    };
    let result = AddResult::new(&attachment.intent.plan, &facts, dns);
    result.to_json(request.configuration.version, request.previous.as_ref())
}
