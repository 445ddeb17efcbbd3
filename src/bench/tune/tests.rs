//! The search on made-up surfaces: what it finds, what it costs, and where it stops.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::nix::compression::Compression;

const START: Choice = Choice {
    requests: 64,
    part_size: 16 << 20,
    level: 3,
};

fn space() -> Space {
    Space {
        start: START,
        requests: REQUESTS.to_vec(),
        parts: PARTS.to_vec(),
        levels: vec![1, 2, 3, 5, 7, 9],
    }
}

fn shown(choice: Choice, speeds: impl IntoIterator<Item = f64>, size: u64) -> Shown {
    Shown {
        choice,
        speeds: Sample::new(speeds),
        size,
    }
}

/// Plays the search on a surface; returns its end and what was tried.
fn play(space: &Space, surface: impl Fn(Choice) -> (Vec<f64>, u64)) -> (Choice, Vec<Shown>) {
    let mut tried = Vec::new();
    loop {
        let Search { best, wanted } = search(space, &tried);
        let Some(choice) = wanted else {
            return (best, tried);
        };
        let (speeds, size) = surface(choice);
        tried.push(shown(choice, speeds, size));
        let n_most = space.most_copies(1) - u64::from(N_LAST);
        assert!(tried.len() as u64 <= n_most, "{tried:?}");
    }
}

/// A machine that compresses so much at level 0, and less with each level; a line; and a server that
/// answers so many bytes for each request under way.
#[derive(Clone, Copy, Debug)]
struct World {
    compress: f64,
    fall: f64,
    wire: f64,
    each: f64,
    shrink: f64,
}

impl World {
    fn share(self, level: i32) -> f64 {
        0.5 * self.shrink.powi(level)
    }

    fn speed(self, choice: Choice) -> f64 {
        let packed = self.compress / self.fall.powi(choice.level);
        let sent = self.wire.min(self.each * f64::from(choice.requests));
        packed.min(sent / self.share(choice.level))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "made up"
    )]
    fn surface(self) -> impl Fn(Choice) -> (Vec<f64>, u64) {
        move |choice| {
            let size = (1e9 * self.share(choice.level)) as u64;
            (vec![self.speed(choice); 3], size)
        }
    }
}

const FAST: World = World {
    compress: 200.0,
    fall: 1.5,
    wire: 1000.0,
    each: 100.0,
    shrink: 0.95,
};

#[test]
fn a_slow_line_gets_small_bodies_and_a_fast_one_light_levels() {
    let best = |world: World| play(&space(), world.surface()).0;
    assert_eq!(best(FAST), Choice { level: 1, ..START });
    let slow = World { wire: 3.0, ..FAST };
    assert_eq!(best(slow), Choice { level: 7, ..START });
}

#[test]
fn requests_grow_while_the_server_is_faster_with_more() {
    let distant = World { each: 0.5, ..FAST };
    let (best, tried) = play(&space(), distant.surface());
    assert_eq!(
        best,
        Choice {
            requests: 128,
            level: 1,
            ..START
        }
    );
    assert!(tried.iter().any(|shown| shown.choice.requests == 256));
    assert!(tried.iter().all(|shown| shown.choice.requests >= 64));
}

#[test]
fn where_less_is_more_the_search_goes_down() {
    let surface = |choice: Choice| {
        let speed = 100.0 / f64::from(choice.requests);
        (vec![speed; 3], 1000)
    };
    let (best, tried) = play(&space(), surface);
    assert_eq!(
        best,
        Choice {
            requests: 8,
            ..START
        }
    );
    assert_eq!(search(&space(), &tried[..1]).best, START);
}

#[test]
fn what_cannot_be_told_from_noise_stays_as_it_was() {
    let noisy = |choice: Choice| {
        let tilt = f64::from(choice.level) + f64::from(choice.requests) / 64.0;
        (vec![80.0, 100.0 + tilt, 125.0], 1000)
    };
    let (best, _) = play(&space(), noisy);
    assert_eq!(best, START);
}

#[test]
fn two_settings_are_compared_by_speed_and_then_by_size() {
    let of = |speed: f64, size| shown(START, [speed, speed * 1.01, speed * 0.99], size);
    let old = of(100.0, 1000);
    assert_eq!(compare(&old, &of(130.0, 2000)), Outcome::Faster);
    assert_eq!(compare(&old, &of(99.0, 980)), Outcome::Smaller);
    assert_eq!(compare(&old, &of(99.0, 995)), Outcome::Same);
    assert_eq!(compare(&old, &of(80.0, 500)), Outcome::Same);
    // One run has no noise that could be known.
    let once = shown(START, [1000.0], 1000);
    assert_eq!(compare(&old, &once), Outcome::Same);
}

#[test]
fn only_what_the_codec_the_memory_and_the_closure_allow_is_tried() {
    let none = with(0, LEVELS, |level| {
        Recipe::new(Compression::None, Some(level)).is_ok()
    });
    assert_eq!(none, [0]);
    assert_eq!(
        with(100, REQUESTS, |_| true),
        [8, 16, 32, 64, 100, 128, 256]
    );
}

#[test]
fn no_trial_begins_that_the_budget_would_not_do_for_with_the_comparison_at_the_end() {
    let of = |seconds, requests, bytes| Spent {
        seconds,
        requests,
        bytes,
    };
    let budget = of(10.0, 100, 1000);
    assert!(may_go_on(budget, Spent::default(), Spent::default()));
    assert!(may_go_on(budget, of(4.0, 10, 10), of(2.0, 5, 5)));
    assert!(!may_go_on(budget, of(5.0, 10, 10), of(2.0, 5, 5)));
    assert!(!may_go_on(budget, of(1.0, 86, 10), of(1.0, 5, 5)));
    assert!(!may_go_on(budget, of(1.0, 10, 986), of(1.0, 5, 5)));
}

proptest! {
    #[test]
    fn on_what_copies_are_bound_by_the_best_is_as_good_as_any(
        compress in 10.0_f64..1000.0,
        fall in 1.05_f64..1.6,
        wire in 1.0_f64..2000.0,
        shrink in 0.8_f64..0.99,
        each in 0.05_f64..50.0,
    ) {
        let world = World { compress, fall, wire, each, shrink };
        let space = space();
        let (best, tried) = play(&space, world.surface());
        let choices: BTreeSet<Choice> = tried.iter().map(|shown| shown.choice).collect();
        prop_assert_eq!(choices.len(), tried.len(), "nothing is tried twice");
        let all = space.levels.iter().flat_map(|&level| {
            let requests = space.requests.iter();
            requests.map(move |&requests| Choice { requests, level, ..START })
        });
        let fastest = all.map(|choice| world.speed(choice)).fold(0.0, f64::max);
        // What is not seen of a climb's last step, of the levels, and of the way back.
        let least = fastest * (1.0 - NOISE) * 0.98_f64.powi(3);
        prop_assert!(world.speed(best) >= least, "{} of {}", world.speed(best), fastest);
    }

    #[test]
    fn on_any_surface_the_search_ends_and_names_what_it_tried(
        speeds in prop::collection::vec(0.1_f64..100.0, 64),
    ) {
        let surface = |choice: Choice| {
            let place = usize::try_from(choice.level).unwrap() * 7
                + usize::try_from(choice.requests).unwrap()
                + (choice.part_size >> 20);
            (vec![speeds[place % speeds.len()]; 3], 1000)
        };
        let (best, tried) = play(&space(), surface);
        prop_assert!(tried.iter().any(|shown| shown.choice == best));
    }
}
