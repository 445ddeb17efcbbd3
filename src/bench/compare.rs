//! Other programs that take the same closure into the same bucket, by turns with ours.
//!
//! In each repetition everybody copies into an empty place of their own, one after the other, and then
//! everybody copies once more; between repetitions all places are emptied. So what changes with the hour
//! meets all alike, and whoever compares takes the ratios of each repetition.
//!
//! What a caller may rely on:
//!
//! - A program's place is a corner of this run's ground ([`Ground`]), or a bucket that the caller says is
//!   nobody else's ([`Rival::own`]).
//! - A program that ended well and has not published every path of the closure is an error, not a figure:
//!   Nix, for one, believes its own memory of what a bucket holds.
//! - Every call gets an empty folder of its own ([`EMPTY`]) for such memories.
//!
//! Ours runs in this process, so its time is without the start of one. Not here: which programs there are,
//! and how they are called (the face's business).

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use super::{
    Bench, Error as BenchError, Walked, copies,
    ground::{self, Ground},
    report::{Compared, Took},
    stats::Sample,
};
use crate::{
    backend::{Backend, file::Folder},
    clock,
    stop::Stop,
    tasks::joined,
};

/// In the arguments of a call: the folder of the bucket that it writes to.
pub const PLACE: &str = "{place}";

/// In the arguments and the environment of a call: an empty folder, for this call alone.
pub const EMPTY: &str = "{empty}";

/// In the arguments of a call: a folder that is the whole cache already.
pub const CACHE: &str = "{cache}";

/// So much of what a program says on its standard error is told: the end is where the reason stands.
const MOST_SAID: usize = 600;

/// What ours is compared with.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The other programs.
    pub rivals: Vec<Rival>,
    /// A folder on this machine that is there, and nobody else's.
    pub scratch: PathBuf,
}

/// Another program.
#[derive(Clone, Debug)]
pub struct Rival {
    /// What it is called.
    pub name: String,
    /// What it says that it is.
    pub version: String,
    /// How it copies into an empty place.
    pub cold: Call,
    /// How it copies again.
    pub again: Call,
    /// Whether it gets the cache as files ([`CACHE`]), and has only to send them.
    pub has_files: bool,
    /// A bucket that is all its own and is emptied, since it can write to no folder of another one.
    pub own: Option<Arc<dyn Backend>>,
}

/// How a program is called.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Its file, or its name.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is set in its environment, beside what is there.
    pub env: Vec<(String, String)>,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program cannot be started.
    #[error("cannot start `{name}`")]
    Start {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{name}` failed ({status}): {said}")]
    Failed {
        /// Its name.
        name: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        said: String,
    },
    /// A program said that it had copied what is not there.
    #[error("`{name}` ended well, and of {wanted} paths {found} are in the bucket")]
    Incomplete {
        /// Its name.
        name: String,
        /// How many paths are there.
        found: usize,
        /// How many should be.
        wanted: usize,
    },
    /// The folder for what is made up on the way cannot be used.
    #[error("cannot use the folder `{}`", folder.display())]
    Scratch {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Runs everybody by turns. The first of what comes back is ours.
pub(super) async fn run(
    bench: &Bench,
    ground: &Ground,
    walked: &Walked,
    comparison: &Comparison,
) -> Result<Vec<Compared>, BenchError> {
    let turns = Turns {
        bench,
        ground,
        walked,
        comparison,
    };
    if comparison.rivals.iter().any(|rival| rival.has_files) {
        turns.make_files().await?;
    }
    let mut all = vec![Compared::new("narhaul", env!("CARGO_PKG_VERSION"), false)];
    let rivals = comparison.rivals.iter();
    all.extend(rivals.map(|rival| Compared::new(&rival.name, &rival.version, rival.has_files)));
    for repetition in 0..bench.request.n_repetitions {
        turns.repeat(repetition, &mut all).await?;
    }
    Ok(all)
}

struct Turns<'a> {
    bench: &'a Bench,
    ground: &'a Ground,
    walked: &'a Walked,
    comparison: &'a Comparison,
}

impl Turns<'_> {
    /// Makes the cache as files, for those that can do no more than send them.
    async fn make_files(&self) -> Result<(), BenchError> {
        let folder = self.comparison.scratch.join("cache");
        let cache = Folder::new(folder, self.bench.request.clock.clone());
        copies::fill(self.bench, Arc::new(cache)).await
    }

    /// Everybody cold, then everybody again, then all places are emptied.
    async fn repeat(&self, repetition: u32, all: &mut [Compared]) -> Result<(), BenchError> {
        self.ground.check().await?;
        let corners: Vec<String> = (0..all.len())
            .map(|place| format!("c{repetition}-{place}"))
            .collect();
        let large = self.walked.large(&self.bench.request.recipe);
        for corner in &corners {
            self.ground.announce(corner, &large).await?;
        }
        for is_cold in [true, false] {
            for (index, compared) in all.iter_mut().enumerate() {
                self.bench.go_on()?;
                let corner = &corners[index];
                let took = match index.checked_sub(1) {
                    None => self.ours(corner, is_cold).await?,
                    Some(rival) => {
                        let rival = &self.comparison.rivals[rival];
                        let took = self.theirs(rival, corner, is_cold).await?;
                        self.look(rival, corner).await?;
                        took
                    }
                };
                let runs = if is_cold {
                    &mut compared.cold
                } else {
                    &mut compared.again
                };
                runs.push(took);
            }
        }
        for corner in &corners {
            self.ground.clear(corner).await?;
        }
        for rival in &self.comparison.rivals {
            if let Some(own) = &rival.own {
                ground::empty(&**own).await?;
            }
        }
        Ok(())
    }

    async fn ours(&self, corner: &str, is_cold: bool) -> Result<Took, BenchError> {
        let name = copies::NAMES[usize::from(!is_cold)];
        let whole = &self.bench.request.closures.whole;
        let seen = copies::once(self.bench, self.ground, corner, whole, name).await?;
        Ok(Took {
            seconds: seen.run.seconds,
            cpu_seconds: Some(seen.run.cpu_seconds),
        })
    }

    async fn theirs(&self, rival: &Rival, corner: &str, is_cold: bool) -> Result<Took, BenchError> {
        let call = if is_cold { &rival.cold } else { &rival.again };
        let empty = self.comparison.scratch.join("empty");
        fresh(&empty)?;
        let place = match rival.own {
            Some(_) => String::new(),
            None => self.ground.folder_of(corner),
        };
        let cache = self.comparison.scratch.join("cache");
        let fill = |text: &str| {
            text.replace(PLACE, &place)
                .replace(EMPTY, &empty.display().to_string())
                .replace(CACHE, &cache.display().to_string())
        };
        let mut command = Command::new(&call.program);
        command.args(call.args.iter().map(|arg| fill(arg)));
        command.envs(call.env.iter().map(|(name, value)| (name, fill(value))));
        let clock = &self.bench.request.clock;
        let (start, cpu) = (clock.elapsed(), clock::cpu_time_of_children());
        ended_well(&rival.name, command, &self.bench.stop).await?;
        let cpu = cpu.zip(clock::cpu_time_of_children());
        Ok(Took {
            seconds: clock.elapsed().saturating_sub(start).as_secs_f64(),
            cpu_seconds: cpu.map(|(before, now)| seconds(before, now)),
        })
    }

    /// Counts what a rival has published.
    async fn look(&self, rival: &Rival, corner: &str) -> Result<(), BenchError> {
        let found = match &rival.own {
            Some(own) => ground::count(&**own, "", ".narinfo").await?,
            None => {
                let folder = self.ground.folder_of(corner);
                ground::count(&*self.bench.base, &format!("{folder}/"), ".narinfo").await?
            }
        };
        let wanted = self.walked.whole.len();
        if found == wanted {
            return Ok(());
        }
        let name = rival.name.clone();
        Err(Error::Incomplete {
            name,
            found,
            wanted,
        })?
    }
}

fn seconds(before: Duration, now: Duration) -> f64 {
    now.saturating_sub(before).as_secs_f64()
}

fn fresh(folder: &Path) -> Result<(), Error> {
    let cannot = |source| Error::Scratch {
        folder: folder.to_owned(),
        source,
    };
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(folder).map_err(cannot)
}

/// Runs a program to its end. Ctrl-C reaches it by itself, as it is of our group.
async fn ended_well(name: &str, mut command: Command, stop: &Stop) -> Result<(), BenchError> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || command.output());
    let output = joined(ended.await).map_err(|source| Error::Start {
        name: name.to_owned(),
        source,
    })?;
    if stop.is_set() {
        return Err(BenchError::Stopped);
    }
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed {
        name: name.to_owned(),
        status: output.status.to_string(),
        said: end_of(&said),
    })?
}

/// Returns the end of what a program said, in one line and without control characters.
fn end_of(said: &str) -> String {
    let said: Vec<&str> = said.split_whitespace().collect();
    let said = said.join(" ").replace(char::is_control, "");
    let n_before = said.chars().count().saturating_sub(MOST_SAID);
    said.chars().skip(n_before).collect()
}

impl Compared {
    fn new(name: &str, version: &str, has_files: bool) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            has_files,
            cold: Vec::new(),
            again: Vec::new(),
        }
    }
}

/// Returns how many times as long others took as we did, repetition by repetition.
#[must_use]
pub fn ratios(ours: &[Took], theirs: &[Took]) -> Sample {
    let pairs = ours.iter().zip(theirs);
    Sample::new(pairs.map(|(ours, theirs)| theirs.seconds / ours.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_what_ran_by_turns() {
        let took = |seconds: f64| Took {
            seconds,
            cpu_seconds: None,
        };
        let (ours, theirs) = ([1.0, 2.0, 4.0].map(took), [3.0, 4.0, 16.0].map(took));
        let ratios = ratios(&ours, &theirs);
        assert_eq!(
            (ratios.median(), ratios.range()),
            (Some(3.0), Some((2.0, 4.0)))
        );
    }

    #[test]
    fn of_what_a_program_says_the_end_is_told_in_one_line() {
        assert_eq!(
            end_of("error:\n  no \u{1b}[31mbucket\n"),
            "error: no [31mbucket"
        );
        assert_eq!(end_of(&"x".repeat(1000)).len(), MOST_SAID);
    }

    #[tokio::test]
    async fn a_program_that_fails_is_told_by_how_it_ended_and_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no bucket >&2; exit 7"]);
        let stop = Stop::default();
        let error = ended_well("tool", command, &stop).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`tool` failed (exit status: 7): no bucket"
        );
        let missing = Command::new("/nonexistent/tool");
        let error = ended_well("tool", missing, &stop).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot start `tool`");
    }
}
