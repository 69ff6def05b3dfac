//! dlmalloc without a lock, for a process of one thread.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::process::abort;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use dlmalloc::Dlmalloc;

/// What is asked of the kernel at a time. It costs nothing until it is touched, and less would be asked for again.
const AT_A_TIME: usize = 1 << 20;

/// Belongs to the first thread that uses it. Taking and giving back a lock takes longer than most of what is done
/// under it; so another thread ends the process.
pub struct Heap {
    /// By what [`this_thread`] says.
    owner: AtomicUsize,
    memory: UnsafeCell<Dlmalloc>,
}

// SAFETY: `memory` is reached by `Heap::memory` alone, which no thread but one gets past.
unsafe impl Sync for Heap {}

impl Heap {
    /// One that nobody owns yet.
    #[expect(clippy::new_without_default, reason = "a static needs a constant")]
    pub const fn new() -> Self {
        let mut memory = Dlmalloc::new();
        assert!(memory.set_granularity(AT_A_TIME));
        Self { owner: AtomicUsize::new(0), memory: UnsafeCell::new(memory) }
    }

    fn is_mine(&self) -> bool {
        let me = this_thread();
        // Written once, before anything that its writer keeps here.
        let owner = self.owner.load(Ordering::Relaxed);
        owner == me
            || owner == 0 && self.owner.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn memory(&self) -> *mut Dlmalloc {
        if !self.is_mine() {
            abort();
        }
        self.memory.get()
    }
}

/// The address of something that each thread has for itself.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| ptr::from_ref(here).addr())
}

// SAFETY: dlmalloc keeps the trait's promises for callers that come one after the other, as those of one thread do.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no other reference lives, since `memory` lets in one thread, and dlmalloc does not call back.
        unsafe { (*self.memory()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; the block is from there, as the caller promises.
        unsafe { (*self.memory()).free(block, layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { (*self.memory()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`.
        unsafe { (*self.memory()).realloc(block, layout.size(), layout.align(), size) }
    }
}

/// Bytes before each of C's blocks, which are freed without their size: there it stands. As many as C's largest type is
/// aligned to.
const BEFORE: usize = 16;

/// What C gets of a block that is made with the layout: null if it is not.
fn with_size(size: usize, make: impl FnOnce(Layout) -> *mut u8) -> *mut u8 {
    let layout = size.checked_add(BEFORE).and_then(|whole| Layout::from_size_align(whole, BEFORE).ok());
    let block = layout.map_or(ptr::null_mut(), make);
    if block.is_null() {
        return block;
    }
    // SAFETY: it is larger than this, and aligned to more.
    unsafe {
        block.cast::<usize>().write(size);
        block.add(BEFORE)
    }
}

/// The block of which C has a part, and its layout.
///
/// # Safety
///
/// It comes from [`with_size`], not null.
unsafe fn whole(block: *mut u8) -> (*mut u8, Layout) {
    // SAFETY: promised by the caller; the layout was possible when the block was made.
    unsafe {
        let block = block.sub(BEFORE);
        let size = block.cast::<usize>().read();
        (block, Layout::from_size_align_unchecked(size + BEFORE, BEFORE))
    }
}

/// What C's functions do, all but for `errno`: null says that there is no such memory.
impl Heap {
    /// As `malloc`.
    pub fn c_allocate(&self, size: usize) -> *mut u8 {
        // SAFETY: the layout's size is not zero.
        with_size(size, |layout| unsafe { self.alloc(layout) })
    }

    /// As `calloc`, for one of that size.
    pub fn c_allocate_zeroed(&self, size: usize) -> *mut u8 {
        // SAFETY: as in `c_allocate`.
        with_size(size, |layout| unsafe { self.alloc_zeroed(layout) })
    }

    /// As `realloc`.
    ///
    /// # Safety
    ///
    /// The block is null, or one of this heap's for C that was not freed since.
    pub unsafe fn c_reallocate(&self, block: *mut u8, size: usize) -> *mut u8 {
        if block.is_null() {
            return self.c_allocate(size);
        }
        // SAFETY: promised by the caller.
        let (block, layout) = unsafe { whole(block) };
        // SAFETY: the block has that layout, and the new one is possible.
        with_size(size, |new| unsafe { self.realloc(block, layout, new.size()) })
    }

    /// As `free`.
    ///
    /// # Safety
    ///
    /// As for [`Heap::c_reallocate`].
    pub unsafe fn c_free(&self, block: *mut u8) {
        if !block.is_null() {
            // SAFETY: promised by the caller.
            let (block, layout) = unsafe { whole(block) };
            // SAFETY: the block has that layout.
            unsafe { self.dealloc(block, layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_belongs_to_its_first_thread() {
        let heap = Heap::new();
        assert!(heap.is_mine());
        assert!(heap.is_mine(), "nor is it lost");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| heap.is_mine()).join();
            assert!(!other.unwrap(), "two threads have it");
        });
    }

    #[test]
    fn what_is_kept_stays_when_it_grows() {
        let (heap, small) = (Heap::new(), Layout::array::<u64>(3).unwrap());
        // SAFETY: each block is used within its size, and freed once with its layout.
        unsafe {
            let block = heap.alloc(small);
            block.cast::<[u64; 3]>().write([1, 2, 3]);
            let zeros = heap.alloc_zeroed(small);
            assert_eq!(zeros.cast::<[u64; 3]>().read(), [0; 3]);
            let block = heap.realloc(block, small, 3 * AT_A_TIME);
            assert_eq!(block.cast::<[u64; 3]>().read(), [1, 2, 3]);
            heap.dealloc(block, Layout::from_size_align(3 * AT_A_TIME, small.align()).unwrap());
            heap.dealloc(zeros, small);
        }
    }

    #[test]
    fn what_c_keeps_stays_when_it_grows_and_is_aligned_for_all_of_its_types() {
        let heap = Heap::new();
        // SAFETY: each block is used within its size, and freed once.
        unsafe {
            let zeros = heap.c_allocate_zeroed(5);
            assert_eq!(zeros.cast::<[u8; 5]>().read(), [0; 5]);
            let block = heap.c_reallocate(ptr::null_mut(), 3);
            block.cast::<[u8; 3]>().write([1, 2, 3]);
            let block = heap.c_reallocate(block, 3 * AT_A_TIME);
            assert_eq!(block.cast::<[u8; 3]>().read(), [1, 2, 3]);
            assert!([zeros, block].into_iter().all(|block| block.addr() % 16 == 0));
            for block in [block, zeros, heap.c_allocate(0), ptr::null_mut()] {
                heap.c_free(block);
            }
        }
    }

    #[test]
    fn what_no_memory_can_hold_is_null_and_a_block_stays_as_it_was() {
        let heap = Heap::new();
        let block = heap.c_allocate_zeroed(8);
        for size in [usize::MAX, usize::MAX - BEFORE, isize::MAX as usize] {
            assert!(heap.c_allocate(size).is_null() && heap.c_allocate_zeroed(size).is_null());
            // SAFETY: the block is freed after the last use.
            assert!(unsafe { heap.c_reallocate(block, size) }.is_null());
        }
        // SAFETY: as above.
        unsafe {
            assert_eq!(block.cast::<u64>().read(), 0);
            heap.c_free(block);
        }
    }
}
