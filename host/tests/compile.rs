//! podwire-compile, as the plugin runs it.
#![cfg(feature = "compiler")]

use std::process::{Command, Output};

use podwire::names::PolicyName;
use podwire::policy::{Engine, abi_key};
use podwire::registry::Registry;
use podwire::state::{State, write_atomically};

fn compile(arguments: &[&std::path::Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podwire-compile")).args(arguments).output().expect("cargo built it")
}

#[test]
fn its_code_is_what_the_registry_loads() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::open(&State::new(Some(root.path())));
    let policy = registry.active(&PolicyName::default()).unwrap();
    let component = root.path().join("policy.wasm");
    write_atomically(&component, &registry.component(&policy).unwrap()).unwrap();
    std::fs::create_dir_all(&policy.dir).unwrap();
    let code = policy.dir.join(format!("{}.cwasm", abi_key()));
    let done = compile(&[&component, &code]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let written = code.metadata().unwrap().modified().unwrap();
    registry.load(&Engine::new().unwrap(), &policy).unwrap().instantiate().unwrap();
    assert_eq!(code.metadata().unwrap().modified().unwrap(), written, "it was compiled again");
}

#[test]
fn its_failures_say_why_and_write_nothing() {
    let root = tempfile::tempdir().unwrap();
    let [component, output] = ["component", "output"].map(|name| root.path().join(name));
    let failures: [(&[&std::path::Path], &str); 3] = [
        (&[&component], "usage: podwire-compile COMPONENT OUTPUT"),
        (&[&component, &output], "cannot open: No such file or directory"),
        (&[env!("CARGO_BIN_EXE_podwire-compile").as_ref(), &output], "the component cannot be compiled"),
    ];
    for (arguments, reason) in failures {
        let done = compile(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.starts_with("podwire-compile: ") && said.contains(reason), "{said}");
        assert!(!output.exists());
    }
}
