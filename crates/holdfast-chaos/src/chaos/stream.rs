//! Frames that come broken, twice, late or out of order, from an agent made by hand.

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    database::Database,
    fault_proxy::{Cut, Direction},
    peer::{self, Entries},
    stand::{Bench, GROUP, LIMIT, Stand},
    wire::{CLOSE, Heard, TEXT, Wire, frame, hello, record},
};

/// A host whose agent is this program.
pub(super) struct ByHand {
    pub(super) stand: Stand,
    pub(super) database: Database,
    pub(super) host: String,
    pub(super) token: String,
    incarnation: String,
}

impl ByHand {
    pub(super) fn new(stand: Stand, name: &str) -> Result<Self> {
        let mut database = stand.database()?;
        database.witness()?;
        let incarnation = Uuid::new_v4().to_string();
        let token = stand.api.enrol_by_hand(name, &incarnation)?;
        let host = database.host_id(name)?;
        Ok(Self { stand, database, host, token, incarnation })
    }

    /// A new session, and its welcome.
    pub(super) fn greet(&self) -> Result<(Wire, Value)> {
        let hello = hello(&self.incarnation, 1, 1);
        Wire::greet(self.stand.api.address(), &self.token, &hello)
    }

    pub(super) fn hello(&self) -> Value {
        hello(&self.incarnation, 1, 1)
    }

    /// The numbers whose records had an effect, in order.
    pub(super) fn applied(&mut self) -> Result<Vec<i64>> {
        let config = self.database.witnessed(&self.host, "config")?;
        Ok(config.into_iter().map(|(value, _)| value).collect())
    }
}

/// A record whose effect can be seen.
pub(super) fn numbered(seq: u64, number: i64) -> Value {
    let at = jiff::Timestamp::now().to_string();
    record(seq, "config.applied", &json!({"version": number, "applied_at": at}))
}

/// F15: the connection ends at every byte of a frame, in good order and with a reset.
pub(super) fn cut_anywhere(bench: &Bench) -> Result<String> {
    let mut agent = ByHand::new(Stand::new(bench)?, "by-hand")?;
    let mut record = numbered(1, 1);
    record["payload"]["ignored"] = json!("x".repeat(200));
    let whole = frame(true, TEXT, record.to_string().as_bytes());
    let mut cuts = 0;
    for length in 0..whole.len() {
        for how in [Cut::Fin, Cut::Rst] {
            let (mut wire, welcome) = agent.greet()?;
            ensure!(welcome["received"] == 0, "{length} bytes of {} counted", whole.len());
            wire.put(&whole[..length])?;
            if how == Cut::Fin {
                wire.stream().shutdown(Shutdown::Write)?;
                ensure!(wire.await_end(LIMIT)? != Heard::Closed(1011), "the server blames itself");
            }
            // Dropped with unread input, the connection is reset.
            cuts += 1;
        }
    }
    let (mut wire, _) = agent.greet()?;
    wire.put(&whole)?;
    wire.await_ack(1, LIMIT)?;
    ensure!(agent.applied()? == [1], "{:?}", agent.applied()?);
    agent.stand.fleet.server.check_running()?;
    let down = cut_on_the_way_down(bench)?;
    Ok(format!("{cuts} cuts of a frame of {} bytes to the server; {down}", whole.len()))
}

/// The same to the agent: a command is cut at some places of its way.
fn cut_on_the_way_down(bench: &Bench) -> Result<String> {
    const PLACES: u64 = 10;
    let stand = Stand::new(bench)?;
    let data = stand.enrol_peer("downward", &stand.proxy.url())?;
    let mut peer = stand.peer(&data, &[])?;
    stand.await_state("downward", "online", LIMIT)?;
    for place in 0..PLACES {
        stand.proxy.cut(Cut::Rst);
        stand.await_state("downward", "offline", LIMIT)?;
        let job = stand.api.order("downward", GROUP)?;
        let how = if place.is_multiple_of(2) { Cut::Fin } else { Cut::Rst };
        // The greeting takes several hundred bytes; the command comes after it.
        stand.proxy.change(|faults| faults.to_agent.cut_after = Some((600 + 137 * place, how)));
        let (dials, started) = (stand.proxy.dials().len(), Instant::now());
        holdfast_e2e::wait::until("the cut", LIMIT, || {
            let again = stand.proxy.dials().len() > dials + 1;
            Ok((again || started.elapsed() > Duration::from_secs(5)).then_some(()))
        })?;
        stand.proxy.heal();
        stand.await_end(&job, LIMIT)?;
    }
    peer.check_running()?;
    peer.stop(LIMIT)?;
    Ok(format!("{PLACES} to the agent"))
}

/// F22: frames of an older session come again, and an older session speaks.
pub(super) fn replayed(bench: &Bench) -> Result<String> {
    let mut agent = ByHand::new(Stand::new(bench)?, "by-hand")?;
    let (mut older, first) = agent.greet()?;
    older.say(&numbered(1, 1))?;
    older.await_ack(1, LIMIT)?;
    let (mut newer, second) = agent.greet()?;
    ensure!(second["epoch"].as_u64() > first["epoch"].as_u64(), "the epoch did not rise");
    // A zombie may still get a word in before it learns that it is one.
    let spoke = older.say(&numbered(2, 666)).is_ok();
    let end = older.await_end(LIMIT)?;
    newer.say(&numbered(2, 2))?;
    newer.await_ack(2, LIMIT)?;
    // The very frames of before, recorded and played again.
    for _ in 0..3 {
        newer.say(&numbered(1, 1))?;
        newer.say(&numbered(2, 2))?;
    }
    newer.say(&numbered(3, 3))?;
    newer.await_ack(3, LIMIT)?;
    ensure!(agent.applied()? == [1, 2, 3], "{:?}", agent.applied()?);
    let zombie = if spoke { "spoke and was not heard" } else { "could not speak" };
    Ok(format!("the older session {zombie}, {end:?}; 6 repeats had no effect"))
}

/// F23: frames are repeated, swapped and left out.
pub(super) fn shuffled(bench: &Bench) -> Result<String> {
    let mut agent = ByHand::new(Stand::new(bench)?, "by-hand")?;
    let (mut wire, _) = agent.greet()?;
    for seq in [1u64, 2, 2, 1, 4, 5, 4] {
        wire.say(&numbered(seq, i64::try_from(seq)?))?;
    }
    let Heard::Said(expect) = wire.await_kind(&["expect"], LIMIT)? else {
        anyhow::bail!("the server did not ask for the missing record");
    };
    ensure!(expect["payload"]["next"] == 3, "{expect}");
    for seq in [3u64, 4, 5] {
        wire.say(&numbered(seq, i64::try_from(seq)?))?;
    }
    wire.await_ack(5, LIMIT)?;
    ensure!(agent.applied()? == [1, 2, 3, 4, 5], "{:?}", agent.applied()?);
    wire.put(&frame(true, CLOSE, &[]))?;
    let middle = repeated_by_the_network(bench)?;
    Ok(format!("each of 5 records once and in order; {middle}"))
}

/// A byte that is wrong or comes twice on the way: the frame after it cannot be read.
fn repeated_by_the_network(bench: &Bench) -> Result<String> {
    use crate::fault_proxy::Tamper;
    const MESSAGES: i64 = 600;
    let stand = Stand::new(bench)?;
    let mut database = stand.database()?;
    database.witness()?;
    let data = stand.enrol_peer("tampered", &stand.proxy.url())?;
    let host = database.host_id("tampered")?;
    let mut places = 0;
    for (place, tamper) in (0..6u64).zip([Tamper::Corrupt, Tamper::Duplicate].iter().cycle()) {
        let direction =
            if place.is_multiple_of(3) { Direction::ToAgent } else { Direction::ToServer };
        stand.proxy.change(|faults| {
            faults.flow_mut(direction).tamper = Some((1_500 + 211 * place, *tamper));
        });
        let messages = (MESSAGES / 6 * i64::try_from(place + 1)?).to_string();
        let mut peer = stand.peer(&data, &["--messages", &messages])?;
        stand.await_state("tampered", "online", LIMIT)?;
        places += 1;
        holdfast_e2e::wait::pause(Duration::from_millis(300));
        stand.proxy.heal();
        peer.kill()?;
    }
    let mut peer = stand.peer(&data, &["--messages", &MESSAGES.to_string()])?;
    holdfast_e2e::wait::until("all to arrive", LIMIT, || {
        let last = database.witnessed(&host, "config")?.last().map(|row| row.0);
        Ok((last == Some(peer::FIRST + MESSAGES - 1)).then_some(()))
    })?;
    peer.stop(LIMIT)?;
    let applied: Vec<i64> = database.witnessed(&host, "config")?.iter().map(|row| row.0).collect();
    let applied: Vec<i64> = applied.into_iter().filter(|value| *value >= peer::FIRST).collect();
    ensure!(applied.windows(2).all(|two| two[0] < two[1]), "out of order or twice");
    let done = Entries::read(&data)?.done;
    let lost = done.iter().flat_map(|(first, last)| *first..=*last);
    let lost = lost.filter(|number| applied.binary_search(number).is_err()).count();
    // A byte that is wrong can make another sentence of the same words, which TCP's checksum and
    // TLS are there to prevent. What cannot be applied then is set aside for a person.
    let aside = "SELECT COUNT(*) FROM dead_letters WHERE host_id = $1";
    let aside = usize::try_from(database.number(aside, &host)?)?;
    ensure!(lost <= aside, "{lost} records are lost, {aside} were set aside");
    let last = done.last().context("the ledger is empty")?.1 - peer::FIRST + 1;
    Ok(format!(
        "{places} tampered bytes on the way of {last} records: none lost without a trace, {aside} \
         set aside"
    ))
}
