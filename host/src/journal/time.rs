//! A moment, as people and machines read it.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const SECONDS_A_DAY: u64 = 86_400;

/// Days from 0000-03-01, from which 400 years always have as many days, to 1970-01-01.
const DAYS_BEFORE_EPOCH: u64 = 719_468;

/// Days of 400 years of the Gregorian calendar.
const DAYS_OF_ERA: u64 = 146_097;

/// A moment in UTC by the node's clock, written as in RFC 3339: `2026-11-23T08:26:38.000000001Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time {
    /// Since 1970.
    pub seconds: u64,
    /// Of the second.
    pub nanoseconds: u32,
}

impl Time {
    /// By the node's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() }
    }

    /// To the second, for people.
    pub fn in_words(self) -> String {
        let (year, month, day) = date(self.seconds / SECONDS_A_DAY);
        let [hour, minute, second] = clock(self.seconds);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds / SECONDS_A_DAY);
        let [hour, minute, second] = clock(self.seconds);
        let nanoseconds = self.nanoseconds;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Time {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Time {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or("is not of the form 2026-11-23T08:26:38.000000001Z")
    }
}

fn read(text: &str) -> Option<Time> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, nanoseconds) = clock.split_once('.').filter(|(_, part)| part.len() == 9)?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days(year, month, day)?;
    let seconds = days.checked_mul(SECONDS_A_DAY)? + hour * 3600 + minute * 60 + second;
    Some(Time { seconds, nanoseconds: nanoseconds.parse().ok()? })
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let numbers = text.split(separator).map(|part| part.parse().ok()).collect::<Option<Vec<_>>>()?;
    numbers.try_into().ok()
}

fn clock(seconds: u64) -> [u64; 3] {
    let of_day = seconds % SECONDS_A_DAY;
    [of_day / 3600, of_day / 60 % 60, of_day % 60]
}

/// Year, month and day of a day since 1970. In years that begin in March the leap day is the last one, and months
/// are 153 days in each five.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + DAYS_BEFORE_EPOCH;
    let (era, day) = (day / DAYS_OF_ERA, day % DAYS_OF_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    match month {
        0..=9 => (era * 400 + year, month + 3, of_month),
        _ => (era * 400 + year + 1, month - 9, of_month),
    }
}

/// The other way round.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month > 2 { year } else { year.checked_sub(1)? };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era.checked_mul(DAYS_OF_ERA)?.checked_add(of_era)?.checked_sub(DAYS_BEFORE_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_has_them() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
            (1_709_251_199, 0, "2024-02-29T23:59:59.000000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
        ] {
            let time = Time { seconds, nanoseconds };
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
    }

    #[test]
    fn every_day_reads_back() {
        for day in 0..60_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026-11-23",
            "2026-13-23T08:26:38.000000001Z",
            "2026-11-23T08:26:38.1Z",
            "2026-11-23T24:26:38.000000001Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
