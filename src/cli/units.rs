//! Sizes, rates and durations as people write and read them.
//!
//! Written sizes are powers of 1,024: `256M`, `256MiB` and `256 MiB` are the same; a bare number is
//! bytes. `MB` is refused rather than guessed at. Shown sizes have three digits.

use std::{fmt, time::Duration};

/// The units, each 1,024 times the one before.
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a size such as `256M` or `1.5GiB`", .0.escape_debug())]
pub struct ParseSizeError(String);

/// Reads a size in bytes; a rate may end in `/s`.
pub fn parse_size(text: &str) -> Result<u64, ParseSizeError> {
    let error = || ParseSizeError(text.to_owned());
    let bare = text.trim();
    let bare = bare.strip_suffix("/s").unwrap_or(bare);
    let end = bare
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(bare.len());
    let (digits, unit) = bare.split_at(end);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(error()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let factor = 1_u64 << shift;
    let whole: u64 = whole.parse().map_err(|_digits| error())?;
    // Thousandths are enough for anybody, and need no floating point.
    let thousandths: u64 = match fraction.len() {
        0 => 0,
        1..=3 => format!("{fraction:0<3}")
            .parse()
            .map_err(|_digits| error())?,
        _ => return Err(error()),
    };
    let part = (factor / 1000) * thousandths + (factor % 1000) * thousandths / 1000;
    whole
        .checked_mul(factor)
        .and_then(|bytes| bytes.checked_add(part))
        .ok_or_else(error)
}

/// Shows a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rest, mut unit) = (u128::from(self.0) * 100, 0);
        // 1023.5 KiB would be shown as 1024 KiB: go on to the next unit a little earlier.
        while rest >= 99_950 && unit + 1 < UNITS.len() {
            rest /= 1024;
            unit += 1;
        }
        let name = UNITS[unit];
        match (unit, rest) {
            (0, _) => write!(f, "{} {name}", rest / 100),
            (_, 0..1_000) => write!(f, "{}.{:02} {name}", rest / 100, rest % 100),
            (_, 1_000..10_000) => write!(f, "{}.{} {name}", rest / 100, rest % 100 / 10),
            _ => write!(f, "{} {name}", rest / 100),
        }
    }
}

/// Shows bytes per second over a time; a dash for no time at all.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub u64, pub Duration);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = (u128::from(self.0) * 1000).checked_div(self.1.as_millis());
        match rate.and_then(|rate| u64::try_from(rate).ok()) {
            Some(rate) => write!(f, "{}/s", Size(rate)),
            None => f.write_str("–"),
        }
    }
}

/// Shows how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Took(pub Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{seconds}.{} s", self.0.subsec_millis() / 100),
            60..3600 => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        }
    }
}

/// Shows a count with its noun: `1 path`, `2 paths`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64, pub &'static str);

impl Count {
    /// Counts what a `usize` counts.
    #[must_use]
    pub fn of(n: usize, noun: &'static str) -> Self {
        Self(u64::try_from(n).unwrap_or(u64::MAX), noun)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("256M", 256 << 20),
            ("1.5GiB", 3 << 29),
            ("64 KiB", 64 << 10),
            ("10M/s", 10 << 20),
            ("2T", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "M",
            "1.5.2M",
            "12 MB",
            "-1",
            "1.2345M",
            "99999999T",
            "1x",
            ".",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shown_sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1023, "0.99 KiB"),
            (1024, "1.00 KiB"),
            (12_700, "12.4 KiB"),
            (268_435_456, "256 MiB"),
            (1_073_741_823, "0.99 GiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text, "{bytes}");
        }
    }

    #[test]
    fn rates_and_durations_are_short() {
        assert_eq!(
            Rate(1 << 20, Duration::from_millis(500)).to_string(),
            "2.00 MiB/s"
        );
        assert_eq!(Rate(1 << 20, Duration::ZERO).to_string(), "–");
        assert_eq!(Took(Duration::from_millis(1_250)).to_string(), "1.2 s");
        assert_eq!(Took(Duration::from_secs(125)).to_string(), "2 min 05 s");
        assert_eq!(
            Took(Duration::from_secs(3 * 3600 + 61)).to_string(),
            "3 h 01 min"
        );
        assert_eq!(Count(1, "path").to_string(), "1 path");
        assert_eq!(Count(0, "path").to_string(), "0 paths");
    }
}
