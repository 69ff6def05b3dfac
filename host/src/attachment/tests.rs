//! What no runtime can bring about on purpose: calls that meet, and undoing that fails.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;
use crate::cni::{Environment, Error, Input};
use crate::leases::{Attachment, Intent, NetworkNamespace, Store, is_waited_for};
use crate::names::{Digest, MacAddress};
use crate::net;
use crate::net::tests::{isolated, link_named, run};
use crate::plan::marks::GROUP;
use crate::plan::{Address, Checked, Wiring};
use crate::{leases, policy};

/// An attachment with one address, by the policy of a digest that is not installed.
fn intent() -> Intent {
    let address = Address { prefix: "10.244.1.2/32".parse().expect("valid"), gateway: None };
    Intent {
        attachment: crate::names::AttachmentId {
            container_id: "a".parse().expect("valid"),
            ifname: "eth0".parse().expect("valid"),
        },
        network: "pods".parse().expect("valid"),
        pod: None,
        netns: NetworkNamespace { path: "/run/netns/a".into(), device: 4, inode: 4_026_532_000 },
        policy: PolicyName::default(),
        digest: Digest([7; 32]),
        config: "{}".to_owned(),
        plan: Checked {
            container_interface: "eth0".parse().expect("valid"),
            host_interface: "pw2".parse().expect("valid"),
            wiring: Wiring::Routed,
            addresses: vec![address],
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
        pools: vec!["10.244.1.0/24".parse().expect("valid")],
        origin: Default::default(),
        delegated: None,
        host_local: None,
    }
}

fn input() -> Input {
    Input { environment: Environment::default(), stdin: Ok(Vec::new()) }
}

fn reserve(store: &Store) -> Attachment {
    let mut transaction = store.transaction().expect("free");
    let attachment = transaction.reserve(intent()).expect("free");
    transaction.commit().expect("written");
    attachment
}

fn release(store: &Store, attachment: &Attachment) {
    let mut transaction = store.transaction().expect("free");
    let id = &attachment.intent.attachment;
    let _ = transaction.release(id, attachment.sequence, Duration::ZERO).expect("there");
    transaction.commit().expect("written");
}

fn is_on_record(store: &Store) -> bool {
    let transaction = store.transaction().expect("free");
    transaction.attachment(&intent().attachment).expect("readable").is_some()
}

fn scratch(root: &Path) -> (State, Store) {
    let state = State::new(Some(root));
    let store = Store::open(&state.leases_dir()).expect("made");
    (state, store)
}

#[test]
fn what_was_added_again_is_not_collected() {
    isolated(|| {
        let root = tempfile::tempdir().expect("a folder");
        let (state, store) = scratch(root.path());
        let stale = reserve(&store);
        release(&store, &stale);
        let current = reserve(&store);
        run(&format!("ip link add pw2 group {GROUP} type veth"));
        gc::collect(&state, &input(), &store, &stale).expect("nothing to do");
        assert!(is_on_record(&store) && link_named("pw2").is_some());
        gc::collect(&state, &input(), &store, &current).expect("taken down");
        assert!(!is_on_record(&store) && link_named("pw2").is_none());
    });
}

#[test]
fn an_address_that_may_still_be_answered_for_is_kept() {
    let root = tempfile::tempdir().expect("a folder");
    let (state, store) = scratch(root.path());
    let attachment = reserve(&store);
    let lost = || net::Error::Socket { action: "receive an answer", errno: rustix::io::Errno::NOBUFS };
    let undone = || net::Error::HostInterfaceTaken(intent().plan.host_interface);
    let left = net::Error::NotUndone {
        error: Box::new(undone()),
        interface: intent().plan.host_interface,
        left: Box::new(lost()),
    };
    for error in [left, lost()] {
        let told = add::give_back(&state, &store, &attachment, error);
        assert!(is_on_record(&store) && told.details().contains("until DEL"), "{told}");
    }
    add::give_back(&state, &store, &attachment, undone());
    assert!(!is_on_record(&store));
}

#[test]
fn a_delete_waits_for_the_add_under_way() {
    isolated(|| {
        let root = tempfile::tempdir().expect("a folder");
        let (state, store) = scratch(root.path());
        let turn = store.turn(&intent().attachment).expect("free");
        reserve(&store);
        let data = data_file(&state);
        std::thread::scope(|scope| {
            let delete = scope.spawn(|| del::del(&state, &input(), &request()));
            let start = Instant::now();
            while !is_waited_for(&data) {
                assert!(
                    !delete.is_finished() && start.elapsed() < Duration::from_secs(10),
                    "it does not wait"
                );
                std::thread::yield_now();
            }
            // The veth that the ADD makes at last.
            run(&format!("ip link add pw2 group {GROUP} type veth"));
            drop(turn);
            delete.join().expect("no panic").expect("done");
        });
        assert!(!is_on_record(&store) && link_named("pw2").is_none());
    });
}

fn request() -> cni::Del {
    cni::Del {
        attachment: intent().attachment,
        netns: None,
        netns_override: false,
        pod: None,
        configuration: Err(cni::Error::new(cni::Code::INVALID_CONFIG, "unreadable")),
    }
}

/// Of the only boot that is there.
fn data_file(state: &State) -> PathBuf {
    let only = |directory: PathBuf| {
        directory.read_dir().expect("readable").next().expect("not empty").expect("readable").path()
    };
    only(only(state.leases_dir())).join("data.mdb")
}

#[test]
fn leases_that_cannot_be_read_are_not_the_policys_fault() {
    let code_of = |error| {
        let fault = policy::Fault::Leases(error);
        Error::from(policy::Error::Failed { policy: "bridge".to_owned().into(), call: "add", fault }).code()
    };
    let damaged = leases::Error::Damaged { path: "/run/podwire".into(), problem: "torn".to_owned() };
    assert_eq!(code_of(damaged), cni::Code::LEASES_UNUSABLE);
    assert_eq!(code_of(leases::Error::TooManySteps), cni::Code::POLICY_FAILED);
}
