extern crate std;

use alloc::string::ToString as _;
use alloc::vec;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use podwire_sdk::testing::{FakeLeases, add_request, decide, prefixes, range};
use podwire_sdk::{RefusalReason, config};

use super::*;

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:10:244:1::/64";

/// A node on which containers are made and deleted.
struct Ground {
    policy: Sticky,
    pools: Vec<&'static str>,
    leases: FakeLeases,
    containers: u32,
}

impl Ground {
    fn new(config: &str, pools: &[&'static str]) -> Self {
        let policy = config::read(config).expect("a configuration");
        Self { policy, pools: pools.to_vec(), leases: FakeLeases::new(), containers: 0 }
    }

    /// A new container for a pod, "namespace/name".
    fn request(&mut self, pod: &str) -> AddRequest {
        self.containers += 1;
        let (namespace, name) = pod.split_once('/').expect("namespace/name");
        add_request(&format!("c{}", self.containers), &self.pools).for_pod(namespace, name)
    }

    fn add(&mut self, pod: &str) -> Result<Vec<IpAddr>, Refusal> {
        let request = self.request(pod);
        let plan = decide(&self.policy, &request, &mut self.leases)?;
        Ok(plan.addresses.iter().map(|address| address.prefix.addr()).collect())
    }

    fn first(&mut self, pod: &str) -> IpAddr {
        self.add(pod).expect("an address")[0]
    }

    fn reboot(&mut self) {
        self.leases = FakeLeases::new();
    }
}

/// Two pods of different sets that want the same address of a pool.
fn rivals(pool: &'static str) -> [String; 2] {
    let mut seen = BTreeMap::new();
    for i in 0.. {
        let pod = format!("db/set{i}-0");
        if let Some(other) = seen.insert(Ground::new("{}", &[pool]).first(&pod), pod.clone()) {
            return [other, pod];
        }
    }
    unreachable!("a pool ends before the numbers do");
}

#[test]
fn a_pod_finds_its_addresses_again() {
    let mut ground = Ground::new("{}", &[V4, V6]);
    let before = ground.add("db/postgres-0").expect("addresses");
    assert_eq!(before.len(), 2, "one of each family");
    for address in &before {
        ground.leases.release(*address);
    }
    ground.first("web/front-7f9c-x2x4z");
    assert_eq!(ground.add("db/postgres-0"), Ok(before.clone()), "after its predecessor was deleted");
    ground.reboot();
    ground.first("db/mysql-0");
    assert_eq!(ground.add("db/postgres-0"), Ok(before), "on a node that remembers nothing");
}

/// What was given must be found by every later version.
#[test]
fn places_are_what_they_always_were() {
    let addresses = Ground::new("{}", &[V4, V6]).add("db/postgres-0").expect("addresses");
    let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    assert_eq!(addresses, ["10.244.1.173", "fd00:10:244:1:82ca:3b3f:26ef:4361"]);
}

#[test]
fn pods_of_a_set_never_want_the_same() {
    let mut ground = Ground::new("{}", &[V4]);
    let mut wired = |ordinal| (ordinal, ground.first(&format!("db/big-{ordinal}")));
    let places: BTreeMap<u32, _> = (0..127).map(&mut wired).collect();
    let used: BTreeSet<_> = places.values().collect();
    let upper = range(V4, "10.244.1.128", "10.244.1.254");
    assert!(used.len() == 127 && used.iter().all(|place| upper.contains(**place)), "{places:?}");
    ground.reboot();
    let wired = |ordinal| (ordinal, ground.first(&format!("db/big-{ordinal}")));
    assert_eq!((0..127).rev().map(wired).collect::<BTreeMap<_, _>>(), places, "in whichever order they come");
}

#[test]
fn the_second_of_two_rivals_goes_to_its_second_place_and_back() {
    let [one, other] = rivals(V4);
    let mut ground = Ground::new("{}", &[V4]);
    let (place, second) = (ground.first(&one), ground.first(&other));
    assert_ne!(place, second);
    ground.leases.release(second);
    assert_eq!(ground.first(&other), second, "its second place is as stable as the first");
    ground.leases.release(second);
    ground.leases.release(place);
    assert_eq!(ground.first(&other), place, "it begins with the first");
    ground.reboot();
    assert_eq!(ground.first(&other), place, "whoever comes first");
}

/// Whatever happened before: a pod has the first of its places that nobody else held when it came.
#[test]
fn a_pod_moves_only_if_another_held_its_place() {
    let mut ground = Ground::new("{}", &["10.244.1.0/26"]);
    let mut held: BTreeMap<String, IpAddr> = BTreeMap::new();
    for step in 0..4_000_u32 {
        let pod = format!("db/set{}-{}", hash::stable([&*step.to_string()]) % 12, step % 3);
        if let Some(address) = held.remove(&pod) {
            ground.leases.release(address);
            continue;
        }
        let request = ground.request(&pod);
        let identity = Identity::of(&request, false).expect("it has an ordinal");
        let upper = range("10.244.1.0/26", "10.244.1.32", "10.244.1.62");
        let mut places = (0..PLACES).map(|attempt| upper.at(identity.place(attempt)));
        let expected = places.find(|place| !held.values().any(|address| address == place));
        let address = ground.first(&pod);
        assert!(expected.is_none_or(|place| place == address), "{pod} has {address}, not {expected:?}");
        held.insert(pod, address);
    }
}

#[test]
fn a_predecessor_is_waited_for() {
    let mut ground = Ground::new("{}", &[V4]);
    let place = ground.first("db/postgres-0");
    let refusal = ground.add("db/postgres-0").expect_err("its predecessor is still there");
    assert_eq!(refusal.reason, RefusalReason::TryAgain);
    for word in [&*place.to_string(), "db/postgres-0", "container c1"] {
        assert!(refusal.message.contains(word), "{word} is not in: {refusal}");
    }
    ground.leases.release(place);
    assert_eq!(ground.first("db/postgres-0"), place);
    ground.policy.wait = false;
    assert_ne!(ground.first("db/postgres-0"), place, "who does not wait has another");
}

/// Of seven places, both interfaces of one pod in seven want the same.
#[test]
fn another_interface_of_the_pod_is_no_predecessor() {
    for i in 0..50 {
        let mut ground = Ground::new("{}", &["10.244.1.0/28"]);
        let pod = format!("db/set{i}-0");
        let place = ground.first(&pod);
        let request = AddRequest { ifname: "net1".into(), ..ground.request(&pod) };
        let plan = decide(&ground.policy, &request, &mut ground.leases).expect("an address");
        assert_ne!(plan.addresses[0].prefix.addr(), place);
    }
}

#[test]
fn other_pods_live_in_the_lower_half_and_borrow() {
    let mut ground = Ground::new("{}", &["10.244.1.0/28"]);
    let others: Vec<_> = (0..7).map(|i| ground.first(&format!("web/front-x{i}")).to_string()).collect();
    assert_eq!(others[..2], ["10.244.1.1", "10.244.1.2"]);
    assert_eq!(others[6], "10.244.1.7");
    assert_eq!(ground.first("web/front-x8").to_string(), "10.244.1.8", "the lower half is full");
    for i in 0..6 {
        ground.first(&format!("db/set-{i}"));
    }
    let refusal = ground.add("db/set-6").expect_err("the pool is full");
    assert_eq!(refusal.reason, RefusalReason::Exhausted);
}

#[test]
fn a_full_half_borrows_for_those_with_places_too() {
    let mut ground = Ground::new("{}", &["10.244.1.0/28"]);
    let addresses: BTreeSet<_> = (0..14).map(|i| ground.first(&format!("db/set-{i}"))).collect();
    assert_eq!(addresses.len(), 14);
}

#[test]
fn all_pods_have_places_if_the_configuration_says_so() {
    let (mut some, mut all) = (Ground::new("{}", &[V6]), Ground::new(r#"{"all": true}"#, &[V6]));
    assert_eq!(some.first("web/front").to_string(), "fd00:10:244:1::1");
    let place = all.first("web/front");
    all.reboot();
    all.first("web/back");
    assert_eq!(all.first("web/front"), place);
    let outside = decide(&all.policy, &add_request("0abc", &[V6]), &mut all.leases).expect("an address");
    assert_eq!(outside.addresses[0].prefix, prefixes(&["fd00:10:244:1::1"])[0], "a container has no name");
}

#[test]
fn what_is_asked_for_comes_before_the_place() {
    let mut ground = Ground::new("{}", &[V4, V6]);
    let request = ground.request("db/postgres-0").asking_for(&["10.244.1.5", "fd00:10:244:1::5"]);
    let plan = decide(&ground.policy, &request, &mut ground.leases).expect("they are free");
    assert_eq!(plan.addresses.len(), 2);
    assert_eq!(plan.addresses[0].prefix, prefixes(&["10.244.1.5"])[0]);
}

#[test]
fn ranges_of_the_network_have_places_too() {
    let mut ground = Ground::new("{}", &[V4]);
    let one = |first, last| vec![range(V4, first, last)];
    for (sets, inside) in [
        (vec![one("10.244.1.10", "10.244.1.19")], ["10.244.1.15", "10.244.1.19"]),
        (vec![one("10.244.1.1", "10.244.1.2")], ["10.244.1.2", "10.244.1.2"]),
    ] {
        let request = AddRequest { range_sets: Some(sets), ..ground.request("db/postgres-0") };
        let plan = decide(&ground.policy, &request, &mut FakeLeases::new()).expect("an address");
        assert!(range(V4, inside[0], inside[1]).contains(plan.addresses[0].prefix.addr()), "{plan}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_its_key() {
    let refused =
        |text| config::read::<Sticky>(text).and_then(|policy| policy.check()).expect_err(text).message;
    assert!(refused(r#"{"mtu": 70000}"#).contains("mtu is 70000"));
    assert!(refused(r#"{"waits": true}"#).contains("did you mean `wait`?"));
}
