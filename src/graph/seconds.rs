//! Times in four bytes: what a server says about an object, to the second.

use std::time::{Duration, SystemTime};

/// A time of the server, in whole seconds since 1970; good until the year 2106.
///
/// Earlier and later times become the first and the last that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seconds(pub(super) u32);

impl From<u32> for Seconds {
    fn from(seconds: u32) -> Self {
        Self(seconds)
    }
}

impl From<Seconds> for u32 {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl From<SystemTime> for Seconds {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        Self(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

impl From<Seconds> for SystemTime {
    fn from(seconds: Seconds) -> Self {
        Self::UNIX_EPOCH + Duration::from_secs(u64::from(seconds.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_second_and_within_bounds() {
        let epoch = SystemTime::UNIX_EPOCH;
        let noon = epoch + Duration::from_millis(1_795_383_900_999);
        assert_eq!(u32::from(Seconds::from(noon)), 1_795_383_900);
        assert_eq!(Seconds::from(epoch - Duration::from_secs(1)), Seconds(0));
        let late = epoch + Duration::from_secs(1 << 40);
        assert_eq!(Seconds::from(late), Seconds(u32::MAX));
        assert_eq!(SystemTime::from(Seconds(7)), epoch + Duration::from_secs(7));
    }
}
