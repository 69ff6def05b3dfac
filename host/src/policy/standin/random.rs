//! Randomness that follows from the request: the same request is answered with the same bytes, on every node.

use sha2::{Digest, Sha256};
use wasmtime::StoreContextMut;

use super::{Linked, charge};
use crate::policy::host::Host;

/// Units of fuel for each byte.
const BYTE: u64 = 50;

/// What the bytes of one call of a policy follow from.
pub(in crate::policy) struct Seed(Sha256);

impl Seed {
    /// Of the call of that function of the contract, with whatever tells one such call from another.
    pub(in crate::policy) fn of(call: &str, facts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in [call].iter().chain(facts) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest)
    }
}

/// The bytes that follow from a seed, one after the other.
pub(super) struct Random {
    seed: Seed,
    blocks: u64,
}

impl Random {
    pub(super) fn new(seed: Seed) -> Self {
        Self { seed, blocks: 0 }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(Sha256::output_size()) {
            let digest = self.seed.0.clone().chain_update(self.blocks.to_le_bytes()).finalize();
            self.blocks += 1;
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
    }

    fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

fn bytes(mut store: StoreContextMut<'_, Host>, count: u64) -> wasmtime::Result<Vec<u8>> {
    // Charged before there are so many: fuel bounds the memory too.
    charge(&mut store, count.saturating_mul(BYTE))?;
    let mut bytes = vec![0; usize::try_from(count)?];
    store.data_mut().stand_ins().random.fill(&mut bytes);
    Ok(bytes)
}

fn number(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<u64> {
    charge(store, 8 * BYTE)?;
    Ok(store.data_mut().stand_ins().random.number())
}

pub(super) fn random(linked: &mut Linked<'_>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            linked.func_wrap(name, |store, (count,): (u64,)| Ok((bytes(store, count)?,)))?;
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            linked.func_wrap(name, |mut store, ()| Ok((number(&mut store)?,)))?;
        }
        "insecure-seed" => linked.func_wrap(name, |mut store, ()| {
            let pair = (number(&mut store)?, number(&mut store)?);
            Ok((pair,))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(call: &str, facts: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0; 70];
        Random::new(Seed::of(call, facts)).fill(&mut bytes);
        bytes
    }

    #[test]
    fn equal_requests_have_equal_bytes_and_others_have_others() {
        assert_eq!(of("add", &["pods", "c1"]), of("add", &["pods", "c1"]));
        assert_ne!(of("add", &["pods", "c1"]), of("del", &["pods", "c1"]));
        assert_ne!(of("add", &["pods", "c1"]), of("add", &["pods", "c2"]));
        assert_ne!(of("add", &["pods", "c1"]), of("add", &["podsc", "1"]));
    }

    #[test]
    fn bytes_do_not_come_again() {
        let bytes = of("add", &[]);
        assert_ne!(bytes[..32], bytes[32..64]);
    }
}
