//! How far a run is, as people and programs see it.
//!
//! A thread reads the [`Meter`] ten times a second and shows it in one of four ways: bars on a terminal
//! (nothing for the first quarter of a second, at most four lines, cleared at the end), a plain line
//! every ten seconds without one, a JSON line a second with `--json`, and nothing with `--quiet`.
//! Engines know nothing of it, and a run that nobody watches costs nothing.
//!
//! A JSON line is `{"event":"progress","phase":…,"seconds":…,"walk":{…},…,"retries":…}` with `items`,
//! `bytes`, `itemsWanted`, `bytesWanted` for each phase; a number that is wanted is 0 while not known.

use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    cli::{
        Context,
        ui::{Format, Loudness, Ui},
        units::{Count, Rate, Size, Took},
    },
    clock::Clock,
    meter::{Meter, Phase, Reading},
};

/// How often a terminal is drawn anew: smooth to the eye, and nothing for a processor.
const TICK: Duration = Duration::from_millis(100);

/// Shorter runs show no bars: something that flashes up and goes away is only a disturbance.
const SILENCE: Duration = Duration::from_millis(250);

/// How often a log gets a line: a run of an hour makes 360.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often a program gets an event.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// Lines of bars: one for everything, the others for what takes longest.
const MAX_LINES: usize = 4;

/// Shows progress until it is dropped.
#[derive(Debug)]
pub struct Bars {
    /// Closing this ends the thread.
    alive: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bars {
    /// Begins to show what `meter` counts, in the way that suits the streams.
    #[must_use]
    pub fn start(context: &Arc<Context>, meter: &Arc<Meter>) -> Self {
        let face = Face::of(&context.ui);
        let (alive, ended) = sync_channel::<()>(1);
        let watch = Watch {
            context: Arc::clone(context),
            meter: Arc::clone(meter),
            start: context.clock.now(),
        };
        let thread = (face != Face::Nothing).then(|| {
            thread::spawn(move || {
                let mut shown = Shown::default();
                while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    watch.tick(face, &mut shown);
                }
                shown.clear(&watch.context.ui);
            })
        });
        Self {
            alive: Some(alive),
            thread,
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has shown that already, and must not hide the run's own end.
            thread.join().unwrap_or_default();
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    Drawn,
    Lines,
    Events,
    Nothing,
}

impl Face {
    fn of(ui: &Ui) -> Self {
        match (ui.format(), ui.loudness(), ui.is_watched()) {
            (_, Loudness::Quiet, _) => Self::Nothing,
            (Format::Json, _, _) => Self::Events,
            (Format::Words, _, true) => Self::Drawn,
            (Format::Words, _, false) => Self::Lines,
        }
    }
}

/// What the thread holds.
struct Watch {
    context: Arc<Context>,
    meter: Arc<Meter>,
    start: SystemTime,
}

/// What is on the screen, and since when.
#[derive(Default)]
struct Shown {
    last: Duration,
    bars: Option<(MultiProgress, Vec<ProgressBar>)>,
}

impl Watch {
    fn tick(&self, face: Face, shown: &mut Shown) {
        let elapsed = since(&self.context.clock, self.start);
        let ui = &self.context.ui;
        match face {
            Face::Drawn if elapsed >= SILENCE => {
                shown.draw(ui, &Moment::read(&self.meter, elapsed));
            }
            Face::Lines if elapsed >= shown.last + LINE_EVERY => {
                shown.last = elapsed;
                ui.say(&Moment::read(&self.meter, elapsed).sentence());
            }
            Face::Events if elapsed >= shown.last + EVENT_EVERY => {
                shown.last = elapsed;
                // A program that has gone away is noticed when the report is written.
                ui.event("progress", Moment::read(&self.meter, elapsed).as_json())
                    .unwrap_or_default();
            }
            Face::Drawn | Face::Lines | Face::Events | Face::Nothing => {}
        }
    }
}

/// Returns the time since `start`; none if the clock was set back.
#[must_use]
pub fn since(clock: &Clock, start: SystemTime) -> Duration {
    clock.now().duration_since(start).unwrap_or_default()
}

impl Shown {
    fn draw(&mut self, ui: &Ui, moment: &Moment) {
        let (multi, bars) = self.bars.get_or_insert_with(|| {
            let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            ui.set_bars(Some(multi.clone()));
            (multi, Vec::new())
        });
        let slow = moment.current.iter().take(MAX_LINES - 1);
        let lines: Vec<String> = std::iter::once(moment.sentence())
            .chain(slow.map(|item| format!("  {item}")))
            .collect();
        while bars.len() < lines.len() {
            let bar = multi.add(ProgressBar::no_length());
            bar.set_style(style(bars.is_empty()));
            bars.push(bar);
        }
        while bars.len() > lines.len() {
            if let Some(bar) = bars.pop() {
                bar.finish_and_clear();
                multi.remove(&bar);
            }
        }
        for (bar, line) in bars.iter().zip(lines) {
            bar.set_message(line);
        }
        if let Some(first) = bars.first() {
            let (done, wanted) = moment.share();
            first.set_length(wanted);
            first.set_position(done);
        }
    }

    fn clear(&mut self, ui: &Ui) {
        if let Some((multi, bars)) = self.bars.take() {
            ui.set_bars(None);
            for bar in bars {
                bar.finish_and_clear();
            }
            // What cannot be cleared is a terminal that has gone away.
            multi.clear().unwrap_or_default();
        }
    }
}

fn style(is_total: bool) -> ProgressStyle {
    let template = if is_total {
        "[{bar:20}] {wide_msg}"
    } else {
        "{wide_msg}"
    };
    // The template is ours and is tested; without it the default style shows the same figures.
    ProgressStyle::with_template(template)
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_template| ProgressStyle::default_bar())
}

/// Everything that the meter says at one moment.
#[derive(Clone, Debug, Default)]
struct Moment {
    elapsed: Duration,
    walk: Reading,
    probe: Reading,
    pack: Reading,
    upload: Reading,
    commit: Reading,
    census: Reading,
    condemn: Reading,
    bury: Reading,
    delete: Reading,
    sign: Reading,
    wait: Reading,
    retries: u64,
    current: Vec<String>,
}

impl Moment {
    fn read(meter: &Meter, elapsed: Duration) -> Self {
        Self {
            elapsed,
            walk: meter.read(Phase::Walk),
            probe: meter.read(Phase::Probe),
            pack: meter.read(Phase::Pack),
            upload: meter.read(Phase::Upload),
            commit: meter.read(Phase::Commit),
            census: meter.read(Phase::Census),
            condemn: meter.read(Phase::Condemn),
            bury: meter.read(Phase::Bury),
            delete: meter.read(Phase::Delete),
            sign: meter.read(Phase::Sign),
            wait: meter.read(Phase::Wait),
            retries: meter.retries(),
            current: meter.current(),
        }
    }

    /// The phase that the run as a whole is in.
    const fn phase(&self) -> Phase {
        if self.pack.items_wanted > 0 || self.pack.items > 0 || self.commit.items > 0 {
            Phase::Pack
        } else if self.sign.items_wanted > 0 {
            Phase::Sign
        } else if self.probe.items_wanted > 0 || self.probe.items > 0 {
            Phase::Probe
        } else {
            self.sweeping()
        }
    }

    /// The phase that a sweep is in: the last one that has begun. Without any, it is a copy's first.
    const fn sweeping(&self) -> Phase {
        if self.wait.items < self.wait.items_wanted {
            Phase::Wait
        } else if self.delete.items_wanted > 0 {
            Phase::Delete
        } else if self.bury.items_wanted > 0 {
            Phase::Bury
        } else if self.condemn.items_wanted > 0 {
            Phase::Condemn
        } else if self.census.items_wanted > 0 {
            Phase::Census
        } else {
            Phase::Walk
        }
    }

    /// How much is done of how much, in whatever says most about the time that is left.
    fn share(&self) -> (u64, u64) {
        match self.phase() {
            Phase::Walk | Phase::Wait => (0, 0),
            Phase::Probe => (self.probe.items, self.probe.items_wanted),
            Phase::Pack | Phase::Upload | Phase::Commit => {
                (self.pack.bytes, self.pack.bytes_wanted.max(self.pack.bytes))
            }
            Phase::Census => of_items(self.census),
            Phase::Condemn => of_items(self.condemn),
            Phase::Bury => of_items(self.bury),
            Phase::Delete => of_items(self.delete),
            Phase::Sign => of_items(self.sign),
        }
    }

    fn sentence(&self) -> String {
        let took = Took(self.elapsed);
        let mut text = match self.phase() {
            Phase::Walk => format!(
                "walking the closure: {}, {took}",
                Count(self.walk.items, "path")
            ),
            Phase::Probe => format!(
                "asking the cache: {} of {}, {took}",
                self.probe.items,
                Count(self.probe.items_wanted, "path"),
            ),
            Phase::Pack | Phase::Upload | Phase::Commit => {
                let (done, wanted) = self.share();
                format!(
                    "copying: {} of {}, sent {} at {}, {took}",
                    Size(done),
                    Size(wanted),
                    Size(self.upload.bytes),
                    Rate(self.upload.bytes, self.elapsed),
                )
            }
            Phase::Wait => {
                let left = Duration::from_secs(self.wait.items_wanted - self.wait.items);
                format!(
                    "waiting {} for what others may still be writing or reading: nothing is stuck, {took}",
                    Took(left)
                )
            }
            Phase::Census => {
                let (done, wanted) = self.share();
                format!(
                    "reading the cache: {done} of {}, {took}",
                    Count(wanted, "new narinfo")
                )
            }
            Phase::Condemn => {
                let (done, wanted) = self.share();
                format!("condemning: {done} of {}, {took}", Count(wanted, "path"))
            }
            Phase::Bury => {
                let (done, wanted) = self.share();
                format!("burying: {done} of {}, {took}", Count(wanted, "path"))
            }
            Phase::Sign => {
                let (done, wanted) = self.share();
                format!("signing: {done} of {}, {took}", Count(wanted, "path"))
            }
            Phase::Delete => {
                let (done, wanted) = self.share();
                let bodies = Count(wanted, "object");
                format!(
                    "deleting: {done} of {bodies}, {}, {took}",
                    Size(self.delete.bytes)
                )
            }
        };
        if self.retries > 0 {
            let again = Count(self.retries, "request").to_string();
            text.extend([", ", &again, " sent again"]);
        }
        text
    }

    fn as_json(&self) -> serde_json::Value {
        let reading = |r: Reading| {
            serde_json::json!({
                "items": r.items,
                "bytes": r.bytes,
                "itemsWanted": r.items_wanted,
                "bytesWanted": r.bytes_wanted,
            })
        };
        serde_json::json!({
            "phase": match self.phase() {
                Phase::Walk => "walk",
                Phase::Probe => "probe",
                Phase::Pack | Phase::Upload | Phase::Commit => "copy",
                Phase::Census => "census",
                Phase::Condemn => "condemn",
                Phase::Bury => "bury",
                Phase::Delete => "delete",
                Phase::Sign => "sign",
                Phase::Wait => "wait",
            },
            "seconds": self.elapsed.as_secs_f64(),
            "walk": reading(self.walk),
            "probe": reading(self.probe),
            "pack": reading(self.pack),
            "upload": reading(self.upload),
            "commit": reading(self.commit),
            "census": reading(self.census),
            "condemn": reading(self.condemn),
            "bury": reading(self.bury),
            "delete": reading(self.delete),
            "sign": reading(self.sign),
            "wait": reading(self.wait),
            "retries": self.retries,
        })
    }
}

/// How many items are done of how many, where more may turn up than were expected.
fn of_items(reading: Reading) -> (u64, u64) {
    (reading.items, reading.items_wanted.max(reading.items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_told_by_the_last_phase_that_has_begun() {
        let meter = Meter::default();
        let sentence = || Moment::read(&meter, Duration::from_secs(3)).sentence();
        meter.expect_more(Phase::Census, 40, 0);
        meter.add(Phase::Census, 40, 0);
        assert_eq!(
            sentence(),
            "reading the cache: 40 of 40 new narinfos, 3.0 s"
        );
        meter.expect_more(Phase::Bury, 2, 0);
        meter.add(Phase::Bury, 1, 0);
        assert_eq!(sentence(), "burying: 1 of 2 paths, 3.0 s");
        meter.expect_more(Phase::Wait, 120, 0);
        assert_eq!(
            sentence(),
            "waiting 2 min 00 s for what others may still be writing or reading: nothing is stuck, 3.0 s"
        );
        meter.add(Phase::Wait, 120, 0);
        assert_eq!(sentence(), "burying: 1 of 2 paths, 3.0 s");
    }

    #[test]
    fn the_sentence_follows_the_run() {
        let meter = Meter::default();
        let say = || Moment::read(&meter, Duration::from_secs(2)).sentence();
        meter.add(Phase::Walk, 1204, 0);
        assert_eq!(say(), "walking the closure: 1204 paths, 2.0 s");
        meter.expect(Phase::Probe, 1204, 0);
        meter.add(Phase::Probe, 300, 0);
        assert_eq!(say(), "asking the cache: 300 of 1204 paths, 2.0 s");
        meter.expect(Phase::Pack, 10, 4 << 20);
        meter.add(Phase::Pack, 3, 1 << 20);
        meter.add(Phase::Upload, 3, 512 << 10);
        meter.add_retry();
        assert_eq!(
            say(),
            "copying: 1.00 MiB of 4.00 MiB, sent 512 KiB at 256 KiB/s, 2.0 s, 1 request sent again"
        );
    }

    #[test]
    fn a_program_gets_every_count() {
        let meter = Meter::default();
        meter.add(Phase::Commit, 7, 0);
        let event = Moment::read(&meter, Duration::from_secs(1)).as_json();
        assert_eq!(event["phase"], "copy");
        assert_eq!(event["commit"]["items"], 7);
    }

    #[test]
    fn the_templates_of_bars_are_understood() {
        for template in ["[{bar:20}] {wide_msg}", "{wide_msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
