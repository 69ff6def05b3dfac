//! Numbers that are derived from names and stay the same: for places that nobody keeps a record of.

/// A number of 64 bits for a list of words, the same in every version of the SDK: what was placed by it is found
/// again. Words that are split in another way have another one. Not for secrets: who chooses the words can choose
/// the number.
///
/// It is FNV-1a over the words, each ended by the byte 0xff, which is in no text, and then stirred as by splitmix64,
/// so that all its bits depend on all of theirs.
///
/// ```
/// use podwire_sdk::hash::stable;
/// assert_eq!(stable(["db", "postgres"]), 0x456d_aa62_38fa_b6e6);
/// assert_ne!(stable(["db", "postgres"]), stable(["dbpost", "gres"]));
/// ```
pub fn stable<'a>(words: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = Fnv::NEW;
    for word in words {
        hash = hash.and(word.as_bytes()).and(&[0xff]);
    }
    stirred(hash.0)
}

/// Fowler, Noll and Vo's hash of 64 bits, variant 1a, with the constants that they published.
#[derive(Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    const NEW: Self = Self(0xcbf2_9ce4_8422_2325);
    const PRIME: u64 = 0x0100_0000_01b3;

    fn and(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(Self::PRIME)))
    }
}

/// The last step of splitmix64: one to one, and a bit that changes turns half of the others.
fn stirred(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::format;
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn fnv_is_as_published() {
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(Fnv::NEW.and(text.as_bytes()).0, hash, "{text}");
        }
    }

    #[test]
    fn where_words_end_matters() {
        let lists = [&["ab", "c"][..], &["a", "bc"], &["abc"], &["abc", ""], &[]];
        let numbers: BTreeSet<_> = lists.iter().map(|words| stable(words.iter().copied())).collect();
        assert_eq!(numbers.len(), lists.len());
    }

    /// Names that differ by little, in as many places as there are of them: by chance 63 % of the places are used.
    #[test]
    fn like_names_are_spread() {
        for places in [127_u64, 128, 250, 1_000] {
            let used: BTreeSet<_> =
                (0..places).map(|i| stable(["shop", &format!("cart-{i}")]) % places).collect();
            let share = used.len() as u64 * 100 / places;
            assert!((55..=72).contains(&share), "{share} % of {places} places are used");
        }
    }
}
