//! The C heap, on which libyang's trees and everything else of the agent lie.
//!
//! glibc gives each new thread an arena of its own and returns next to nothing from any of them: after thousands of
//! short sessions a megabyte of live data was spread over a hundred (`make soak`).
#![allow(unsafe_code)] // two calls into the C library

/// Has the threads share as many arenas as they can use at once. Called first thing, while there is one thread.
pub fn share_arenas() {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes numbers and changes a parameter of the allocator; it refuses what makes no sense.
    unsafe {
        let processors = i32::try_from(processors).unwrap_or(i32::MAX);
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, processors);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = processors;
}

/// Gives pages on which nothing is left back to the system; a matter of a millisecond or two.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer, locks what it looks at, and touches only what is free.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
