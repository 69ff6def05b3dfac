//! Addresses and routes of networks that say by `ipam` where they come from.

use core::slice::from_ref;

use podwire_sdk::AddressRange;
use podwire_sdk::testing::range;

use super::*;

/// The whole of a block, as host-local takes it.
fn whole(subnet: &str) -> AddressRange {
    let block: IpNet = subnet.parse().expect("a block");
    let last = if block.addr().is_ipv4() { block.hosts().last() } else { Some(block.broadcast()) };
    let [first, last] = [nth(block, 1), last].map(|address| address.expect("a large block").to_string());
    range(subnet, &first, &last)
}

/// A network with these sets.
struct Ipam {
    config: &'static str,
    sets: Vec<Vec<AddressRange>>,
    routes: Vec<Route>,
    leases: FakeLeases,
}

impl Ipam {
    fn new(config: &'static str, sets: Vec<Vec<AddressRange>>) -> Self {
        Self { config, sets, routes: vec![], leases: FakeLeases::new() }
    }

    fn add(&mut self, asked: &[&str]) -> Result<AddPlan, Refusal> {
        let request = AddRequest {
            requested_addresses: prefixes(asked),
            range_sets: Some(self.sets.clone()),
            requested_routes: self.routes.clone(),
            // None of the pools' own addresses must show.
            ..add_request("0abc", &["10.99.0.0/24", "fd99::/64"])
        };
        let plan = script(self.config).add(&request, &self.leases)?;
        self.leases.record(&request, &plan);
        Ok(plan)
    }

    fn addresses(&mut self, asked: &[&str]) -> Result<Vec<String>, Refusal> {
        self.add(asked).map(|plan| addresses_of(&plan))
    }

    #[track_caller]
    fn refusal(&mut self, asked: &[&str]) -> Refusal {
        self.add(asked).expect_err("a refusal")
    }
}

fn part(first: u8, last: u8) -> AddressRange {
    range(V4, &format!("10.244.1.{first}"), &format!("10.244.1.{last}"))
}

#[test]
fn each_set_gives_one_address() {
    let mut ipam = Ipam::new("{}", vec![vec![whole(V6)], vec![part(10, 20)], vec![part(30, 40)]]);
    let first = ["fd00:10:244:1::2/64", "10.244.1.10/24", "10.244.1.30/24"];
    assert_eq!(ipam.addresses(&[]), Ok(first.map(String::from).into()));
    let second = ["fd00:10:244:1::3/64", "10.244.1.11/24", "10.244.1.31/24"];
    assert_eq!(ipam.addresses(&[]), Ok(second.map(String::from).into()));
}

#[test]
fn ranges_of_a_set_are_tried_in_turn() {
    let mut ipam = Ipam::new("{}", vec![vec![part(10, 11), part(30, 30)]]);
    for last in [10, 11, 30] {
        assert_eq!(ipam.addresses(&[]), Ok(vec![format!("10.244.1.{last}/24")]));
    }
    ipam.leases.release(ip("10.244.1.11"));
    assert_eq!(ipam.addresses(&[]), Ok(vec!["10.244.1.11/24".into()]));
}

#[test]
fn addresses_of_a_range_go_round() {
    let mut ipam = Ipam::new("{}", vec![vec![part(10, 12)]]);
    for last in [10, 11, 12] {
        ipam.leases.release(ip("10.244.1.10"));
        assert_eq!(ipam.addresses(&[]), Ok(vec![format!("10.244.1.{last}/24")]), "the one given back rests");
    }
    assert_eq!(ipam.addresses(&[]), Ok(vec!["10.244.1.10/24".into()]));
}

#[test]
fn no_set_is_layer_2_only() {
    let mut ipam = Ipam::new(r#"{"isGateway": true, "isDefaultGateway": true}"#, vec![]);
    assert_eq!(ipam.add(&[]), Ok(AddPlan::port_of(BridgePort::of(Bridge::named("cni0")))));
    let refusal = ipam.refusal(&["10.244.1.7"]);
    assert_eq!(refusal.reason, RefusalReason::Denied);
    assert!(
        refusal.message.contains("10.244.1.7 is not among the addresses of network pods: none"),
        "{refusal}"
    );
}

#[test]
fn requested_addresses_count_for_their_sets() {
    let mut ipam = Ipam::new("{}", vec![vec![part(10, 20), part(50, 60)], vec![whole(V6)]]);
    let addresses = ipam.addresses(&["10.244.1.55/32"]);
    assert_eq!(addresses, Ok(vec!["10.244.1.55/24".into(), "fd00:10:244:1::2/64".into()]));
    let addresses = ipam.addresses(&["fd00:10:244:1::77", "10.244.1.20"]);
    assert_eq!(addresses, Ok(vec!["10.244.1.20/24".into(), "fd00:10:244:1::77/64".into()]));
}

#[test]
fn a_requested_address_that_cannot_be_used_is_refused() {
    let mut ipam = Ipam::new("{}", vec![vec![part(1, 20), part(50, 60)]]);
    ipam.add(&["10.244.1.7"]).expect("a plan");
    let cases: [(&[&str], &str); 6] = [
        (
            &["10.244.1.21"],
            "10.244.1.21 is not among the addresses of network pods: 10.244.1.1-10.244.1.20 of 10.244",
        ),
        (&["fd00::1"], "fd00::1 is not among"),
        (&["10.244.1.7"], "10.244.1.7 is held by eth0 of container 0abc in network pods"),
        (&["10.244.1.1"], "10.244.1.1 is the gateway of 10.244.1.0/24"),
        (&["10.244.1.9", "10.244.1.55"], "10.244.1.55 is the second of its set"),
        (&["10.244.1.9", "10.244.1.61"], "10.244.1.61 is not among"),
    ];
    for (asked, why) in cases {
        let refusal = ipam.refusal(asked);
        assert_eq!(refusal.reason, RefusalReason::Denied, "{asked:?}");
        assert!(refusal.message.contains(why), "{asked:?}: {refusal}");
    }
}

#[test]
fn an_exhausted_set_says_who_holds_it() {
    let mut ipam = Ipam::new("{}", vec![vec![part(10, 12), part(30, 31)]]);
    for _ in 0..5 {
        ipam.add(&[]).expect("a plan");
    }
    ipam.leases.release(ip("10.244.1.10"));
    ipam.add(&[]).expect("a plan");
    let refusal = ipam.refusal(&[]);
    assert_eq!(refusal.reason, RefusalReason::Exhausted);
    let ranges = "10.244.1.10-10.244.1.12 of 10.244.1.0/24 (5 held), 10.244.1.30-10.244.1.31 of 10.244.1.0/24 (5 held)";
    assert!(refusal.message.contains(ranges), "{refusal}");
    let by = "is held by eth0 of container 0abc in network pods";
    let holders = format!("more addresses; 10.244.1.11 {by}; 10.244.1.12 {by}; 10.244.1.10 {by}");
    assert!(refusal.message.ends_with(&holders), "{refusal}");
}

#[test]
fn only_gateways_of_the_pods_own_sets_are_on_the_bridge() {
    let (small, other) = (range("10.244.3.0/30", "10.244.3.2", "10.244.3.2"), whole("10.244.2.0/24"));
    let config = r#"{"isDefaultGateway": true}"#;
    let mut ipam = Ipam::new(config, vec![vec![small, other], vec![part(10, 20)], vec![part(30, 40)]]);
    for gateways in [["10.244.3.1/30", "10.244.1.1/24"], ["10.244.2.1/24", "10.244.1.1/24"]] {
        let plan = ipam.add(&[]).expect("a plan");
        assert_eq!(port_of(&plan).bridge.addresses, prefixes(&gateways));
        assert_eq!(plan.routes, [Route::to(Family::V4.everything(), Some(prefixes(&gateways)[0].addr()))]);
    }
}

#[test]
fn a_gateway_of_the_operators_is_nobodys_else() {
    let gateway = Some(ip("10.244.1.254"));
    let set = vec![AddressRange { gateway, ..whole(V4) }];
    let plan = Ipam::new(r#"{"isDefaultGateway": true}"#, vec![set]).add(&[]).expect("a plan");
    assert_eq!(addresses_of(&plan), ["10.244.1.1/24"], "which is not the gateway here");
    assert_eq!(plan.addresses[0].gateway, gateway);
    assert_eq!(port_of(&plan).bridge.addresses, prefixes(&["10.244.1.254/24"]));
    assert_eq!(plan.routes[0].via, gateway);
}

/// As of a plugin that lends an address and names no gateway.
#[test]
fn a_bridge_that_is_to_be_a_gateway_has_the_first_address() {
    let set = vec![AddressRange { gateway: None, ..part(7, 7) }];
    let without = Ipam::new("{}", vec![set.clone()]).add(&[]).expect("a plan");
    assert_eq!(without.addresses[0].gateway, None);
    let plan = Ipam::new(r#"{"isDefaultGateway": true}"#, vec![set]).add(&[]).expect("a plan");
    assert_eq!(plan.addresses[0].gateway, Some(ip("10.244.1.1")));
    assert_eq!(port_of(&plan).bridge.addresses, prefixes(&["10.244.1.1/24"]));
    assert_eq!(plan.routes, [route("0.0.0.0/0", Some("10.244.1.1"))]);
}

/// The host refuses what is wrong with it; a panic would hide that.
#[test]
fn a_gateway_of_another_family_is_no_panic() {
    for (gateway, range) in [("fd00::1", whole(V4)), ("10.244.1.1", whole(V6))] {
        let set = vec![AddressRange { gateway: Some(ip(gateway)), ..range }];
        let plan = Ipam::new(r#"{"isDefaultGateway": true}"#, vec![set]).add(&[]).expect("a plan");
        assert_eq!(plan.addresses[0].gateway, Some(ip(gateway)));
    }
}

/// The routes of a dual-stack network that asks for these.
fn routes(config: &'static str, asked: &[Route]) -> Vec<Route> {
    let mut ipam = Ipam::new(config, vec![vec![whole(V4)], vec![whole(V6)]]);
    ipam.routes = asked.into();
    ipam.add(&[]).expect("a plan").routes
}

fn route(destination: &str, via: Option<&str>) -> Route {
    Route::to(destination.parse().expect("a block"), via.map(ip))
}

#[test]
fn requested_routes_are_taken_over() {
    let all = Route {
        mtu: Some(1400),
        metric: Some(7),
        advmss: Some(1360),
        table: Some(100),
        scope: Some(0),
        ..route("192.168.0.0/16", Some("10.244.1.9"))
    };
    assert_eq!(routes("{}", from_ref(&all)), [all]);
}

#[test]
fn a_requested_route_without_a_next_hop_goes_by_the_gateway() {
    let (v4, v6) = (Some("10.244.1.1"), Some("fd00:10:244:1::1"));
    let asked = [route("192.168.0.0/16", None), route("fd07::/16", None), route("0.0.0.0/0", None)];
    let expected = [route("192.168.0.0/16", v4), route("fd07::/16", v6), route("0.0.0.0/0", v4)];
    assert_eq!(routes("{}", &asked), expected);
    let on_link = Route { scope: Some(253), ..route("192.168.0.0/16", None) };
    assert_eq!(routes("{}", from_ref(&on_link)), [on_link]);
}

#[test]
fn without_a_gateway_it_is_on_the_link() {
    let mut ipam = Ipam::new("{}", vec![vec![AddressRange { gateway: None, ..whole(V4) }]]);
    ipam.routes = vec![route("192.168.0.0/16", None)];
    assert_eq!(ipam.add(&[]).expect("a plan").routes, ipam.routes);
}

#[test]
fn a_default_route_is_added_where_none_is_requested() {
    let config = r#"{"isDefaultGateway": true}"#;
    let (v4, v6) = (route("0.0.0.0/0", Some("10.244.1.1")), route("::/0", Some("fd00:10:244:1::1")));
    assert_eq!(routes(config, &[]), [v4.clone(), v6.clone()]);
    let elsewhere = route("0.0.0.0/0", Some("10.244.1.9"));
    assert_eq!(routes(config, from_ref(&elsewhere)), [elsewhere, v6.clone()]);
    assert_eq!(routes(config, &[route("0.0.0.0/0", None)]), [v4.clone(), v6.clone()], "once");
    let on_link = Route { scope: Some(253), metric: Some(7), ..route("0.0.0.0/0", None) };
    assert_eq!(
        routes(config, from_ref(&on_link)),
        [on_link, v4.clone(), v6.clone()],
        "that leads to no gateway"
    );
    let part = route("0.0.0.0/1", None);
    assert_eq!(routes(config, &[part]), [route("0.0.0.0/1", Some("10.244.1.1")), v4, v6]);
}
