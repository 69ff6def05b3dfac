use super::super::sysctl::Sysctl;
use super::super::{impairment, inspect};
use super::*;

const V4: &str = "10.244.1.0/24";

fn told(plan: &Checked) -> Option<String> {
    impairment(plan).expect("looked at")
}

#[test]
fn a_pod_that_is_not_wired_yet_says_nothing_of_the_node() {
    isolated(|| {
        let plan = bridged(2, &[V4]);
        assert_eq!(told(&plan), None, "neither bridge nor forwarding is there yet");
        run("ip link add pw2 type veth peer name far");
        run("ip link add cni0 type bridge");
        run("ip link set cni0 up");
        assert_eq!(told(&plan), None, "the rest is being made");
        ["ip link del pw2", "ip link del cni0"].into_iter().for_each(run);
        let _pod = wired(&plan);
        assert_eq!(told(&plan), None);
        run("ip link del cni0");
        assert!(told(&plan).expect("a sentence").contains("bridge cni0 is gone"));
    });
}

#[test]
fn only_a_gateway_forwards() {
    isolated(|| {
        let switches = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"].map(Sysctl::named);
        let mut plan = bridged(2, &[V4, "fd00:244:1::/64"]);
        bridge_of(&mut plan).addresses.pop();
        let _pod = wired(&plan);
        assert_eq!(switches.each_ref().map(|switch| switch.get().unwrap_or_default()), ["1", "0"]);
        assert_eq!(told(&plan), None);
        switches[0].set("0").expect("set");
        assert!(told(&plan).expect("a sentence").contains("`sysctl -w net.ipv4.ip_forward=1`"));

        let mut lan = bridged(3, &[V4]);
        bridge_of(&mut lan).addresses.clear();
        let pod = wired(&lan);
        assert_eq!(switches[0].get().as_deref(), Some("0"));
        assert_eq!(told(&lan), None);
        assert_eq!(inspect(&pod, &lan).expect("inspected"), []);
    });
}
