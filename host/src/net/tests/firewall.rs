use ipnet::IpNet;

use super::super::firewall::blocked_forwarding;
use super::*;

/// What is found on a node that forwards, after some commands.
fn found_after(commands: &[&str]) -> Vec<String> {
    run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    commands.iter().for_each(|command| run(command));
    let cluster: Vec<IpNet> = ["10.244.0.0/16", "fd00:244::/48"].map(|p| p.parse().expect("valid")).into();
    blocked_forwarding(&cluster).into_iter().map(|finding| finding.to_string()).collect()
}

/// Each problem's remedy is found, and mends it.
fn is_mended(commands: &[&str], problem: &str, remedies: &[&str]) {
    isolated(|| {
        let found = found_after(commands);
        assert_eq!(found.len(), remedies.len(), "{found:?}");
        for (finding, remedy) in found.iter().zip(remedies) {
            assert!(finding.starts_with(problem), "{finding}");
            assert!(finding.ends_with(&format!("; mend it with `{remedy}`")), "{finding}");
            run(remedy);
        }
        assert_eq!(found_after(&[]), [""; 0], "mended");
    });
}

#[test]
fn a_node_that_forwards_has_no_finding() {
    isolated(|| assert_eq!(found_after(&[]), [""; 0]));
}

#[test]
fn forwarding_that_is_off_is_found() {
    isolated(|| {
        let found = found_after(&["sysctl -qw net.ipv4.ip_forward=0"]);
        let expected = "net.ipv4.ip_forward is off: packets between nodes and pods are not forwarded; \
                        mend it with `sysctl -w net.ipv4.ip_forward=1`";
        assert_eq!(found, [expected]);
    });
}

#[test]
fn iptables_policy_is_found_and_mended() {
    let remedy = "iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT";
    is_mended(&["iptables -P FORWARD DROP"], "nftables chain ip filter FORWARD drops", &[remedy]);
    let remedy = "ip6tables -I FORWARD -s fd00:244::/48 -j ACCEPT";
    is_mended(&["ip6tables -P FORWARD DROP"], "nftables chain ip6 filter FORWARD drops", &[remedy]);
}

#[test]
fn dockers_own_chain_is_preferred() {
    for (iptables, problem) in [
        ("iptables", "nftables chain ip filter FORWARD"),
        ("iptables-legacy", "legacy iptables chain FORWARD"),
    ] {
        let docker = [
            "-P FORWARD DROP",
            "-N DOCKER-USER",
            "-A DOCKER-USER -j RETURN",
            "-A FORWARD -j DOCKER-USER",
            "-A FORWARD -i docker0 -s 10.0.0.0/8 -j ACCEPT",
        ]
        .map(|rule| format!("{iptables} {rule}"));
        let remedy = format!("{iptables} -I DOCKER-USER -s 10.244.0.0/16 -j ACCEPT");
        is_mended(&docker.each_ref().map(String::as_str), problem, &[&remedy]);
    }
}

#[test]
fn legacy_iptables_is_found_and_mended() {
    let remedy = "iptables-legacy -I FORWARD -s 10.244.0.0/16 -j ACCEPT";
    is_mended(&["iptables-legacy -P FORWARD DROP"], "legacy iptables chain FORWARD drops", &[remedy]);
    let remedy = "ip6tables-legacy -I FORWARD -s fd00:244::/48 -j ACCEPT";
    is_mended(&["ip6tables-legacy -P FORWARD DROP"], "legacy ip6tables chain FORWARD drops", &[remedy]);
}

#[test]
fn a_chain_of_nft_for_both_families_is_found_and_mended() {
    let commands = [
        "nft add table inet fence",
        "nft add chain inet fence pass { type filter hook forward priority 0; policy drop; }",
    ];
    let remedies = [
        "nft insert rule inet fence pass ip saddr 10.244.0.0/16 accept",
        "nft insert rule inet fence pass ip6 saddr fd00:244::/48 accept",
    ];
    is_mended(&commands, "nftables chain inet fence pass drops", &remedies);
}

#[test]
fn chains_that_accept_are_no_finding() {
    isolated(|| {
        let commands = [
            "iptables -P INPUT DROP",
            "iptables-legacy -P INPUT DROP",
            "iptables -P FORWARD ACCEPT",
            "ip6tables -P FORWARD DROP",
            "ip6tables -A FORWARD -j ACCEPT",
        ];
        assert_eq!(found_after(&commands), [""; 0]);
    });
}

#[test]
fn rules_with_other_conditions_do_not_count() {
    isolated(|| {
        let commands = [
            "iptables -P FORWARD DROP",
            "iptables -A FORWARD -s 10.244.0.0/16 -p tcp -j ACCEPT",
            "iptables -A FORWARD -i eth0 -j ACCEPT",
            "iptables -A FORWARD -d 10.244.0.0/16 -j ACCEPT",
            "iptables-legacy -P FORWARD DROP",
            "iptables-legacy -A FORWARD -s 10.244.0.0/16 -p tcp -j ACCEPT",
            "iptables-legacy -A FORWARD -o eth0 -j ACCEPT",
            "iptables-legacy -A FORWARD -s 10.244.0.0/17 -j ACCEPT",
        ];
        assert_eq!(found_after(&commands).len(), 2);
    });
}
