use super::*;
use crate::plan::{AddressRange, Pod, SpoofCheck};
use proptest::prelude::*;

pub(super) fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn node_facts() -> Node {
    Node {
        name: "node1".into(),
        addresses: vec![ip("192.168.1.11"), ip("fd01::11")],
        pools: vec![net("10.244.1.0/24"), net("fd00:1::/64")],
        cluster: vec![net("10.244.0.0/16"), net("fd00::/16")],
    }
}

pub(in crate::plan) fn request() -> AddRequest {
    AddRequest {
        network: "pods".parse().expect("a name"),
        attachment: AttachmentId {
            container_id: "abc".parse().expect("an ID"),
            ifname: "eth0".parse().expect("a name"),
        },
        pod: Some(Pod {
            namespace: "default".into(),
            name: "web".into(),
            uid: String::new(),
            annotations: vec![],
        }),
        node: node_facts(),
        requested_addresses: vec![],
        requested_mac: None,
        range_sets: None,
        requested_routes: vec![],
        config: "{}".into(),
        operators_bridge: None,
        port_mappings: vec![],
        bandwidth: None,
    }
}

/// What the lecture's script does for its first pod.
pub(in crate::plan) fn lecture() -> AddPlan {
    let gateway = Some(ip("10.244.1.1"));
    AddPlan {
        host_interface: None,
        wiring: Wiring::Bridge {
            bridge: Bridge::plain("cni0".into(), vec![net("10.244.1.1/24")]),
            hairpin: true,
            isolated: false,
            vlans: None,
        },
        addresses: vec![Address { prefix: net("10.244.1.2/24"), gateway }],
        routes: vec![Route::to(net("0.0.0.0/0"), gateway)],
        mac: None,
        mtu: None,
        dns: None,
        sysctls: vec![],
        masquerade: false,
        spoof_check: SpoofCheck::default(),
        duplicate_address_detection: false,
        interface_down: false,
        extra: vec![],
    }
}

fn bridge_of(plan: &mut AddPlan) -> &mut Bridge<String> {
    match &mut plan.wiring {
        Wiring::Bridge { bridge, .. } => bridge,
        Wiring::Routed => panic!("the lecture has a bridge"),
    }
}

/// The field that is refused after the change.
fn refused(change: impl FnOnce(&mut AddPlan)) -> String {
    let mut plan = lecture();
    change(&mut plan);
    let violation = add(&request(), plan.clone()).expect_err(&format!("{plan:?} was accepted"));
    assert!(!violation.rule.is_empty() && !violation.value.is_empty(), "{violation}");
    violation.field
}

fn refused_address(prefix: &str) -> String {
    refused(|p| p.addresses[0].prefix = net(prefix))
}

#[test]
fn the_lectures_plan_keeps_every_rule() {
    let checked = add(&request(), lecture()).expect("keeps every rule");
    assert_eq!(checked.mac.to_string(), "0a:58:0a:f4:01:02");
    assert_eq!(checked.host_interface.as_str().len(), 14);
    assert!(checked.host_mac.is_unicast());
}

#[test]
fn addresses_stay_in_the_pools() {
    for outside in ["10.244.2.2/24", "192.168.1.11/24", "8.8.8.8/32", "fd00:2::2/64", "127.0.0.1/8"] {
        assert_eq!(refused_address(outside), "addresses[0].prefix", "{outside}");
    }
}

#[test]
fn network_broadcast_bridge_and_gateway_addresses_are_nobodys() {
    for taken in ["10.244.1.0/24", "10.244.1.255/24", "10.244.1.1/24", "10.244.1.128/25", "10.244.1.127/25"] {
        assert_eq!(refused_address(taken), "addresses[0].prefix", "{taken}");
    }
    assert_eq!(refused(|p| p.addresses[0].prefix = net("fd00:1::/64")), "addresses[0].prefix");
    let gateway_only = refused(|p| {
        bridge_of(p).addresses.clear();
        p.addresses[0].prefix = net("10.244.1.1/24");
    });
    assert_eq!(gateway_only, "addresses[0].prefix");
}

#[test]
fn gateways_and_next_hops_are_machines() {
    for nobody in ["10.244.1.0", "10.244.1.255"] {
        assert_eq!(refused(|p| p.addresses[0].gateway = Some(ip(nobody))), "addresses[0].gateway");
        assert_eq!(refused(|p| p.routes[0].via = Some(ip(nobody))), "routes[0].via");
    }
}

#[test]
fn no_two_links_have_one_name() {
    assert_eq!(refused(|p| p.host_interface = Some("cni0".into())), "host-interface");
    for reserved in limits::KERNEL_NAMES {
        assert_eq!(refused(|p| p.host_interface = Some(reserved.into())), "host-interface");
        assert_eq!(refused(|p| bridge_of(p).name = reserved.into()), "wiring.bridge.name");
    }
}

#[test]
fn a_pods_link_stays_in_the_cluster() {
    assert_eq!(refused_address("10.244.1.2/15"), "addresses[0].prefix");
    assert_eq!(refused_address("10.244.1.2/0"), "addresses[0].prefix");
}

#[test]
fn addresses_and_gateways_fit_together() {
    assert_eq!(refused(|p| p.addresses.push(p.addresses[0].clone())), "addresses[1].prefix");
    assert_eq!(refused(|p| p.addresses[0].gateway = Some(ip("10.244.2.1"))), "addresses[0].gateway");
    assert_eq!(refused(|p| p.addresses[0].gateway = Some(ip("fd00:1::1"))), "addresses[0].gateway");
}

#[test]
fn no_link_covers_the_node_itself() {
    let mut request = request();
    request.node.addresses.push(ip("10.244.1.200"));
    for (own, field) in
        [("10.244.1.200/32", "addresses[0].prefix"), ("10.244.1.2/24", "wiring.bridge.addresses[0]")]
    {
        let mut plan = lecture();
        plan.addresses[0].prefix = net(own);
        if field.starts_with("addresses") {
            plan.wiring = Wiring::Routed;
        }
        let violation = add(&request, plan).expect_err(own);
        assert_eq!(violation.field, field, "{violation}");
        assert!(violation.to_string().contains("10.244.1.200"), "{violation}");
    }
}

#[test]
fn the_node_answers_for_no_foreign_gateway() {
    let routed = |gateway: &str| {
        let mut plan = lecture();
        plan.wiring = Wiring::Routed;
        plan.addresses[0].gateway = Some(ip(gateway));
        plan.routes[0].via = Some(ip(gateway));
        add(&request(), plan).map_err(|v| v.field)
    };
    assert!(routed("169.254.1.1").is_ok());
    assert!(routed("10.244.1.1").is_ok());
    // Clouds answer at 169.254.169.254, and some nodes have a name server at 169.254.20.10.
    for foreign in [
        "8.8.8.8",
        "192.168.1.12",
        "10.244.2.1",
        "fe80::1",
        "169.254.169.254",
        "169.254.20.10",
        "10.244.1.255",
    ] {
        assert_eq!(routed(foreign).expect_err(foreign), "addresses[0].gateway", "{foreign}");
    }
}

#[test]
fn a_routed_pods_next_hops_are_its_gateways() {
    let other_pod = |p: &mut AddPlan| {
        p.wiring = Wiring::Routed;
        p.routes[0].via = Some(ip("10.244.1.7"));
    };
    assert_eq!(refused(other_pod), "routes[0].via");
}

#[test]
fn interface_names_are_well_formed() {
    for bad in ["", "..", "a/b", "a b", "sixteen-bytes-xx", "eth%d", "x\n"] {
        assert_eq!(refused(|p| p.host_interface = Some(bad.into())), "host-interface", "{bad:?}");
        assert_eq!(refused(|p| bridge_of(p).name = bad.into()), "wiring.bridge.name", "{bad:?}");
    }
}

#[test]
fn a_bridge_keeps_to_the_pools() {
    for bad in ["10.244.2.1/24", "192.168.1.1/24", "10.244.1.255/24", "10.244.1.1/8"] {
        assert_eq!(refused(|p| bridge_of(p).addresses[0] = net(bad)), "wiring.bridge.addresses[0]", "{bad}");
    }
}

#[test]
fn next_hops_are_on_the_pods_link() {
    for bad in ["10.244.2.1", "192.168.1.1", "10.244.1.2", "fd00:1::1"] {
        assert_eq!(refused(|p| p.routes[0].via = Some(ip(bad))), "routes[0].via", "{bad}");
    }
    assert_eq!(refused(|p| p.routes[0].destination = net("10.0.0.1/8")), "routes[0].destination");
    assert_eq!(refused(|p| p.routes.push(p.routes[0].clone())), "routes[1].destination");
    let without_family = |p: &mut AddPlan| {
        p.routes[0].destination = net("::/0");
        p.routes[0].via = None;
    };
    assert_eq!(refused(without_family), "routes[0].destination");
}

#[test]
fn mtus_and_hardware_addresses_are_usable() {
    for bad in [0, 67, 65_536, u32::MAX] {
        assert_eq!(refused(|p| p.mtu = Some(bad)), "mtu");
        assert_eq!(refused(|p| bridge_of(p).mtu = Some(bad)), "wiring.bridge.mtu");
        assert_eq!(refused(|p| p.routes[0].mtu = Some(bad)), "routes[0].mtu");
    }
    let ipv6 = |p: &mut AddPlan| {
        p.addresses.push(Address { prefix: net("fd00:1::2/64"), gateway: None });
        p.mtu = Some(1_279);
    };
    assert_eq!(refused(ipv6), "mtu");
    for bad in ["", "01:00:5e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "0a:58", "x"] {
        assert_eq!(refused(|p| p.mac = Some(bad.into())), "mac", "{bad:?}");
    }
}

#[test]
fn only_listed_sysctls_pass() {
    let set = |name: &str, value: &str| {
        let mut plan = lecture();
        plan.sysctls = vec![(name.into(), value.into())];
        add(&request(), plan).map(|c| c.sysctls[0].0.clone()).map_err(|v| v.field)
    };
    assert_eq!(set("net.ipv4.ping_group_range", "0 1"), Ok("net/ipv4/ping_group_range".into()));
    assert_eq!(set("net.ipv4.conf.eth0.arp_notify", "1"), Ok("net/ipv4/conf/eth0/arp_notify".into()));
    for bad in [
        "kernel.core_pattern",
        "net.ipv4.ip_forward",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.eth1.arp_notify",
        "net/ipv4/ping_group_range",
        "net.ipv4.conf.../../../kernel.core_pattern.arp_notify",
        "",
    ] {
        assert!(set(bad, "1").is_err(), "{bad}");
    }
    assert!(set("net.ipv4.ip_local_reserved_ports", "8080,9000-9100").is_ok());
    for bad in ["", "0\n1", "0' reboot '", "$(reboot)", &"0".repeat(254)] {
        assert!(set("net.ipv4.ping_group_range", bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_dotted_interface_keeps_its_dot_in_a_sysctls_path() {
    let mut request = request();
    request.attachment.ifname = "eth0.5".parse().expect("a name");
    let mut plan = lecture();
    plan.sysctls = vec![("net.ipv4.conf.eth0.5.arp_notify".into(), "1".into())];
    let checked = add(&request, plan).expect("keeps every rule");
    assert_eq!(checked.sysctls[0].0, "net/ipv4/conf/eth0.5/arp_notify");
}

#[test]
fn nothing_is_longer_than_the_limits() {
    fn many<T: Clone>(one: T, most: usize) -> Vec<T> {
        vec![one; most + 1]
    }
    let address = Address { prefix: net("10.244.1.9/24"), gateway: None };
    assert_eq!(refused(|p| p.addresses = many(address.clone(), limits::ADDRESSES)), "addresses");
    assert_eq!(refused(|p| p.routes = many(p.routes[0].clone(), limits::ROUTES)), "routes");
    let bridge = net("10.244.1.1/24");
    assert_eq!(
        refused(|p| bridge_of(p).addresses = many(bridge, limits::ADDRESSES)),
        "wiring.bridge.addresses"
    );
    assert_eq!(refused(|p| p.sysctls = many(("a".into(), "b".into()), limits::SYSCTLS)), "sysctls");
    let dns = |change: fn(&mut Dns)| {
        refused(|p| {
            let mut dns = Dns::default();
            change(&mut dns);
            p.dns = Some(dns);
        })
    };
    assert_eq!(dns(|d| d.nameservers = many(ip("10.96.0.10"), limits::DNS_ENTRIES)), "dns.nameservers");
    assert_eq!(dns(|d| d.search = many("a".into(), limits::DNS_ENTRIES)), "dns.search");
    assert_eq!(dns(|d| d.options = many("a".into(), limits::DNS_ENTRIES)), "dns.options");
    assert_eq!(dns(|d| d.domain = Some("a".repeat(limits::STRING + 1))), "dns.domain");
    assert_eq!(dns(|d| d.search = vec!["a b".into()]), "dns.search");
    assert_eq!(refused(|p| p.extra = vec![("later".into(), "1".into())]), "extra");
}

#[test]
fn routes_have_tables_scopes_and_segments_that_the_kernel_takes() {
    let with = |change: fn(&mut Route)| {
        let mut plan = lecture();
        change(&mut plan.routes[0]);
        add(&request(), plan).map(|checked| checked.routes[0].clone()).map_err(|violation| violation.field)
    };
    let right =
        with(|route| (route.advmss, route.table, route.scope) = (Some(1340), Some(70_000), Some(200)));
    let right = right.expect("keeps every rule");
    assert_eq!((right.advmss, right.table, right.scope), (Some(1340), Some(70_000), Some(200)));
    assert_eq!(with(|route| route.advmss = Some(0)).expect_err("0"), "routes[0].advmss");
    assert_eq!(with(|route| route.advmss = Some(65_536)).expect_err("too much"), "routes[0].advmss");
    // Unspecified, and the kernel's own: a route there could make the pod answer for others' addresses.
    assert_eq!(with(|route| route.table = Some(0)).expect_err("0"), "routes[0].table");
    assert_eq!(with(|route| route.table = Some(255)).expect_err("local"), "routes[0].table");
    for bad in [1, 199, 252, 255] {
        let violation = refused(|plan| plan.routes[0].scope = Some(bad));
        assert_eq!(violation, "routes[0].scope", "{bad}");
    }
    let once_in_each_table =
        |p: &mut AddPlan| p.routes.push(Route { table: Some(100), ..p.routes[0].clone() });
    let mut plan = lecture();
    once_in_each_table(&mut plan);
    assert!(add(&request(), plan.clone()).is_ok());
    assert_eq!(refused(|p| (0..2).for_each(|_| once_in_each_table(p))), "routes[2].destination");
}

fn in_vlans(native: u16, tagged: &[(u16, u16)]) -> impl FnOnce(&mut AddPlan) {
    let planned = PortVlans { native, tagged: tagged.to_vec(), keep_default: false };
    move |plan| match &mut plan.wiring {
        Wiring::Bridge { vlans, .. } => *vlans = Some(planned),
        Wiring::Routed => panic!("the lecture has a bridge"),
    }
}

#[test]
fn vlans_have_numbers_and_ranges_an_order() {
    for bad in [0, 4095, u16::MAX] {
        assert_eq!(refused(in_vlans(bad, &[])), "wiring.vlans.native", "{bad}");
        assert_eq!(refused(in_vlans(1, &[(1, 4094), (bad, 4094)])), "wiring.vlans.tagged[1]", "{bad}");
        assert_eq!(refused(in_vlans(1, &[(1, bad)])), "wiring.vlans.tagged[0]", "{bad}");
    }
    assert_eq!(refused(in_vlans(1, &[(20, 10)])), "wiring.vlans.tagged[0]");
    assert_eq!(refused(in_vlans(1, &[(2, 2); limits::VLAN_RANGES + 1])), "wiring.vlans.tagged");
    let mut plan = lecture();
    in_vlans(4094, &[(1, 4094); limits::VLAN_RANGES])(&mut plan);
    assert!(add(&request(), plan).is_ok());
}

#[test]
fn a_gateway_of_a_vlan_needs_room_in_the_bridges_name() {
    let long = |native, addresses: &[&str]| {
        let addresses: Vec<_> = addresses.iter().map(|prefix| net(prefix)).collect();
        move |plan: &mut AddPlan| {
            in_vlans(native, &[])(plan);
            let bridge = bridge_of(plan);
            (bridge.name, bridge.addresses) = ("bridge-0123".into(), addresses);
        }
    };
    assert_eq!(refused(long(4094, &["10.244.1.1/24"])), "wiring.bridge.name");
    for (native, addresses) in [(409, &["10.244.1.1/24"][..]), (1, &["10.244.1.1/24"]), (4094, &[])] {
        let mut plan = lecture();
        long(native, addresses)(&mut plan);
        assert!(add(&request(), plan).is_ok(), "{native} {addresses:?}");
    }
}

#[test]
fn a_promiscuous_bridge_turns_no_frames_back() {
    assert_eq!(refused(|p| bridge_of(p).promiscuous = true), "wiring.hairpin");
    let mut plan = lecture();
    bridge_of(&mut plan).promiscuous = true;
    if let Wiring::Bridge { hairpin, .. } = &mut plan.wiring {
        *hairpin = false;
    }
    let checked = add(&request(), plan).expect("keeps every rule");
    assert!(matches!(checked.wiring, Wiring::Bridge { bridge: Bridge { promiscuous: true, .. }, .. }));
}

#[test]
fn an_interface_that_is_left_down_has_no_addresses() {
    assert_eq!(refused(|p| p.interface_down = true), "interface-down");
    let mut plan = AddPlan { interface_down: true, ..lecture() };
    plan.addresses.clear();
    plan.routes.clear();
    assert!(add(&request(), plan).expect("keeps every rule").interface_down);
}

#[test]
fn addresses_lie_in_the_ranges_of_the_configuration() {
    let range = |first: &str, last: &str| AddressRange {
        subnet: net("10.244.1.0/24"),
        first: ip(first),
        last: ip(last),
        gateway: None,
    };
    let with = |sets: Vec<Vec<AddressRange>>| {
        let request = AddRequest { range_sets: Some(sets), ..request() };
        add(&request, lecture()).map(|_| ()).map_err(|violation| violation.field)
    };
    let elsewhere = vec![range("10.244.1.100", "10.244.1.200")];
    assert_eq!(with(vec![elsewhere.clone()]), Err("addresses[0].prefix".into()));
    assert_eq!(with(vec![]), Err("addresses[0].prefix".into()), "none is wanted");
    let here = vec![range("10.244.1.9", "10.244.1.9"), range("10.244.1.2", "10.244.1.2")];
    assert_eq!(with(vec![elsewhere, here]), Ok(()), "first and last are of the range");
}

#[test]
fn a_policy_changes_the_operators_bridge_as_the_operator_asks_and_no_further() {
    let with = |config: &str, change: fn(&mut Bridge<String>)| {
        let mut plan = lecture();
        change(bridge_of(&mut plan));
        if let Wiring::Bridge { hairpin, .. } = &mut plan.wiring {
            *hairpin = false;
        }
        let operators_bridge = Some("cni0".parse().expect("a name"));
        let request = AddRequest { operators_bridge, config: config.into(), ..request() };
        add(&request, plan).map_err(|violation| violation.to_string())
    };
    type Change = fn(&mut Bridge<String>);
    let cases: [(&str, Change, &str); 3] = [
        (r#"{"forceAddress": true}"#, |bridge| bridge.exclusive = true, "wiring.bridge.exclusive is true"),
        (r#"{"promiscMode": true}"#, |bridge| bridge.promiscuous = true, "wiring.bridge.promiscuous is true"),
        (
            r#"{"mtu": 1400, "promiscMode": null}"#,
            |bridge| bridge.mtu = Some(1400),
            "wiring.bridge.mtu is 1400",
        ),
    ];
    for (asked, change, refused) in cases {
        with(asked, change).expect("the operator asks");
        for other in ["{}", "", r#"{"forceAddress": false, "promiscMode": false, "mtu": 1300}"#] {
            let refusal = with(other, change).expect_err("nobody asked");
            let rule = ", but bridge cni0 is the operator's, whose configuration has no \"";
            assert!(refusal.starts_with(&format!("{refused}{rule}")), "{refusal}");
        }
    }
    with("{}", |_| ()).expect("it is used as it is");
}

#[test]
fn an_exclusive_bridge_is_told_which_addresses_are_the_nodes() {
    let mut plan = lecture();
    bridge_of(&mut plan).exclusive = true;
    let Wiring::Bridge { bridge, .. } = add(&request(), plan).expect("keeps every rule").wiring else {
        panic!("the lecture has a bridge")
    };
    assert_eq!(bridge.kept, request().node.addresses);
}

/// What the operator says of a bridge, no policy can.
#[test]
fn only_the_bridge_that_the_operator_named_is_the_operators() {
    let operators = |named: Option<&str>, claimed: bool| {
        let operators_bridge = named.map(|name| name.parse().expect("a name"));
        let mut plan = lecture();
        bridge_of(&mut plan).operators = claimed;
        let checked = add(&AddRequest { operators_bridge, ..request() }, plan).expect("keeps every rule");
        matches!(checked.wiring, Wiring::Bridge { bridge: Bridge { operators: true, .. }, .. })
    };
    assert!(operators(Some("cni0"), false));
    assert!(!operators(Some("cni1"), true) && !operators(None, true));
}

pub(super) fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u8..4, any::<u8>()).prop_map(|(c, d)| IpAddr::from([10, 244, c, d])),
        any::<[u8; 4]>().prop_map(IpAddr::from),
        (0u16..3, any::<u16>()).prop_map(|(b, h)| IpAddr::from([0xfd00, b, 0, 0, 0, 0, 0, h])),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ]
}

pub(super) fn any_prefix() -> impl Strategy<Value = IpNet> {
    (any_address(), any::<u8>()).prop_map(|(address, length)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length % (most + 1)).expect("a length of its family")
    })
}

fn any_plan() -> impl Strategy<Value = AddPlan> {
    let address = (any_prefix(), prop::option::of(any_address()))
        .prop_map(|(prefix, gateway)| Address { prefix, gateway });
    let route = (any_prefix(), prop::option::of(any_address()))
        .prop_map(|(destination, via)| Route::to(destination, via));
    let wiring = prop_oneof![
        Just(Wiring::Routed),
        (any::<String>(), prop::collection::vec(any_prefix(), 0..2)).prop_map(|(name, addresses)| {
            let name = if name.len() % 2 == 0 { "cni0".into() } else { name };
            let bridge = Bridge::plain(name, addresses);
            Wiring::Bridge { bridge, hairpin: false, isolated: false, vlans: None }
        }),
    ];
    let lists = (prop::collection::vec(address, 0..3), prop::collection::vec(route, 0..2));
    (wiring, lists, prop::option::of(any::<u32>())).prop_map(|(wiring, (addresses, routes), mtu)| AddPlan {
        wiring,
        addresses,
        routes,
        mtu,
        ..lecture()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// The rules again, said the other way round: of what passes.
    #[test]
    fn whatever_passes_wires_only_its_own_pod(plan in any_plan()) {
        let node = node_facts();
        if let Ok(checked) = add(&request(), plan) {
            for address in &checked.addresses {
                let own = address.prefix.addr();
                let pool = node.pools.iter().find(|p| p.contains(&own));
                prop_assert!(pool.is_some_and(|p| own != p.network()));
                prop_assert!(own.is_ipv6() || pool.is_some_and(|p| own != p.broadcast()));
                prop_assert!(node.cluster.iter().any(|c| c.contains(&address.prefix.trunc())));
                prop_assert_ne!(address.gateway, Some(own));
                if let Wiring::Bridge { bridge, .. } = &checked.wiring {
                    prop_assert!(bridge.addresses.iter().all(|b| b.addr() != own));
                    prop_assert!(address.gateway.is_none_or(|g| address.prefix.contains(&g)));
                }
            }
            for route in &checked.routes {
                prop_assert_eq!(route.destination, route.destination.trunc());
            }
        }
    }
}
