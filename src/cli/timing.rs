//! The hidden `--timing`: other durations of the sweep's protocol, for tests on real servers.
//!
//! A list such as `0.01,linger=0.5`: a number by itself multiplies every duration, a name sets one, in
//! seconds. Window and grace have flags of their own. Every writer and every sweep of a cache must be
//! given the same, so this is for nobody but tests.

use std::time::Duration;

use crate::{cli::error::Failure, ledger::Timing};

/// Reads the durations of the protocol; without a text they are the real ones.
pub fn parse(text: Option<&str>) -> Result<Timing, Failure> {
    let mut timing = Timing::default();
    for item in text.into_iter().flat_map(|text| text.split(',')) {
        let no_duration = || Failure::usage(format!("`{item}` is no duration of the protocol"));
        match item.split_once('=') {
            None => {
                let factor: f64 = item.parse().map_err(|_digits| no_duration())?;
                timing = timing.scaled(factor);
            }
            Some((name, seconds)) => {
                let seconds: f64 = seconds.parse().map_err(|_digits| no_duration())?;
                let duration =
                    Duration::try_from_secs_f64(seconds).map_err(|_range| no_duration())?;
                *field(&mut timing, name).ok_or_else(no_duration)? = duration;
            }
        }
    }
    if timing.is_sound() {
        Ok(timing)
    } else {
        Err(Failure::usage(
            "those who wait would not wait long enough: `--timing` is not sound",
        ))
    }
}

fn field<'a>(timing: &'a mut Timing, name: &str) -> Option<&'a mut Duration> {
    Some(match name {
        "orphans" => &mut timing.orphans,
        "margin" => &mut timing.margin,
        "beat" => &mut timing.beat,
        "lapse" => &mut timing.lapse,
        "intent-dead" => &mut timing.intent_dead,
        "run-beat" => &mut timing.run_beat,
        "run-dead" => &mut timing.run_dead,
        "signature" => &mut timing.signature,
        "request" => &mut timing.request,
        "linger" => &mut timing.linger,
        "doom-kept" => &mut timing.doom_kept,
        "poll" => &mut timing.poll,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_scaled_and_set_in_the_order_of_the_list() {
        let real = Timing::default();
        assert_eq!(parse(None).unwrap(), real);
        let timing = parse(Some("0.5,linger=0.5")).unwrap();
        assert_eq!(timing.linger, Duration::from_millis(500));
        assert_eq!(timing.beat, real.beat / 2);
        for bad in ["", "soon", "tea=1", "beat=-1", "beat=x", "lapse=1"] {
            assert!(parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
