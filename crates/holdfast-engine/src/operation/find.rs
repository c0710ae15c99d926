//! A search in all of a snapshot by name, match by match.
//!
//! restic's own `find` tells one long line for each snapshot and knows no part of a name; its
//! listing tells a line for each file and reads the same trees.

mod pattern;

use holdfast_protocol::message::{parameters::Find, result::Found};
use tokio::sync::mpsc::Sender;

use self::pattern::Pattern;
use crate::{
    Access, Control, Outcome, Restic,
    event::Reporter,
    operation::{campaign::Campaign, listing::Telling, ls::Node, values::check_snapshot_id},
};

/// How many matches are told when nobody says.
const MATCHES_MAX: u64 = 1000;

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    find: &Find,
    matches: Sender<Found>,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    check_snapshot_id(&find.snapshot_id)?;
    let pattern = Pattern::new(&find.pattern)?;
    let mut telling = Telling::up_to(find.limit, MATCHES_MAX);
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let arguments = ["ls", "--json", "--no-lock", "--", &find.snapshot_id];
    let pick = |node: Node| {
        let fits = pattern.fits(&node.path);
        fits.then(|| Found { path: node.path.clone(), entry: node.into_entry() })
    };
    let reading = |output| telling.follow(output, matches, control, pick);
    let (report, ()) = campaign.listen(arguments, reading).await?;
    let exit_code = telling.judge(&report, &mut campaign).await?;
    Ok(telling.outcome(exit_code))
}
