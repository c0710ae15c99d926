//! `restic check`: whether the repository is whole.
//!
//! restic 0.18 and newer could answer in JSON, but then they tell nothing until the end, which may
//! be hours away. In words they tell how far they are, and the words say the rest too.

use holdfast_protocol::{
    Payload,
    message::{
        job::JobError,
        parameters::{Check, ReadData},
        result::Checked,
    },
};

use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{campaign::Campaign, values::refuse},
    restic::{call::Call, exit_code::Cause, session::Report},
};

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    check: &Check,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    let arguments = arguments(check)?;
    let mut campaign = Campaign::open(restic, access, control, reporter)?;
    let report = campaign.run(&mut Call::new(arguments)).await?;
    let found = report.transcript.findings().checked();
    match report.cause {
        // What it said on standard error did not matter to it.
        Cause::Complete => {
            let result = Checked { error_count: 0, ..found };
            Ok(Outcome::succeeded(report.ended.exit.code(), &result))
        }
        Cause::ErrorsFound => Err(errors_found(&report, found)),
        _ => Err(campaign.end(&report).await),
    }
}

fn arguments(check: &Check) -> Result<Vec<String>, JobError> {
    let read = match check.read_data {
        None => None,
        Some(ReadData::All) => Some("--read-data".to_owned()),
        Some(ReadData::Percent(percent)) if percent > 0.0 && percent <= 100.0 => {
            Some(format!("--read-data-subset={percent}%"))
        }
        Some(ReadData::Part { number, of }) if number <= of && of.get() <= PARTS_MAX => {
            Some(format!("--read-data-subset={number}/{of}"))
        }
        Some(ReadData::Percent(_)) => {
            return refuse(
                "The share of the data to read must be above 0 and at most 100 percent.",
            );
        }
        Some(ReadData::Part { .. }) => {
            return refuse(format!(
                "There is no such part of the data: at most {PARTS_MAX} parts."
            ));
        }
    };
    Ok(["check".to_owned()].into_iter().chain(read).collect())
}

/// restic tells the parts apart by one byte of a pack's id.
const PARTS_MAX: u32 = 256;

fn errors_found(report: &Report, found: Checked) -> Outcome {
    let result = Checked { error_count: found.error_count.max(1), ..found };
    let message = match result.error_count {
        1 => "The repository has an error; the job's log names it.".to_owned(),
        count => format!("The repository has {count} errors; the job's log names them."),
    };
    let error = job_error(Code::RepositoryErrorsFound, message);
    let stats = Some(Payload::of(&result));
    Outcome { stats, ..Outcome::failed(report.ended.exit.code(), error) }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn part(number: u32, of: u32) -> ReadData {
        let some = |number| NonZeroU32::new(number).unwrap();
        ReadData::Part { number: some(number), of: some(of) }
    }

    #[test]
    fn shares_and_parts_are_written_as_restic_reads_them() {
        for (read_data, expected) in [
            (None, None),
            (Some(ReadData::All), Some("--read-data")),
            (Some(ReadData::Percent(5.0)), Some("--read-data-subset=5%")),
            (Some(ReadData::Percent(0.25)), Some("--read-data-subset=0.25%")),
            (Some(part(1, 7)), Some("--read-data-subset=1/7")),
        ] {
            let arguments = arguments(&Check { read_data }).unwrap();
            assert_eq!(arguments.get(1).map(String::as_str), expected);
        }
        for read_data in [
            ReadData::Percent(0.0),
            ReadData::Percent(100.5),
            ReadData::Percent(f64::NAN),
            part(8, 7),
            part(1, 257),
        ] {
            assert!(arguments(&Check { read_data: Some(read_data) }).is_err(), "{read_data:?}");
        }
    }
}
