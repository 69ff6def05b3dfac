use super::super::namespace::Namespace;
use super::super::sysctl::Sysctl;
use super::*;

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:244:1::/64";

#[test]
fn a_route_has_its_table_scope_and_segment_size() {
    isolated(|| {
        let to = |destination: &str, table| Route {
            advmss: Some(1340),
            table: Some(table),
            ..Route::to(destination.parse().expect("valid"), None)
        };
        let mut plan = bridged(2, &[V4, V6]);
        plan.routes.push(Route { scope: Some(200), ..to("192.0.2.0/24", 254) });
        plan.routes.extend([to("0.0.0.0/0", 100), to("192.0.2.0/24", 70_000), to("2001:db8::/32", 70_000)]);
        let pod = wired(&plan);
        let shown = |what: &str| inside(&pod, || output(&format!("ip {what}")));
        let line = |route: &str| format!("{route} advmss 1340 ");
        assert!(shown("route show").contains("192.0.2.0/24 dev eth0 proto 112 scope site advmss 1340"));
        assert_eq!(
            shown("route show table 100").trim_end(),
            line("default dev eth0 proto 112 scope link").trim_end()
        );
        assert!(shown("route show table 70000").contains("192.0.2.0/24 dev eth0"));
        assert!(shown("-6 route show table 70000").contains("2001:db8::/32 dev eth0"));
    });
}

#[test]
fn duplicate_address_detection_is_asked_for_and_not_waited_for() {
    isolated(|| {
        let nodad = |pod: &Namespace| {
            inside(pod, || output("ip -json address show dev eth0 to fd00::/16")).contains("\"nodad\":true")
        };
        assert!(nodad(&wired(&bridged(3, &[V4, V6]))));
        let plan = Checked { duplicate_address_detection: true, ..bridged(2, &[V4, V6]) };
        let pod = wired(&plan);
        assert!(!nodad(&pod));
        // What the kernel says of the address once it is in use, to others that may remember somebody else.
        let notify = inside(&pod, || Sysctl::of_interface("ipv6", "eth0", "ndisc_notify").get());
        assert_eq!(notify.as_deref(), Some("1"));
    });
}

#[test]
fn an_interface_may_be_left_down() {
    isolated(|| {
        let mut plan = Checked { interface_down: true, ..bridged(2, &[]) };
        plan.mtu = Some(1400);
        let pod = wired(&plan);
        let container = inside(&pod, || link_named("eth0")).expect("made");
        assert_eq!((container.up, container.mtu), (false, 1400));
        assert!(link_named("pw2").expect("made").up);
    });
}
