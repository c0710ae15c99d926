//! What the two databases and the ledger say together.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Result, ensure};
use holdfast_link::Positions;

use super::Killed;
use crate::peer::{Entries, FIRST};

/// Everything that is left when all has ended.
pub(super) struct Evidence<'a> {
    pub(super) ledger: &'a Entries,
    /// The agent's.
    pub(super) positions: Positions,
    /// The server's position in the agent's stream.
    pub(super) received: u64,
    /// Commands the server has numbered.
    pub(super) commands: i64,
    /// Effects of numbered records, in the order they happened.
    pub(super) config: &'a [(i64, i64)],
    pub(super) schedule: usize,
    pub(super) accepted: usize,
    pub(super) ended: usize,
    /// Moves of the server's position: new and old.
    pub(super) steps: &'a [(i64, i64)],
    pub(super) orders: u64,
    pub(super) killed: Killed,
    pub(super) took: Duration,
}

/// It held.
#[derive(Debug)]
pub struct Verdict {
    /// Numbered records that the agent's state took for good.
    pub messages: u64,
    /// Records of any kind that the server applied, and commands that the agent did.
    pub applied: u64,
    /// Batches whose fate a kill left open.
    pub open: u64,
    /// Kills.
    pub killed: Killed,
    took: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Killed { agent, server, both } = self.killed;
        write!(
            f,
            "{} numbered records, {} applied in both directions, over {agent} kills of the agent, \
             {server} of the server and {both} of both in {} s: 0 lost, 0 twice, 0 out of order \
             ({} batches were cut off by a kill)",
            self.messages,
            self.applied,
            self.took.as_secs(),
            self.open,
        )
    }
}

pub(super) fn judge(evidence: &Evidence<'_>) -> Result<Verdict> {
    let numbers: Vec<i64> =
        evidence.config.iter().map(|(value, _)| *value).filter(|value| *value >= FIRST).collect();
    let messages = judge_numbers(evidence.ledger, &numbers)?;
    judge_positions(evidence)?;
    let open = evidence.ledger.intended.len() - evidence.ledger.done.len();
    Ok(Verdict {
        messages,
        applied: evidence.received + u64::try_from(evidence.commands)?,
        open: open as u64,
        killed: evidence.killed,
        took: evidence.took,
    })
}

/// Every number that was taken for good was applied once; the others at most once; all in order.
fn judge_numbers(ledger: &Entries, applied: &[i64]) -> Result<u64> {
    let mut counts: BTreeMap<i64, u32> = BTreeMap::new();
    for number in applied {
        *counts.entry(*number).or_default() += 1;
    }
    let done = || ledger.done.iter().flat_map(|(first, last)| *first..=*last);
    let lost: Vec<i64> = done().filter(|number| !counts.contains_key(number)).collect();
    ensure!(lost.is_empty(), "{} records are lost, the first is {:?}", lost.len(), lost.first());
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "{} records came twice, the first is {:?}", twice.len(), twice[0]);
    let intended =
        |number: &i64| ledger.intended.iter().any(|(first, last)| (first..=last).contains(&number));
    ensure!(counts.keys().all(intended), "a number was applied that nobody wrote");
    let ordered = applied.is_sorted();
    ensure!(ordered, "records were applied out of order");
    Ok(done().count() as u64)
}

fn judge_positions(evidence: &Evidence<'_>) -> Result<()> {
    let Evidence { positions, received, commands, .. } = evidence;
    ensure!(
        positions.next - 1 == *received,
        "the agent wrote {} records and the server has {received}",
        positions.next - 1,
    );
    ensure!(
        i64::try_from(positions.received).ok() == Some(*commands),
        "the server wrote {commands} commands and the agent has {}",
        positions.received,
    );
    // A command that was applied twice would have been answered twice, and an answer has a number.
    let effects = evidence.config.len() + evidence.schedule + evidence.accepted + evidence.ended;
    ensure!(
        *received == effects as u64,
        "{received} records were applied and had {effects} effects",
    );
    ensure!(
        evidence.ended as u64 >= evidence.orders && i64::try_from(evidence.ended)? == *commands,
        "{} orders were taken, {commands} sent and {} ended",
        evidence.orders,
        evidence.ended,
    );
    let mut position = 0;
    for (new, old) in evidence.steps {
        ensure!(*old == position && new > old, "the position went from {position} to {new}");
        position = *new;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Entries {
        Entries { intended: vec![(1, 2), (3, 4)], done: vec![(1, 2)] }
    }

    #[test]
    fn an_open_batch_may_be_there_or_not() {
        assert_eq!(judge_numbers(&ledger(), &[1, 2]).unwrap(), 2);
        assert_eq!(judge_numbers(&ledger(), &[1, 2, 3, 4]).unwrap(), 2);
    }

    #[test]
    fn what_is_lost_twice_strange_or_out_of_order_is_found() {
        for (applied, said) in [
            (&[1][..], "1 records are lost, the first is Some(2)"),
            (&[1, 2, 2], "came twice"),
            (&[1, 2, 9], "nobody wrote"),
            (&[2, 1], "out of order"),
        ] {
            let error = judge_numbers(&ledger(), applied).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_command_done_twice_shows_in_the_sum() {
        let (config, steps) = ([(1, 0), (2, 1)], [(2, 0), (5, 2)]);
        let mut evidence = Evidence {
            ledger: &ledger(),
            positions: Positions { received: 1, oldest: 6, next: 6 },
            received: 5,
            commands: 1,
            config: &config,
            schedule: 1,
            accepted: 1,
            ended: 1,
            steps: &steps,
            orders: 1,
            killed: Killed::default(),
            took: Duration::ZERO,
        };
        judge_positions(&evidence).unwrap();
        evidence.received = 6;
        evidence.positions.next = 7;
        let error = judge_positions(&evidence).unwrap_err().to_string();
        assert!(error.contains("6 records were applied and had 5 effects"), "{error}");
    }
}
