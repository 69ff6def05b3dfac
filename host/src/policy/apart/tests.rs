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
    let apart = Apart::fork(|stream| {
        jail::enter(stream.as_fd())?;
        let mut wire = Wire::to_podwire(stream);
        wire.send(&Ask::Started(Ok(())))?;
        work()
    });
    let mut apart = apart.unwrap().started().unwrap_or_else(|fault| panic!("it is not in: {fault}"));
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
    if !rustix::process::getuid().is_root() {
        let _ = writeln!(io::stderr(), "skipped, because only root may look at the process");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _store = Store::open(folder.path()).unwrap();
    let mapped = |process: &str| fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    assert!(mapped("self").contains("data.mdb"), "the leases are there to be let go");
    let policy = policy(&Guest::default().build());
    let apart = Apart::start(&policy.code).unwrap();
    let process = apart.process.unwrap().as_raw_nonzero().to_string();
    assert!(!mapped(&process).lines().any(|line| line.split(' ').nth(1).unwrap().ends_with('s')));
    // Other tests' code may be mapped at the time.
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let files = files.filter_map(|file| file.path().read_link().ok()?.to_str().map(str::to_owned));
    assert_eq!(files.filter(|file| !mapped(&process).contains(file)).count(), 1, "the wire");
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let said = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
    assert_eq!((said("Seccomp:"), said("NoNewPrivs:")), ("2", "1"));
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(said(capabilities).trim_start_matches('0'), "", "{capabilities}");
    }
    let users = fs::read_to_string("/proc/self/uid_map").unwrap();
    if users.contains("4294967295") {
        assert_eq!(said("Uid:"), "65534\t65534\t65534\t65534");
        assert_eq!((said("Gid:"), said("Groups:")), ("65534\t65534\t65534\t65534", ""));
    }
}

/// However the file is called: its memory is made of it.
#[test]
fn code_is_mapped_from_behind_a_link_too() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let engine = Engine::new().unwrap();
    let guest = Guest { fields: r#"(data (i32.const 2048) "image")"#, ..Guest::default() };
    crate::state::write_atomically(&real.join("code"), &engine.compile(&guest.build()).unwrap()).unwrap();
    for path in ["link/code", "link/../real/code"] {
        let policy = engine.load(&folder.path().join(path), "test").unwrap().apart();
        let (said, _) = policy.instantiate().unwrap().add(&request(), Leases::default());
        said.unwrap().unwrap();
    }
}

/// A process in the jail that looks at nothing any more.
fn deaf() -> Apart {
    let apart = Apart::fork(|stream| {
        jail::enter(stream.as_fd())?;
        Wire::to_podwire(stream).send(&Ask::Started(Ok(())))?;
        loop {
            std::thread::yield_now();
        }
    });
    apart.unwrap().started().unwrap_or_else(|fault| panic!("{fault}"))
}

/// Whether a process of this one ended by that signal; it has ten seconds.
fn has_ended(process: Pid) -> bool {
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 10 {
        if waitpid(Some(process), WaitOptions::NOHANG).unwrap().is_some() {
            return true;
        }
        std::thread::yield_now();
    }
    kill_process(process, Signal::KILL).unwrap();
    false
}

#[test]
fn it_ends_with_whoever_made_it() {
    let made = std::thread::spawn(|| {
        let apart = deaf();
        let process = apart.process.unwrap();
        std::mem::forget(apart);
        process
    });
    assert!(has_ended(made.join().unwrap()), "it went on without podwire");
}

#[test]
fn nobody_waits_for_one_that_does_not_end() {
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(deaf());
        ended.send(())
    });
    end.recv_timeout(std::time::Duration::from_secs(10)).expect("it is ended");
}

/// A process that says this when it is asked.
fn answering(answer: impl FnOnce() -> Ask) -> Apart {
    let work = |stream| {
        let mut wire = Wire::to_podwire(stream);
        let _: wire::Heard = wire.receive()?;
        wire.send(&answer())
    };
    Apart::fork(work).unwrap()
}

#[test]
fn what_comes_over_the_wire_is_not_believed() {
    for (sent, expected) in [
        (&b""[..], "failed to fill whole buffer"),
        (b"!!!!", "it sent 555819297 bytes, of at most 16777216"),
        (b"\x01\0\0\0\x09", "it sent what is no message: Serde Deserialization Error"),
        (b"\x08\0\0\0\0\x01", "it sent what is no message: Hit the end of buffer"),
        (b"\x03\0\0\0\x01\x09\0", "it sent what is no message: Serde Deserialization Error"),
        (b"\x07\0\0\0\0\x01\x09\xff\xff\xff\x7f", "it sent what is no message: Hit the end of buffer"),
        (b"\x03\0\0\0\0\0nul", "it sent what is no message: 1 bytes follow its end"),
    ] {
        let mut apart = Apart::fork(|mut wire| wire.write_all(sent)).unwrap();
        let fault = apart.hear(&leases::Empty).err().unwrap().to_string();
        assert!(fault.contains(expected), "{fault}");
    }
    let forged = || Fault::Malformed("fine\npodwire: all is well".to_owned());
    let mut apart =
        answering(|| Ask::Answer { answer: Err(forged()), notes: Vec::new(), spent: Spent::default() });
    let fault = apart.ask(&Question::CheckConfig(String::new()), None).err().unwrap().to_string();
    assert!(fault.contains("fine podwire: all is well"), "{fault}");
    let apart = Apart::fork(|stream| Wire::to_podwire(stream).send(&Ask::Started(Err(forged())))).unwrap();
    let fault = apart.started().err().unwrap().to_string();
    assert!(fault.contains("fine podwire: all is well"), "{fault}");
}

/// Standard error is a pipe that nobody may read yet.
#[test]
fn no_more_is_noted_and_spent_than_may_be() {
    let mut apart = answering(|| {
        let notes = vec![Note { level: super::super::Level::Info, text: "x".repeat(1_000) }; 1_000];
        let spent = Spent { fuel: u64::MAX, host_calls: u32::MAX, memory: usize::MAX };
        Ask::Answer { answer: Ok(Answer::CheckConfig(Ok(()))), notes, spent }
    });
    apart.ask(&Question::CheckConfig(String::new()), None).unwrap();
    assert_eq!(apart.notes().len(), limits::LOG_BYTES / (1_000 + limits::LOG_LINE));
    let Spent { fuel, host_calls, memory } = apart.spent();
    assert_eq!((fuel, host_calls, memory), (limits::FUEL, limits::HOST_CALLS, limits::MEMORY));
}

/// Each byte of an answer comes soon enough, and the answer never does.
#[test]
fn an_answer_comes_in_time_or_not_at_all() {
    let mut apart = Apart::fork(|mut wire| {
        loop {
            wire.write_all(&[0, 1, 0, 0])?;
        }
    })
    .unwrap();
    apart.wire.wait_for(Duration::ZERO);
    let late = apart.wire.receive::<Ask>().err().unwrap();
    assert_eq!(apart.lost(&late).to_string(), "its process: it did not answer in time");
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
    let error = policy(&guest.build()).apart().instantiate().err().unwrap();
    assert!(matches!(error, Error::Failed { call: "start", fault: Fault::OutOfFuel, .. }), "{error}");
}

#[test]
fn what_the_leases_say_when_they_fail_is_told_here() {
    let walks = super::super::tests::asks_for_ever();
    let mut apart: Instance = policy(&walks).apart().instantiate().unwrap();
    let (said, leases) = apart.add(&request(), Leases { walk: 300_000, ..Leases::default() });
    assert!(matches!(said, Err(Error::Failed { fault: Fault::Leases(leases::Error::TooManySteps), .. })));
    assert_eq!(leases.asked.get(), 4);
    let (again, _) = apart.add(&request(), Leases::default());
    assert!(matches!(again, Err(Error::Failed { fault: Fault::Process(_), .. })), "it has ended");
}

#[test]
fn a_policy_whose_code_is_in_memory_has_its_own() {
    let bridge = include_bytes!("../../../../guests/bridge.wasm");
    let mut apart: Instance = policy(bridge).apart().instantiate().unwrap();
    assert_eq!(apart.check_config("{}").unwrap(), Ok(()));
}
