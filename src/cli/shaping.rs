//! How the embedded server is made slow and faulty, as people write it: `20ms±5ms`, `1Gbit`, `503:1%`.

use std::time::Duration;

use clap::Args;

use crate::{
    cli::{error::Failure, units::parse_size},
    serve::{Faults, Line},
};

/// What stands between the embedded server and its clients.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The embedded server")]
pub struct ShapingArgs {
    /// How long each request is on its way, such as `20ms` or `20ms±5ms`
    #[arg(long, value_name = "TIME")]
    pub latency: Option<String>,

    /// How fast bodies come in, such as `1Gbit`, `300Mbit` or `10M` bytes a second
    #[arg(long, value_name = "RATE")]
    pub bandwidth: Option<String>,

    /// Answer 503 to more requests than this in a second
    #[arg(long, value_name = "N")]
    pub limit_requests: Option<u32>,

    /// What goes wrong how often: `503:1%`, and `500`, `reset`, `cut`, `lost` likewise
    #[arg(long, value_name = "LIST")]
    pub errors: Option<String>,
}

impl ShapingArgs {
    /// Returns whether nothing is asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.latency.is_none()
            && self.bandwidth.is_none()
            && self.limit_requests.is_none()
            && self.errors.is_none()
    }

    /// Returns the arguments that give another process the same.
    #[must_use]
    pub fn to_args(&self) -> Vec<String> {
        let limit = self.limit_requests.map(|n| n.to_string());
        let all = [
            ("--latency", self.latency.clone()),
            ("--bandwidth", self.bandwidth.clone()),
            ("--limit-requests", limit),
            ("--errors", self.errors.clone()),
        ];
        let given = all
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
    }

    /// Returns what it means.
    pub fn shape(&self, seed: u64) -> Result<(Line, Faults), Failure> {
        let mut line = Line {
            requests_per_second: self.limit_requests,
            seed,
            ..Line::default()
        };
        if let Some(text) = &self.latency {
            (line.latency, line.jitter) = parse_latency(text).ok_or_else(|| {
                Failure::usage(format!("`{}` is not a latency", text.escape_debug()))
                    .hint("write `20ms`, or `20ms±5ms`; the second may not exceed the first")
            })?;
        }
        if let Some(text) = &self.bandwidth {
            line.bytes_per_second = Some(parse_bandwidth(text).ok_or_else(|| {
                Failure::usage(format!("`{}` is not a bandwidth", text.escape_debug()))
                    .hint("write `1Gbit`, `300Mbit`, or bytes in a second such as `10M`")
            })?);
        }
        let mut faults = Faults {
            seed,
            ..Faults::default()
        };
        for item in self.errors.iter().flat_map(|list| list.split(',')) {
            add_error(&mut faults, item.trim()).ok_or_else(|| {
                Failure::usage(format!(
                    "`{}` is no error with its share",
                    item.escape_debug()
                ))
                .hint("write `503:1%`; there are 503, 500, reset, cut and lost, below 100 % in all")
            })?;
        }
        Ok((line, faults))
    }
}

/// Reads a time with what it scatters by.
fn parse_latency(text: &str) -> Option<(Duration, Duration)> {
    let (middle, jitter) = match text.split_once('±').or_else(|| text.split_once("+-")) {
        Some((middle, jitter)) => (parse_time(middle)?, parse_time(jitter)?),
        None => (parse_time(text)?, Duration::ZERO),
    };
    (jitter <= middle).then_some((middle, jitter))
}

/// Reads `20ms`, `0.5s` or `200us`.
fn parse_time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let units = [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("s", 1.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let seconds = number.trim().parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Reads bits in a second by powers of 1,000, or bytes by powers of 1,024.
fn parse_bandwidth(text: &str) -> Option<u64> {
    let bytes = match text.trim().strip_suffix("bit") {
        Some(bits) => {
            let scales = [
                ("G", 1_000_000_000),
                ("M", 1_000_000),
                ("k", 1_000),
                ("K", 1_000),
            ];
            let (number, scale) = scales
                .iter()
                .find_map(|(name, scale)| Some((bits.strip_suffix(name)?, *scale)))
                .unwrap_or((bits, 1_u64));
            number.trim().parse::<u64>().ok()?.checked_mul(scale)? / 8
        }
        None => parse_size(text).ok()?,
    };
    (bytes > 0).then_some(bytes)
}

fn add_error(faults: &mut Faults, item: &str) -> Option<()> {
    let (kind, share) = item.split_once(':')?;
    let share = share.trim().strip_suffix('%')?.trim().parse::<f64>().ok()? / 100.0;
    let place = match kind.trim() {
        "503" => &mut faults.slow_down,
        "500" => &mut faults.internal_error,
        "reset" => &mut faults.reset,
        "cut" => &mut faults.truncated,
        "lost" => &mut faults.lost_answer,
        _ => return None,
    };
    *place += share;
    let all = faults.slow_down
        + faults.internal_error
        + faults.reset
        + faults.truncated
        + faults.lost_answer;
    (share >= 0.0 && all < 1.0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_people_write_them() {
        let milli = Duration::from_millis;
        for (text, wanted) in [
            ("20ms", Some((milli(20), milli(0)))),
            ("20ms±5ms", Some((milli(20), milli(5)))),
            ("1.5s +- 200ms", Some((milli(1500), milli(200)))),
            ("5ms±20ms", None),
            ("20", None),
            ("-1ms", None),
        ] {
            assert_eq!(parse_latency(text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("1Gbit", Some(125_000_000)),
            ("300Mbit", Some(37_500_000)),
            ("10M", Some(10 << 20)),
            ("0", None),
            ("7bit", None),
            ("fast", None),
        ] {
            assert_eq!(parse_bandwidth(text), wanted, "{text}");
        }
    }

    #[test]
    fn errors_are_shares_below_all() {
        let of = |errors: &str| {
            let args = ShapingArgs {
                errors: Some(errors.to_owned()),
                ..ShapingArgs::default()
            };
            args.shape(7).map(|(_, faults)| faults)
        };
        let faults = of("503:1%, lost:0.5%").unwrap();
        assert!((faults.slow_down - 0.01).abs() < 1e-9);
        assert!((faults.lost_answer - 0.005).abs() < 1e-9);
        for bad in ["503", "503:1", "404:1%", "503:60%,500:40%", "503:-1%", ""] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
