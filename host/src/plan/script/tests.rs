use super::*;
use crate::plan::check::tests::{lecture, request};
use crate::plan::{Bandwidth, NextHop, NodePlan, NodeRoute, PortMapping, Protocol, Vxlan};

#[test]
fn an_add_reads_like_the_lectures_script() {
    let plan = crate::plan::check::add(&request(), lecture()).expect("keeps every rule");
    let script = add(&plan);
    let expected = "\
#!/bin/sh -e
NETNS=${1:?name of a network namespace}
# the node
sysctl -qw net.ipv4.ip_forward=1
ip link show dev cni0 >/dev/null 2>&1 || {
    ip link add name cni0 address 0a:58:0a:f4:01:01 group 1886873970 type bridge
    ip link set dev cni0 alias podwire addrgenmode none
}
ip link set dev cni0 up
ip address replace 10.244.1.1/24 dev cni0
# the veth, its peer made directly in the pod
MTU=$(ip -o link show dev cni0 | grep -o 'mtu [0-9]*')
ip link add name pw538f587a2365 numtxqueues 1 numrxqueues 1 address 0e:58:5f:38:bb:cd $MTU group 1886873970 type veth \\
    peer name eth0 numtxqueues 1 numrxqueues 1 address 0a:58:0a:f4:01:02 $MTU netns \"$NETNS\"
ip link set dev pw538f587a2365 addrgenmode none
ip link set dev pw538f587a2365 master cni0
ip link set dev pw538f587a2365 type bridge_slave hairpin on
ip link set dev pw538f587a2365 up
# the pod
ip -n \"$NETNS\" link set dev eth0 addrgenmode none
ip -n \"$NETNS\" link set dev eth0 up
ip -n \"$NETNS\" address add 10.244.1.2/24 dev eth0
ip -n \"$NETNS\" route append 0.0.0.0/0 via 10.244.1.1 dev eth0 proto 112
";
    assert_eq!(script, expected);
}

#[test]
fn what_a_plan_may_ask_for_besides_is_a_command_each() {
    let mut asked = lecture();
    let Wiring::Bridge { bridge, hairpin, vlans, .. } = &mut asked.wiring else { unreachable!() };
    (bridge.promiscuous, bridge.exclusive, *hairpin) = (true, true, false);
    bridge.addresses.push("fd00:1::1/64".parse().expect("valid"));
    *vlans = Some(PortVlans { native: 100, tagged: vec![(10, 20), (30, 30)], keep_default: false });
    asked.mac = Some("02:00:00:00:00:07".to_owned());
    let to = Route::to("10.0.0.0/8".parse().expect("valid"), asked.routes[0].via);
    let everything = Some(70_000);
    asked.routes.push(Route { advmss: Some(1340), table: everything, scope: Some(200), ..to });
    let script = add(&crate::plan::check::add(&request(), asked).expect("keeps every rule"));
    for expected in [
        "ip link set dev cni0 promisc on up\n\
         ip link set dev cni0 type bridge vlan_filtering 1\n",
        "ip -4 -o address show dev cni0.100 | grep -o 'inet [^ ]*' | grep -vxF -e 'inet 10.244.1.1/24' | \
             grep -vF -e ' 192.168.1.11/' |\n    \
             while read -r _ other; do ip address del \"$other\" dev cni0.100; done\n\
         ip -6 -o address show dev cni0.100 to fd00:1::/64 scope global | grep -o 'inet6 [^ ]*' | \
             grep -vxF -e 'inet6 fd00:1::1/64' | grep -vF -e ' fd01::11/' |\n",
        "ip neighbour change 10.244.1.2 lladdr 02:00:00:00:00:07 dev cni0.100 nud stale 2>/dev/null || true\n",
        " master cni0\n\
         bridge vlan delete vid 1 dev pw538f587a2365\n\
         bridge vlan add vid 10-20 dev pw538f587a2365\n\
         bridge vlan add vid 30 dev pw538f587a2365\n\
         bridge vlan add vid 100 pvid untagged dev pw538f587a2365\n",
        "route append 10.0.0.0/8 via 10.244.1.1 advmss 1340 table 70000 scope 200 dev eth0 proto 112\n",
    ] {
        assert!(script.contains(expected), "{expected}\n{script}");
    }
}

#[test]
fn words_stay_words() {
    assert_eq!(word("net/ipv4/conf/eth0.5/rp_filter=1"), "net/ipv4/conf/eth0.5/rp_filter=1");
    assert_eq!(word("0 1000"), "'0 1000'");
    assert_eq!(word("a'$(b)"), r"'a'\''$(b)'");
}

#[test]
fn what_the_runtime_writes_is_no_command() {
    let mut plan = crate::plan::check::add(&request(), lecture()).expect("keeps every rule");
    let dns = Dns { search: vec!["a\nreboot".into()], ..Dns::default() };
    plan.dns = Some(Dns { nameservers: vec!["10.96.0.10".parse().expect("an address")], ..dns });
    let script = add(&plan);
    assert!(script.ends_with("#   nameserver 10.96.0.10\n#   search \"a\\nreboot\"\n"), "{script}");
}

#[test]
fn what_no_command_does_stands_there_in_words() {
    let (mut asked, mut request) = (lecture(), request());
    (asked.masquerade, asked.spoof_check.mac) = (true, true);
    let host_ip = Some("192.0.2.1".parse().expect("valid"));
    let mapping = PortMapping { protocol: Protocol::Udp, host_ip, host_port: 53, container_port: 5353 };
    request.port_mappings = vec![mapping];
    request.bandwidth =
        Some(Bandwidth { ingress: None, egress: Some(Rate { rate: 8_000_000, burst: 64_000 }) });
    let script = add(&crate::plan::check::add(&request, asked).expect("keeps every rule"));
    for expected in [
        "packets leave with the node's address, but for those to 10.244.0.0/16, fd00::/16\n",
        "packets with another source hardware address are dropped\n",
        "udp port 53 of 192.0.2.1 leads to the pod's port 5353\n",
        "it sends 8000000 bit/s, 64000 bit at once\n",
    ] {
        assert!(script.contains(&format!("\n# beyond these commands: {expected}")), "{script}");
    }
}

#[test]
fn a_nodes_plan_is_a_script_too() {
    let block = |text: &str| text.parse::<IpNet>().expect("a block");
    let to = |destination, next_hop| NodeRoute { destination: block(destination), next_hop, metric: None };
    let address = |text: &str| text.parse().expect("an address");
    let tunnel = |destination, end| to(destination, NextHop::Tunnel(address(end)));
    let (name, local) = ("vx0".parse().expect("a name"), address("192.168.1.11"));
    let plan = NodePlan {
        bridges: vec![Bridge::plain("cni0".parse().expect("a name"), vec![block("10.244.1.1/24")])],
        vxlan: Some(Vxlan { name, id: 7, port: 4_789, local, mtu: 1_450 }),
        routes: vec![
            to("10.244.2.0/24", NextHop::Via(address("192.168.1.12"))),
            NodeRoute { metric: Some(9), ..to("10.244.1.0/24", NextHop::Blackhole) },
            tunnel("10.244.3.0/24", "192.168.7.13"),
            tunnel("fd00:3::/64", "192.168.7.13"),
            tunnel("10.244.3.0/26", "192.168.7.14"),
        ],
        masquerade: vec![block("10.244.1.0/24")],
        ..NodePlan::nothing()
    };
    let expected = "\
#!/bin/sh -e
sysctl -qw net.ipv4.ip_forward=1
ip link show dev cni0 >/dev/null 2>&1 || {
    ip link add name cni0 address 0a:58:0a:f4:01:01 group 1886873970 type bridge
    ip link set dev cni0 alias podwire addrgenmode none
}
ip link set dev cni0 up
ip address replace 10.244.1.1/24 dev cni0
ip link show dev vx0 >/dev/null 2>&1 || {
    ip link add name vx0 address 02:58:c0:a8:01:0b mtu 1450 group 1886873970 type vxlan \\
        id 7 local 192.168.1.11 dstport 4789 nolearning
    ip link set dev vx0 alias podwire addrgenmode none
}
sysctl -qw net/ipv6/conf/vx0/disable_ipv6=0
ip link set dev vx0 mtu 1450 up
ip route add 10.244.2.0/24 via 192.168.1.12 proto 112
ip route add blackhole 10.244.1.0/24 metric 9 proto 112
bridge fdb replace 02:58:c0:a8:07:0d dev vx0 dst 192.168.7.13 self permanent
ip neighbour replace 10.244.3.0 lladdr 02:58:c0:a8:07:0d dev vx0 nud permanent
ip route add 10.244.3.0/24 via 10.244.3.0 dev vx0 onlink src 10.244.1.1 proto 112
ip neighbour replace fd00:3:: lladdr 02:58:c0:a8:07:0d dev vx0 nud permanent
ip route add fd00:3::/64 via fd00:3:: dev vx0 onlink proto 112
bridge fdb replace 02:58:c0:a8:07:0e dev vx0 dst 192.168.7.14 self permanent
ip neighbour replace 10.244.3.1 lladdr 02:58:c0:a8:07:0e dev vx0 nud permanent
ip route add 10.244.3.0/26 via 10.244.3.1 dev vx0 onlink src 10.244.1.1 proto 112
nft add table inet podwire
nft 'add chain inet podwire node_masquerade_script { type nat hook postrouting priority srcnat; }'
nft flush chain inet podwire node_masquerade_script
nft add rule inet podwire node_masquerade_script ip daddr 10.244.0.0/16 return
nft add rule inet podwire node_masquerade_script ip daddr 224.0.0.0/4 return
nft add rule inet podwire node_masquerade_script ip6 daddr ff00::/8 return
nft add rule inet podwire node_masquerade_script ip daddr 255.255.255.255/32 return
nft add rule inet podwire node_masquerade_script ip daddr 169.254.0.0/16 return
nft add rule inet podwire node_masquerade_script ip6 daddr fe80::/10 return
nft add rule inet podwire node_masquerade_script ip saddr 10.244.1.0/24 masquerade fully-random
";
    assert_eq!(node(&plan, &[block("10.244.0.0/16")]), expected);
}
