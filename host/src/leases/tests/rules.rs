//! Each rule by itself.

use std::time::Duration;

use super::super::{Empty, Release, Sequence, Steps};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn many() -> Steps {
    Steps(u64::MAX)
}

fn refusal(store: &Store, intent: Intent) -> String {
    let error = add(store, intent).expect_err("refused").to_string();
    audit(&store.snapshot().expect("readable"));
    error
}

#[test]
fn a_refusal_names_what_is_taken_and_by_whom() {
    let Scratch { store, .. } = &Scratch::new();
    let mut first = with_bridge(intent("a", &["10.0.0.2", "fd00::2"]), &["10.0.0.1/24"]);
    first.plan.addresses[1].gateway = Some(ip("fd00::1"));
    add(store, first).expect("all free");

    assert!(refusal(store, intent("a", &[])).contains("a/eth0 is on record already (number 1)"));
    let held = refusal(store, intent("b", &["10.0.0.3", "fd00::2"]));
    assert!(held.contains("fd00::2 is held by a/eth0 (network pods, pod default/a)"), "{held}");
    assert!(refusal(store, intent("b", &["10.0.0.1"])).contains("10.0.0.1 is a gateway"));
    assert!(refusal(store, intent("b", &["fd00::1"])).contains("fd00::1 is a gateway"));
    let taken = refusal(store, with_bridge(intent("b", &[]), &["10.0.0.2/24"]));
    assert!(taken.contains("10.0.0.2, which the plan names as a gateway or for a bridge, is held by a/eth0"));
    let own = refusal(store, with_bridge(intent("b", &["10.0.0.9"]), &["10.0.0.9/24"]));
    assert!(own.contains("10.0.0.9 is a gateway"), "{own}");
    assert!(refusal(store, intent("b", &["10.0.0.3", "10.0.0.3"])).contains("10.0.0.3 is in the plan twice"));
    let mut same_interface = intent("b", &["10.0.0.3"]);
    same_interface.plan.host_interface = "pwa".parse().expect("a name");
    assert!(refusal(store, same_interface).contains("pwa is used by a/eth0"));
}

#[test]
fn a_refused_reservation_changes_nothing_though_the_transaction_is_committed() {
    let Scratch { store, .. } = &Scratch::new();
    add(store, intent("a", &["10.0.0.2"])).expect("free");
    let mut transaction = store.transaction().expect("open");
    transaction.reserve(intent("b", &["10.0.0.3", "10.0.0.2"])).expect_err("held");
    transaction.commit().expect("committed");
    assert_eq!(audit(&store.snapshot().expect("readable")).len(), 1);
}

#[test]
fn what_is_on_record_reads_back_whole() {
    let mut scratch = Scratch::new();
    let intent = with_bridge(intent("a", &["10.0.0.2"]), &["10.0.0.1/24"]);
    let added = add(&scratch.store, intent.clone()).expect("free");
    assert_eq!((&added.intent, added.sequence), (&intent, Sequence(1)));
    scratch.reopen();
    let transaction = scratch.store.transaction().expect("open");
    assert_eq!(transaction.attachment(&id("a")).expect("readable"), Some(added));
    assert_eq!(transaction.attachment(&id("b")).expect("readable"), None);
}

#[test]
fn a_release_that_quotes_an_earlier_add_frees_nothing() {
    let Scratch { store, .. } = &Scratch::new();
    let first = add(store, intent("a", &["10.0.0.2"])).expect("free").sequence;
    let mut transaction = store.transaction().expect("open");
    let mut release = |sequence| transaction.release(&id("a"), sequence, Duration::ZERO).expect("possible");
    assert_eq!(release(first), Release::Released);
    assert_eq!(release(first), Release::NotFound);
    let second = transaction.reserve(intent("a", &["10.0.0.2"])).expect("free").sequence;
    let mut release = |sequence| transaction.release(&id("a"), sequence, Duration::ZERO).expect("possible");
    assert_eq!(release(first), Release::Replaced(second));
    transaction.commit().expect("committed");
    assert_eq!(audit(&store.snapshot().expect("readable")).len(), 1);
}

#[test]
fn an_address_rests_until_its_time_and_is_then_as_if_it_had_never_been_held() {
    let Scratch { store, .. } = &Scratch::new();
    let mut transaction = store.transaction_at(0).expect("open");
    let sequence = transaction.reserve(intent("a", &["10.0.0.1"])).expect("free").sequence;
    let release = transaction.release(&id("a"), sequence, Duration::from_secs(10)).expect("possible");
    assert_eq!(release, Release::Released);
    transaction.commit().expect("committed");

    let mut early = store.transaction_at(9 * SECOND + 1).expect("open");
    let holder = early.holder_of(ip("10.0.0.1"), &mut many()).expect("readable");
    assert_eq!(holder, Some(intent("a", &[]).holder()));
    assert_eq!(early.taken(net("10.0.0.0/30"), &mut many()).expect("readable"), 1);
    let refused = early.reserve(intent("b", &["10.0.0.1"])).expect_err("rests").to_string();
    assert!(refused.contains("10.0.0.1 rests 1 s more after a/eth0"), "{refused}");
    drop(early);

    let mut late = store.transaction_at(10 * SECOND).expect("open");
    assert_eq!(late.holder_of(ip("10.0.0.1"), &mut many()).expect("readable"), None);
    assert_eq!(late.taken(net("10.0.0.0/30"), &mut many()).expect("readable"), 0);
    assert_eq!(
        late.first_free(net("10.0.0.0/30"), None, &mut many()).expect("readable"),
        Some(ip("10.0.0.1"))
    );
    late.reserve(intent("b", &["10.0.0.2"])).expect("free");
    late.commit().expect("committed");
    let resting = store.snapshot().expect("readable").rows_where(|key, _| key.starts_with(b"r"));
    assert!(resting.is_empty());
}

#[test]
fn an_address_that_is_taken_again_outlives_the_end_of_its_rest() {
    let Scratch { store, .. } = &Scratch::new();
    let addresses: Vec<_> = (1..=200).map(|last| format!("10.0.0.{last}")).collect();
    let all: Vec<_> = addresses.iter().map(String::as_str).collect();
    let rest = |at: u64, addresses: &[&str], for_seconds: u64| {
        let mut transaction = store.transaction_at(at * SECOND).expect("open");
        let sequence = transaction.reserve(intent("a", addresses)).expect("free").sequence;
        let rest = Duration::from_secs(for_seconds);
        assert_eq!(transaction.release(&id("a"), sequence, rest).expect("possible"), Release::Released);
        transaction.commit().expect("committed");
    };
    rest(0, &all, 10);
    // The rests that are over are more than one transaction takes away: these two wait at their end.
    rest(20, &["10.0.0.199"], 100);
    let mut transaction = store.transaction_at(20 * SECOND).expect("open");
    let kept = transaction.reserve(intent("b", &["10.0.0.200"])).expect("rested enough");
    transaction.commit().expect("committed");
    (0..5).for_each(|_| rest(20, &[], 0));

    let snapshot = store.snapshot_at(20 * SECOND).expect("readable");
    let holder = |address| snapshot.holder_of(ip(address), &mut many()).expect("readable");
    assert_eq!(holder("10.0.0.200"), Some(kept.intent.holder()));
    assert_eq!(holder("10.0.0.199"), Some(intent("a", &[]).holder()));
    assert_eq!(snapshot.taken(net("10.0.0.0/24"), &mut many()).expect("readable"), 2);
    assert_eq!(snapshot.rows_where(|key, _| key.starts_with(b"r")).len(), 1);
}

#[test]
fn gateways_are_skipped_while_an_attachment_names_them() {
    let Scratch { store, .. } = &Scratch::new();
    let free = |store: &Store| {
        let snapshot = store.snapshot().expect("readable");
        assert_eq!(snapshot.holder_of(ip("10.0.0.1"), &mut many()).expect("readable"), None);
        snapshot.first_free(net("10.0.0.0/24"), None, &mut many()).expect("readable")
    };
    let sequences = ["a", "b"].map(|container| {
        let intent = with_bridge(intent(container, &[]), &["10.0.0.1/24"]);
        (container, add(store, intent).expect("free").sequence)
    });
    for (container, sequence) in sequences {
        assert_eq!(free(store), Some(ip("10.0.0.2")));
        let mut transaction = store.transaction().expect("open");
        let release = transaction.release(&id(container), sequence, Duration::ZERO).expect("possible");
        assert_eq!(release, Release::Released);
        transaction.commit().expect("committed");
    }
    assert_eq!(free(store), Some(ip("10.0.0.1")));
}

#[test]
fn the_last_address_is_remembered_for_every_block_that_is_asked_for() {
    let Scratch { store, .. } = &Scratch::new();
    let add = |container: &str, address: &str| {
        let mut transaction = store.transaction().expect("open");
        let last = transaction.last_taken(net("10.1.0.0/16"), &mut Steps(1)).expect("readable");
        let sequence = transaction.reserve(intent(container, &[address])).expect("free").sequence;
        let release = transaction.release(&id(container), sequence, Duration::ZERO).expect("possible");
        assert_eq!(release, Release::Released);
        transaction.commit().expect("committed");
        last
    };
    assert_eq!(add("a", "10.1.0.1"), None);
    assert_eq!(add("b", "10.2.0.1"), Some(ip("10.1.0.1")));
    assert_eq!(add("c", "10.1.0.2"), Some(ip("10.1.0.1")));
    assert_eq!(add("d", "10.2.0.2"), Some(ip("10.1.0.2")));
    let snapshot = store.snapshot().expect("readable");
    let last = snapshot.last_taken(net("10.0.0.0/8"), &mut Steps(1)).expect("readable");
    assert_eq!(last, Some(ip("10.2.0.2")));
}

#[test]
fn asking_for_ever_new_blocks_does_not_fill_the_database() {
    let Scratch { store, .. } = &Scratch::new();
    for pod in 1..=100 {
        let address = format!("fd00::{pod:x}:0:0");
        let mut transaction = store.transaction().expect("open");
        for length in (97..=128).rev() {
            let block = net(&format!("{address}/{length}"));
            transaction.last_taken(block, &mut Steps(1)).expect("readable");
        }
        transaction.reserve(intent(&pod.to_string(), &[&address])).expect("free");
        transaction.commit().expect("committed");
        let blocks = store.snapshot().expect("readable").rows_where(|key, _| key.starts_with(b"b"));
        assert!(blocks.len() <= 1 + pod * 16, "{} after {pod}", blocks.len());
    }
    let blocks = store.snapshot().expect("readable").rows_where(|key, _| key.starts_with(b"b"));
    assert_eq!(blocks.len(), 1024);
}

#[test]
fn sixty_thousand_leases_cost_a_policy_that_goes_round_no_more_steps_than_one() {
    let Scratch { store, .. } = &Scratch::new();
    let pool = net("10.0.0.0/16");
    let next = |transaction: &super::super::Transaction| {
        let mut steps = Steps(1_000);
        let last = transaction.last_taken(pool, &mut steps).expect("few steps");
        let start = last.map(|last| match last {
            IpAddr::V4(last) => IpAddr::V4((u32::from(last) + 1).into()),
            IpAddr::V6(_) => unreachable!("the pool is IPv4"),
        });
        let free = transaction.first_free(pool, start, &mut steps).expect("few steps");
        (free.expect("not full").to_string(), 1_000 - steps.0)
    };
    let mut transaction = store.transaction().expect("open");
    for pod in 0..60_000 {
        let (free, steps) = next(&transaction);
        assert!(steps <= 2, "{steps} steps with {pod} leases");
        let mut intent = intent(&format!("{pod:x}"), &[&free]);
        intent.pools = vec![pool];
        transaction.reserve(intent).expect("free");
        if pod % 1_000 == 999 {
            transaction.commit().expect("committed");
            transaction = store.transaction().expect("open");
        }
    }
    assert_eq!(transaction.taken(pool, &mut Steps(60_000)).expect("enough steps"), 60_000);
    let all = transaction.first_free(pool, None, &mut Steps(59_999));
    assert!(matches!(all, Err(Error::TooManySteps)));
}

#[test]
fn where_nothing_is_in_use_the_first_address_is_free() {
    let free = |block, start| Empty.first_free(net(block), start, &mut Steps(0)).expect("readable");
    assert_eq!(free("10.0.0.0/24", None), Some(ip("10.0.0.1")));
    assert_eq!(free("10.0.0.0/24", Some(ip("10.0.0.7"))), Some(ip("10.0.0.7")));
    assert_eq!(free("10.0.0.0/24", Some(ip("10.0.0.255"))), Some(ip("10.0.0.1")));
    assert_eq!(free("fd00::/127", Some(ip("10.0.0.0"))), Some(ip("fd00::")));
}

#[test]
fn a_thread_that_would_wait_for_itself_is_told() {
    let Scratch { store, .. } = &Scratch::new();
    let first = store.transaction().expect("open");
    assert!(matches!(store.transaction(), Err(Error::Nested)));
    drop(first);
    store.transaction().expect("open again");
}

/// A node is updated under its pods: what an earlier version wrote lacks what this one knows.
#[test]
fn records_of_earlier_versions_are_read() {
    let mut written = with_bridge(intent("a", &["10.0.0.2"]), &["10.0.0.1/8"]);
    written.plan.routes = vec![crate::plan::Route::to(net("0.0.0.0/0"), None)];
    let mut record = serde_json::to_value(&written).expect("JSON");
    let mut forget = |path: &str, keys: &[&str]| {
        let object = record.pointer_mut(path).and_then(serde_json::Value::as_object_mut).expect(path);
        keys.iter().for_each(|key| drop(object.remove(*key)));
    };
    forget("", &["origin", "delegated", "host_local"]);
    forget("/plan", &["traffic", "duplicate_address_detection", "interface_down"]);
    forget("/plan/wiring/bridge", &["vlans"]);
    forget("/plan/wiring/bridge/bridge", &["promiscuous", "exclusive", "operators"]);
    forget("/plan/routes/0", &["advmss", "table", "scope"]);
    assert_eq!(serde_json::from_value::<Intent>(record).expect("read"), written);
}

#[test]
fn what_nobody_had_before_is_known_by_the_highest_address_of_the_family() {
    let Scratch { store, .. } = &Scratch::new();
    let never_held = |addresses: &[&str]| {
        let transaction = store.transaction().expect("open");
        transaction.never_held(addresses.iter().map(|address| ip(address))).expect("readable")
    };
    assert_eq!(never_held(&["10.0.0.2", "fd00::2"]), [ip("10.0.0.2"), ip("fd00::2")]);
    let first = add(store, intent("a", &["10.0.0.7", "fd00::2"])).expect("free");
    add(store, intent("b", &["10.0.0.5"])).expect("free");
    let mut transaction = store.transaction().expect("open");
    let released = transaction.release(&id("a"), first.sequence, Duration::ZERO).expect("possible");
    assert_eq!(released, Release::Released);
    transaction.commit().expect("committed");
    assert_eq!(never_held(&["10.0.0.6", "10.0.0.7", "fd00::2"]), [] as [std::net::IpAddr; 0]);
    assert_eq!(never_held(&["10.0.0.8", "fd00::3"]), [ip("10.0.0.8"), ip("fd00::3")]);
}
