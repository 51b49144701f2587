//! The local time of this machine, for the operator's windows: people write "22:00" and mean their own clock.

use jiff::{Timestamp, tz::TimeZone};
use lowtide_core::units::WallTime;

/// Minutes since Monday 00:00 local time; `None` for a time that no calendar has.
pub(crate) fn week_minute(wall: WallTime) -> Option<u16> {
    let now = Timestamp::from_millisecond(wall.unix_ms()).ok()?.to_zoned(TimeZone::system());
    let day = u16::try_from(now.weekday().to_monday_zero_offset()).ok()?;
    let (hour, minute) = (u16::try_from(now.hour()).ok()?, u16::try_from(now.minute()).ok()?);
    Some(day * 24 * 60 + hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::week_minute;
    use lowtide_core::units::WallTime;

    #[test]
    fn a_week_has_its_minutes() {
        // Whatever the zone of the machine that tests: 24 hours later it is the next day, but for a change of the clocks in between.
        let at = |hours: i64| week_minute(WallTime(1_767_225_600_000 + hours * 3_600_000)).unwrap();
        assert!(at(0) < 7 * 24 * 60);
        assert_eq!((at(24) + 7 * 24 * 60 - at(0)) % (7 * 24 * 60), 24 * 60);
        assert_eq!(at(7 * 24), at(0));
    }
}
