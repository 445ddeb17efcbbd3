//! What this machine offers: cores, memory, a name. Only defaults are made of it.

use std::{fs, num::NonZero, path::Path, thread};

/// Memory per core: three frames of 16 MiB, one being read, one being compressed, one on its way.
const MEMORY_PER_CORE: u64 = 48 << 20;

/// With less, large NARs are sent in parts one after the other.
const MIN_MEMORY: u64 = 256 << 20;

/// More makes nothing faster: 85 cores' worth.
const MAX_MEMORY: u64 = 4 << 30;

/// The cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The memory for bodies under way, where nobody says how much.
///
/// `for_encoders` is what lets all of them work at once: some take a hundred megabytes each.
#[must_use]
pub fn default_memory(for_encoders: u64) -> u64 {
    memory_for(cores(), for_encoders, memory())
}

/// 48 MiB per core, at least 256 MiB and enough for all encoders, at most 4 GiB and a quarter of all
/// memory.
fn memory_for(cores: usize, for_encoders: u64, memory: Option<u64>) -> u64 {
    let cores = u64::try_from(cores).unwrap_or(u64::MAX);
    let wanted = cores
        .saturating_mul(MEMORY_PER_CORE)
        .max(for_encoders)
        .clamp(MIN_MEMORY, MAX_MEMORY);
    wanted.min(memory.map_or(u64::MAX, |memory| memory / 4))
}

/// The memory that this process can have: the machine's, or what its control group is given.
fn memory() -> Option<u64> {
    machine_memory().into_iter().chain(group_memory()).min()
}

#[cfg(target_os = "linux")]
fn machine_memory() -> Option<u64> {
    let info = rustix::system::sysinfo();
    info.totalram.checked_mul(info.mem_unit.into())
}

/// Elsewhere nobody is asked: the bounds of what cores want hold there, too.
#[cfg(not(target_os = "linux"))]
const fn machine_memory() -> Option<u64> {
    None
}

/// The limit of the control group (version 2) that this process is in. Groups above it may be tighter;
/// containers show theirs as the root, which is read too.
fn group_memory() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let root = Path::new("/sys/fs/cgroup");
    [Some(root.to_owned()), own.map(|own| root.join(own))]
        .into_iter()
        .flatten()
        .filter_map(|group| fs::read_to_string(group.join("memory.max")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
}

/// The host's name, as far as it fits a label of 1 to 64 letters, digits, dots, dashes and underscores.
#[must_use]
pub fn host_label() -> String {
    let name = rustix::system::uname();
    label(&name.nodename().to_string_lossy())
}

fn label(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let label: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .take(64)
        .collect();
    // A name of dots alone would be a folder's, and an empty one is none.
    if label.chars().all(|c| c == '.') {
        "host".to_owned()
    } else {
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_cores_within_its_bounds() {
        for (cores, for_encoders, memory, wanted) in [
            (1, 0, None, 256 << 20),
            (2, 290 << 20, None, 290 << 20),
            (8, 290 << 20, None, 384 << 20),
            (500, 0, None, 4 << 30),
            (8, 0, Some(1 << 30), 256 << 20),
            (8, 290 << 20, Some(512 << 20), 128 << 20),
        ] {
            let found = memory_for(cores, for_encoders, memory);
            assert_eq!(found, wanted, "{cores} {for_encoders} {memory:?}");
        }
    }

    #[test]
    fn any_host_name_becomes_a_label() {
        for (name, wanted) in [
            ("ci-7.example.org", "ci-7.example.org"),
            ("büro pc", "b-ro-pc"),
            ("", "host"),
            ("..", "host"),
        ] {
            assert_eq!(label(name), wanted, "{name}");
        }
    }
}
