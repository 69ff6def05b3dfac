//! Ways in which a plugin may be wrong, each with the checks that must notice, and that would pass otherwise.
//!
//! A fault is a piece of shell in front of a plugin that is right: it sees the call, and may answer it, change
//! it, or change what comes back.

/// What every fault may use.
pub(crate) const PREAMBLE: &str = r#"#!/bin/sh
input=$(cat)
real() { printf '%s' "$input" | 'REAL'; }
refuse() { printf '{"cniVersion":"1.1.0","code":%s,"msg":"refused"}' "$1"; exit 1; }
inside() { nsenter --net="$CNI_NETNS" "$@"; }
is() { [ "$CNI_COMMAND" = "$1" ]; }
another_link() { ip link add "x$$" type veth peer name "y$$"; }
# Hands on what the plugin answers, changed by sed.
but() { output=$(real); code=$?; printf '%s' "$output" | sed "$1"; exit $code; }
"#;

/// Behind a fault that lets the call pass.
pub(crate) const END: &str = "\nreal\n";

/// What stands in front of podwire, and what must fail then.
pub(crate) const FAULTS: [(&str, &str); 41] = [
    (r#"is VERSION && { echo '{"cniVersion":"1.0.0"}'; exit; }"#, "S2-13.1"),
    (r#"is VERSION && { echo '{"cniVersion":"7","supportedVersions":["1.0.0"]}'; exit; }"#, "S2-13.2"),
    (r#"is VERSION && case $input in *name*) ;; *) refuse 6 ;; esac"#, "C1.1"),
    (r#"[ -z "$CNI_COMMAND" ] && { echo '{}'; exit; }"#, "C1.2"),
    // Errors on standard error only.
    (
        r#"output=$(real); code=$?; [ $code = 0 ] && { echo "$output"; exit; }; echo "$output" >&2; exit $code"#,
        "S2-2.1,S2-3.1,S2-3.5,S2-10.1",
    ),
    (r#"is ADD && but '/"cniVersion"/d'"#, "S5-2.1"),
    (
        r#"but 's/"code": [0-9]*/"code": 999/'"#,
        "S5-2.2,S5-2.3,S5-2.4,S5-2.5,S5-2.6,S5-2.7,C2.1,C2.2,C2.3,C2.4,C2.5,C2.6,C2.7,C2.8,S2-11.2",
    ),
    (r#"but 's/CNI_[A-Z]*/one/g'"#, "S5-2.3,S5-2.4,S5-2.5,C2.5"),
    (r#"case $CNI_NETNS in /run/netns/pod*|'') ;; *) echo '{}'; exit ;; esac"#, "C2.9,S2-3.5"),
    (
        r#"is ADD && but 's/"cniVersion": "[^"]*"/"cniVersion": "0.0.1"/'"#,
        "S5-1.1,S5-1.2,S5-1.3,S5-1.4,S5-1.5,S5-1.6,S5-1.7",
    ),
    (r#"is ADD && but 's/"version": "4"/"version": "6"/'"#, "S5-1.3,S5-1.4,S5-1.5"),
    (r#"is ADD && but 's/"sandbox": "[^"]*"/"sandbox": "\/"/'"#, "S5-1.8"),
    (r#"is ADD && but 's/"mac": "../"mac": "ff/'"#, "S5-1.9"),
    (r#"is ADD && another_link; is GC && another_link"#, "S5-1.10,S2-3.3,S2-6.4,S2-7.5,S2-8.1,S2-14.1"),
    (r#"is ADD && but 's/"interface": [0-9]*/"interface": 7/'"#, "S5-1.11"),
    (
        r#"is ADD && { real; code=$?; [ $code = 0 ] && inside ip address flush dev "$CNI_IFNAME"; exit $code; }"#,
        "S5-1.12,S5-1.13,S2-6.6,S2-9.1,S3-1.1,S3-3.1,C5.1",
    ),
    (r#"export CNI_IFNAME=eth0"#, "S2-1.1,S2-3.2,C2.3"),
    (r#"is ADD && [ -z "$CNI_ARGS" ] && refuse 4"#, "S2-1.3"),
    (r#"is ADD && [ "$CNI_IFNAME" = net1 ] && refuse 100"#, "S2-1.2,S2-14.5"),
    (r#"case $input in *cni.dev/conform*) refuse 7 ;; esac"#, "S1-1.1"),
    (r#"is ADD && inside ip link delete "$CNI_IFNAME" 2>/dev/null"#, "S2-3.1,S2-5.1"),
    // Where an ADD fails, its address goes to a container that nobody knows.
    (
        r#"is ADD && { real && exit; ip netns add leak; CNI_CONTAINERID=leak CNI_NETNS=/run/netns/leak; real >&2; exit 1; }"#,
        "S2-3.4",
    ),
    (r#"is ADD && input=$(printf '%s' "$input" | sed 's/"prevResult"/"cni.dev\/previous"/')"#, "S2-4.1"),
    (r#"case $CNI_ARGS in *CONFORM*) refuse 4 ;; esac"#, "C3.1"),
    (r#"is CHECK && refuse 107"#, "S2-9.1,S2-9.2,S2-9.3,S2-9.4,S2-9.5"),
    (r#"is CHECK && exit"#, "S2-10.1,S2-10.2,S2-10.3,S2-10.4,S2-10.5,S2-10.6,S2-10.7,S2-10.8,S4-1.4"),
    // It looks at routes only.
    (r#"is CHECK && { inside ip route | grep -q default && exit; refuse 107; }"#, "S2-10.3,S2-10.4"),
    (r#"is CHECK && inside ip address | grep -q 203.0.113 && refuse 107"#, "S2-9.4"),
    (r#"is CHECK && another_link; is STATUS && another_link"#, "S2-9.5,S2-11.3"),
    (
        r#"is DEL && ! inside ip link show "$CNI_IFNAME" >/dev/null 2>&1 && refuse 999"#,
        "S2-6.1,S2-6.2,S2-6.3,S2-7.1,S2-7.2,S2-7.3,S2-7.4,S2-7.5",
    ),
    (r#"is DEL && exit"#, "S2-6.4,S2-6.5,S2-7.2,S2-7.4,S2-8.1,S2-8.2,S3-1.3,S3-3.1,S4-1.3"),
    // DEL removes everybody's.
    (
        r#"is DEL && { CNI_COMMAND=GC; input=$(printf '%s' "$input" | sed 's/^{/{"cni.dev\/valid-attachments":[],/'); }"#,
        "S2-6.6",
    ),
    (r#"is DEL && case $input in *prevResult*) ;; *) refuse 7 ;; esac"#, "S2-6.2,S2-8.1,S2-8.2"),
    (r#"is GC && exit"#, "S2-14.2,S2-14.3,S2-14.4,S2-14.5,C4.1,S4-1.5"),
    (r#"is GC && refuse 109"#, "S2-14.1,S2-14.6,S2-14.7"),
    (r#"is GC && input=$(printf '%s' "$input" | sed 's/"cni.dev\/attachments"/"cni.dev\/others"/')"#, "C4.1"),
    (r#"is STATUS && refuse 50"#, "S2-11.1,S2-11.3"),
    (r#"is STATUS && exit"#, "S2-11.2,S2-12.1,S4-1.6"),
    // It serves a few containers only, or gives all the same address.
    (
        r#"is ADD && { mkdir -p /run/adds; : >"/run/adds/$$"; [ "$(ls /run/adds | wc -l)" -gt 9 ] && refuse 11; }"#,
        "S3-1.1,S3-1.2,S3-1.3",
    ),
    (r#"export CNI_PATH=/usr/lib/cni"#, "S4-1.1"),
    // As if the delegate had not been called.
    (
        r#"is ADD && { real; code=$?; sed -i /^DEL/d /run/podwire-conform/delegate/calls; exit $code; }"#,
        "S4-1.2",
    ),
];
