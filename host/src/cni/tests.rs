//! Whole calls: every command, every fault, and input of no sense at all.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;

const PREVIOUS: &str = r#""prevResult": {"ips": [{"address": "10.244.1.2/24"}]}"#;

fn environment(command: &str) -> Environment {
    Environment {
        command: Some(command.into()),
        container_id: Some("0123abc".into()),
        netns: Some("/run/netns/a".into()),
        ifname: Some("eth0".into()),
        args: None,
        path: Some("/opt/cni/bin".into()),
        netns_override: None,
        program: Some("podwire".into()),
    }
}

fn call(environment: Environment, stdin: &str) -> Result<Request, Error> {
    Request::read(&Input { environment, stdin: Ok(stdin.as_bytes().to_vec()) })
}

fn configuration(version: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { ", " };
    format!(r#"{{"cniVersion": "{version}", "name": "pods", "type": "podwire"{comma}{members}}}"#)
}

/// What a call that must fail answers.
fn fault(environment: Environment, stdin: &str) -> (u32, String, String) {
    let error = call(environment, stdin).expect_err(stdin);
    let document: serde_json::Value = serde_json::from_str(&error.to_json()).expect("JSON");
    let text = |key: &str| document[key].as_str().expect(key).to_owned();
    (document["code"].as_u64().expect("a code") as u32, text("msg"), text("cniVersion"))
}

fn add(members: &str) -> Add {
    let mut environment = environment("ADD");
    environment.args = Some(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db;IP=10.1.0.9;MAC=0a:00:00:00:00:09".into(),
    );
    match call(environment, &configuration("1.1.0", members)) {
        Ok(Request::Add(add)) => add,
        other => panic!("{other:?}"),
    }
}

fn del(environment: Environment, stdin: &str) -> Del {
    match call(environment, stdin) {
        Ok(Request::Del(del)) => del,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_command_is_read_in_the_versions_that_have_it() {
    for version in Version::ALL {
        for (command, since) in [
            ("ADD", Version::V0_1_0),
            ("DEL", Version::V0_1_0),
            ("CHECK", Version::V0_4_0),
            ("GC", Version::V1_1_0),
            ("STATUS", Version::V1_1_0),
        ] {
            let members = format!(r#"{PREVIOUS}, "cni.dev/valid-attachments": []"#);
            let outcome = call(environment(command), &configuration(version.as_str(), &members));
            if version >= since {
                assert_eq!(outcome.expect("valid").version(), version, "{command}");
            } else {
                let error = outcome.expect_err(command);
                let msg = format!("config version does not allow {command}");
                assert_eq!((error.code(), error.msg(), error.version()), (Code(1), msg.as_str(), version));
            }
        }
    }
    assert_eq!(call(environment("VERSION"), "no JSON"), Ok(Request::Version));
}

#[test]
fn faults_of_the_environment_come_first() {
    let changed = |change: fn(&mut Environment)| {
        let mut environment = environment("ADD");
        change(&mut environment);
        environment
    };
    let no_utf8 = || Some(OsString::from_vec(vec![b'a', 0xff]));
    let table: [(Environment, &str); 9] = [
        (Environment::default(), "required env variables [CNI_COMMAND] missing"),
        (
            changed(|e| (e.netns, e.ifname) = (None, Some("".into()))),
            "required env variables [CNI_NETNS,CNI_IFNAME] missing",
        ),
        (changed(|e| e.command = Some("MOVE".into())), "unknown CNI_COMMAND: MOVE"),
        (
            changed(|e| e.container_id = Some("a/b".into())),
            r#"CNI_CONTAINERID: container ID "a/b" must not contain '/'"#,
        ),
        (
            changed(|e| e.ifname = Some("sixteen-bytes-xx".into())),
            "CNI_IFNAME: interface name \"sixteen-bytes-xx\" is longer than 15 bytes",
        ),
        (changed(|e| e.args = Some("A=1".into())), "CNI_ARGS: unknown key \"A\""),
        (
            Environment { container_id: no_utf8(), ..environment("ADD") },
            "CNI_CONTAINERID is not UTF-8: a\u{fffd}",
        ),
        (Environment { netns: no_utf8(), ..environment("ADD") }, "CNI_NETNS is not UTF-8: a\u{fffd}"),
        (Environment { args: no_utf8(), ..environment("ADD") }, "CNI_ARGS is not UTF-8"),
    ];
    for (environment, msg) in table {
        for stdin in ["", &configuration("1.1.0", "")] {
            assert_eq!(fault(environment.clone(), stdin), (4, msg.to_owned(), "1.1.0".to_owned()));
        }
    }
}

#[test]
fn faults_of_the_configuration_have_their_codes() {
    let good = configuration("1.0.0", "");
    let table = [
        ("ADD", "", 6, "there is no network configuration on standard input", "1.1.0"),
        ("ADD", " \n", 6, "there is no network configuration", "1.1.0"),
        (
            "ADD",
            &good[..good.len() - 1],
            6,
            "the network configuration on standard input is not a JSON object",
            "1.1.0",
        ),
        ("ADD", "[]", 6, "the network configuration on standard input is not a JSON object", "1.1.0"),
        ("ADD", "{} {}", 6, "the network configuration on standard input is not a JSON object", "1.1.0"),
        ("ADD", "{}", 7, "missing network name", "0.1.0"),
        ("ADD", r#"{"cniVersion": "0.4.0", "name": ""}"#, 7, "missing network name", "0.4.0"),
        (
            "ADD",
            r#"{"cniVersion": "0.4.0", "name": "a b"}"#,
            7,
            "name: network name \"a b\" must not",
            "0.4.0",
        ),
        ("ADD", r#"{"cniVersion": "0.4.0", "name": 1}"#, 7, "name 1 is not a string", "0.4.0"),
        ("CHECK", r#"{"name": "pods"}"#, 1, "config version does not allow CHECK", "0.1.0"),
        ("ADD", r#"{"cniVersion": "9.9.9", "name": "pods"}"#, 1, "incompatible CNI versions", "1.1.0"),
        ("CHECK", &good, 7, "missing prevResult", "1.0.0"),
        ("GC", r#"{"cniVersion": "1.1.0", "name": "pods"}"#, 7, "missing cni.dev/valid-attachments", "1.1.0"),
        (
            "GC",
            r#"{"cniVersion": "1.1.0", "name": "pods", "cni.dev/attachments": [{"ifname": "a"}]}"#,
            7,
            "cni.dev/attachments [",
            "1.1.0",
        ),
        (
            "STATUS",
            r#"{"cniVersion": "1.1.0", "name": "pods", "polcy": 1}"#,
            2,
            "unknown key \"polcy\"",
            "1.1.0",
        ),
        (
            "ADD",
            r#"{"cniVersion": "0.3.1", "name": "pods", "runtimeConfig": {"aliases": ["a"]}}"#,
            2,
            "runtimeConfig.aliases is not supported",
            "0.3.1",
        ),
        (
            "ADD",
            r#"{"cniVersion": "0.3.1", "name": "pods", "prevResult": 1}"#,
            7,
            "prevResult 1 is not",
            "0.3.1",
        ),
    ];
    for (command, stdin, code, msg, version) in table {
        let answer = fault(environment(command), stdin);
        assert_eq!((answer.0, answer.2.as_str()), (code, version), "{stdin}: {}", answer.1);
        assert!(answer.1.starts_with(msg), "{}", answer.1);
    }
    let input = Input { environment: environment("ADD"), stdin: Ok(b"{\"name\": \"\xff\"}".to_vec()) };
    assert_eq!(Request::read(&input).map_err(|error| error.code()), Err(Code::UNDECODABLE));
    let input = Input { environment: environment("ADD"), stdin: Err(Error::new(Code::IO, "broken")) };
    assert_eq!(Request::read(&input).map_err(|error| error.code()), Err(Code::IO));
}

#[test]
fn an_add_is_read_whole() {
    let plain = add("");
    assert_eq!(
        (plain.attachment.to_string().as_str(), plain.netns.to_str()),
        ("0123abc/eth0", Some("/run/netns/a"))
    );
    assert!(!plain.netns_override && plain.previous.is_none());
    let pod = plain.pod.expect("in Kubernetes");
    assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("prod", "db", ""));

    let full = add(&format!(
        r#"{PREVIOUS}, "dns": {{"domain": "a"}}, "runtimeConfig": {{"dns": {{"searches": ["b"]}},
           "io.kubernetes.cri.pod-annotations": {{"k": "v"}}}}"#
    ));
    assert_eq!(full.previous.map(|previous| previous.ips.len()), Some(1));
    assert_eq!(full.pod.map(|pod| pod.annotations), Some(vec![("k".to_owned(), "v".to_owned())]));
    assert_eq!(
        full.configuration.dns.map(|dns| (dns.domain, dns.search)),
        Some((None, vec!["b".to_owned()]))
    );
}

#[test]
fn what_is_asked_for_has_an_order() {
    let args = r#""args": {"cni": {"ips": ["10.1.0.8"], "mac": "0a:00:00:00:00:08"}}"#;
    let runtime = r#""runtimeConfig": {"ips": ["10.1.0.7/16"], "mac": "0a:00:00:00:00:07"}"#;
    for (members, address, last) in [
        (String::new(), "10.1.0.9", 9),
        (args.to_owned(), "10.1.0.8", 8),
        (format!("{args}, {runtime}"), "10.1.0.7/16", 7),
    ] {
        let requested = add(&members).requested;
        assert_eq!(requested.addresses, [address.parse().expect("valid")]);
        assert_eq!(requested.mac.map(|mac| mac.0[5]), Some(last));
    }
}

#[test]
fn under_another_name_podwire_knows_itself() {
    for (program, kind, ipam, expected) in [
        ("podwire-2", "podwire-2", "podwire", Role::Main),
        ("podwire-2", "podwire-2", "podwire-2", Role::Main),
        ("podwire-2", "podwire", "podwire-2", Role::Main),
        ("bridge", "bridge", "podwire", Role::Main),
        ("bridge", "bridge", "host-local", Role::Main),
        ("podwire", "podwire-2", "podwire", Role::Ipam),
        ("podwire-2", "macvlan", "podwire-2", Role::Ipam),
        ("host-local", "macvlan", "host-local", Role::Ipam),
    ] {
        let environment = Environment { program: Some(program.into()), ..environment("ADD") };
        let stdin = format!(
            r#"{{"name": "pods", "type": "{kind}", "ipam": {{"type": "{ipam}", "subnet": "10.1.0.0/24"}}}}"#
        );
        let Ok(Request::Add(add)) = call(environment, &stdin) else { panic!("{program}: {stdin}") };
        assert_eq!(add.configuration.role, expected, "{program}: {stdin}");
        assert!(matches!(add.configuration.ipam, Ipam::Ranges(_)), "{program}: {stdin}");
    }
}

/// A call of another main plugin, whose `ipam` names podwire.
fn as_ipam(command: &str, members: &str) -> Result<Request, Error> {
    let stdin = format!(
        r#"{{"cniVersion": "1.1.0", "name": "pods", "type": "sriov", {PREVIOUS}, {members},
            "ipam": {{"type": "podwire", "subnet": "10.1.0.0/24"}}}}"#
    );
    call(environment(command), &stdin)
}

#[test]
fn as_ipam_the_main_plugins_capabilities_are_left_to_it() {
    let members = r#""args": {"cni": {"ips": ["10.1.0.6"], "mac": 1}}, "runtimeConfig": {"deviceID": "0000:03:02.0",
        "portMappings": 1, "bandwidth": 1, "mac": 1, "dns": {"servers": ["10.0.0.1"]}, "ipRanges": [[{"subnet": "fd00::/64"}]],
        "io.kubernetes.cri.pod-annotations": {"a": "1"}}"#;
    let Ok(Request::Add(add)) = as_ipam("ADD", members) else { panic!("{:?}", as_ipam("ADD", members)) };
    let Requested { addresses, mac, port_mappings, bandwidth } = add.requested;
    assert_eq!(addresses, ["10.1.0.6".parse().expect("valid")]);
    assert_eq!((mac, port_mappings, bandwidth), (None, vec![], None));
    assert_eq!(add.configuration.dns.map(|dns| dns.nameservers.len()), Some(1));
    assert!(matches!(add.configuration.ipam, Ipam::Ranges(ranges) if ranges.sets.len() == 2));
    assert!(as_ipam("CHECK", members).is_ok() && as_ipam("DEL", members).is_ok());
    let ips = as_ipam("ADD", r#""runtimeConfig": {"ips": ["10.1.0.7/24"], "aliases": ["a"]}"#);
    assert!(matches!(ips, Ok(Request::Add(add)) if add.requested.addresses.len() == 1), "{members}");
}

#[test]
fn ranges_must_be_known_when_addresses_are_given() {
    // Runtimes send no capabilities with GC and STATUS, and ranges may come by one (ipRanges).
    for ipam in [r#"{"type": "host-local"}"#, r#"{"type": "podwire", "dataDir": "/x"}"#] {
        let members =
            format!(r#""ipam": {ipam}, {PREVIOUS}, "cni.dev/valid-attachments": [], "bridge": "br0""#);
        let stdin = configuration("1.1.0", &members);
        for command in ["GC", "STATUS", "CHECK"] {
            assert!(call(environment(command), &stdin).is_ok(), "{command}");
        }
        let configuration = del(environment("DEL"), &stdin).configuration.expect("readable");
        assert!(matches!(configuration.ipam, Ipam::Ranges(ranges) if ranges.host_local.is_some()));
        let (code, msg, _) = fault(environment("ADD"), &stdin);
        assert!(code == 7 && msg.starts_with("ipam has no range"), "{msg}");
    }
}

#[test]
fn an_override_is_one_or_true() {
    for (value, expected) in
        [("1", true), ("TRUE", true), ("True", true), ("0", false), ("yes", false), ("", false)]
    {
        let environment = Environment { netns_override: Some(value.into()), ..environment("DEL") };
        assert_eq!(del(environment, "").netns_override, expected, "{value}");
    }
}

#[test]
fn del_needs_only_the_attachment() {
    let unreadable = [
        ("", Code::UNDECODABLE),
        ("{", Code::UNDECODABLE),
        ("{}", Code::INVALID_CONFIG),
        (r#"{"cniVersion": "9.0.0", "name": "pods"}"#, Code::INCOMPATIBLE_VERSION),
        (r#"{"cniVersion": "1.0.0", "name": "pods", "polcy": 1}"#, Code::UNSUPPORTED_FIELD),
        (r#"{"cniVersion": "1.0.0", "name": "pods", "pools": ["x"]}"#, Code::INVALID_CONFIG),
    ];
    for (stdin, code) in unreadable {
        let environment = Environment { netns: None, args: Some("nonsense".into()), ..environment("DEL") };
        let del = del(environment, stdin);
        assert_eq!((del.attachment.to_string().as_str(), del.netns, del.pod), ("0123abc/eth0", None, None));
        assert_eq!(del.configuration.map_err(|error| error.code()), Err(code), "{stdin}");
    }
    let bad_elsewhere =
        configuration("1.0.0", r#""prevResult": 7, "runtimeConfig": {"portMappings": [1]}, "args": []"#);
    assert!(del(environment("DEL"), &bad_elsewhere).configuration.is_ok());
    let unread = Input { environment: environment("DEL"), stdin: Err(Error::new(Code::IO, "broken")) };
    assert!(matches!(Request::read(&unread), Ok(Request::Del(Del { configuration: Err(_), .. }))));
    let no_id = Environment { container_id: None, ..environment("DEL") };
    assert_eq!(fault(no_id, "").1, "required env variables [CNI_CONTAINERID] missing");
}

#[test]
fn gc_spares_what_is_listed() {
    let valid = |members: &str| match call(environment("GC"), &configuration("1.1.0", members)) {
        Ok(Request::Gc(gc)) => gc.valid.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let listed = r#"[{"containerID": "b", "ifname": "eth0"}, {"containerID": "a", "ifname": "eth1"},
                     {"containerID": "not ours/", "ifname": "eth0"}]"#;
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(valid(&format!("\"{key}\": {listed}")), ["a/eth1", "b/eth0"]);
        assert!(valid(&format!("\"{key}\": null")).is_empty());
    }
    assert_eq!(
        valid(&format!(r#""cni.dev/attachments": [], "cni.dev/valid-attachments": {listed}"#)).len(),
        2
    );
}

/// Any JSON, with podwire's and CNI's own keys strewn in.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "1.1.0",
            "0.4.0",
            "pods",
            "10.1.0.0/16",
            "10.1.0.2",
            "fd00::1/64",
            "0a:58:00:00:00:01"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        text.prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(key(), inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = vec![
        "cniVersion",
        "name",
        "policy",
        "pools",
        "cluster",
        "config",
        "dns",
        "ipam",
        "ipMasq",
        "args",
        "cni",
        "ips",
        "mac",
        "runtimeConfig",
        "prevResult",
        "interfaces",
        "routes",
        "address",
        "dst",
        "gw",
        "nameservers",
        "search",
        "cni.dev/valid-attachments",
        "containerID",
        "ifname",
        "io.kubernetes.cri.pod-annotations",
        "portMappings",
    ];
    prop_oneof![9 => prop::sample::select(known).prop_map(str::to_owned), 1 => any::<String>()]
}

/// Keys that a configuration may have, now and then another.
fn outer_key() -> impl Strategy<Value = String> {
    let known = vec![
        "policy",
        "pools",
        "cluster",
        "config",
        "dns",
        "ipam",
        "ipMasq",
        "args",
        "runtimeConfig",
        "prevResult",
        "capabilities",
        "cni.dev/valid-attachments",
    ];
    prop_oneof![30 => prop::sample::select(known).prop_map(str::to_owned), 1 => key()]
}

/// Mostly a sound configuration with arbitrary members, sometimes cut, sometimes bytes of no sense.
fn stdin() -> impl Strategy<Value = Vec<u8>> {
    let members = prop::collection::btree_map(outer_key(), json(), 0..4);
    let version = prop::sample::select(vec![Version::V0_4_0, Version::V1_1_0]);
    let strewn = (version, members, any::<prop::sample::Index>(), prop::bool::weighted(0.1)).prop_map(
        |(version, members, at, cut)| {
            let mut object = serde_json::json!({"cniVersion": version.as_str(), "name": "pods"});
            members.into_iter().for_each(|(key, value)| object[key] = value);
            let mut text = object.to_string().into_bytes();
            if cut {
                text.truncate(at.index(text.len()));
            }
            text
        },
    );
    prop_oneof![4 => strewn, 1 => prop::collection::vec(any::<u8>(), 0..64)]
}

fn variable(good: &'static str) -> impl Strategy<Value = Option<OsString>> {
    prop_oneof![
        30 => Just(Some(OsString::from(good))),
        1 => Just(None),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Some(OsString::from_vec(bytes))),
    ]
}

prop_compose! {
    fn any_environment()(
        command in prop::sample::select(vec!["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "", "X"]),
        container_id in variable("abc"),
        netns in variable("/run/netns/a"),
        ifname in variable("eth0"),
        args in variable("IgnoreUnknown=1;IP=10.0.0.1"),
        path in variable("/opt/cni/bin"),
        netns_override in variable("1"),
    ) -> Environment {
        Environment { command: Some(command.into()), container_id, netns, ifname, args, path, netns_override, program: None }
    }
}

proptest! {
    #[test]
    fn every_call_is_a_request_or_one_error(environment in any_environment(), stdin in stdin()) {
        if let Err(error) = Request::read(&Input { environment, stdin: Ok(stdin) }) {
            let text = error.to_json();
            let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            prop_assert!([1, 2, 4, 6, 7].contains(&document["code"].as_u64().expect("a code")));
            let msg = document["msg"].as_str().expect("a message");
            prop_assert!(!msg.is_empty() && msg.len() <= 4096 && !msg.contains(char::is_control));
            prop_assert!(document["cniVersion"].is_string());
        }
    }

    #[test]
    fn del_goes_on_whatever_the_configuration(stdin in stdin(), args in variable("A=1")) {
        let environment = Environment { args, ..environment("DEL") };
        let request = Request::read(&Input { environment, stdin: Ok(stdin) });
        prop_assert!(matches!(request, Ok(Request::Del(_))));
    }

    #[test]
    fn a_previous_result_comes_back_as_it_was(rest in prop::collection::btree_map("x-[a-z]{1,4}", json(), 0..4)) {
        let mut previous = serde_json::json!({
            "cniVersion": "1.0.0", "dns": {},
            "interfaces": [rest.clone()], "ips": [rest.clone()], "routes": [rest.clone()]
        });
        previous["interfaces"][0]["name"] = "a".into();
        previous["ips"][0]["address"] = "fd00:0:0::1/64".into();
        previous["routes"][0]["dst"] = "::/0".into();
        rest.into_iter().for_each(|(key, value)| previous[key] = value);
        let add = add(&format!(r#""prevResult": {previous}"#));
        let version = Version::V1_0_0;
        let text = AddResult::default().to_json(version, add.previous.as_ref());
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), previous);
    }
}
