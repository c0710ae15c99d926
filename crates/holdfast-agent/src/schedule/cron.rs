//! Five-field cron expressions in a time zone.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use holdfast_protocol::message::schedule::Schedule;
use jiff::{Timestamp, tz::TimeZone};

/// When a schedule is due.
#[derive(Debug, Clone)]
pub struct Rule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The expression is not five-field cron.
    #[error("`{expression}` is not a five-field cron expression: {reason}")]
    Expression {
        /// The expression.
        expression: String,
        /// What the parser disliked.
        reason: String,
    },
    /// The zone is not known.
    #[error("`{zone}` is not a time zone this machine knows")]
    Zone {
        /// The zone.
        zone: String,
    },
}

impl Rule {
    /// Reads `expression` in `zone`, an IANA name.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn parse(expression: &str, zone: &str) -> Result<Self, RuleError> {
        // A sixth field would be seconds: pasted by mistake it would start a backup every second.
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| RuleError::Expression {
            expression: expression.chars().take(100).collect(),
            reason: error.to_string(),
        })?;
        let zone = TimeZone::get(zone)
            .map_err(|_| RuleError::Zone { zone: zone.chars().take(100).collect() })?;
        Ok(Self { cron, zone })
    }

    /// The rule of `schedule`.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn of(schedule: &Schedule) -> Result<Self, RuleError> {
        Self::parse(&schedule.cron_expr, &schedule.time_zone)
    }

    /// The minute of the day at `at`, 0 to 1439, as the zone's wall clock shows it.
    #[must_use]
    pub fn minute_of_day(&self, at: Timestamp) -> u16 {
        let wall = at.to_zoned(self.zone.clone());
        u16::from(wall.hour().unsigned_abs()) * 60 + u16::from(wall.minute().unsigned_abs())
    }

    /// The first time due after `after`, or `None` when there is none in sight.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let start = after.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&start, false).ok()?;
        Some(next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_fields_and_unknown_zones_are_refused_in_a_sentence() {
        let six = Rule::parse("0 0 2 * * *", "UTC").unwrap_err();
        assert!(six.to_string().contains("not a five-field cron expression"), "{six}");
        let zone = Rule::parse("0 2 * * *", "Europe/Atlantis").unwrap_err();
        assert!(zone.to_string().contains("Europe/Atlantis"), "{zone}");
    }
}
