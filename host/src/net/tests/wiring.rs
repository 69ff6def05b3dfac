use std::io::Write;
use std::sync::Barrier;

use rustix::io::Errno;

use crate::plan::{Route, Wiring};

use super::super::bridge::{self, Vlans};
use super::super::namespace::Namespace;
use super::super::socket::Socket;
use super::super::sysctl::Sysctl;
use super::super::{Error, Refused, Unwiring, unwire, wire};
use super::*;
use crate::plan::marks::{ALIAS, GROUP};

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:244:1::/64";

fn links() -> usize {
    std::fs::read_to_string("/proc/thread-self/net/dev").expect("readable").lines().count()
}

#[test]
fn a_bridged_pod_is_as_planned() {
    isolated(|| {
        let mut plan = bridged(2, &[V4]);
        plan.mtu = Some(1400);
        let pod = new_namespace();
        let wired = wire(&pod, &plan).expect("wired");
        let bridge = link_named("cni0").expect("made");
        let host = link_named("pw2").expect("made");
        assert_eq!((host.group, host.mac, host.mtu, host.up), (GROUP, Some(mac(0x82)), 1400, true));
        assert_eq!(host.master, Some(bridge.index));
        assert_eq!((bridge.alias.as_deref(), bridge.group, bridge.up), (Some(ALIAS), GROUP, true));
        let reported = wired.bridge.expect("bridge wiring");
        assert_eq!((wired.mtu, Some(reported.mac)), (1400, bridge.mac));
        assert_eq!(addresses_of("cni0"), ["10.244.1.1/24"]);
        let container = inside(&pod, || link_named("eth0")).expect("made");
        assert_eq!((container.mac, container.mtu, container.up), (Some(mac(2)), 1400, true));
        assert_eq!(host.peer, Some(container.index));
        assert_eq!(inside(&pod, || addresses_of("eth0")), ["10.244.1.2/24"]);
        assert!(inside(&pod, routes).contains(&"0.0.0.0/0 via 10.244.1.1 proto 112".to_owned()));
        assert_eq!(Sysctl::named("net.ipv4.ip_forward").get().as_deref(), Some("1"));
        assert_eq!(Sysctl::named("net.ipv6.conf.all.forwarding").get().as_deref(), Some("0"));
    });
}

#[test]
fn forwarding_that_somebody_switched_off_is_on_again_with_the_next_pod() {
    isolated(|| {
        let switches = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"].map(Sysctl::named);
        // What new interfaces are given says nothing of the node.
        ["net.ipv4.conf.default.forwarding", "net.ipv6.conf.default.forwarding"]
            .into_iter()
            .for_each(|switch| Sysctl::named(switch).set("1").expect("set"));
        for number in 2..5 {
            let _pod = wired(&bridged(number, &[V4, V6]));
            for switch in &switches {
                assert_eq!(switch.get().as_deref(), Some("1"), "{}", switch.name());
                switch.set("0").expect("set");
            }
        }
    });
}

#[test]
fn each_end_has_one_queue_however_many_processors_there_are() {
    isolated(|| {
        let pod = wired(&bridged(2, &[V4]));
        let of = |interface| super::output(&format!("ip -details -json link show {interface}"));
        for said in [of("pw2"), inside(&pod, || of("eth0"))] {
            assert!(said.contains(r#""num_tx_queues":1,"num_rx_queues":1,"#), "{said}");
        }
    });
}

#[test]
fn a_full_bridge_is_named() {
    isolated(|| {
        let _first = wired(&bridged(2, &[V4]));
        let pair = |i: usize| {
            let ports = format!("link set p{i} master cni0\nlink set q{i} master cni0\n");
            format!("link add p{i} type veth peer name q{i}\n{ports}")
        };
        let mut batch = tempfile::NamedTempFile::new().expect("a file");
        batch.write_all((0..511).map(pair).collect::<String>().as_bytes()).expect("written");
        run(&format!("ip -batch {}", batch.path().display()));
        let error = wire(&new_namespace(), &bridged(3, &[V4])).expect_err("full");
        assert!(matches!(error, Error::BridgeFull(_)), "{error}");
        assert!(link_named("pw3").is_none());
    });
}

#[test]
fn without_ipv6_no_end_has_a_link_local_address() {
    isolated(|| {
        let pods = [wired(&bridged(2, &[V4])), wired(&routed(3, &[("10.244.2.3/32", "169.254.1.1")]))];
        assert!(reaches(&pods[0], "10.244.1.2", &pods[1], "10.244.2.3"), "the links are in use");
        assert_eq!(addresses_of("pw2"), [""; 0]);
        assert_eq!(addresses_of("pw3"), ["169.254.1.1/32"]);
        assert_eq!(addresses_of("cni0"), ["10.244.1.1/24"]);
        // The kernel draws addresses a while after the carrier is there: that it will not is what counts.
        let draws_none = |of: &str| {
            let mode = Sysctl::of_interface("ipv6", of, "addr_gen_mode").get();
            assert_eq!(mode.as_deref(), Some("1"), "{of}");
        };
        ["pw2", "pw3", "cni0"].into_iter().for_each(draws_none);
        pods.iter().for_each(|pod| inside(pod, || draws_none("eth0")));
    });
}

#[test]
fn bridged_pods_reach_each_other_and_the_node() {
    isolated(|| {
        let node = Namespace::current().expect("current");
        let pods = [wired(&bridged(2, &[V4, V6])), wired(&bridged(3, &[V4, V6]))];
        for (own, other, gateway) in
            [("10.244.1.2", "10.244.1.3", "10.244.1.1"), ("fd00:244:1::2", "fd00:244:1::3", "fd00:244:1::1")]
        {
            assert!(reaches(&pods[0], own, &pods[1], other));
            assert!(reaches(&pods[1], other, &pods[0], own));
            assert!(reaches(&pods[0], own, &node, gateway));
            assert!(reaches(&node, gateway, &pods[0], own));
        }
        assert_eq!(Sysctl::named("net.ipv6.conf.all.forwarding").get().as_deref(), Some("1"));
    });
}

#[test]
fn routed_pods_reach_each_other() {
    isolated(|| {
        let v4 = |own| (own, "169.254.1.1");
        let first = wired(&routed(2, &[v4("10.244.1.2/32"), ("fd00:244:1::2/128", "fe80::1")]));
        let second = wired(&routed(3, &[v4("10.244.1.3/32"), ("fd00:244:1::3/128", "fd00:244:1::1")]));
        // First towards the pod whose hardware address the node has to ask for: it has sent nothing yet.
        assert!(reaches(&first, "fd00:244:1::2", &second, "fd00:244:1::3"));
        assert!(reaches(&second, "fd00:244:1::3", &first, "fd00:244:1::2"));
        assert!(reaches(&first, "10.244.1.2", &second, "10.244.1.3"));
        assert!(routes().contains(&"10.244.1.2/32 on the link proto 112".to_owned()));
        assert_eq!(addresses_of("pw2"), ["169.254.1.1/32", "fe80::1/64"]);
    });
}

#[test]
fn a_namespace_where_ipv6_is_off_still_gets_its_addresses() {
    isolated(|| {
        let pod = new_namespace();
        for of in ["all", "default"] {
            let off = || Sysctl::of_interface("ipv6", of, "disable_ipv6").set("1").expect("set");
            inside(&pod, off);
        }
        wire(&pod, &bridged(2, &[V6])).expect("wired");
        assert!(inside(&pod, || addresses_of("eth0")).contains(&"fd00:244:1::2/64".to_owned()));
    });
}

#[test]
fn sysctls_routes_and_port_flags_are_set() {
    isolated(|| {
        let mut plan = bridged(2, &[V4]);
        if let Wiring::Bridge { hairpin, isolated, .. } = &mut plan.wiring {
            (*hairpin, *isolated) = (true, true);
        }
        let setting = "net.ipv4.ping_group_range";
        plan.sysctls.push((setting.replace('.', "/"), "0 1000".to_owned()));
        let destination = "192.0.2.0/24".parse().expect("valid");
        plan.routes.push(Route { mtu: Some(1300), metric: Some(7), ..Route::to(destination, None) });
        let pod = wired(&plan);
        let shown = super::output("ip -details link show dev pw2");
        assert!(shown.contains(" hairpin on ") && shown.contains(" isolated on "), "{shown}");
        assert_eq!(inside(&pod, || Sysctl::named(setting).get()).as_deref(), Some("0\t1000"));
        assert!(inside(&pod, routes).contains(&"192.0.2.0/24 on the link metric 7 proto 112".to_owned()));
    });
}

#[test]
fn an_interface_name_with_a_dot_has_its_sysctls() {
    isolated(|| {
        let mut plan = bridged(2, &[V4]);
        plan.container_interface = name("net1.5");
        plan.sysctls.push(("net/ipv4/conf/net1.5/arp_notify".to_owned(), "1".to_owned()));
        let pod = wired(&plan);
        let value = inside(&pod, || Sysctl::of_interface("ipv4", "net1.5", "arp_notify").get());
        assert_eq!(value.as_deref(), Some("1"));
    });
}

#[test]
fn a_bridge_without_ipv6_can_get_it_later() {
    isolated(|| {
        Sysctl::of_interface("ipv6", "default", "disable_ipv6").set("1").expect("set");
        let _first = wired(&bridged(2, &[V4]));
        let _second = wired(&bridged(3, &[V4, V6]));
        assert!(addresses_of("cni0").contains(&"fd00:244:1::1/64".to_owned()));
    });
}

#[test]
fn a_refusal_on_a_fresh_node_makes_no_bridge_and_forwards_nothing() {
    isolated(|| {
        let pod = new_namespace();
        inside(&pod, || super::run("ip link add eth0 type bridge"));
        let error = wire(&pod, &bridged(2, &[V4])).expect_err("taken");
        assert!(matches!(error, Error::ContainerInterfaceTaken(_)), "{error}");
        assert!(link_named("cni0").is_none());
        assert_eq!(Sysctl::named("net.ipv4.ip_forward").get().as_deref(), Some("0"));
    });
}

#[test]
fn an_address_that_the_node_answers_for_is_refused() {
    isolated(|| {
        let _first = wired(&bridged(2, &[V4]));
        for taken in ["10.244.1.77", "fd00:244:1::77"] {
            let length = if taken.contains(':') { 64 } else { 24 };
            super::run(&format!("ip address add {taken}/{length} dev cni0 nodad"));
            let family = if length == 64 { "-6" } else { "-4" };
            let local = || super::output(&format!("ip {family} route show table local")).contains(taken);
            eventually("the node answers for it", local);
            let mut plan = bridged(3, &[V4, V6]);
            let own = &mut plan.addresses[usize::from(length == 64)].prefix;
            *own = format!("{taken}/{length}").parse().expect("valid");
            let error = wire(&new_namespace(), &plan).expect_err("the bridge has it");
            assert!(matches!(error, Error::AddressOfNode(_)), "{error}");
            assert!(link_named("pw3").is_none());
        }
    });
}

#[test]
fn a_refusal_undoes_everything_and_says_which_step() {
    isolated(|| {
        let mut plan = bridged(2, &[V4]);
        let _bridge_and_another_pod = wired(&bridged(9, &[V4]));
        let gateway = "192.0.2.1".parse().expect("valid");
        plan.routes.push(Route::to("198.51.100.0/24".parse().expect("valid"), Some(gateway)));
        let (before, pod) = (links(), new_namespace());
        let error = wire(&pod, &plan).expect_err("no such gateway");
        let Error::Refused(Refused { step, errno, reason, .. }) = error else { panic!("{error}") };
        assert_eq!((step.as_str(), errno), ("add route 198.51.100.0/24 via 192.0.2.1", Errno::NETUNREACH));
        assert_eq!(reason.as_deref(), Some("Nexthop has invalid gateway"));
        assert_eq!(links(), before);
        assert_eq!(inside(&pod, links), 3, "two lines of headings, and lo");

        plan.routes.pop();
        plan.sysctls.push(("net/no/such".to_owned(), "1".to_owned()));
        assert!(matches!(wire(&pod, &plan), Err(Error::Sysctl { .. })));
        assert_eq!((links(), inside(&pod, links)), (before, 3));
    });
}

#[test]
fn a_bridge_that_cannot_have_its_address_leaves_no_veth() {
    isolated(|| {
        let pod = new_namespace();
        let mut plan = bridged(2, &[V4]);
        bridge_of(&mut plan).addresses = vec!["ff02::1/64".parse().expect("valid")];
        assert!(matches!(wire(&pod, &plan), Err(Error::Refused(_))));
        assert!(link_named("pw2").is_none());
        assert_eq!(inside(&pod, links), 3);
    });
}

#[test]
fn names_that_are_taken_are_told_apart() {
    isolated(|| {
        let pod = wired(&bridged(2, &[V4]));
        let error = wire(&new_namespace(), &bridged(2, &[V4])).expect_err("taken");
        assert!(matches!(error, Error::HostInterfaceTaken(taken) if taken == name("pw2")));
        let before = links();
        let error = wire(&pod, &bridged(3, &[V4])).expect_err("taken");
        assert!(matches!(error, Error::ContainerInterfaceTaken(taken) if taken == name("eth0")));
        assert_eq!(links(), before);
    });
}

#[test]
fn somebody_elses_bridge_is_refused_until_it_is_handed_over() {
    isolated(|| {
        super::run("ip link add cni0 type bridge");
        let pod = new_namespace();
        let error = wire(&pod, &bridged(2, &[V4])).expect_err("foreign");
        assert!(error.to_string().contains("`ip link set dev cni0 alias podwire`"), "{error}");
        assert_eq!(addresses_of("cni0"), [""; 0]);
        super::run("ip link set dev cni0 alias podwire");
        wire(&pod, &bridged(2, &[V4])).expect("handed over");
        assert!(link_named("cni0").expect("there").up);

        super::run("ip link add cni1 type veth");
        let mut plan = bridged(3, &[V4]);
        bridge_of(&mut plan).name = name("cni1");
        let error = wire(&new_namespace(), &plan).expect_err("no bridge");
        assert_eq!(error.to_string(), "cni1 is a veth, not a bridge; name another bridge");
    });
}

#[test]
fn a_bridge_half_made_is_finished_and_keeps_its_hardware_address() {
    isolated(|| {
        let mut socket = Socket::route().expect("socket");
        let half = bridge::creation(&name("cni0"), mac(0x77), Vlans::Ignored);
        socket.apply(&[half]).expect("made");
        drop(wired(&bridged(2, &[V4, V6])));
        let bridge = link_named("cni0").expect("there");
        assert_eq!((bridge.alias.as_deref(), bridge.up, bridge.mac), (Some(ALIAS), true, Some(mac(0x77))));
        assert_eq!(addresses_of("cni0").len(), 3, "one of each family, and one link-local address");
    });
}

#[test]
fn the_second_of_two_that_make_a_bridge_gets_the_firsts() {
    isolated(|| {
        let Wiring::Bridge { bridge: plan, .. } = bridged(2, &[V4]).wiring else { unreachable!() };
        let mut socket = Socket::route().expect("socket");
        let first = bridge::create(&mut socket, &plan, Vlans::Ignored).expect("made");
        assert_eq!(bridge::create(&mut socket, &plan, Vlans::Ignored).expect("there"), first);
    });
}

#[test]
fn many_at_once_share_one_new_bridge() {
    isolated(|| {
        let node = Namespace::current().expect("current");
        let pods: Vec<Namespace> = (2..10).map(|_| new_namespace()).collect();
        let start = Barrier::new(pods.len());
        let add = &|(pod, number)| {
            let plan = bridged(number, &[V4]);
            inside(&node, || {
                start.wait();
                wire(pod, &plan).expect("wired");
            });
        };
        scope(|scope| {
            for pod in pods.iter().zip(2..) {
                scope.spawn(move || add(pod));
            }
        });
        let bridge = link_named("cni0").expect("made").index;
        for number in 2..10 {
            assert_eq!(link_named(&format!("pw{number}")).expect("made").master, Some(bridge));
        }
        assert!(reaches(&pods[0], "10.244.1.2", &pods[7], "10.244.1.9"));
    });
}

#[test]
fn taking_down_is_repeatable_and_spares_strangers() {
    isolated(|| {
        let pod = wired(&bridged(2, &[V4]));
        unwire(&bridged(2, &[V4])).and_then(Unwiring::finish).expect("gone");
        assert!(link_named("pw2").is_none() && inside(&pod, || link_named("eth0")).is_none());
        unwire(&bridged(2, &[V4])).and_then(Unwiring::finish).expect("still gone");
        super::run("ip link add pw2 type veth peer name pw3");
        super::run(&format!("ip link add pw4 group {GROUP} type bridge"));
        for foreign in ["pw2", "pw4"] {
            unwire(&Checked { host_interface: name(foreign), ..bridged(2, &[V4]) })
                .and_then(Unwiring::finish)
                .expect("not ours");
            assert!(link_named(foreign).is_some());
        }
    });
}
