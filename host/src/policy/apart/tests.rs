use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;

use super::super::testing::{Guest, Leases, request};
use super::super::{Engine, Error, Instance, Policy};
use super::*;
use crate::leases::Store;

fn policy(component: &[u8]) -> Policy {
    Engine::new().unwrap().load_component(component, "test (sha256:00)").unwrap()
}

/// What a process in the jail comes to which does this.
fn jailed(work: impl FnOnce() -> io::Result<()>) -> String {
    let mut apart = Apart::fork(|stream| {
        jail::enter(stream.as_fd(), None)?;
        let mut wire = Wire::to_podwire(stream);
        wire.send(&Ask::Started(Ok(())))?;
        work()
    })
    .unwrap();
    assert!(matches!(apart.hear(&leases::Empty), Ok(Ask::Started(Ok(())))), "it is in");
    apart.hear(&leases::Empty).err().unwrap().to_string()
}

#[test]
fn memory_and_the_wire_are_all_there_is() {
    const STOPPED: &str = "its process: it was stopped at a system call that no policy needs";
    const ENDED: &str = "its process: failed to fill whole buffer";
    type Way = (&'static str, &'static str, fn() -> io::Result<()>);
    let ways: [Way; 7] = [
        ("memory", ENDED, || {
            std::hint::black_box(vec![1; 10 << 20]);
            Ok(())
        }),
        ("a file", STOPPED, || fs::read("/etc/hostname").map(drop)),
        ("the network", STOPPED, || std::net::UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("a program", STOPPED, || std::process::Command::new("true").status().map(drop)),
        ("a signal", STOPPED, || Ok(rustix::process::test_kill_process(rustix::process::getpid())?)),
        ("standard error", STOPPED, || io::stderr().write_all(b"no")),
        ("privilege", STOPPED, || Ok(rustix::thread::set_thread_uid(rustix::process::Uid::ROOT)?)),
    ];
    for (what, expected, way) in ways {
        assert_eq!(jailed(way), expected, "{what}");
    }
}

#[test]
fn new_code_and_shared_memory_are_out_of_reach() {
    for (protection, flags) in [
        (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS),
    ] {
        let said = jailed(|| {
            jail::map(protection, flags);
            Ok(())
        });
        assert!(said.contains("a system call that no policy needs"), "{said}");
    }
}

#[test]
fn it_is_nobody_and_has_nothing_of_podwires() {
    let folder = tempfile::tempdir().unwrap();
    let _store = Store::open(folder.path()).unwrap();
    let mapped = |process: &str| fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    assert!(mapped("self").contains("data.mdb"), "the leases are there to be let go");
    let policy = policy(&Guest::default().build());
    let apart = Apart::start(&policy.code, None).unwrap();
    let process = apart.process.as_raw_nonzero().to_string();
    assert!(!mapped(&process).lines().any(|line| line.split(' ').nth(1).unwrap().ends_with('s')));
    assert_eq!(fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(), 1, "the wire");
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let said = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
    assert_eq!((said("Seccomp:"), said("NoNewPrivs:")), ("2", "1"));
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(said(capabilities).trim_start_matches('0'), "", "{capabilities}");
    }
    if rustix::process::getuid().is_root() {
        assert_eq!(said("Uid:"), "65534\t65534\t65534\t65534");
        assert_eq!((said("Gid:"), said("Groups:")), ("65534\t65534\t65534\t65534", ""));
    }
}

#[test]
fn what_comes_over_the_wire_is_not_believed() {
    for (sent, expected) in [
        (&b""[..], "failed to fill whole buffer"),
        (b"!!!!", "it sent 555819297 bytes, of at most 16777216"),
        (b"\x08\0\0\0nul", "expected value"),
        (b"\x02\0\0\0{}", "expected value"),
    ] {
        let mut apart = Apart::fork(|mut wire| wire.write_all(sent)).unwrap();
        let fault = apart.hear(&leases::Empty).err().unwrap().to_string();
        assert!(fault.contains(expected), "{fault}");
    }
    let forged = || Fault::Malformed("fine\npodwire: all is well".to_owned());
    let mut apart = Apart::fork(|stream| {
        let answer = Ask::Answer { answer: Err(forged()), notes: Vec::new(), spent: Spent::default() };
        Wire::to_podwire(stream).send(&answer)
    })
    .unwrap();
    let fault = apart.ask(&Question::CheckConfig(String::new()), None).err().unwrap().to_string();
    assert!(!fault.contains('\n'), "{fault}");
}

#[test]
fn questions_about_leases_end() {
    let mut apart = Apart::fork(|stream| {
        let mut wire = Wire::to_podwire(stream);
        loop {
            wire.send(&Ask::Leases(wire::LeaseQuestion::Taken("10.0.0.0/8".parse().unwrap())))?;
            let _: wire::Heard = wire.receive()?;
        }
    })
    .unwrap();
    assert!(matches!(apart.hear(&leases::Empty), Err(Fault::HostCalls)));
}

#[test]
fn a_start_that_fails_is_told() {
    let guest = Guest { fields: "(start $loop) (func $loop (loop $again (br $again)))", ..Guest::default() };
    let error = policy(&guest.build()).apart().instantiate::<Leases>().err().unwrap();
    assert!(matches!(error, Error::Failed { call: "start", fault: Fault::OutOfFuel, .. }), "{error}");
}

#[test]
fn what_the_leases_say_when_they_fail_is_told_here() {
    let walks = super::super::tests::asks_for_ever();
    let mut apart: Instance<Leases> = policy(&walks).apart().instantiate().unwrap();
    let (said, leases) = apart.add(&request(), Leases { walk: 300_000, ..Leases::default() });
    assert!(matches!(said, Err(Error::Failed { fault: Fault::Leases(leases::Error::TooManySteps), .. })));
    assert_eq!(leases.asked.get(), 4);
    let (again, _) = apart.add(&request(), Leases::default());
    assert!(matches!(again, Err(Error::Failed { fault: Fault::Process(_), .. })), "it has ended");
}
