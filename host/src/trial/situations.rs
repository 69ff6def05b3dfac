//! What every policy is asked before it becomes active: requests that the host can make, and that are rare on the
//! day on which a policy is written.

use std::net::IpAddr;
use std::sync::Arc;

use fastrand::Rng;
use ipnet::IpNet;

use super::battery::{Exam, Setting, attachment};
use crate::leases::{Holder, Ledger};
use crate::names::MacAddress;
use crate::plan::{AddRequest, AddressRange, Node, NodeRequest, Peer, Pod, Role, Route, Uplink};

/// What is asked there.
type Ask = fn(&mut Exam<'_>);

/// In the order in which they are asked: what goes wrong in an early one is the easier to understand.
pub(super) const SITUATIONS: &[(&str, Ask)] = &[
    ("check-config: the network's", |exam| exam.check_config(exam.setting.config.as_str())),
    ("check-config: {}", |exam| exam.check_config("{}")),
    ("check-config: unknown keys", |exam| exam.check_config(ODD_CONFIG)),
    (LARGE_CONFIG, |exam| exam.check_config(&large_config())),
    ("nobody holds anything", |exam| _ = exam.add(&pod_in(exam, "first"), &Ledger::new())),
    ("no pod", |exam| _ = exam.add(&container(exam), &Ledger::new())),
    ("almost full pools", almost_full),
    ("full pools", full),
    ("65,000 leases held", thousands_held),
    ("dual stack", |exam| in_pools(exam, &[V4, V6])),
    ("IPv6 only", |exam| in_pools(exam, &[V6])),
    ("pools of /30, /31 and /32", |exam| tiny(exam, ["10.244.1.4/30", "10.244.1.4/31", "10.244.1.4/32"])),
    ("pools of /126, /127 and /128", |exam| tiny(exam, ["fd00::8/126", "fd00::8/127", "fd00::8/128"])),
    ("the longest names", longest_names),
    ("names and annotations of any text", odd_names),
    ("a free address is asked for", |exam| requested(exam, 9, false)),
    ("a held address is asked for", |exam| requested(exam, 9, true)),
    ("an address outside is asked for", outside_requested),
    ("ranges and routes of `ipam`", ranges),
    ("no address is wanted", without_addresses),
    ("DEL, and the next ADD", deleted),
    ("node: without peers", |exam| node(exam, 0)),
    ("node: 100 peers", |exam| node(exam, 100)),
    (MANY_PEERS, |exam| node(exam, 1_000)),
    ("node: uplinks, and peers beyond", |exam| on_uplinks(exam, Role::Host)),
    ("node: a router", |exam| on_uplinks(exam, Role::Router)),
    ("requests by chance", by_chance),
];

const LARGE_CONFIG: &str = "check-config: 1 MiB";
const MANY_PEERS: &str = "node: 1,000 peers";

/// More than an interpreter's fuel may be enough for. A policy that has too little for it serves smaller clusters well.
pub(super) const STRAINS: [&str; 2] = [LARGE_CONFIG, MANY_PEERS];

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:10:244:1::/64";

/// Every type of JSON, under keys that no policy has.
const ODD_CONFIG: &str =
    r#"{"": null, "\u0000\u202e": "\u001b[2J", "9": 1e308, "ключ": [[[[[[{"a": {}}]]]]]], "no": false}"#;

/// A pool larger than this is not filled: its first so many addresses are.
const MOST_HELD: usize = 65_000;

/// Of the requests by chance.
const CHANCES: u32 = 300;

/// The same requests each time.
const SEED: u64 = 0x706f_6477_6972_6531;

fn block(text: &str) -> IpNet {
    text.parse().expect("a situation's block is one")
}

fn large_config() -> String {
    format!(r#"{{"podwire-battery": "{}"}}"#, "x".repeat((1 << 20) - 1024))
}

/// An ADD of a container that no pod is told of.
fn container(exam: &Exam<'_>) -> AddRequest {
    container_of(exam.setting)
}

fn container_of(setting: &Setting) -> AddRequest {
    AddRequest {
        network: "pods".parse().expect("a name"),
        attachment: attachment("0123456789abcdef"),
        pod: None,
        node: setting.node(),
        requested_addresses: Vec::new(),
        requested_mac: None,
        range_sets: None,
        requested_routes: Vec::new(),
        config: setting.config.clone(),
        operators_bridge: None,
        port_mappings: Vec::new(),
        bandwidth: None,
    }
}

fn pod_in(exam: &Exam<'_>, name: &str) -> AddRequest {
    pod_of(exam.setting, name)
}

/// An ADD for a pod that nothing is special about.
pub(super) fn pod_of(setting: &Setting, name: &str) -> AddRequest {
    let pod = pod("default", name);
    AddRequest { attachment: attachment(name), pod: Some(pod), ..container_of(setting) }
}

fn pod(namespace: &str, name: &str) -> Pod {
    let uid = "6b1f0d3e-5a52-4c6c-9d0e-0a5f2f0d9c11".into();
    Pod { namespace: namespace.into(), name: name.into(), uid, annotations: Vec::new() }
}

/// In these pools, of a cluster that has them all.
fn with_pools(request: AddRequest, pools: &[&str]) -> AddRequest {
    let pools: Vec<IpNet> = pools.iter().map(|pool| block(pool)).collect();
    let cluster = ["10.244.0.0/16", "fd00::/16"].map(block).to_vec();
    AddRequest { node: Node { pools, cluster, ..request.node }, ..request }
}

/// The addresses that a pod can have.
fn usable(pool: IpNet) -> impl Iterator<Item = IpAddr> {
    // Those of IPv6 begin with the routers' (RFC 4291, section 2.6.1).
    let is_kept = pool.addr().is_ipv6() && pool.prefix_len() < 127;
    pool.hosts().skip(usize::from(is_kept))
}

/// Somebody for each address of the pools that a pod can have, but for the very first, which is the gateway in most
/// policies' plans, and for the last so many.
fn held_but(pools: &[IpNet], left: usize) -> Ledger {
    let ledger = Ledger::new();
    for pool in pools {
        let all = usable(*pool).take(MOST_HELD + 1).count();
        let some = if all > MOST_HELD { MOST_HELD } else { all.saturating_sub(left) };
        let addresses = usable(*pool).take(some).skip(1);
        addresses.enumerate().for_each(|(i, address)| ledger.hold(address, holder(i)));
    }
    ledger
}

fn holder(number: usize) -> Holder {
    Holder {
        network: "pods".parse().expect("a name"),
        attachment: attachment(&format!("held-{number}")),
        pod: Some(format!("default/held-{number}")),
    }
}

/// Until it refuses: no address may come twice.
fn almost_full(exam: &mut Exam<'_>) {
    let ledger = held_but(&exam.setting.pools, 3);
    for i in 0..6 {
        let request = pod_in(exam, &format!("pod-{i}"));
        exam.add(&request, &ledger);
    }
}

/// The first address too: whatever a policy makes of it.
fn full(exam: &mut Exam<'_>) {
    let (request, ledger) = (pod_in(exam, "late"), held_but(&exam.setting.pools, 0));
    let first = exam.setting.pools.iter().filter_map(|pool| usable(*pool).next());
    first.for_each(|address| ledger.hold(address, holder(MOST_HELD)));
    exam.add(&request, &ledger);
}

fn thousands_held(exam: &mut Exam<'_>) {
    let request = with_pools(pod_in(exam, "late"), &["10.244.0.0/16"]);
    let ledger = held_but(&request.node.pools, 0);
    exam.add(&request, &ledger);
}

fn in_pools(exam: &mut Exam<'_>, pools: &[&str]) {
    let ledger = Ledger::new();
    for name in ["a", "b"] {
        let request = with_pools(pod_in(exam, name), pools);
        exam.add(&request, &ledger);
    }
}

/// Pool by pool, until none has room.
fn tiny(exam: &mut Exam<'_>, pools: [&str; 3]) {
    for pool in pools {
        let ledger = Ledger::new();
        for name in ["a", "b", "c", "d"] {
            let request = with_pools(pod_in(exam, name), &[pool]);
            exam.add(&request, &ledger);
        }
    }
}

fn longest_names(exam: &mut Exam<'_>) {
    let mut request = pod_in(exam, "long");
    request.network = "n".repeat(255).parse().expect("a name of the greatest length");
    request.attachment = attachment(&"c".repeat(crate::names::MAX_CONTAINER_ID));
    request.attachment.ifname =
        "i".repeat(crate::names::MAX_INTERFACE_NAME).parse().expect("as long as can be");
    request.node.name = "node.".repeat(50);
    request.pod = Some(pod(&"s".repeat(63), &"p".repeat(253)));
    exam.add(&request, &Ledger::new());
}

fn odd_names(exam: &mut Exam<'_>) {
    let text = "\u{0}\u{1b}[2J\n\u{202e}ä 漢字 \u{1f980} \"'`$(reboot);{}[]";
    let mut odd = pod(text, text);
    odd.uid = String::new();
    odd.annotations = [("", text), (text, ""), (text, text), ("json", r#"{"a": ["#)].map(owned).to_vec();
    odd.annotations.push(("large".into(), "x".repeat(256 << 10)));
    let request = AddRequest { pod: Some(odd), ..container(exam) };
    exam.add(&request, &Ledger::new());
    let nameless = AddRequest { pod: Some(pod("", "")), ..container(exam) };
    exam.add(&nameless, &Ledger::new());
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// The address with that number in each pool.
fn requested(exam: &mut Exam<'_>, number: usize, is_held: bool) {
    let ledger = Ledger::new();
    let mut request = pod_in(exam, "choosy");
    for pool in &exam.setting.pools {
        let Some(address) = usable(*pool).nth(number) else { continue };
        request.requested_addresses.extend(IpNet::new(address, pool.prefix_len()));
        if is_held {
            ledger.hold(address, holder(number));
        }
    }
    request.requested_mac = Some(MacAddress([0x0a, 0x58, 1, 2, 3, 4]));
    exam.add(&request, &ledger);
}

/// Nobody's, the node's own, the pool's first and last, and all of them.
fn outside_requested(exam: &mut Exam<'_>) {
    let edges =
        exam.setting.pools.iter().flat_map(|pool| [pool.network(), pool.broadcast()].map(IpNet::from));
    let mut asked = vec!["203.0.113.7/32", "192.168.1.11/24", "0.0.0.0/0", "ff02::1/128"].into_iter();
    let asked: Vec<IpNet> = asked.by_ref().map(block).chain(edges).collect();
    for one in &asked {
        let request = AddRequest { requested_addresses: vec![*one], ..pod_in(exam, "choosy") };
        exam.add(&request, &Ledger::new());
    }
    let request = AddRequest { requested_addresses: asked, ..pod_in(exam, "choosy") };
    exam.add(&request, &Ledger::new());
}

fn range(subnet: IpNet, first: usize, last: usize, has_gateway: bool) -> Option<AddressRange> {
    let gateway = usable(subnet).next().filter(|_| has_gateway);
    Some(AddressRange { subnet, first: usable(subnet).nth(first)?, last: usable(subnet).nth(last)?, gateway })
}

/// One set of two ranges, the first of which fills up.
fn ranges(exam: &mut Exam<'_>) {
    let Some(pool) = exam.setting.pools.first().copied() else { return };
    let set: Vec<_> = [range(pool, 9, 10, true), range(pool, 19, 20, true)].into_iter().flatten().collect();
    let everywhere = if pool.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let ledger = Ledger::new();
    for i in 0..5 {
        let mut request = pod_in(exam, &format!("pod-{i}"));
        request.node.pools = vec![pool];
        request.range_sets = Some(vec![set.clone()]);
        request.requested_routes = vec![Route::to(block(everywhere), None)];
        exam.add(&request, &ledger);
    }
}

fn without_addresses(exam: &mut Exam<'_>) {
    let request = AddRequest { range_sets: Some(Vec::new()), ..pod_in(exam, "bare") };
    exam.add(&request, &Ledger::new());
}

/// What rests is not given to the next.
fn deleted(exam: &mut Exam<'_>) {
    let ledger = Ledger::new();
    for name in ["a", "a", "b"] {
        let request = pod_in(exam, name);
        exam.add(&request, &ledger);
        exam.del(&request, &ledger);
    }
}

fn node(exam: &mut Exam<'_>, peers: u16) {
    let peers = (0..peers).map(|i| peer(i, Role::Host)).collect();
    exam.node(&node_request(exam, peers));
}

fn node_request(exam: &Exam<'_>, peers: Arc<[Peer]>) -> NodeRequest {
    let mut node = exam.setting.node();
    node.cluster.extend(["10.64.0.0/10", "fd00::/16"].map(block));
    let config = exam.setting.config.clone();
    NodeRequest { node, role: Role::Host, uplinks: Vec::new(), peers, config }
}

fn peer(i: u16, role: Role) -> Peer {
    let [high, low] = i.to_be_bytes();
    let pools = vec![block(&format!("10.{}.{low}.0/24", 64 + high)), block(&format!("fd00:0:0:{i:x}::/64"))];
    Peer {
        name: format!("peer-{i}"),
        role,
        addresses: vec![
            IpAddr::from([172, 16, high, low]),
            format!("fd01::{i:x}").parse().expect("an address"),
        ],
        pools: if role == Role::Router { Vec::new() } else { pools },
    }
}

/// Some peers on the node's link, others not; first without a router, then with one. The uplink is a loopback
/// interface's size, and one on which no tunnel has room for IPv6.
fn on_uplinks(exam: &mut Exam<'_>, role: Role) {
    for (routers, mtu) in [(0, 65_536), (1, 1_500), (0, 1_280)] {
        let routers = (0..routers).map(|i| peer(200 + i, Role::Router));
        let peers = routers.chain((100..400).map(|i| peer(i, Role::Host))).collect();
        let mut request = NodeRequest { role, ..node_request(exam, peers) };
        let addresses = ["172.16.0.1/24", "fd01::1/120"].map(block);
        request.node.addresses = addresses.iter().map(IpNet::addr).collect();
        request.uplinks =
            vec![Uplink { name: "eth0".parse().expect("a name"), addresses: addresses.to_vec(), mtu }];
        if role == Role::Router {
            request.node.pools.clear();
        }
        exam.node(&request);
    }
}

fn by_chance(exam: &mut Exam<'_>) {
    let mut chance = Rng::with_seed(SEED);
    for i in 0..CHANCES {
        let request = random_request(exam, &mut chance, i);
        let ledger = Ledger::new();
        for number in 0..chance.usize(0..40) {
            let pool = chance.choice(&request.node.pools).expect("there are pools");
            // Not the first, for the reason that `held_but` has.
            ledger.hold(random_in(pool, &mut chance, 2), holder(number));
        }
        exam.add(&request, &ledger);
    }
}

fn random_request(exam: &Exam<'_>, chance: &mut Rng, number: u32) -> AddRequest {
    const POOLS: [&[&str]; 6] = [
        &[V4],
        &[V4, V6],
        &[V6, V4],
        &["10.244.7.64/28", "10.244.9.0/24"],
        &["fd00::100/120"],
        &["10.244.4.0/29"],
    ];
    let mut request = container(exam);
    if chance.bool() {
        request = with_pools(request, chance.choice(POOLS).expect("there are some"));
    }
    request.attachment = attachment(&format!("{:016x}-{number}", chance.u64(..)));
    request.pod = chance.bool().then(|| random_pod(chance));
    for _ in 0..chance.usize(0..3) {
        let pool = *chance.choice(&request.node.pools).expect("there are pools");
        let length = chance.u8(0..=pool.max_prefix_len());
        request.requested_addresses.extend(IpNet::new(random_in(&pool, chance, 0), length));
    }
    if chance.u8(..4) == 0 {
        request.requested_mac = Some(MacAddress([0x02, 0, 0, 0, 0, chance.u8(..)]));
    }
    if chance.u8(..4) == 0 {
        let whole = |pool: &IpNet| range(*pool, chance.usize(..2), 5, chance.bool());
        request.range_sets =
            Some(request.node.pools.iter().filter_map(whole).map(|range| vec![range]).collect());
    }
    request
}

fn random_pod(chance: &mut Rng) -> Pod {
    let namespaces = ["default", "kube-system", "db", "a", ""];
    let mut text = |most: usize| -> String { (0..chance.usize(..most)).map(|_| chance.char(..)).collect() };
    let (name, annotations) = (text(20), vec![(text(10), text(40)), (text(3), text(3))]);
    let namespace = chance.choice(namespaces).expect("there are some");
    Pod { annotations, ..pod(namespace, &name) }
}

/// One of the pool's first 256 addresses, that one or a later one.
fn random_in(pool: &IpNet, chance: &mut Rng, first: u32) -> IpAddr {
    let bits = (pool.max_prefix_len() - pool.prefix_len()).min(8);
    let number = chance.u32(first.min((1 << bits) - 1)..1 << bits);
    match pool.network() {
        IpAddr::V4(base) => IpAddr::V4((base.to_bits() + number).into()),
        IpAddr::V6(base) => IpAddr::V6((base.to_bits() + u128::from(number)).into()),
    }
}
