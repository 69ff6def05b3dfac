//! What one call of a policy may cost: every limit, in one place. How much an answer may hold is in
//! [`crate::plan::limits`].
//!
//! The contract (wit/policy.wit) promises both to the authors of policies; a test compares them.

/// Units of fuel, about one for each instruction; `settings.rs` says which ones cost more. A loop
/// that does nothing ends within a tenth of a second.
pub const FUEL: u64 = 50_000_000;

/// Bytes of linear memory, of all memories of the policy together. Also the address space that is set
/// aside for each of them, so that growing never copies.
pub const MEMORY: usize = 64 << 20;

/// Elements, of all tables of the policy together. An interpreter compiled to WebAssembly has some 10,000.
pub const TABLE_ELEMENTS: usize = 20_000;

/// Bytes of stack. The host lends its own: its main thread has 8 MiB.
pub const STACK: usize = 256 << 10;

/// Core instances. A policy in Rust has one, with two more that the component encoder adds; one in Python
/// has a few dozen.
pub const INSTANCES: usize = 100;

/// Tables; see [`INSTANCES`].
pub const TABLES: usize = 20;

/// Linear memories; see [`INSTANCES`].
pub const MEMORIES: usize = 4;

/// Handles of resources that a policy has at a time. The contract has none; the streams and clocks of WASI's
/// stand-ins are.
pub const HANDLES: usize = 64;

/// Bytes that the policy passes to the host in one answer, or in the arguments of one call of `leases` or
/// `log`, as the host's own types hold them.
pub const PASSED_BYTES: usize = 1 << 20;

/// Calls of `leases` and `log`, and of WASI's stand-ins, together.
pub const HOST_CALLS: u32 = 4_096;

/// Leases walked on the policy's behalf: the database is locked meanwhile.
pub const LEASE_STEPS: u64 = 1_000_000;

/// Bytes of the policy's log; further lines are dropped. With what the host writes before each line, it fits
/// into a pipe that nobody reads yet (64 KiB, see pipe(7)): a runtime may read standard error last.
pub const LOG_BYTES: usize = 16 << 10;

/// Bytes of the log that each line takes beside its text, for what the host writes before it.
pub const LOG_LINE: usize = 64;

/// Bytes of a component that can be installed. Those that hold an interpreter have about 20 MB.
pub const COMPONENT_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::limits::*;
    use crate::policy::text::grouped;

    /// The row of the contract's table that begins with `what`, its blanks and marks taken away.
    fn promised(what: &str) -> String {
        let wit = include_str!("../../../wit/policy.wit");
        let row = wit.lines().find(|line| line.starts_with(&format!("/// | {what}"))).expect(what);
        row.rsplit('|').nth(1).unwrap().trim().to_owned()
    }

    #[test]
    fn the_contract_promises_these_limits() {
        let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
        for (what, limit) in [
            ("instructions", grouped(FUEL)),
            ("linear memory", mib(MEMORY)),
            ("table elements", grouped(TABLE_ELEMENTS as u64)),
            ("stack", format!("{} KiB", STACK >> 10)),
            ("calls of `leases` and `log`", grouped(HOST_CALLS.into())),
            ("leases walked", grouped(LEASE_STEPS)),
            ("bytes passed", mib(PASSED_BYTES)),
            ("addresses of one pod", format!("{ADDRESSES} each")),
            ("routes of one pod", ROUTES.to_string()),
            ("bridges of a node", format!("{BRIDGES}; {}", grouped(NODE_ROUTES as u64))),
            ("sysctls", SYSCTLS.to_string()),
            ("name servers", format!("{DNS_ENTRIES} each")),
            ("entries of `extra`", EXTRA.to_string()),
            ("a string", format!("{STRING} bytes")),
            ("a refusal's message", format!("{} bytes", grouped(MESSAGE as u64))),
        ] {
            assert_eq!(promised(what), limit, "{what}");
        }
        let wit = include_str!("../../../wit/policy.wit");
        assert!(wit.contains(&format!("beyond {} KiB in one call", LOG_BYTES >> 10)));
    }
}
