//! How much memory a policy holds.

use wasmtime::ResourceLimiter;

use super::fault::Fault;
use super::limits;

/// What all memories and all tables of an instance hold together. wasmtime's own limiter knows a limit for
/// each only.
#[derive(Default)]
pub(super) struct Quota {
    memory: Held,
    table_elements: Held,
}

/// A policy that wants too much is stopped: if it were merely refused, it would end in a less clear way.
#[derive(Default)]
struct Held {
    now: usize,
    /// What was wanted when it was too much.
    refused: Option<usize>,
}

impl Held {
    fn grow(
        &mut self,
        now: usize,
        wanted: usize,
        own_most: Option<usize>,
        limit: usize,
    ) -> wasmtime::Result<bool> {
        if own_most.is_some_and(|most| wanted > most) {
            return Ok(false);
        }
        let sum = self.now.saturating_add(wanted.saturating_sub(now));
        if sum > limit {
            self.refused = Some(sum);
            return Err(wasmtime::Error::msg("over the limit"));
        }
        self.now = sum;
        Ok(true)
    }
}

impl Quota {
    /// Bytes of memory: what is held now is the most that ever was, since no memory shrinks.
    pub(super) fn memory(&self) -> usize {
        self.memory.now
    }

    /// The limit that ended the policy, if one did.
    pub(super) fn exceeded(&self) -> Option<Fault> {
        let memory = self.memory.refused.map(|wanted| Fault::Memory { wanted });
        memory.or(self.table_elements.refused.map(|wanted| Fault::Tables { wanted }))
    }
}

impl ResourceLimiter for Quota {
    fn memory_growing(&mut self, now: usize, wanted: usize, most: Option<usize>) -> wasmtime::Result<bool> {
        self.memory.grow(now, wanted, most, limits::MEMORY)
    }

    fn table_growing(&mut self, now: usize, wanted: usize, most: Option<usize>) -> wasmtime::Result<bool> {
        self.table_elements.grow(now, wanted, most, limits::TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        limits::INSTANCES
    }

    fn tables(&self) -> usize {
        limits::TABLES
    }

    fn memories(&self) -> usize {
        limits::MEMORIES
    }
}
