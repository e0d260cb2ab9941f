//! What several programs read from their command lines alike.

use std::time::Duration;

/// The longest time that is taken: a hundred years of 365 days. Times are added to clocks, which end.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// Reads a label, `KEY=VALUE`.
///
/// # Errors
/// When there is no key, or no value.
pub fn label(text: &str) -> Result<(String, String), String> {
    let label = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = label.ok_or("a label is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads a time above 0, such as `90s`, `10m`, `12h` or `90d`.
///
/// # Errors
/// When it is none, or 0, or more than a hundred years.
pub fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok();
    let time = time.filter(|time| !time.is_zero());
    let time = time.ok_or("a time above 0 is wanted: 90s, 10m, 12h or 90d")?;
    if time > LONGEST {
        return Err("a time of at most a hundred years (36500d) is wanted".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counts_with_units_above_0() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(time("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(time("90d"), Ok(Duration::from_hours(90 * 24)));
        for text in ["", "10", "0s", "-1m", "m", "18446744073709551615h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_that_no_clock_reaches_are_refused() {
        assert_eq!(time("36500d"), Ok(LONGEST));
        for text in ["36501d", "100000y", "18446744073709551615s"] {
            assert!(
                time(text).unwrap_err().contains("a hundred years"),
                "{text}"
            );
        }
    }

    #[test]
    fn labels_have_a_key() {
        assert_eq!(label("site=a=b"), Ok(("site".into(), "a=b".into())));
        assert_eq!(label("site="), Ok(("site".into(), String::new())));
        for text in ["", "site", "=a"] {
            assert!(label(text).is_err(), "{text}");
        }
    }
}
