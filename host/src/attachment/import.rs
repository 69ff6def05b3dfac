//! What the reference plugin host-local left on the node: its leases become podwire's, so that a node changes over
//! under its pods, and no address is given twice.
//!
//! A lease is a file named by its address, with the container's ID and, on a line of its own, the interface. One
//! that is older than the node's boot is nobody's: its container is gone.
//!
//! The files stay as long as their pods. A runtime that keeps each pod's configuration, as podman does, calls the
//! plugins of the ADD for its DEL: then host-local takes the file away, and that is all podwire hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry, File};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};

use super::choice::Choice;
use super::tell;
use crate::cni::{Code, Configuration, Error, Ipam, Ranges};
use crate::leases::{self, Attachment, Intent, NetworkNamespace, Origin, Store, Transaction};
use crate::names::{AttachmentId, MAX_INTERFACE_NAME};
use crate::node::config::Settings;
use crate::plan::{Address, AddressRange, check};
use crate::registry::{Installed, Registry};
use crate::state::State;

/// The interface of leases that do not name one: host-local did not always.
const CUSTOMARY_INTERFACE: &str = "eth0";

/// The longest lease file: a container's ID and an interface's name.
const MAX_LEASE: u64 = 1024;

/// How the containers of leases are called that do not say of whom they are.
const UNREADABLE: &str = "unreadable-";

/// Made by the kernel when it starts, before anybody sets the clock.
const AS_OLD_AS_THE_BOOT: &str = "/sys";

/// Whether there are leases to take over.
pub(super) fn is_pending(configuration: &Configuration) -> bool {
    folder(configuration).is_some_and(|(folder, _)| folder.join("lock").exists())
}

/// Where host-local kept the leases of the network.
fn folder(configuration: &Configuration) -> Option<(PathBuf, &Ranges)> {
    let Ipam::Ranges(ranges) = &configuration.ipam else { return None };
    let folder = ranges.host_local.as_ref()?;
    Some((folder.join(configuration.network.as_str()), ranges))
}

/// Brings what is on record to what host-local has: its leases are taken over, and those are released that were and
/// are gone there. A folder without leases goes, so that nobody looks at it again.
pub(super) fn host_local(state: &State, store: &Store, configuration: &Configuration) -> Result<(), Error> {
    let Some((folder, ranges)) = folder(configuration) else { return Ok(()) };
    let Some(_lock) = lock(&folder).map_err(|error| unreadable(&folder, &error))? else { return Ok(()) };
    let leases = leases(&folder).map_err(|error| unreadable(&folder, &error))?;
    let none_left = leases.is_empty();
    let policy = decider(state, configuration);
    let (taken, released) = record(store, (configuration, ranges, &folder), &policy, leases)?;
    if none_left {
        // One that stays, a mount point for one, is looked at again.
        let _ = fs::remove_dir_all(&folder);
    }
    if taken + released > 0 {
        let folder = folder.display();
        tell(format_args!(
            "of host-local's leases in {folder}, {taken} are podwire's too now, and {released} are gone"
        ));
    }
    Ok(())
}

/// What would decide for a pod of the network now. Where that cannot be told, leases are taken over all the same.
fn decider(state: &State, configuration: &Configuration) -> Installed {
    let settings = Settings::read(&state.node_config()).unwrap_or_default();
    let choice = Choice::make(state, &settings, configuration, None);
    choice.map_or_else(|_| Registry::open(state).builtin(), |choice| choice.chosen.decides)
}

/// The lock that host-local itself takes: one that still runs finishes first. None if there are no leases.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join("lock");
    loop {
        let lock = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            lock => lock?,
        };
        flock(&lock, FlockOperation::LockExclusive)?;
        // Whoever had it before may have taken the folder away.
        let (locked, there) = (lock.metadata()?.ino(), fs::metadata(&path).map(|there| there.ino()));
        if there.is_ok_and(|there| there == locked) {
            return Ok(Some(lock));
        }
    }
}

/// Takes an attachment's leases away there too, before they are released: else they would be taken over again. One
/// that cannot be taken away is, and goes with GC; no DEL waits for it.
pub(super) fn give_back(intent: &Intent) {
    let Some(folder) = &intent.host_local else { return };
    if let Err(error) = remove_leases(folder, intent) {
        let (id, folder) = (&intent.attachment, folder.display());
        tell(format_args!("the leases of {id} stay in host-local's folder {folder}: {error}"));
    }
}

fn remove_leases(folder: &Path, intent: &Intent) -> io::Result<()> {
    let Some(_lock) = lock(folder)? else { return Ok(()) };
    for address in intent.addresses() {
        match fs::remove_file(folder.join(address.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn unreadable(folder: &Path, error: &io::Error) -> Error {
    let msg = format!("the leases of host-local in {} cannot be taken over: {error}", folder.display());
    Error::new(Code::IO, msg).with_details("until then podwire could give an address twice")
}

/// A network, its ranges, and host-local's folder for it.
type Place<'a> = (&'a Configuration, &'a Ranges, &'a Path);

/// The addresses of each attachment.
type Leases = BTreeMap<AttachmentId, Vec<IpAddr>>;

fn leases(folder: &Path) -> io::Result<Leases> {
    let (mut leases, boot) = (Leases::new(), boot()?);
    for entry in fs::read_dir(folder)? {
        if let Some((attachment, address)) = lease(&entry?, boot)? {
            leases.entry(attachment).or_default().push(address);
        }
    }
    Ok(leases)
}

/// No later than the boot, by the clock that files' times were taken from: that may have been set since.
fn boot() -> io::Result<SystemTime> {
    let up = clock_gettime(ClockId::Boottime);
    let up = Duration::new(up.tv_sec.unsigned_abs(), u32::try_from(up.tv_nsec).unwrap_or(0));
    let by_uptime = SystemTime::now().checked_sub(up).unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(by_uptime.min(fs::metadata(AS_OLD_AS_THE_BOOT)?.modified()?))
}

/// None for what is no lease, or is one of an earlier boot.
fn lease(entry: &DirEntry, boot: SystemTime) -> io::Result<Option<(AttachmentId, IpAddr)>> {
    let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
        return Ok(None);
    };
    let metadata = entry.metadata()?;
    if metadata.modified()? < boot {
        return Ok(None);
    }
    let mut text = String::new();
    // What cannot be read as text names nobody.
    let _ = File::open(entry.path())?.take(MAX_LEASE).read_to_string(&mut text);
    Ok(Some((holder(&text).unwrap_or_else(|| somebody(address)), address)))
}

fn holder(text: &str) -> Option<AttachmentId> {
    let mut lines = text.lines().map(str::trim);
    let container_id = lines.next()?.parse().ok()?;
    let ifname = lines.next().filter(|name| !name.is_empty()).unwrap_or(CUSTOMARY_INTERFACE);
    Some(AttachmentId { container_id, ifname: ifname.parse().ok()? })
}

/// An empty or torn file is a lease all the same: host-local gives the address to nobody either.
fn somebody(address: IpAddr) -> AttachmentId {
    let container_id = format!("{UNREADABLE}{}", address.to_string().replace(':', "-"));
    let (container_id, ifname) = (container_id.parse(), CUSTOMARY_INTERFACE.parse());
    AttachmentId {
        container_id: container_id.expect("letters, digits, '-' and '.'"),
        ifname: ifname.expect("a name"),
    }
}

/// Whether the attachment of a lease may be one of these. Of what the lease says, only the container is sure; and one
/// that says nothing may be anybody's.
pub(super) fn may_be_among(attachment: &AttachmentId, valid: &BTreeSet<AttachmentId>) -> bool {
    let container = &attachment.container_id;
    container.as_str().starts_with(UNREADABLE) || valid.iter().any(|valid| valid.container_id == *container)
}

/// How many addresses came, and how many attachments went.
fn record(
    store: &Store,
    place: Place<'_>,
    policy: &Installed,
    leases: Leases,
) -> Result<(usize, usize), Error> {
    let (mut transaction, mut taken) = (store.transaction()?, 0);
    let leases = told_apart(&transaction, place, leases)?;
    let gone = gone(&transaction, place.2, &leases)?;
    for attachment in &gone {
        // Leases of host-local never rested.
        let _ = transaction.release(&attachment.intent.attachment, attachment.sequence, Duration::ZERO)?;
    }
    for (attachment, addresses) in leases {
        if transaction.attachment(&attachment)?.is_none() {
            taken += take_over(&mut transaction, place, policy, attachment, addresses)?;
        }
    }
    if taken + gone.len() > 0 {
        transaction.commit()?;
    }
    Ok((taken, gone.len()))
}

/// Old leases do not say of which interface they are, and a container may be in several networks: what is on record
/// already under the same name gets another here, which follows from the network.
fn told_apart(transaction: &Transaction, place: Place<'_>, leases: Leases) -> Result<Leases, Error> {
    let mut apart = Leases::new();
    for (mut attachment, addresses) in leases {
        let on_record = transaction.attachment(&attachment)?;
        if on_record.is_some_and(|other| other.intent.host_local.as_deref() != Some(place.2)) {
            let network: String = place.0.network.as_str().chars().take(MAX_INTERFACE_NAME - 3).collect();
            attachment.ifname =
                format!("hl-{network}").parse().expect("a network's name names an interface too");
        }
        apart.entry(attachment).or_default().extend(addresses);
    }
    Ok(apart)
}

/// An address that is somebody's already stays that one's: nobody else gets it, and that is all that counts.
fn take_over(
    transaction: &mut Transaction,
    place: Place<'_>,
    policy: &Installed,
    attachment: AttachmentId,
    mut addresses: Vec<IpAddr>,
) -> Result<usize, Error> {
    while !addresses.is_empty() {
        let on_link = addresses.iter().map(|address| on_link(*address, place.1)).collect();
        let taken = match transaction.reserve(intent(place, policy, attachment.clone(), on_link)) {
            Ok(_) => return Ok(addresses.len()),
            Err(error) => error,
        };
        use leases::Error as E;
        let (E::AddressHeld { address, .. }
        | E::AddressRests { address, .. }
        | E::AddressIsGateway { address }
        | E::GatewayHeld { gateway: address, .. }) = &taken
        else {
            return Err(taken.into());
        };
        tell(format_args!("host-local's lease of {address} for {attachment} stays there: {taken}"));
        let known = addresses.len();
        addresses.retain(|other| other != address);
        if addresses.len() == known {
            return Ok(0);
        }
    }
    Ok(0)
}

/// Taken over once, and no longer host-local's.
fn gone(transaction: &Transaction, folder: &Path, leases: &Leases) -> Result<Vec<Attachment>, Error> {
    let mut gone = Vec::new();
    for attachment in transaction.attachments()? {
        let attachment = attachment?;
        let intent = &attachment.intent;
        if intent.host_local.as_deref() == Some(folder) && !leases.contains_key(&intent.attachment) {
            gone.push(attachment);
        }
    }
    Ok(gone)
}

/// An address that no range holds any more is held all the same.
fn on_link(address: IpAddr, ranges: &Ranges) -> Address {
    let mut all = ranges.sets.iter().flatten();
    let range: Option<&AddressRange> = all.find(|range| range.subnet.contains(&address));
    let length = range.map(|range| range.subnet.prefix_len());
    let prefix = length.and_then(|length| IpNet::new(address, length).ok());
    // The gateway may be another's lease: the plugin that wired the pod knew what it did.
    Address { prefix: prefix.unwrap_or_else(|| address.into()), gateway: None }
}

/// The interface is host-local's main plugin's, and goes with the container.
fn intent(
    (configuration, ranges, folder): Place<'_>,
    policy: &Installed,
    attachment: AttachmentId,
    addresses: Vec<Address>,
) -> Intent {
    Intent {
        network: configuration.network.clone(),
        pod: None,
        netns: NetworkNamespace { path: PathBuf::new(), device: 0, inode: 0 },
        policy: policy.name.clone(),
        digest: policy.digest,
        config: "{}".to_owned(),
        plan: check::addresses_only(&attachment, addresses),
        pools: ranges.pools(),
        origin: Origin::Imported,
        delegated: None,
        host_local: Some(folder.to_owned()),
        attachment,
    }
}
