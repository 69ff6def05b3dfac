//! What is answered from the journal is held against what the database answered at that time.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::leases::{NetworkNamespace, Store, Transaction};
use crate::names::{AttachmentId, Digest, MacAddress, PolicyName};
use crate::plan::{Address, Wiring};
use crate::policy::testing::request;

const POOL: &str = "10.244.1.0/27";
const HALF: &str = "10.244.1.16/28";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn id(container: u64) -> AttachmentId {
    let container_id = format!("c{container}").parse().unwrap();
    AttachmentId { container_id, ifname: "eth0".parse().unwrap() }
}

fn plan(container: u64, address: IpAddr) -> Checked {
    Checked {
        container_interface: "eth0".parse().unwrap(),
        host_interface: format!("pw{container}").parse().unwrap(),
        wiring: Wiring::Routed,
        addresses: vec![Address { prefix: IpNet::from(address), gateway: Some(ip("10.244.1.1")) }],
        routes: Vec::new(),
        mac: MacAddress([0x0a; 6]),
        host_mac: MacAddress([0x0e; 6]),
        mtu: None,
        dns: None,
        sysctls: Vec::new(),
        traffic: Default::default(),
        duplicate_address_detection: false,
        interface_down: false,
    }
}

fn intent(container: u64, address: IpAddr) -> Intent {
    Intent {
        attachment: id(container),
        network: "pods".parse().unwrap(),
        pod: None,
        netns: NetworkNamespace { path: "/run/netns/a".into(), device: 4, inode: 4_026_532_000 },
        policy: PolicyName::default(),
        digest: Digest([7; 32]),
        config: "{}".to_owned(),
        plan: plan(container, address),
        pools: vec![net(POOL)],
        origin: Default::default(),
        delegated: None,
        host_local: None,
    }
}

/// All that a policy could ask here.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    holders: Vec<Option<Holder>>,
    free: [Option<IpAddr>; 3],
    taken: [u64; 2],
    last: Option<IpAddr>,
}

fn ask(view: &dyn View) -> Answers {
    let steps = &mut Steps(u64::MAX);
    let first_free = |block: &str, start: Option<&str>, steps: &mut Steps| {
        view.first_free(net(block), start.map(ip), steps).unwrap()
    };
    let all = Range::whole(net(POOL));
    let (first, last) = all.positions();
    Answers {
        holders: (first..=last).map(|at| view.holder_of(all.at(at), steps).unwrap()).collect(),
        free: [
            first_free(POOL, None, steps),
            first_free(POOL, Some("10.244.1.9"), steps),
            first_free(HALF, Some("10.244.1.30"), steps),
        ],
        taken: [POOL, HALF].map(|block| view.taken(net(block), steps).unwrap()),
        last: view.last_taken(net(POOL), steps).unwrap(),
    }
}

/// A node at work: what its journal has, and what the database answered before each decision.
struct Work {
    store: Store,
    entries: Vec<Entry<'static>>,
    answers: Vec<Answers>,
}

impl Work {
    /// Some hundred ADDs and DELs, in an order that is always the same and looks like none.
    fn done_in(directory: &Path) -> Self {
        let mut work =
            Self { store: Store::open(directory).unwrap(), entries: Vec::new(), answers: Vec::new() };
        let mut random = 7_u64;
        for _ in 0..400 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let container = (random >> 33) % 24;
            let transaction = work.store.transaction().unwrap();
            match transaction.attachment(&id(container)).unwrap() {
                Some(there) => work.release(transaction, &there),
                None => work.add(transaction, container, if random >> 63 == 0 { POOL } else { HALF }),
            }
        }
        work
    }

    fn add(&mut self, mut transaction: Transaction, container: u64, block: &str) {
        self.answers.push(ask(&transaction));
        let start = (container.is_multiple_of(3)).then(|| ip("10.244.1.20"));
        let free = transaction.first_free(net(block), start, &mut Steps(1000)).unwrap();
        // Before the first attachment nobody keeps the gateway back.
        let free = free.filter(|free| *free != ip("10.244.1.1")).unwrap_or(ip("10.244.1.2"));
        let reserved = transaction.reserve(intent(container, free));
        let outcome = match &reserved {
            Ok(attachment) => Outcome::Plan(Cow::Owned(attachment.intent.plan.clone())),
            Err(error) => Outcome::Failed(error.to_string().into()),
        };
        let sequence = reserved.ok().map(|attachment| attachment.sequence);
        transaction.commit().unwrap();
        let mut asked = request();
        asked.attachment = id(container);
        self.entries.push(Entry::Decision(Box::new(Decision {
            time: Time { seconds: 100, nanoseconds: 0 },
            boot: self.store.boot().into(),
            sequence,
            policy: Cow::Owned(PolicyName::default()),
            digest: Digest([7; 32]),
            request: Cow::Owned(asked),
            facts: Facts::default(),
            outcome,
            fuel: 1,
            host_calls: 1,
            microseconds: 1,
            shadow: None,
            cut: false,
        })));
    }

    fn release(&mut self, mut transaction: Transaction, there: &Attachment) {
        let after = transaction.last_sequence().unwrap();
        let _ = transaction.release(&there.intent.attachment, there.sequence, Duration::ZERO).unwrap();
        transaction.commit().unwrap();
        self.entries.push(Entry::Release(Release {
            time: Time { seconds: 100, nanoseconds: 0 },
            boot: self.store.boot().to_owned(),
            sequence: there.sequence,
            after,
            holder: there.intent.holder(),
            addresses: there.intent.addresses().collect(),
            gateways: there.intent.gateways().into_iter().collect(),
            rest: 0,
            failure: None,
        }));
    }

    fn present(&self) -> Present {
        let snapshot = self.store.snapshot().unwrap();
        let attachments = snapshot.attachments().unwrap().map(Result::unwrap).collect();
        Present { boot: self.store.boot().to_owned(), attachments }
    }

    /// What is answered from these entries, and what was answered then.
    fn compare(&self, entries: &[Entry<'_>], mut same: impl FnMut(Answers, &Answers)) -> usize {
        let history = Arc::new(History::new(entries, &self.present()));
        let decided = super::super::Decided::all(entries);
        let answers = &self.answers[self.answers.len() - decided.len()..];
        for (one, then) in decided.iter().zip(answers) {
            same(ask(&one.moment(&history)), then);
        }
        decided.len()
    }
}

#[test]
fn the_journal_answers_as_the_database_did() {
    let directory = tempfile::tempdir().unwrap();
    let work = Work::done_in(&directory.path().join("leases"));
    let compared = work.compare(&work.entries, |now, then| assert_eq!(now, *then));
    assert!(compared > 150, "{compared}");
    let full = work.answers.iter().filter(|answers| answers.free[2].is_none()).count();
    assert!(full > 0, "no block was ever full: the test is too small");
}

#[test]
fn the_journal_refuses_as_the_database_does() {
    let directory = tempfile::tempdir().unwrap();
    let work = Work::done_in(&directory.path().join("leases"));
    let present = work.present();
    let history = Arc::new(History::new(&work.entries, &present));
    let last = *super::super::Decided::all(&work.entries).last().unwrap();
    let moment = Moment::new(&history, last.decision, Sequence(u64::MAX));
    let held = present.attachments[0].intent.addresses().next().unwrap();
    let [mut by_address, mut by_gateway] = [held, ip("10.9.9.9")].map(|address| intent(9_999, address));
    by_address.plan.addresses[0].gateway = None;
    by_gateway.plan.addresses[0].gateway = Some(held);
    for intent in [by_address, by_gateway] {
        let now = moment.conflict(&intent.plan).map(|error| error.to_string());
        let then = work.store.transaction().unwrap().reserve(intent).unwrap_err().to_string();
        assert_eq!(now, Some(then));
    }
}

#[test]
fn what_has_left_the_journal_is_not_missed_but_as_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let work = Work::done_in(&directory.path().join("leases"));
    let kept = &work.entries[work.entries.len() / 2..];
    let compared = work.compare(kept, |now, then| {
        assert_eq!((now.holders, now.free, now.taken), (then.holders.clone(), then.free, then.taken));
    });
    assert!(compared > 70, "{compared}");
}

#[test]
fn a_release_that_was_not_recorded_holds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let work = Work::done_in(&directory.path().join("leases"));
    let decisions: Vec<_> =
        work.entries.iter().filter(|entry| matches!(entry, Entry::Decision(_))).cloned().collect();
    let present = work.present();
    let history = Arc::new(History::new(&decisions, &present));
    let last = *super::super::Decided::all(&decisions).last().unwrap();
    let now = ask(&last.moment(&history));
    assert!(now.holders.iter().flatten().count() <= present.attachments.len());
}

#[test]
fn what_was_told_then_is_told_again_and_addresses_rest() {
    let (block, address) = (net(POOL), ip("10.244.1.7"));
    let directory = tempfile::tempdir().unwrap();
    let mut work = Work::done_in(&directory.path().join("leases"));
    let rested = work.entries.iter_mut().rev().find_map(|entry| match entry {
        Entry::Release(release) => Some(release),
        _ => None,
    });
    let rested = rested.map(|release| {
        release.rest = 10;
        (release.addresses[0], release.after)
    });
    let (resting, after) = rested.unwrap();
    let history = Arc::new(History::new(&work.entries, &Present::default()));
    let Some(Entry::Decision(decision)) =
        work.entries.iter().find(|entry| matches!(entry, Entry::Decision(_)))
    else {
        panic!("there are decisions")
    };
    let mut decision = decision.as_ref().clone();
    decision.facts.told.push(Fact::FirstFree { block, start: None, free: Some(address) });
    let next = Sequence(after.0 + 1);
    for (seconds, rests) in [(109, true), (110, false)] {
        decision.time.seconds = seconds;
        let moment = Moment::new(&history, &decision, next);
        assert_eq!(moment.holder_of(resting, &mut Steps(9)).unwrap().is_some(), rests);
        assert_eq!(moment.first_free(block, None, &mut Steps(0)).unwrap(), Some(address));
        assert_eq!(moment.unrecorded(), 1);
        let conflict = moment.conflict(&plan(99, resting));
        assert_eq!(matches!(conflict, Some(Error::AddressRests { seconds: 1, .. })), rests, "{conflict:?}");
    }
}
