//! Amounts of data, as people write and read them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// What each unit stands for; those ending in `iB` are powers of two.
const UNITS: [(&str, u64); 6] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

impl Size {
    pub(crate) fn megabytes(count: u64) -> Self {
        Self(count * 1_000_000)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no size; write it like 500MB or 2GB");
        let unit = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit));
        let (unit, bytes) = unit.ok_or_else(wrong)?;
        let number = text.trim_end_matches(unit).trim();
        let count: u64 = number.parse().map_err(|_| wrong())?;
        count.checked_mul(bytes).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = match self.0 {
            0..1_000_000 => ("kB", 1000.0),
            1_000_000..1_000_000_000 => ("MB", 1e6),
            _ => ("GB", 1e9),
        };
        write!(f, "{:.1} {name}", self.0 as f64 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!("2GB".parse(), Ok(Size(2_000_000_000)));
        assert_eq!("64 MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("7B".parse(), Ok(Size(7)));
        for wrong in ["", "2", "GB", "-1GB", "99999999999GB", "2XB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_print_with_one_decimal() {
        assert_eq!(Size::megabytes(200).to_string(), "200.0 MB");
        assert_eq!(Size(1_500_000_000).to_string(), "1.5 GB");
    }
}
