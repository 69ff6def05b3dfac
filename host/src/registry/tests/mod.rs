//! Policies on a disk of their own.

mod killed;
mod rollouts;

use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Barrier;

use std::path::Path;

use super::*;
use crate::journal::What;
use crate::policy::testing::{Guest, Leases, request};
use crate::policy::{self, Engine, abi_key};

/// Who does all this.
const BY: &str = "a test";

struct Node {
    root: tempfile::TempDir,
    registry: Registry,
    engine: Engine,
}

fn node() -> Node {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::open(&State::new(Some(root.path())));
    Node { root, registry, engine: Engine::new().unwrap() }
}

impl Node {
    /// Installs a version and activates it.
    fn install(&self, name: &str, guest: &Guest) -> Installed {
        let installed = self.registry.install(&name.parse().unwrap(), &guest.build(), BY).unwrap();
        self.registry.activate(&installed, None, BY).unwrap();
        installed
    }

    fn standing(&self, name: &str) -> Standing {
        self.registry.standing(&name.parse().unwrap()).unwrap()
    }

    fn active(&self, name: &str) -> Result<Installed, Error> {
        self.registry.active(&name.parse().unwrap())
    }

    /// Loads the policy and asks it.
    fn use_it(&self, installed: &Installed) -> Result<(), Error> {
        let mut instance = self.registry.load(&self.engine, installed)?.instantiate()?;
        instance.add(&request(), Leases::default()).0?.unwrap();
        Ok(())
    }

    fn refused(&self, component: &[u8]) -> String {
        let refused = self.registry.install(&"p".parse().unwrap(), component, BY);
        assert!(matches!(self.active("p"), Err(Error::NotInstalled { .. })));
        refused.unwrap_err().to_string()
    }
}

/// A policy that is not the default one.
fn other() -> Guest {
    Guest { pages: 2, ..Guest::default() }
}

/// The file's number: another one once it was written anew.
fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

#[test]
fn an_installed_policy_is_used_once_it_is_activated() {
    let node = node();
    let name = "tenants".parse().unwrap();
    let installed = node.registry.install(&name, &Guest::default().build(), BY).unwrap();
    assert!(matches!(node.active("tenants"), Err(Error::NotActive { .. })));
    let change = node.registry.activate(&installed, None, BY).unwrap();
    assert_eq!(change.what, What::Activated { digest: installed.digest, before: None });
    assert_eq!(node.active("tenants").unwrap(), installed);
    assert!(installed.code().exists());
    node.use_it(&installed).unwrap();
    assert_eq!(node.registry.component(&installed).unwrap(), Guest::default().build());
}

#[test]
fn the_built_in_policy_works_where_nothing_is_installed() {
    let node = node();
    let builtin = node.active("bridge").unwrap();
    assert!(builtin.is_builtin());
    assert_eq!(node.registry.names().unwrap(), []);
    node.registry.load(&node.engine, &builtin).unwrap().instantiate().unwrap();
    assert_eq!(fs::read(builtin.dir.join("policy.wasm")).unwrap(), builtin::COMPONENT);
    assert!(matches!(node.registry.remove(&builtin.name, BY), Err(Error::Builtin { .. })));
}

#[test]
fn an_installed_policy_wins_over_the_built_in_one_until_it_is_removed() {
    let node = node();
    let builtin = node.active("bridge").unwrap();
    let installed = node.install("bridge", &other());
    assert_eq!(node.active("bridge").unwrap(), installed);
    assert_eq!(node.registry.installed(&installed.name, builtin.digest).unwrap(), builtin);
    node.registry.activate(&builtin, None, BY).unwrap();
    assert_eq!(node.active("bridge").unwrap(), builtin);
    node.registry.activate(&installed, None, BY).unwrap();
    let change = node.registry.roll_back(&installed.name, None, BY).unwrap();
    assert_eq!(change.what, What::RolledBack { from: installed.digest, to: builtin.digest });
    node.registry.remove(&installed.name, BY).unwrap();
    assert_eq!(node.active("bridge").unwrap(), builtin);
}

#[test]
fn removing_a_name_spares_what_others_stand_for() {
    let node = node();
    let shared = node.install("a", &Guest::default());
    node.install("b", &Guest::default());
    let own = node.install("b", &other());
    node.registry.remove(&own.name, BY).unwrap();
    assert!(!own.dir.exists());
    node.use_it(&shared).unwrap();
    let error = node.registry.installed(&own.name, own.digest).unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error}");
    assert!(matches!(node.registry.remove(&own.name, BY), Err(Error::NotInstalled { .. })));
    assert_eq!(node.registry.names().unwrap(), std::slice::from_ref(&shared.name));
}

#[test]
fn what_cannot_be_a_policy_is_refused_with_the_remedy() {
    let node = node();
    assert!(node.refused(b"#!/bin/sh").contains("not a WebAssembly component"));
    assert!(node.refused(&Guest::default().module()).contains("`wasm-tools component new"));
    let component = |text: &str| wat::parse_str(format!("(component {text})")).unwrap();
    let wasi =
        node.refused(&component(r#"(import "wasi:cli/environment@0.3.0" (instance (export "f" (func))))"#));
    assert!(
        wasi.contains("imports wasi:cli/environment@0.3.0") && wasi.contains("WASI of version 0.2"),
        "{wasi}"
    );
    let foreign =
        node.refused(&component(r#"(import "podwire:policy/leases@9.0.0" (instance (export "f" (func))))"#));
    assert!(foreign.contains("of version 0.3, and WASI of version 0.2"), "{foreign}");
    assert!(node.refused(&component("")).contains(r#"does not export "check-config""#));
    assert!(
        node.refused(&component("(core module (func (v128.const i64x2 0 0) drop))")).contains("switches off")
    );
    assert_eq!(fs::read_dir(&node.registry.policies).map_or(0, Iterator::count), 0);
}

#[test]
fn types_alone_may_be_imported_from_anywhere() {
    let text = r#"(component (import "a:b/types" (instance (type u32) (export "t" (type (eq 0))))))"#;
    let found = policy::inspect(&wat::parse_str(text).unwrap()).unwrap();
    assert!(!found.imports[0].has_functions);
    assert_eq!(found.check(), Err(policy::Unfit::Export("check-config")));
}

#[test]
fn components_of_components_and_other_strings_are_refused() {
    let lifted = |option: &str| {
        format!(
            r#"(core module $m (memory (export "m") 1) (func (export "f") (param i32 i32))
                (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
               (core instance $i (instantiate $m))
               (func (export "f") (param "s" string) (canon lift (core func $i "f") {option}
                   (memory $i "m") (realloc (func $i "r"))))
               (func (export "check-config") (param "s" string) (canon lift (core func $i "f")
                   (memory $i "m") (realloc (func $i "r"))))
               (export "add" (func 0)) (export "del" (func 0)) (export "node" (func 0))"#
        )
    };
    let unfit = |text: String| {
        policy::inspect(&wat::parse_str(format!("(component {text})")).unwrap()).unwrap().check()
    };
    assert_eq!(unfit(lifted("")), Ok(()));
    assert_eq!(unfit(lifted("string-encoding=utf16")), Err(policy::Unfit::Encoding));
    assert_eq!(unfit(format!("(component {}) {}", lifted(""), lifted(""))), Err(policy::Unfit::Composed));
}

#[test]
fn functions_of_other_types_are_refused_and_leave_nothing() {
    let node = node();
    let text = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (export "check-config" (func $f)) (export "add" (func $f)) (export "del" (func $f))
        (export "node" (func $f)))"#;
    let error = node.refused(&wat::parse_str(text).unwrap());
    assert!(error.contains("failed in start"), "{error}");
    let left = fs::read_dir(&node.registry.policies).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["lock"]);
}

#[test]
fn code_of_another_version_is_compiled_anew() {
    let node = node();
    let installed = node.install("p", &Guest::default());
    let stale =
        Engine::of_version("0.0.0-48.0.7-1".into()).unwrap().compile(&Guest::default().build()).unwrap();
    state::write_atomically(&installed.code(), &stale).unwrap();
    let error = node.engine.load(&installed.code(), "p").err().unwrap();
    assert!(matches!(error, policy::Error::Stale { .. }), "{error}");
    node.use_it(&installed).unwrap();
    assert_ne!(fs::read(installed.code()).unwrap(), stale);
    // From now on it is mapped.
    let before = inode(&installed.code());
    node.use_it(&installed).unwrap();
    assert_eq!(inode(&installed.code()), before);
}

#[test]
fn code_that_is_cut_short_anywhere_is_compiled_anew() {
    let node = node();
    let installed = node.install("p", &Guest::default());
    let whole = fs::read(installed.code()).unwrap();
    for length in (0..256).map(|part| whole.len() * part / 256).chain([whole.len() - 1]) {
        state::write_atomically(&installed.code(), &whole[..length]).unwrap();
        let error = node.engine.load(&installed.code(), "p").err().unwrap();
        assert!(matches!(error, policy::Error::Stale { .. }), "{length} of {}: {error}", whole.len());
    }
    node.use_it(&installed).unwrap();
    assert_eq!(fs::read(installed.code()).unwrap(), whole);
}

#[test]
fn what_others_can_write_is_never_loaded() {
    let node = node();
    let installed = node.install("p", &Guest::default());
    let names = node.registry.policies.join("names");
    for (path, loose) in [(installed.code(), 0o666), (installed.dir.clone(), 0o777)] {
        let mode = path.metadata().unwrap().permissions();
        set_permissions(&path, Permissions::from_mode(loose)).unwrap();
        let error = node.use_it(&installed).unwrap_err().to_string();
        assert!(error.contains(&format!("`chmod go-w {}`", path.display())), "{error}");
        set_permissions(&path, mode).unwrap();
    }
    for (path, loose) in [(names.join("p.json"), 0o666), (names, 0o777)] {
        set_permissions(&path, Permissions::from_mode(loose)).unwrap();
        assert!(
            matches!(node.active("p"), Err(Error::File(state::Error::Writable { path: found, .. })) if found == path)
        );
        set_permissions(&path, Permissions::from_mode(loose & 0o755)).unwrap();
    }
}

#[test]
fn a_changed_component_is_not_compiled() {
    let node = node();
    let installed = node.install("p", &Guest::default());
    fs::remove_file(installed.code()).unwrap();
    state::write_atomically(&installed.dir.join("policy.wasm"), &other().build()).unwrap();
    assert!(matches!(node.use_it(&installed), Err(Error::Damaged { .. })));
}

#[test]
fn a_name_that_says_nothing_is_refused() {
    let node = node();
    node.install("p", &Guest::default());
    let file = node.registry.policies.join("names/p.json");
    for text in ["", "{", r#"{"everywhere": {"active": {"digest": "sha256:0"}}}"#] {
        state::write_atomically(&file, text.as_bytes()).unwrap();
        assert!(matches!(node.active("p"), Err(Error::Pointer { .. })), "{text}");
    }
}

#[test]
fn many_first_calls_compile_once() {
    const CALLS: usize = 20;
    let node = node();
    let installed = node.install("p", &Guest::default());
    fs::remove_file(installed.code()).unwrap();
    let barrier = Barrier::new(CALLS);
    let inodes = std::thread::scope(|scope| {
        let call = || {
            let engine = Engine::new().unwrap();
            barrier.wait();
            node.registry.load(&engine, &installed).unwrap().instantiate().unwrap();
            inode(&installed.code())
        };
        let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(call)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(inodes, [inodes[0]; CALLS]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let node = node();
    let builtin = node.active("bridge").unwrap();
    node.registry.load_unsaved(&node.engine, &builtin).unwrap().instantiate().unwrap();
    assert!(!node.registry.policies.exists());
}

#[test]
fn code_is_named_for_the_podwire_that_can_run_it() {
    assert!(abi_key().starts_with(&format!("{}-48.", env!("CARGO_PKG_VERSION"))), "{}", abi_key());
    assert!(abi_key().ends_with(std::env::consts::ARCH));
}
