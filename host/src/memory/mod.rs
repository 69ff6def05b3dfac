//! What the plugin's process has instead of the C library's: a heap for one thread. It knows only bytes.

pub mod heap;
