//! Tests of the database: against a model, against refusals, against broken files, and against processes
//! that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use tempfile::TempDir;

use super::keys::{self, Entry, State};
use super::{Attachment, Error, Intent, NetworkNamespace, Snapshot, Store, View};
use crate::names::{AttachmentId, Digest, MacAddress};
use crate::plan::{Address, Bridge, Checked, Pod, Wiring};

mod files;
#[cfg(feature = "compiler")]
mod ledger;
mod model;
mod processes;
mod rules;

const BOOT: &str = "00000000-0000-4000-8000-000000000001";
const MAP: usize = 256 << 20;

/// A database of its own.
struct Scratch {
    state: TempDir,
    store: Store,
}

impl Scratch {
    fn new() -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let store = Store::open_boot(state.path(), BOOT, MAP).expect("a new database");
        Self { state, store }
    }

    /// As another process would find it.
    fn reopen(&mut self) {
        self.store.close();
        self.store = Store::open_boot(self.state.path(), BOOT, MAP).expect("the same database");
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a block")
}

fn id(container: &str) -> AttachmentId {
    AttachmentId { container_id: container.parse().expect("an ID"), ifname: "eth0".parse().expect("a name") }
}

/// A pod with these addresses, its interface on the node named after the container.
fn intent(container: &str, addresses: &[&str]) -> Intent {
    let attachment = id(container);
    let address = |text: &&str| Address { prefix: IpNet::from(ip(text)), gateway: None };
    Intent {
        network: "pods".parse().expect("a name"),
        pod: Some(Pod {
            namespace: "default".to_owned(),
            name: container.to_owned(),
            uid: String::new(),
            annotations: Vec::new(),
        }),
        netns: NetworkNamespace { path: "/run/netns/x".into(), device: 4, inode: 4_026_532_000 },
        policy: "bridge".parse().expect("a name"),
        digest: Digest([7; 32]),
        config: "{}".to_owned(),
        plan: Checked {
            container_interface: attachment.ifname.clone(),
            host_interface: format!("pw{container}").parse().expect("a name"),
            wiring: Wiring::Routed,
            addresses: addresses.iter().map(address).collect(),
            routes: Vec::new(),
            mac: MacAddress([0x0a; 6]),
            host_mac: MacAddress([0x0e; 6]),
            mtu: None,
            dns: None,
            sysctls: Vec::new(),
            traffic: Default::default(),
            duplicate_address_detection: false,
            interface_down: false,
        },
        pools: vec![net("10.0.0.0/8"), net("fd00::/8")],
        origin: super::Origin::Wired,
        delegated: None,
        host_local: None,
        attachment,
    }
}

fn with_bridge(mut intent: Intent, addresses: &[&str]) -> Intent {
    let addresses = addresses.iter().map(|text| net(text)).collect();
    let bridge = Bridge::plain("cni0".parse().expect("a name"), addresses);
    intent.plan.wiring = Wiring::Bridge { bridge, hairpin: true, isolated: false, vlans: None };
    intent
}

/// Adds one attachment, in a transaction of its own.
fn add(store: &Store, intent: Intent) -> Result<Attachment, Error> {
    let mut transaction = store.transaction()?;
    let attachment = transaction.reserve(intent)?;
    transaction.commit()?;
    Ok(attachment)
}

/// Asserts that every row follows from the attachments on record, and gives these: no address twice, none
/// without its attachment, no gateway counted wrongly, nothing that was left behind.
fn audit(snapshot: &Snapshot) -> Vec<Attachment> {
    let rows = snapshot.attachments().expect("readable");
    let attachments: Vec<_> = rows.collect::<Result<_, _>>().expect("readable rows");
    let mut expected = BTreeSet::new();
    let mut gateways = BTreeMap::new();
    for Attachment { intent, .. } in &attachments {
        for address in intent.addresses() {
            assert!(expected.insert(keys::address(address)), "{address} is held twice");
            let steps = &mut super::Steps(1);
            assert_eq!(snapshot.holder_of(address, steps).expect("readable"), Some(intent.holder()));
        }
        assert!(expected.insert(keys::interface(&intent.plan.host_interface)));
        for gateway in intent.gateways() {
            *gateways.entry(keys::address(gateway)).or_insert(0) += 1;
        }
    }
    let held = |key: &[u8], value: &[u8]| match (key[0], Entry::read(value).map(|entry| entry.state)) {
        (b'a', Some(State::Gateway(count))) => {
            assert_eq!(gateways.remove(key), Some(count));
            false
        }
        (b'a', state) => state == Some(State::Held),
        (first, _) => first == b'i',
    };
    let found = snapshot.rows_where(held);
    assert_eq!(found, expected);
    attachments
}
