//! Ages on the command line: `90m`, `26h`, `7d`, `2w`.

use super::Age;

/// Reads an age, or `default`.
pub(super) fn parse(text: &str) -> Result<Age, String> {
    if text == "default" {
        return Ok(Age::Default);
    }
    let seconds = seconds(text).map_err(|error| format!("{error}, or `default`"))?;
    Ok(Age::Seconds(seconds))
}

/// Reads a length of time, in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "give a number and a unit (m, h, d or w), such as 26h".to_owned();
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at));
    let (number, unit) = text.split_at(split.ok_or_else(wrong)?);
    let unit = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        assert_eq!(parse("90m"), Ok(Age::Seconds(5_400)));
        assert_eq!(parse("26h"), Ok(Age::Seconds(93_600)));
        assert_eq!(parse("2w"), Ok(Age::Seconds(1_209_600)));
        assert_eq!(parse("default"), Ok(Age::Default));
        for wrong in ["", "h", "26", "26 h", "-1h", "1y", "5µ", "99999999999999999999w"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
