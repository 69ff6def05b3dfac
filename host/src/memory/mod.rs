//! What podwire's programs have instead of musl's: copying that is quick for few bytes; and the plugin a heap for one
//! thread. Both know only bytes.
//!
//! An ADD takes memory from the heap 1,500 times and copies 2,200 times, mostly less than 32 bytes. What each of these
//! costs beside the bytes themselves counts; and an agent with thousands of peers copies hundreds of thousands of times.

pub mod bytes;
pub mod heap;
