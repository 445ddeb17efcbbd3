//! What this machine offers: cores, memory, a name, and which of its processes live.

use std::{fs, num::NonZero, path::Path, process, thread};

use crate::bench::maker::{Here, Maker};

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

/// This process, as the markers of its benches name it.
#[must_use]
pub fn maker() -> Maker {
    let process = process::id();
    Maker {
        machine: identity(),
        process,
        started: started(process),
    }
}

/// What is known here of the processes that markers name.
#[must_use]
pub fn here() -> Here {
    Here {
        machine: identity(),
        started,
    }
}

/// Where and since when a number means one process: Linux draws a name each time that it starts, and
/// containers have numbers of their own. Elsewhere it is the host's name.
fn identity() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let numbers = fs::read_link("/proc/self/ns/pid");
    match (boot, numbers) {
        (Ok(boot), Ok(numbers)) => format!("{} {}", boot.trim(), numbers.display()),
        _ => host_label(),
    }
}

/// When a process of this machine began that still lives, in ticks of the kernel.
#[cfg(target_os = "linux")]
fn started(process: u32) -> Option<u64> {
    started_in(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Elsewhere it is only known whether a process of that number lives.
#[cfg(not(target_os = "linux"))]
fn started(process: u32) -> Option<u64> {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).ok()?)?;
    match rustix::process::test_kill_process(process) {
        // One of another user lives as well.
        Ok(()) | Err(rustix::io::Errno::PERM) => Some(0),
        Err(_) => None,
    }
}

/// Reads `starttime` of proc(5), unless the process has ended and nobody has asked yet how.
#[cfg(target_os = "linux")]
fn started_in(stat: &str) -> Option<u64> {
    // The name may hold anything, blanks and brackets too.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    (!["Z", "X"].contains(&state)).then_some(ticks)
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
    fn this_process_lives_and_is_found_again() {
        let (maker, here) = (maker(), here());
        assert_eq!(maker.machine, here.machine);
        assert!(maker.started.is_some());
        assert_eq!((here.started)(maker.process), maker.started);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn when_a_process_began_is_read_from_behind_its_name() {
        let stat = |state: &str| {
            format!(
                "4711 (a) b (c)) {state} 1 4711 4711 0 -1 4194560 1 0 0 0 5 3 0 0 20 0 1 0 8364312 1 2"
            )
        };
        assert_eq!(started_in(&stat("S")), Some(8_364_312));
        // A zombie does nothing any more.
        assert_eq!(started_in(&stat("Z")), None);
        assert_eq!(started_in("4711 (x) S 1"), None);
        assert_eq!(started_in(""), None);
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
