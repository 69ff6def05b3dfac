use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::plan::check::tests::{any_address, any_prefix, ip, net, node_facts};
use crate::plan::{Node, Peer, Uplink};

fn node_request() -> NodeRequest {
    NodeRequest {
        node: node_facts(),
        role: Role::Host,
        uplinks: vec![],
        peers: [Peer {
            name: "node2".into(),
            role: Role::Host,
            addresses: vec![ip("192.168.1.12"), ip("10.244.9.9")],
            pools: vec![net("10.244.2.0/24")],
        }]
        .into(),
        config: "{}".into(),
    }
}

fn node_refused(destination: &str, next_hop: NextHop) -> String {
    let route = NodeRoute { destination: net(destination), next_hop, metric: None };
    let plan = NodePlan { routes: vec![route], ..NodePlan::nothing() };
    node(&node_request(), plan).expect_err(destination).field
}

#[test]
fn a_nodes_routes_lead_to_pods_elsewhere_and_nowhere_else() {
    let via = NextHop::Via(ip("192.168.1.12"));
    let route = NodeRoute { destination: net("10.244.2.0/24"), next_hop: via.clone(), metric: None };
    let blackhole =
        NodeRoute { destination: net("10.244.1.0/24"), next_hop: NextHop::Blackhole, metric: None };
    let bridges = vec![Bridge::plain("cni0".to_owned(), vec![net("10.244.1.1/24")])];
    let plan = NodePlan { bridges, routes: vec![route, blackhole], ..NodePlan::nothing() };
    assert!(node(&node_request(), plan).is_ok());
    for bad in [
        "0.0.0.0/0",
        "::/0",
        "192.168.1.0/24",
        "10.0.0.0/8",
        "10.244.9.0/24", // holds a peer's own address
        "10.244.1.0/24", // this node's pool
        "10.244.1.128/25",
        "10.244.0.0/23", // covers this node's pool
        "10.244.2.1/24", // host bits
    ] {
        assert_eq!(node_refused(bad, via.clone()), "routes[0].destination", "{bad}");
    }
    assert_eq!(node_refused("10.244.9.9/32", NextHop::Blackhole), "routes[0].destination");
    for bad in ["192.168.1.11", "fd01::12", "0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255"] {
        assert_eq!(node_refused("10.244.2.0/24", NextHop::Via(ip(bad))), "routes[0].next-hop", "{bad}");
    }
}

#[test]
fn a_nodes_plan_is_bounded_and_has_nothing_twice() {
    let bridge = Bridge::plain("cni0".to_owned(), vec![]);
    let via = NextHop::Via(ip("192.168.1.12"));
    let route = NodeRoute { destination: net("10.244.2.0/24"), next_hop: via, metric: None };
    let refused = |bridges: usize, routes: usize, extra: usize| {
        let plan = NodePlan {
            bridges: vec![bridge.clone(); bridges],
            routes: vec![route.clone(); routes],
            extra: vec![("later".to_owned(), "1".to_owned()); extra],
            ..NodePlan::nothing()
        };
        node(&node_request(), plan).expect_err("too much").field
    };
    assert_eq!(refused(limits::BRIDGES + 1, 0, 0), "bridges");
    assert_eq!(refused(0, limits::NODE_ROUTES + 1, 0), "routes");
    assert_eq!(refused(2, 0, 0), "bridges[1].name");
    assert_eq!(refused(0, 2, 0), "routes[1].destination");
    assert_eq!(refused(0, 0, 1), "extra");
}

fn tunnelled(destination: &str, end: &str) -> NodeRoute {
    NodeRoute { destination: net(destination), next_hop: NextHop::Tunnel(ip(end)), metric: None }
}

fn device() -> Vxlan<String> {
    Vxlan { name: "vx0".into(), id: 7, port: 4_789, local: ip("192.168.1.11"), mtu: 1_450 }
}

fn with_uplink() -> NodeRequest {
    let addresses = vec![net("192.168.1.11/24"), net("fd01::11/64")];
    let uplinks = vec![Uplink { name: "eth0".parse().expect("a name"), addresses, mtu: 1_500 }];
    NodeRequest { uplinks, ..node_request() }
}

#[test]
fn tunnels_lead_to_peers() {
    let plan = |vxlan: Option<Vxlan<String>>, end: &str| {
        let routes = vec![tunnelled("10.244.2.0/24", end), tunnelled("fd00:2::/64", end)];
        node(&with_uplink(), NodePlan { vxlan, routes, ..NodePlan::nothing() })
    };
    assert!(plan(Some(device()), "192.168.1.12").is_ok());
    let refused = |vxlan, end| plan(vxlan, end).expect_err(end);
    assert!(refused(None, "192.168.1.12").rule.contains("no vxlan device"));
    assert!(refused(Some(device()), "192.168.1.13").rule.contains("no peer has it"));
    assert!(refused(Some(device()), "192.168.1.11").rule.contains("own address"));
    assert!(refused(Some(device()), "fd01::12").rule.contains("another family"));
    assert_eq!(refused(Some(device()), "fd01::12").field, "routes[0].next-hop");
    let own = NodePlan {
        vxlan: Some(device()),
        routes: vec![tunnelled("10.244.1.0/24", "192.168.1.12")],
        ..NodePlan::nothing()
    };
    assert_eq!(node(&with_uplink(), own).expect_err("its own pool").field, "routes[0].destination");
}

#[test]
fn a_tunnels_end_is_one() {
    let refused = |change: &dyn Fn(&mut Vxlan<String>)| {
        let mut vxlan = device();
        change(&mut vxlan);
        let bridges = vec![Bridge::plain("cni0".to_owned(), vec![])];
        let routes = vec![tunnelled("fd00:2::/64", "192.168.1.12")];
        let plan = NodePlan { vxlan: Some(vxlan), bridges, routes, ..NodePlan::nothing() };
        node(&with_uplink(), plan).map_or_else(|violation| violation.field, |_| "nothing".into())
    };
    assert_eq!(refused(&|_| ()), "nothing");
    for name in ["cni0", "eth0", "sixteen-bytes-xx", "all"] {
        assert_eq!(refused(&|vxlan| vxlan.name = name.into()), "vxlan.name", "{name}");
    }
    for id in [0, 1 << 24] {
        assert_eq!(refused(&|vxlan| vxlan.id = id), "vxlan.id");
    }
    assert_eq!(refused(&|vxlan| vxlan.port = 0), "vxlan.port");
    assert_eq!(refused(&|vxlan| vxlan.local = ip("192.168.1.12")), "vxlan.local");
    for mtu in [67, 1_279, 1_451, 65_536, u32::MAX] {
        assert_eq!(refused(&|vxlan| vxlan.mtu = mtu), "vxlan.mtu", "{mtu}");
    }
    let over_ipv6 = |mtu| Vxlan { local: ip("fd01::11"), mtu, ..device() };
    let plan = |vxlan| NodePlan { vxlan: Some(vxlan), ..NodePlan::nothing() };
    assert!(node(&with_uplink(), plan(over_ipv6(1_430))).is_ok());
    assert!(node(&with_uplink(), plan(over_ipv6(1_431))).is_err());
    assert!(node(&node_request(), plan(over_ipv6(9_000))).is_ok(), "nobody knows the uplink");
    assert!(node(&with_uplink(), plan(Vxlan { mtu: 1_000, ..device() })).is_ok(), "without IPv6");
}

#[test]
fn a_route_to_the_cluster_leaves_the_pools_at_home() {
    let wide = |destination: &str, bridges: &[&str], dropped: &[&str]| {
        let mut request = node_request();
        Arc::make_mut(&mut request.peers)[0].addresses.truncate(1);
        let route =
            |block: &&str| NodeRoute { destination: net(block), next_hop: NextHop::Blackhole, metric: None };
        let mut routes: Vec<_> = dropped.iter().map(route).collect();
        routes.push(NodeRoute { next_hop: NextHop::Via(ip("192.168.1.1")), ..route(&destination) });
        let bridges = vec![Bridge::plain("cni0".to_owned(), bridges.iter().map(|link| net(link)).collect())];
        node(&request, NodePlan { bridges, routes, ..NodePlan::nothing() }).is_ok()
    };
    assert!(!wide("10.244.0.0/16", &[], &[]));
    assert!(wide("10.244.0.0/16", &["10.244.1.1/24"], &[]));
    assert!(wide("10.244.0.0/16", &[], &["10.244.1.0/24"]));
    assert!(wide("10.244.0.0/16", &[], &["10.244.0.0/23"]));
    assert!(!wide(
        "10.244.0.0/16",
        &["10.244.1.1/25"],
        &["10.244.1.128/25", "10.244.2.0/24", "10.244.0.0/15"]
    ));
    assert!(!wide("10.244.0.0/16", &["10.244.1.1/16"], &[]), "of the two the kernel would choose by metric");
    assert!(!wide("10.244.0.0/16", &["fd00:1::1/64"], &[]));
    assert!(!wide("10.244.1.0/24", &["10.244.1.1/24"], &[]));
    assert!(!wide("10.244.1.128/25", &["10.244.1.1/24"], &[]));
}

#[test]
fn a_router_has_no_bridge_for_pods() {
    let bridges = vec![Bridge::plain("cni0".to_owned(), vec![net("10.244.1.1/24")])];
    let request = NodeRequest { role: Role::Router, ..node_request() };
    let plan = NodePlan { bridges, ..NodePlan::nothing() };
    assert_eq!(node(&request, plan).expect_err("a router").field, "bridges[0].addresses[0]");
}

#[test]
fn a_node_masquerades_its_own_pods_once() {
    let check = |blocks: &[&str]| {
        let masquerade = blocks.iter().map(|block| net(block)).collect();
        node(&node_request(), NodePlan { masquerade, ..NodePlan::nothing() }).map(drop).map_err(|it| it.field)
    };
    assert_eq!(check(&["10.244.1.0/24", "fd00:1::/64"]), Ok(()));
    assert_eq!(check(&["10.244.1.0/25", "10.244.1.128/25"]), Ok(()));
    for bad in ["10.244.2.0/24", "10.244.0.0/16", "10.244.1.1/24", "0.0.0.0/0"] {
        assert_eq!(check(&[bad]), Err("masquerade[0]".into()), "{bad}");
    }
    for again in ["10.244.1.0/24", "10.244.1.128/25"] {
        assert_eq!(check(&["10.244.1.0/24", again]), Err("masquerade[1]".into()), "{again}");
        assert_eq!(check(&[again, "10.244.1.0/24"]), Err("masquerade[1]".into()), "{again}");
    }
    assert_eq!(check(&["10.244.1.1/32"; 65]), Err("masquerade".into()));
}

#[test]
fn thousands_of_peers_have_their_routes() {
    let mut request = with_uplink();
    request.node.cluster = vec![net("10.0.0.0/8"), net("fd00::/16")];
    let mut plan = NodePlan { vxlan: Some(device()), ..NodePlan::nothing() };
    request.peers = (0..5_000u16)
        .map(|i| {
            let [high, low] = i.to_be_bytes();
            let end = IpAddr::from([172, 16, high, low]);
            let pools =
                vec![net(&format!("10.{}.{low}.0/24", 64 + high)), net(&format!("fd00:a:{i:x}::/64"))];
            let hops = [NextHop::Via(end), NextHop::Tunnel(end)];
            let to = pools.iter().zip(hops);
            plan.routes.extend(to.map(|(pool, next_hop)| NodeRoute {
                destination: *pool,
                next_hop,
                metric: None,
            }));
            Peer { name: format!("n{i}"), role: Role::Host, addresses: vec![end], pools }
        })
        .collect();
    assert_eq!(node(&request, plan.clone()).expect("keeps every rule").routes.len(), 10_000);
    Arc::make_mut(&mut request.peers)[4_999].addresses.push(ip("10.64.0.77"));
    let violation = node(&request, plan).expect_err("one peer lives among pods");
    assert_eq!((&*violation.field, &*violation.value), ("routes[0].destination", "10.64.0.0/24"));
}

/// The rules of routes as they stand in the contract, each for itself.
fn keeps_the_contract(request: &NodeRequest, plan: &NodePlan<String>) -> bool {
    let node = &request.node;
    let machines = || node.addresses.iter().chain(request.peers.iter().flat_map(|peer| &peer.addresses));
    let is_peers = |address: &IpAddr| request.peers.iter().any(|peer| peer.addresses.contains(address));
    let keeps = |route: &NodeRoute| {
        let destination = route.destination;
        let keepers = plan
            .routes
            .iter()
            .filter(|other| other.next_hop == NextHop::Blackhole)
            .map(|other| other.destination);
        let keepers: Vec<IpNet> =
            keepers.chain(plan.bridges.iter().flat_map(|bridge| bridge.addresses.clone())).collect();
        let lost = node.pools.iter().any(|pool| {
            let kept = keepers
                .iter()
                .any(|keeper| keeper.contains(pool) && keeper.prefix_len() > destination.prefix_len());
            pool.contains(&destination) || (destination.contains(pool) && !kept)
        });
        let fits = destination == destination.trunc()
            && destination.prefix_len() > 0
            && node.cluster.iter().any(|block| block.contains(&destination))
            && !machines().any(|machine| destination.contains(machine));
        let leads = match &route.next_hop {
            NextHop::Blackhole => true,
            NextHop::Via(via) => {
                let nobody = via.is_unspecified()
                    || via.is_multicast()
                    || via.is_loopback()
                    || *via == Ipv4Addr::BROADCAST;
                !lost
                    && !nobody
                    && via.is_ipv4() == destination.addr().is_ipv4()
                    && !node.addresses.contains(via)
            }
            NextHop::Tunnel(end) => {
                let local = plan.vxlan.as_ref().map(|vxlan| vxlan.local);
                let alike = local.is_some_and(|local| local.is_ipv4() == end.is_ipv4());
                !lost && alike && is_peers(end) && !node.addresses.contains(end)
            }
        };
        fits && leads
    };
    let twice = |i: usize| {
        let place = |route: &NodeRoute| (route.destination, route.metric);
        plan.routes[..i].iter().any(|other| place(other) == place(&plan.routes[i]))
    };
    plan.routes.iter().all(keeps) && !(0..plan.routes.len()).any(twice)
}

/// Mostly such as may pass, for else no plan of several would.
fn any_node_route() -> impl Strategy<Value = NodeRoute> {
    const BLOCKS: [&str; 8] = [
        "10.244.2.0/24",
        "10.244.3.0/24",
        "10.244.0.0/16",
        "10.244.0.0/23",
        "10.244.1.0/24",
        "10.244.1.64/26",
        "fd00:2::/64",
        "fd00::/16",
    ];
    const MACHINES: [&str; 5] = ["192.168.1.12", "192.168.1.13", "192.168.1.11", "fd01::12", "fd01::11"];
    let block = prop_oneof![9 => prop::sample::select(&BLOCKS[..]).prop_map(net), 1 => any_prefix()];
    let machine = prop_oneof![9 => prop::sample::select(&MACHINES[..]).prop_map(ip), 1 => any_address()];
    let next_hop = prop_oneof![
        machine.clone().prop_map(NextHop::Via),
        machine.prop_map(NextHop::Tunnel),
        Just(NextHop::Blackhole),
    ];
    let metric = prop::option::of(0..2_u32);
    (block, next_hop, metric).prop_map(|(destination, next_hop, metric)| NodeRoute {
        destination,
        next_hop,
        metric,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn sorted_and_hashed_the_rules_are_the_contracts(
        routes in prop::collection::vec(any_node_route(), 0..4),
        machines in prop::collection::vec(any_address(), 0..3),
        has_bridge in any::<bool>(),
        local in prop::option::of(prop::sample::select(vec!["192.168.1.11", "fd01::11"])),
    ) {
        let mut request = node_request();
        Arc::make_mut(&mut request.peers)[0].addresses = [vec![ip("192.168.1.12"), ip("fd01::12")], machines].concat();
        request.node = Node { addresses: vec![ip("192.168.1.11"), ip("fd01::11")], ..request.node };
        let bridge = Bridge::plain("cni0".to_owned(), vec![net("10.244.1.1/24"), net("fd00:1::1/64")]);
        let vxlan = local.map(|local| Vxlan { local: ip(local), ..device() });
        let bridges = if has_bridge { vec![bridge] } else { vec![] };
        let plan = NodePlan { bridges, vxlan, routes, ..NodePlan::nothing() };
        let expected = keeps_the_contract(&request, &plan);
        let checked = node(&request, plan);
        prop_assert_eq!(checked.is_ok(), expected, "{:?}", checked);
    }
}
