//! What the reference plugin host-local left on the node: its leases become podwire's, so that a node changes over
//! under its pods, and no address is given twice.
//!
//! A lease is a file named by its address, with the container's ID and, on a line of its own, the interface. One
//! that is older than the node's boot is nobody's: its container is gone.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};

use super::tell;
use crate::cni::{Code, Configuration, Error, Ipam, Ranges};
use crate::leases::{Intent, NetworkNamespace, Store};
use crate::names::AttachmentId;
use crate::plan::{Address, AddressRange, check};
use crate::registry::Installed;

/// The interface of leases that do not name one: host-local did not always.
const CUSTOMARY_INTERFACE: &str = "eth0";

/// The longest lease file: a container's ID and an interface's name.
const MAX_LEASE: u64 = 1024;

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

/// Takes the leases over, if there are any, and puts their folder aside.
pub(super) fn host_local(
    store: &Store,
    configuration: &Configuration,
    policy: &Installed,
) -> Result<(), Error> {
    let Some((folder, ranges)) = folder(configuration) else { return Ok(()) };
    // The lock that host-local itself takes: one that still runs finishes first.
    let lock = match File::open(folder.join("lock")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        lock => lock.map_err(|error| unreadable(&folder, &error))?,
    };
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| unreadable(&folder, &error.into()))?;
    let leases = leases(&folder).map_err(|error| unreadable(&folder, &error))?;
    let count = record(store, configuration, ranges, policy, leases)?;
    let aside = aside(&folder).map_err(|error| unreadable(&folder, &error))?;
    tell(format_args!(
        "{count} leases of host-local in {} are podwire's now; see {}",
        folder.display(),
        aside.display()
    ));
    Ok(())
}

fn unreadable(folder: &Path, error: &io::Error) -> Error {
    let msg = format!("the leases of host-local in {} cannot be taken over: {error}", folder.display());
    Error::new(Code::IO, msg).with_details("until then podwire could give an address twice")
}

/// The addresses of each attachment.
type Leases = BTreeMap<AttachmentId, Vec<IpAddr>>;

fn leases(folder: &Path) -> io::Result<Leases> {
    let (mut leases, boot) = (Leases::new(), boot());
    for entry in fs::read_dir(folder)? {
        if let Some((attachment, address)) = lease(&entry?, boot)? {
            leases.entry(attachment).or_default().push(address);
        }
    }
    Ok(leases)
}

fn boot() -> SystemTime {
    let up = clock_gettime(ClockId::Boottime);
    let up = Duration::new(up.tv_sec.unsigned_abs(), u32::try_from(up.tv_nsec).unwrap_or(0));
    SystemTime::now().checked_sub(up).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// None for what is no lease, or is one of an earlier boot.
fn lease(entry: &DirEntry, boot: SystemTime) -> io::Result<Option<(AttachmentId, IpAddr)>> {
    let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
        return Ok(None);
    };
    let metadata = entry.metadata()?;
    if metadata.modified()? < boot || metadata.len() > MAX_LEASE {
        return Ok(None);
    }
    let text = fs::read_to_string(entry.path())?;
    let mut lines = text.lines().map(str::trim);
    let container_id = lines.next().unwrap_or_default().parse();
    let ifname = lines.next().filter(|name| !name.is_empty()).unwrap_or(CUSTOMARY_INTERFACE).parse();
    let id = container_id.ok().zip(ifname.ok());
    Ok(id.map(|(container_id, ifname)| (AttachmentId { container_id, ifname }, address)))
}

/// All or none.
fn record(
    store: &Store,
    configuration: &Configuration,
    ranges: &Ranges,
    policy: &Installed,
    leases: Leases,
) -> Result<usize, Error> {
    let (mut transaction, mut count) = (store.transaction()?, 0);
    for (attachment, addresses) in leases {
        if transaction.attachment(&attachment)?.is_none() {
            count += addresses.len();
            let addresses = addresses.iter().map(|address| on_link(*address, ranges)).collect();
            transaction.reserve(intent(configuration, ranges, policy, attachment, addresses))?;
        }
    }
    transaction.commit()?;
    Ok(count)
}

/// An address that no range holds any more is held all the same.
fn on_link(address: IpAddr, ranges: &Ranges) -> Address {
    let mut all = ranges.sets.iter().flatten();
    let range: Option<&AddressRange> = all.find(|range| range.subnet.contains(&address));
    let length = range.map(|range| range.subnet.prefix_len());
    let prefix = length.and_then(|length| IpNet::new(address, length).ok());
    Address {
        prefix: prefix.unwrap_or_else(|| address.into()),
        gateway: range.and_then(|range| range.gateway),
    }
}

/// The interface is host-local's main plugin's, and goes with the container.
fn intent(
    configuration: &Configuration,
    ranges: &Ranges,
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
        elsewhere: true,
        delegated: None,
        attachment,
    }
}

/// Out of the way, so that it is not read again, and where it can be found.
fn aside(folder: &Path) -> io::Result<PathBuf> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut name = folder.as_os_str().to_owned();
    name.push(format!(".podwire-{since}"));
    let aside = PathBuf::from(name);
    fs::rename(folder, &aside)?;
    Ok(aside)
}
