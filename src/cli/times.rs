//! Spans of time and dates as people write and read them: `7d`, `36h`, `2027-01-31`.
//!
//! A span is one number or several, each with its unit, the units being s, min, h, d, w and y (365 d); a
//! bare number is refused, and so is `m`, which is a minute to some and a month to others. Dates are in UTC,
//! since the machines that share a cache need not share a zone.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, civil, tz::TimeZone};

/// The units of a span, with their seconds, the largest first.
const UNITS: [(&str, u64); 6] = [
    ("y", 365 * 86_400),
    ("w", 7 * 86_400),
    ("d", 86_400),
    ("h", 3_600),
    ("min", 60),
    ("s", 1),
];

/// A text that is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSpanError {
    /// A number without a unit.
    #[error("`{}` has no unit; a span is such as `7d`, `36h` or `90min`", .0.escape_debug())]
    NoUnit(String),
    /// The unit that means two things.
    #[error("`{}` says `m`, which may be minutes or months; write `min` or `d`", .0.escape_debug())]
    MinuteOrMonth(String),
    /// Anything else.
    #[error("`{}` is not a span of time such as `7d`, `36h` or `90min`", .0.escape_debug())]
    Other(String),
}

/// Reads a span of time.
pub fn parse_span(text: &str) -> Result<Duration, ParseSpanError> {
    let other = || ParseSpanError::Other(text.to_owned());
    let (mut rest, mut seconds) = (text.trim(), 0_u64);
    if rest.is_empty() {
        return Err(other());
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (digits, behind) = rest.split_at(end);
        let behind = behind.trim_start();
        let end = behind
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let number: u64 = digits.parse().map_err(|_digits| other())?;
        let factor = match unit {
            "" if behind.is_empty() => return Err(ParseSpanError::NoUnit(text.to_owned())),
            "m" => return Err(ParseSpanError::MinuteOrMonth(text.to_owned())),
            unit => unit_seconds(unit).ok_or_else(other)?,
        };
        seconds = number
            .checked_mul(factor)
            .and_then(|more| seconds.checked_add(more))
            .ok_or_else(other)?;
        rest = behind.trim_start();
    }
    Ok(Duration::from_secs(seconds))
}

fn unit_seconds(unit: &str) -> Option<u64> {
    let short = match unit {
        "year" | "years" => "y",
        "week" | "weeks" => "w",
        "day" | "days" => "d",
        "hour" | "hours" => "h",
        "minute" | "minutes" => "min",
        "second" | "seconds" | "sec" => "s",
        short => short,
    };
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == short)?;
    Some(*seconds)
}

/// Shows a span of time in the largest unit that leaves at least two of it: `7 days`, `36 hours`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let named = [
            ("day", 86_400),
            ("hour", 3_600),
            ("minute", 60),
            ("second", 1),
        ];
        let (name, unit) = named
            .into_iter()
            .find(|(_, unit)| seconds >= 2 * unit || seconds == *unit)
            .unwrap_or(("second", 1));
        let n = seconds / unit;
        let plural = if n == 1 { "" } else { "s" };
        write!(f, "{n} {name}{plural}")
    }
}

/// A text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMomentError {
    /// Neither a date nor a span.
    #[error("`{}` is neither a date such as `2027-01-31` nor a span of time such as `90d`", .0.escape_debug())]
    Neither(String),
    /// A moment that is over.
    #[error("`{}` is over", .0.escape_debug())]
    Over(String),
}

/// Reads a moment that is to come: a date (its end, in UTC), a date with its time, or a span from `now` on.
pub fn parse_moment(text: &str, now: SystemTime) -> Result<SystemTime, ParseMomentError> {
    let neither = || ParseMomentError::Neither(text.to_owned());
    let bare = text.trim();
    let moment = if let Ok(span) = parse_span(bare) {
        now.checked_add(span).ok_or_else(neither)?
    } else if let Ok(date) = bare.parse::<civil::Date>()
        && !bare.contains([':', 'T'])
    {
        let end = date.tomorrow().map_err(|_far| neither())?;
        let zoned = end.to_zoned(TimeZone::UTC).map_err(|_outside| neither())?;
        SystemTime::from(zoned.timestamp())
    } else {
        let timestamp: Timestamp = bare.parse().map_err(|_text| neither())?;
        SystemTime::from(timestamp)
    };
    if moment <= now {
        return Err(ParseMomentError::Over(text.to_owned()));
    }
    Ok(moment)
}

/// Shows a moment to the minute: `2026-11-22 21:45 UTC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub SystemTime);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::try_from(self.0) {
            Ok(time) => {
                let time = time.to_zoned(TimeZone::UTC);
                write!(f, "{} UTC", time.strftime("%Y-%m-%d %H:%M"))
            }
            Err(_outside) => f.write_str("a time beyond all calendars"),
        }
    }
}

/// Returns a moment as JSON has it: RFC 3339, whole seconds, UTC.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> String {
    let time = Timestamp::try_from(moment).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for (text, seconds) in [
            ("7d", 7 * 86_400),
            ("36h", 36 * 3_600),
            ("90 min", 5_400),
            ("1d12h", 36 * 3_600),
            ("2 weeks", 14 * 86_400),
            ("1y", 365 * 86_400),
            ("0s", 0),
        ] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "d",
            "7",
            "1m",
            "-1d",
            "1.5d",
            "7dd",
            "9999999999999999y",
        ] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse_span("3m").unwrap_err().to_string(),
            "`3m` says `m`, which may be minutes or months; write `min` or `d`"
        );
    }

    #[test]
    fn shown_spans_are_round_where_they_were_round() {
        for (seconds, text) in [
            (7 * 86_400, "7 days"),
            (86_400, "1 day"),
            (36 * 3_600, "36 hours"),
            (3_600, "1 hour"),
            (90, "90 seconds"),
            (0, "0 seconds"),
            (40 * 86_400 + 5, "40 days"),
        ] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    #[test]
    fn a_date_lasts_until_its_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900);
        let moment = |text| parse_moment(text, now).map(|moment| Moment(moment).to_string());
        assert_eq!(moment("2026-12-31").unwrap(), "2027-01-01 00:00 UTC");
        assert_eq!(
            moment("2026-12-31T12:00:00Z").unwrap(),
            "2026-12-31 12:00 UTC"
        );
        assert_eq!(moment("2d").unwrap(), "2026-11-24 21:45 UTC");
        assert_eq!(rfc3339(now), "2026-11-22T21:45:00Z");
        assert!(matches!(
            moment("2026-11-21"),
            Err(ParseMomentError::Over(_))
        ));
        for bad in ["tomorrow", "2026-13-01", "12", ""] {
            assert!(
                matches!(moment(bad), Err(ParseMomentError::Neither(_))),
                "{bad}"
            );
        }
    }
}
