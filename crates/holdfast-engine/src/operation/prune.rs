//! `restic prune`: deletes the data that no snapshot needs.

use holdfast_protocol::message::{
    job::JobError,
    parameters::{MaxUnused, Prune},
    result::Pruned,
};

use crate::{
    Access, Control, Outcome, Restic,
    event::Reporter,
    operation::{campaign::Campaign, values::refuse},
    restic::call::Call,
};

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    prune: &Prune,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    let arguments = arguments(prune)?;
    let mut campaign = Campaign::open(restic, access, control, reporter)?;
    let report = campaign.complete(&mut Call::new(arguments)).await?;
    let result = Pruned { dry_run: prune.dry_run, ..report.transcript.findings().pruned() };
    Ok(Outcome::succeeded(report.ended.exit.code(), &result))
}

fn arguments(prune: &Prune) -> Result<Vec<String>, JobError> {
    let max_unused = match prune.max_unused {
        None => None,
        Some(MaxUnused::Unlimited) => Some("unlimited".to_owned()),
        Some(MaxUnused::Bytes(bytes)) => Some(bytes.to_string()),
        Some(MaxUnused::Percent(percent)) if (0.0..100.0).contains(&percent) => {
            Some(format!("{percent}%"))
        }
        Some(MaxUnused::Percent(_)) => {
            return refuse("The share of unused data must be at least 0 and below 100 percent.");
        }
    };
    let flag = |wanted: bool, flag: &str| wanted.then(|| flag.to_owned());
    Ok([
        Some("prune".to_owned()),
        max_unused.map(|limit| format!("--max-unused={limit}")),
        prune.max_repack_bytes.map(|limit| format!("--max-repack-size={limit}")),
        flag(prune.repack_cacheable_only, "--repack-cacheable-only"),
        flag(prune.repack_uncompressed, "--repack-uncompressed"),
        flag(prune.dry_run, "--dry-run"),
    ]
    .into_iter()
    .flatten()
    .collect())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn every_wish_has_its_argument() {
        assert_eq!(arguments(&Prune::default()).unwrap(), ["prune"]);
        let all = Prune {
            max_unused: Some(MaxUnused::Percent(2.5)),
            max_repack_bytes: NonZeroU64::new(1 << 30),
            repack_cacheable_only: true,
            repack_uncompressed: true,
            dry_run: true,
        };
        let expected = [
            "prune",
            "--max-unused=2.5%",
            "--max-repack-size=1073741824",
            "--repack-cacheable-only",
            "--repack-uncompressed",
            "--dry-run",
        ];
        assert_eq!(arguments(&all).unwrap(), expected);
        for percent in [-1.0, 100.0, f64::NAN, f64::INFINITY] {
            let max_unused = Some(MaxUnused::Percent(percent));
            assert!(arguments(&Prune { max_unused, ..Prune::default() }).is_err(), "{percent}");
        }
    }
}
