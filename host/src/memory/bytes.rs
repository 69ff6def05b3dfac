//! Copying and comparing, as C's functions of those names. On x86-64, musl's move even eight bytes by a repeated
//! instruction, whose start takes as long as a hundred others, and compare byte by byte.
#![allow(unsafe_code)]

use std::arch::asm;
use std::cmp::Ordering;

type Chunk = u128;

const CHUNK: usize = size_of::<Chunk>();

/// As `memmove`: the places may overlap.
///
/// # Safety
///
/// `size` bytes can be read at `from`, and written at `to`.
#[inline(always)]
pub unsafe fn copy(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: each of these stays within `size` bytes, as its bounds say.
    unsafe {
        match size {
            0 => {}
            1..4 => {
                let (first, middle, last) = (*from, *from.add(size / 2), *from.add(size - 1));
                to.write(first);
                to.add(size / 2).write(middle);
                to.add(size - 1).write(last);
            }
            4..8 => both_ends::<u32>(to, from, size),
            8..16 => both_ends::<u64>(to, from, size),
            16..=32 => both_ends::<Chunk>(to, from, size),
            // Unsigned: a place before the other is far behind it.
            _ if to.addr().wrapping_sub(from.addr()) >= size => upwards(to, from, size),
            _ => downwards(to, from, size),
        }
    }
}

/// Everything is read before anything is written, so that overlaps do not matter.
///
/// # Safety
///
/// As for [`copy`], and `size` is one to two times the type's.
#[inline(always)]
unsafe fn both_ends<T>(to: *mut u8, from: *const u8, size: usize) {
    let last = size - size_of::<T>();
    // SAFETY: both begin, and end, within the `size` bytes.
    unsafe {
        let start = from.cast::<T>().read_unaligned();
        let end = from.add(last).cast::<T>().read_unaligned();
        to.cast::<T>().write_unaligned(start);
        to.add(last).cast::<T>().write_unaligned(end);
    }
}

/// # Safety
///
/// As for [`copy`], and `size` is at least a chunk.
unsafe fn upwards(to: *mut u8, from: *const u8, size: usize) {
    let last = size - CHUNK;
    // SAFETY: a chunk at up to `last` ends within the `size` bytes.
    unsafe {
        let end = from.add(last).cast::<Chunk>().read_unaligned();
        for done in (0..last).step_by(CHUNK) {
            to.add(done).cast::<Chunk>().write_unaligned(from.add(done).cast::<Chunk>().read_unaligned());
            stay_a_loop();
        }
        to.add(last).cast::<Chunk>().write_unaligned(end);
    }
}

/// # Safety
///
/// As for [`upwards`].
unsafe fn downwards(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: a chunk that ends at `left` begins within the `size` bytes, since the last one is apart.
    unsafe {
        let start = from.cast::<Chunk>().read_unaligned();
        let mut left = size;
        while left > CHUNK {
            left -= CHUNK;
            to.add(left).cast::<Chunk>().write_unaligned(from.add(left).cast::<Chunk>().read_unaligned());
            stay_a_loop();
        }
        to.cast::<Chunk>().write_unaligned(start);
    }
}

/// The compiler knows what such a loop does, and would call `memcpy` for it: this very code.
#[inline(always)]
fn stay_a_loop() {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

/// As `memcmp`: how the first bytes that differ compare.
///
/// # Safety
///
/// `size` bytes can be read at both.
#[inline(always)]
pub unsafe fn compare(a: *const u8, b: *const u8, size: usize) -> Ordering {
    const WORD: usize = size_of::<u64>();
    let mut done = 0;
    // SAFETY: a word is read where one more is left, a byte where `size` is not reached.
    unsafe {
        while size - done >= WORD {
            let [a, b] = [a, b].map(|bytes| u64::from_be(bytes.add(done).cast::<u64>().read_unaligned()));
            if a != b {
                return a.cmp(&b);
            }
            done += WORD;
        }
        while done < size && *a.add(done) == *b.add(done) {
            done += 1;
        }
        if done == size { Ordering::Equal } else { (*a.add(done)).cmp(&*b.add(done)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Several chunks, and every rest of one.
    const SIZES: std::ops::Range<usize> = 0..5 * CHUNK;

    /// No byte is like one nearby.
    fn bytes() -> Vec<u8> {
        (0..=u8::MAX).collect()
    }

    #[test]
    fn a_copy_is_the_original_and_nothing_beside_it_changes() {
        for size in SIZES {
            // Overlapping on either side by any number of bytes, and not at all.
            for to in 0..2 * SIZES.end {
                let (mut found, mut expected, from) = (bytes(), bytes(), SIZES.end);
                expected.copy_within(from..from + size, to);
                let start = found.as_mut_ptr();
                // SAFETY: both are at most 2 * 80 + 80 of 256.
                unsafe { copy(start.add(to), start.add(from), size) };
                assert_eq!(found, expected, "{size} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn the_first_difference_decides() {
        for size in SIZES {
            let same = bytes();
            assert_eq!(unsafe { compare(same.as_ptr(), bytes().as_ptr(), size) }, Ordering::Equal);
            for place in 0..size {
                let mut other = same.clone();
                other[place] += 1;
                other[place + 1..].fill(0);
                let [one, two] = [&same, &other].map(|bytes| bytes.as_ptr());
                assert_eq!(unsafe { compare(one, two, size) }, Ordering::Less, "{place} of {size}");
                assert_eq!(unsafe { compare(two, one, size) }, Ordering::Greater, "{place} of {size}");
                assert_eq!(unsafe { compare(one, two, place) }, Ordering::Equal, "{place} of {size}");
            }
        }
    }
}
