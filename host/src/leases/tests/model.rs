//! Random histories, compared with a model that keeps everything in plain maps and counts one by one.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{Release, Sequence, Steps, Transaction};
use super::*;

const SECOND: u64 = 1_000_000_000;

/// Small ones that fill up, a part of another, both ends of both families, and ones too large to fill.
const BLOCKS: [&str; 11] = [
    "10.0.0.0/29",
    "10.0.0.4/30",
    "10.1.0.4/31",
    "10.2.0.9/32",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "fd00::8/125",
    "fd01::2/127",
    "fd02::5/128",
    "fd00::/64",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff8/125",
];

/// What an address of a plan is taken from.
#[derive(Debug, Clone)]
enum Pick {
    /// As a policy does it.
    FirstFree { block: usize, start: usize },
    /// As somebody asked for it.
    Fixed(usize),
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { container: u8, interface: u8, picks: Vec<Pick>, gateway: Option<usize>, commit: bool },
    Release { container: u8, quote_earlier: bool, rest: u64, commit: bool },
    Pass(u64),
    Reopen,
}

#[derive(Default)]
struct Model {
    now: u64,
    sequence: u64,
    rows: BTreeMap<String, (u64, Intent)>,
    resting: BTreeMap<IpAddr, (u64, Intent)>,
    last: BTreeMap<IpNet, IpAddr>,
    ever_held: BTreeSet<IpAddr>,
}

/// Addresses at and around the edges of the blocks.
fn addresses() -> Vec<IpAddr> {
    let blocks = BLOCKS.map(net);
    let around = |block: &IpNet| [-1i128, 0, 1, 2, 5, 7].map(|offset| shift(block.network(), offset));
    let ends = blocks.iter().flat_map(|block| [block.broadcast(), shift(block.broadcast(), -1)]);
    blocks.iter().flat_map(around).chain(ends).collect()
}

fn shift(address: IpAddr, offset: i128) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address.to_bits().wrapping_add(offset as u32).into()),
        IpAddr::V6(address) => IpAddr::V6(address.to_bits().wrapping_add(offset as u128).into()),
    }
}

impl Model {
    fn holder_of(&self, address: IpAddr) -> Option<&Intent> {
        let held = self.rows.values().find(|(_, intent)| intent.addresses().any(|held| held == address));
        let resting = self.resting.get(&address).filter(|(until, _)| *until > self.now);
        held.or(resting).map(|(_, intent)| intent)
    }

    fn is_gateway(&self, address: IpAddr) -> bool {
        self.rows.values().any(|(_, intent)| intent.gateways().contains(&address))
    }

    fn may_carry(block: IpNet, address: IpAddr) -> bool {
        let is_small = block.max_prefix_len() - block.prefix_len() < 2;
        let is_broadcast = block.broadcast() == address && address.is_ipv4();
        block.contains(&address) && (is_small || (block.network() != address && !is_broadcast))
    }

    fn first_free(&self, block: IpNet, start: Option<IpAddr>) -> Option<IpAddr> {
        let start = start.filter(|start| Self::may_carry(block, *start));
        let start = start.unwrap_or(block.network());
        let mut address = start;
        loop {
            if Self::may_carry(block, address)
                && !self.is_gateway(address)
                && self.holder_of(address).is_none()
            {
                return Some(address);
            }
            address = if address == block.broadcast() { block.network() } else { shift(address, 1) };
            if address == start {
                return None;
            }
        }
    }

    fn taken(&self, block: IpNet) -> u64 {
        let held = self.rows.values().flat_map(|(_, intent)| intent.addresses());
        let resting = self.resting.iter().filter(|(_, (until, _))| *until > self.now);
        let all = held.chain(resting.map(|(address, _)| *address));
        all.filter(|address| block.contains(address)).count() as u64
    }

    /// Every reason to refuse.
    fn refusals(&self, intent: &Intent) -> BTreeSet<&'static str> {
        let mut refusals = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let others = || self.rows.values().map(|(_, other)| other);
        if others().any(|other| other.attachment == intent.attachment) {
            refusals.insert("exists");
        }
        if others().any(|other| other.plan.host_interface == intent.plan.host_interface) {
            refusals.insert("interface");
        }
        for address in intent.addresses() {
            if !seen.insert(address) {
                refusals.insert("twice");
            }
            if self.is_gateway(address) || intent.gateways().contains(&address) {
                refusals.insert("is gateway");
            }
            if self.holder_of(address).is_some() {
                let rests = !others().any(|other| other.addresses().any(|held| held == address));
                refusals.insert(if rests { "rests" } else { "held" });
            }
        }
        if intent.gateways().iter().any(|gateway| self.holder_of(*gateway).is_some()) {
            refusals.insert("gateway held");
        }
        refusals
    }

    fn reserve(&mut self, intent: Intent) {
        self.sequence += 1;
        for address in intent.addresses() {
            self.resting.remove(&address);
            self.ever_held.insert(address);
            for pool in intent.pools.iter().filter(|pool| pool.contains(&address)) {
                self.last.insert(*pool, address);
            }
        }
        intent.gateways().iter().for_each(|gateway| drop(self.resting.remove(gateway)));
        self.rows.insert(intent.attachment.container_id.to_string(), (self.sequence, intent));
    }

    fn release(&mut self, container: &str, rest: u64) {
        let (_, intent) = self.rows.remove(container).expect("on record");
        for address in intent.addresses().filter(|_| rest > 0) {
            self.resting.insert(address, (self.now + rest, intent.clone()));
        }
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Exists { .. } => "exists",
        Error::InterfaceTaken { .. } => "interface",
        Error::AddressTwice { .. } => "twice",
        Error::AddressIsGateway { .. } => "is gateway",
        Error::AddressHeld { .. } => "held",
        Error::AddressRests { .. } => "rests",
        Error::GatewayHeld { .. } => "gateway held",
        other => panic!("{other}"),
    }
}

/// Both say the same of every block, from every start, and of every address.
fn compare(view: &impl View, model: &Model, starts: &[IpAddr]) {
    let steps = &mut Steps(1_000_000);
    for block in BLOCKS.map(net) {
        for start in starts.iter().copied().map(Some).chain([None]) {
            let found = view.first_free(block, start, steps).expect("readable");
            assert_eq!(found, model.first_free(block, start), "in {block} from {start:?}");
        }
        assert_eq!(view.taken(block, steps).expect("readable"), model.taken(block), "in {block}");
        assert_eq!(view.last_taken(block, steps).expect("readable"), model.last.get(&block).copied());
    }
    for address in addresses() {
        let holder = model.holder_of(address).map(Intent::holder);
        assert_eq!(view.holder_of(address, steps).expect("readable"), holder, "{address}");
    }
}

fn decide(transaction: &Transaction, model: &Model, step: &Step) -> Option<Intent> {
    let Step::Reserve { container, interface, picks, gateway, .. } = step else { return None };
    let all = addresses();
    let pick = |pick: &Pick| match pick {
        Pick::Fixed(index) => Some(all[index % all.len()]),
        Pick::FirstFree { block, start } => {
            let (block, start) = (net(BLOCKS[block % BLOCKS.len()]), Some(all[start % all.len()]));
            let found = transaction.first_free(block, start, &mut Steps(1_000)).expect("readable");
            assert_eq!(found, model.first_free(block, start));
            found
        }
    };
    let picked: Vec<_> = picks.iter().filter_map(pick).map(|address| address.to_string()).collect();
    let picked: Vec<_> = picked.iter().map(String::as_str).collect();
    let mut intent = intent(&container.to_string(), &picked);
    intent.plan.host_interface = format!("pw{interface}").parse().expect("a name");
    intent.pools = BLOCKS.map(net).to_vec();
    if let Some(gateway) = gateway {
        intent = with_bridge(intent, &[&format!("{}/20", all[gateway % all.len()])]);
    }
    Some(intent)
}

fn take(scratch: &mut Scratch, model: &mut Model, step: &Step) {
    match step {
        Step::Pass(seconds) => model.now += seconds * SECOND,
        Step::Reopen => scratch.reopen(),
        Step::Reserve { commit, .. } => {
            let mut transaction = scratch.store.transaction_at(model.now).expect("open");
            let intent = decide(&transaction, model, step).expect("a reservation");
            let refusals = model.refusals(&intent);
            let never_held = transaction.never_held(intent.addresses()).expect("readable");
            assert!(never_held.iter().all(|address| !model.ever_held.contains(address)));
            match transaction.reserve(intent.clone()) {
                Err(error) => assert!(refusals.contains(kind(&error)), "{error}; {refusals:?}"),
                Ok(_) => assert_eq!(refusals, BTreeSet::new()),
            }
            if *commit {
                transaction.commit().expect("committed");
                if refusals.is_empty() {
                    model.reserve(intent);
                }
            }
        }
        Step::Release { container, quote_earlier, rest, commit } => {
            let container = container.to_string();
            let recorded = model.rows.get(&container).map(|(sequence, _)| *sequence);
            let quoted = recorded.unwrap_or(1) - u64::from(*quote_earlier);
            let mut transaction = scratch.store.transaction_at(model.now).expect("open");
            let rest_for = Duration::from_secs(*rest);
            let release = transaction.release(&id(&container), Sequence(quoted), rest_for).expect("possible");
            let expected = match recorded {
                None => Release::NotFound,
                Some(sequence) if sequence != quoted => Release::Replaced(Sequence(sequence)),
                Some(_) => Release::Released,
            };
            assert_eq!(release, expected);
            if *commit {
                transaction.commit().expect("committed");
                if release == Release::Released {
                    model.release(&container, rest * SECOND);
                }
            }
        }
    }
}

/// When everything was released and has rested, only what is meant to stay is there.
fn leave_nothing(scratch: &Scratch, model: &mut Model) {
    for (container, (sequence, _)) in std::mem::take(&mut model.rows) {
        let mut transaction = scratch.store.transaction_at(model.now).expect("open");
        let release = transaction.release(&id(&container), Sequence(sequence), Duration::ZERO);
        assert_eq!(release.expect("possible"), Release::Released);
        transaction.commit().expect("committed");
    }
    let mut transaction = scratch.store.transaction_at(model.now + 1_000 * SECOND).expect("open");
    let last = transaction.reserve(intent("last", &[])).expect("nothing is asked for");
    let release = transaction.release(&id("last"), last.sequence, Duration::ZERO).expect("possible");
    assert_eq!(release, Release::Released);
    transaction.commit().expect("committed");
    let left = scratch.store.snapshot().expect("readable").rows_where(|key, _| !b"sbh".contains(&key[0]));
    assert_eq!(left, BTreeSet::new());
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![
        3 => (any::<usize>(), any::<usize>()).prop_map(|(block, start)| Pick::FirstFree { block, start }),
        1 => any::<usize>().prop_map(Pick::Fixed),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let commit = || prop::bool::weighted(0.8);
    let reserve = (
        0..12u8,
        0..16u8,
        prop::collection::vec(pick(), 0..4),
        prop::option::weighted(0.3, any::<usize>()),
        commit(),
    );
    let release = (0..12u8, prop::bool::weighted(0.2), 0..6u64, commit());
    prop_oneof![
        6 => reserve.prop_map(|(container, interface, picks, gateway, commit)| {
            Step::Reserve { container, interface, picks, gateway, commit }
        }),
        4 => release.prop_map(|(container, quote_earlier, rest, commit)| {
            Step::Release { container, quote_earlier, rest, commit }
        }),
        1 => (0..5u64).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_history_agrees_with_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut scratch = Scratch::new();
        let mut model = Model::default();
        let starts = addresses();
        for step in &steps {
            take(&mut scratch, &mut model, step);
            let snapshot = scratch.store.snapshot_at(model.now).expect("readable");
            compare(&snapshot, &model, &starts);
        }
        let recorded = audit(&scratch.store.snapshot_at(model.now).expect("readable"));
        let recorded: Vec<_> = recorded.into_iter().map(|row| (row.sequence.0, row.intent)).collect();
        let mut expected: Vec<_> = model.rows.values().cloned().collect();
        expected.sort_by(|(_, a), (_, b)| a.attachment.cmp(&b.attachment));
        prop_assert_eq!(recorded, expected);
        leave_nothing(&scratch, &mut model);
        scratch.store.close();
    }
}
