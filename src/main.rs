//! The program: all of it is in the library, but for what a process sets up for itself.

use std::process::ExitCode;

fn main() -> ExitCode {
    give_large_buffers_back();
    narhaul::cli::main()
}

/// Has the C library of GNU give freed memory back where much is freed.
///
/// By itself it learns from what is freed to keep buffers of up to 32 MiB, in pieces that the next ones do
/// not fit into: a copy of many bodies from one to a hundred megabytes then has half as much memory again
/// as it was given. Design 0023 has the figures.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "there is no safe way to tell the allocator anything"
)]
fn give_large_buffers_back() {
    /// Buffers of this size and more come from the system and go back to it at once. It takes a few
    /// microseconds, which is little beside what is done to a megabyte.
    const LARGE: i32 = 1 << 20;
    /// What lies free at the end of the heap, and stays for the small ones that come.
    const KEPT: i32 = 8 << 20;
    // SAFETY: both calls only set a number, before any other thread is there. Where one is refused, memory
    // is kept as before.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Others do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn give_large_buffers_back() {}
