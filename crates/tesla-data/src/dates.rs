//! Dates and times: seconds since 1970-01-01 in UTC, and back to the parts of a calendar.

const DAY: i64 = 86_400;

/// The seconds of the years that are read, 1 to 9999.
const YEARS: std::ops::Range<f64> = -62_135_596_800.0..253_402_300_800.0;

/// A moment in the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 31.
    pub(crate) day: i64,
    /// 0 for Monday to 6 for Sunday.
    pub(crate) weekday: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
}

/// Whether a number of seconds is in a year from 1 to 9999: what is not may count something else,
/// such as milliseconds.
pub(crate) fn is_time(seconds: f64) -> bool {
    YEARS.contains(&seconds)
}

/// The seconds of an ISO 8601 date (`2024-01-31`) or time (`2024-01-31T12:00`, a blank for the `T`,
/// with or without seconds and their fraction, and with `Z`, `+01:00` or no zone, which is UTC).
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let text = text.trim().as_bytes();
    let (date, rest) = text.split_at_checked(10)?;
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..])?);
    if year == 0 || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let midnight = days(year, month, day) * DAY;
    let Some((b'T' | b't' | b' ', rest)) = rest.split_first() else {
        return rest.is_empty().then_some(midnight as f64);
    };
    let (clock, rest) = rest.split_at_checked(5)?;
    let (hour, minute) = (digits(&clock[..2])?, digits(&clock[3..])?);
    if clock[2] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let (second, fraction, rest) = match rest.split_first() {
        Some((b':', rest)) => seconds_of(rest)?,
        _ => (0, 0.0, rest),
    };
    let whole = midnight + hour * 3600 + minute * 60 + second - zone(rest)?;
    let found = whole as f64 + fraction;
    is_time(found).then_some(found)
}

/// `59`, `59.5`: the whole seconds, their fraction, and what follows.
fn seconds_of(text: &[u8]) -> Option<(i64, f64, &[u8])> {
    let (whole, rest) = text.split_at_checked(2)?;
    let second = digits(whole).filter(|second| *second < 60)?;
    let Some((b'.' | b',', after)) = rest.split_first() else {
        return Some((second, 0.0, rest));
    };
    let len = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    // More than nine digits are finer than any clock.
    let kept = &after[..len.min(9)];
    let fraction = digits(kept)? as f64 / 10f64.powi(kept.len() as i32);
    Some((second, fraction, &after[len..]))
}

/// The seconds that a zone is ahead of UTC.
fn zone(text: &[u8]) -> Option<i64> {
    let (sign, offset) = match text.trim_ascii() {
        [] | [b'Z' | b'z'] | b"UTC" => return Some(0),
        [b'+', offset @ ..] => (1, offset),
        [b'-', offset @ ..] => (-1, offset),
        _ => return None,
    };
    let (hours, minutes) = match offset.len() {
        2 => (digits(offset)?, 0),
        4 => (digits(&offset[..2])?, digits(&offset[2..])?),
        5 if offset[2] == b':' => (digits(&offset[..2])?, digits(&offset[3..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |all, byte| {
        byte.is_ascii_digit().then(|| all * 10 + i64::from(byte - b'0'))
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, after Howard Hinnant's `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is their last.
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The calendar's parts of a time, after Howard Hinnant's `civil_from_days`.
pub(crate) fn civil(seconds: f64) -> Civil {
    let whole = seconds.floor() as i64;
    let (days, clock) = (whole.div_euclid(DAY), whole.rem_euclid(DAY));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    Civil {
        year: year + era * 400 + i64::from(month <= 2),
        month,
        day: of_year - (153 * from_march + 2) / 5 + 1,
        // 1970-01-01 was a Thursday.
        weekday: (days + 3).rem_euclid(7),
        hour: clock / 3600,
        minute: clock / 60 % 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_texts_are_times_and_others_are_not() {
        for (text, expected) in [
            ("1970-01-01", 0.0),
            ("2024-02-29", 1_709_164_800.0),
            (" 2024-02-29T12:30 ", 1_709_209_800.0),
            ("2024-02-29 12:30:15.25Z", 1_709_209_815.25),
            ("2024-02-29T12:30:15+01:30", 1_709_204_415.0),
            ("2024-02-29T12:30:15-0130", 1_709_215_215.0),
            ("1969-12-31T23:59:59", -1.0),
            ("0001-01-01", -62_135_596_800.0),
            ("9999-12-31", 253_402_214_400.0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "2024",
            "2024-1-1",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-32",
            "0000-01-01",
            "2024-01-01T",
            "2024-01-01T24:00",
            "2024-01-01T12:60",
            "2024-01-01T12:00:60",
            "01/02/2024",
            "2024-01-01T12:00:00.",
            "2024-01-01T12:00+1",
            "2024-01-01x",
            "2024-01-01T12:00:00 CET",
            "é024-01-01é",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn the_calendar_is_the_inverse_of_texts() {
        // Every 1,000 days and some seconds, over all the years there are.
        let mut at = -62_135_596_800i64;
        while at < 253_402_300_800 {
            let c = civil(at as f64);
            assert_eq!(
                days(c.year, c.month, c.day) * DAY + c.hour * 3600 + c.minute * 60,
                at - at.rem_euclid(60)
            );
            assert!((1..=days_in(c.year, c.month)).contains(&c.day));
            at += 1000 * DAY + 4321;
        }
        let c = civil(seconds("2024-02-29T23:59:59").unwrap());
        assert_eq!((c.year, c.month, c.day, c.weekday, c.hour, c.minute), (2024, 2, 29, 3, 23, 59));
    }
}
