//! Power cuts at either end, over what the programs really wrote.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use holdfast_agent::state::State;
use holdfast_e2e::{data::Numbers, programs::Programs, wait};
use holdfast_link::{Record, Store};

use super::not_run;
use crate::{
    database::Database,
    peer::{self, Entries, FIRST},
    power::{self, Event, Left, Recording, Watched},
    stand::{Bench, LIMIT, Stand, block_on},
};

/// Records that go to the server meanwhile.
const MESSAGES: i64 = 600;
/// Jobs that come down meanwhile.
const JOBS: usize = 20;
/// Places at which the power is cut.
const CUTS: usize = 300;

/// F08: the power goes at the server. Everything it has acknowledged must be in what is left.
pub(super) fn server(bench: &Bench) -> Result<String> {
    if !power::is_available() {
        return not_run("it needs strace, and leave to use it");
    }
    let folder = tempfile::tempdir()?;
    let watched = Watched::new(folder.path(), &bench.programs.holdfast, "server")?;
    let programs =
        Programs { holdfast: watched.program.clone(), agent: bench.programs.agent.clone() };
    let mut stand = Stand::new(&Bench { programs, chaos: bench.chaos.clone() })?;
    // Another program has written into the database until here: the one that mints tokens.
    stand.fleet.server.stop()?;
    let file = stand.data().join("holdfast.db");
    let begun = fs::read(&file).context("there is no database")?;
    watched.watch()?;
    stand.fleet.server.restart()?;
    let data = stand.enrol_peer("victim", stand.fleet.server.url())?;
    run_peer(&stand, &data)?;
    stand.fleet.server.stop()?;
    let recording = watched.recording(&file, begun)?;
    let judge = ServerCuts { folder: folder.path().join("left"), server: stand.data() };
    let (cuts, promises) =
        cut(&recording, &mut |place, left| judge.judge(&recording, place, left))?;
    Ok(format!(
        "{cuts} cuts over {}: nothing missing of {promises} acknowledged records, and the database \
         is whole each time",
        work_done(&recording),
    ))
}

fn work_done(recording: &Recording) -> String {
    let count = |what: fn(&Event) -> bool| recording.events.iter().filter(|e| what(e)).count();
    let writes = count(|event| matches!(event, Event::Write { .. }));
    let syncs = count(|event| matches!(event, Event::Sync { .. }));
    format!("{writes} writes and {syncs} syncs")
}

fn run_peer(stand: &Stand, data: &Path) -> Result<()> {
    let messages = MESSAGES.to_string();
    let mut peer = stand.peer(data, &["--rationed", "--batch", "7", "--messages", &messages])?;
    stand.await_state("victim", "online", LIMIT)?;
    for job in 1..=JOBS {
        stand.order_patiently("victim")?;
        peer::allow(data, MESSAGES / i64::try_from(JOBS)? * i64::try_from(job)?)?;
        wait::pause(Duration::from_millis(20));
    }
    let mut database = stand.database()?;
    let host = database.host_id("victim")?;
    wait::until("the last record", Duration::from_secs(120), || {
        let last = "SELECT config_applied FROM hosts WHERE id = $1";
        let open = "SELECT COUNT(*) FROM jobs WHERE host_id = $1 AND ended_at IS NULL";
        let done = database.number(last, &host)? == FIRST + MESSAGES - 1;
        Ok((done && database.number(open, &host)? == 0).then_some(()))
    })?;
    peer.stop(LIMIT)
}

/// Cuts at many places; how many, and the most that had been promised by then.
fn cut(
    recording: &Recording,
    judge: &mut dyn FnMut(usize, &Left) -> Result<Option<u64>>,
) -> Result<(usize, u64)> {
    let mut numbers = Numbers::new(7);
    let (mut cuts, mut most) = (0, 0);
    let all = u64::try_from(recording.events.len())?;
    ensure!(all > 0, "strace saw nothing");
    for _ in 0..CUTS {
        let place = usize::try_from(numbers.next_number() % all)? + 1;
        let left = Left::after(recording, place, &mut numbers);
        let judged = judge(place, &left).with_context(|| format!("cut before event {place}"))?;
        if let Some(promised) = judged {
            cuts += 1;
            most = most.max(promised);
        }
    }
    ensure!(cuts > CUTS / 4, "only {cuts} of {CUTS} cuts came after the first promise");
    ensure!(
        is_sharp(recording, judge),
        "the check finds nothing wrong with a disk that never syncs"
    );
    Ok((cuts, most))
}

/// Whether the same judge finds something wrong when no sync ever reached the disk.
fn is_sharp(
    recording: &Recording,
    judge: &mut dyn FnMut(usize, &Left) -> Result<Option<u64>>,
) -> bool {
    let unsynced = |event: &&Event| !matches!(event, Event::Sync { covers: 2.., .. });
    let events = recording.events.iter().filter(unsynced).cloned().collect();
    let forgetful = Recording { events };
    let mut numbers = Numbers::new(8);
    (1..20).any(|twentieth| {
        let place = forgetful.events.len() * twentieth / 20;
        let left = Left::after(&forgetful, place, &mut numbers);
        judge(place, &left).is_err()
    })
}

struct ServerCuts {
    folder: PathBuf,
    server: PathBuf,
}

impl ServerCuts {
    /// What had been acknowledged to the agent, when it is all there. `None` before the first.
    fn judge(&self, recording: &Recording, place: usize, left: &Left) -> Result<Option<u64>> {
        let Some(acked) = highest(recording, place, "\"ack\":") else { return Ok(None) };
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).context("cannot clear what was left before")?;
        }
        let server = self.server.clone();
        left.put(&self.folder, |path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.starts_with(&server) && ["holdfast.db", "holdfast.db-wal"].contains(&&*name)
        })?;
        let mut database = Database::open(&self.folder)?;
        let whole = database.text("SELECT integrity_check FROM pragma_integrity_check", "")?;
        ensure!(whole == "ok", "the database is damaged: {whole}");
        let host = database.host_id("victim")?;
        let received = database.received(&host)?;
        ensure!(received >= acked, "{acked} records were acknowledged and {received} are there");
        let sent = highest(recording, place, "\"seq\":").unwrap_or_default();
        let next = database.number("SELECT next_seq FROM hosts WHERE id = $1", &host)?;
        ensure!(u64::try_from(next)? > sent, "command {sent} was sent, {next} would be the next");
        Ok(Some(acked))
    }
}

/// The highest number after `key` in what was sent before `place`.
fn highest(recording: &Recording, place: usize, key: &str) -> Option<u64> {
    let mut highest = None;
    for event in &recording.events[..place] {
        let Event::Sent { data } = event else { continue };
        let text = String::from_utf8_lossy(data);
        for (at, _) in text.match_indices(key) {
            let digits = text[at + key.len()..].split(|c: char| !c.is_ascii_digit()).next();
            highest = highest.max(digits.and_then(|digits| digits.parse().ok()));
        }
    }
    highest
}

/// F09: the power goes at the agent; and bits flip in what it wrote.
pub(super) fn agent(bench: &Bench) -> Result<String> {
    if !power::is_available() {
        return not_run("it needs strace, and leave to use it");
    }
    let folder = tempfile::tempdir()?;
    let watched = Watched::new(folder.path(), &bench.chaos, "peer-agent")?;
    watched.watch()?;
    let chaos = watched.program.clone();
    let stand = Stand::new(&Bench { programs: bench.programs.clone(), chaos })?;
    // The state is made at enrolment; a cut cannot take back what was there before.
    let data = stand.enrol_peer("victim", stand.fleet.server.url())?;
    let file = data.join("state.redb");
    let begun = fs::read(&file).context("there is no state")?;
    run_peer(&stand, &data)?;
    let recording = watched.recording(&file, begun)?;
    let folder = folder.path().join("left");
    let judge = AgentCuts { folder, file, ledger: peer::path(&data) };
    let (cuts, promises) =
        cut(&recording, &mut |place, left| judge.judge(&recording, place, left))?;
    let flips = flipped_bits(bench)?;
    Ok(format!(
        "{cuts} cuts over {}: nothing missing of {promises} appended records, nothing sent that was \
         not kept; {flips}",
        work_done(&recording),
    ))
}

struct AgentCuts {
    folder: PathBuf,
    file: PathBuf,
    ledger: PathBuf,
}

impl AgentCuts {
    fn judge(&self, recording: &Recording, place: usize, left: &Left) -> Result<Option<u64>> {
        let ledger = self.ledger_before(recording, place)?;
        let appended: i64 = ledger.done.iter().map(|(first, last)| last - first + 1).sum();
        if appended == 0 {
            return Ok(None);
        }
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).context("cannot clear what was left before")?;
        }
        left.put(&self.folder, |path| path == self.file)?;
        let state = State::open(&self.folder.join("state.redb")).context("it does not open")?;
        if let Some(aside) = set_aside(&self.folder)? {
            bail!("the state was taken for damaged and set aside as {aside}");
        }
        let positions = block_on(async { Ok(state.positions().await?) })?;
        let acked = highest(recording, place, "\"ack\":").unwrap_or_default();
        let received = positions.received;
        ensure!(received >= acked, "{acked} commands were acknowledged and {received} are there");
        let sent = highest(recording, place, "\"seq\":").unwrap_or_default();
        ensure!(positions.next > sent, "record {sent} was sent and is not there");
        judge_numbers(&state, &ledger)?;
        Ok(Some(u64::try_from(appended)?))
    }

    /// The ledger as it was at that moment: its lines are system calls too.
    fn ledger_before(&self, recording: &Recording, place: usize) -> Result<Entries> {
        let mut text = String::new();
        for event in &recording.events[..place] {
            if let Event::Noted { file, data } = event
                && *file == self.ledger
            {
                text.push_str(&String::from_utf8_lossy(data));
            }
        }
        Entries::parse(&text)
    }
}

/// Of the numbers that were appended for good, those the server has not taken are still there.
fn judge_numbers(state: &State, ledger: &Entries) -> Result<()> {
    let records = all_records(state)?;
    let numbers = records.iter().filter(|record| record.kind == "config.applied");
    let numbers: Vec<i64> = numbers
        .filter_map(|record| record.payload.parse::<serde_json::Value>().ok())
        .filter_map(|body| body["version"].as_i64())
        .filter(|number| *number >= FIRST)
        .collect();
    let Some(oldest) = numbers.first() else { return Ok(()) };
    let expected = ledger.done.iter().flat_map(|(first, last)| *first..=*last);
    let expected: Vec<i64> = expected.filter(|number| number >= oldest).collect();
    ensure!(
        numbers.starts_with(&expected),
        "{} records should wait, and {} do",
        expected.len(),
        numbers.len(),
    );
    Ok(())
}

fn set_aside(folder: &Path) -> Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.contains("damaged") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Bits flip in a full outbox: every record is there as it was, or the state is set aside and the
/// first record of the new one says so.
fn flipped_bits(bench: &Bench) -> Result<String> {
    const FLIPS: u64 = 80;
    const RECORDS: &str = "3000";
    let stand = Stand::new(bench)?;
    let data = stand.enrol_peer("flipped", stand.fleet.server.url())?;
    let fill = ["--offline", "--batch", "200", "--messages", RECORDS];
    stand.peer(&data, &fill)?.wait(LIMIT)?;
    let whole = fs::read(data.join("state.redb")).context("cannot read the state")?;
    let records = all_records(&State::open(&data.join("state.redb"))?)?;
    let mut numbers = Numbers::new(11);
    let (mut unhurt, mut reset) = (0, 0);
    for flip in 0..FLIPS {
        let folder = stand.path().join(format!("flip-{flip}"));
        fs::create_dir_all(&folder)?;
        let mut bytes = whole.clone();
        let at = usize::try_from(numbers.next_number() % bytes.len() as u64)?;
        bytes[at] ^= 1 << (numbers.next_number() % 8);
        fs::write(folder.join("state.redb"), &bytes)?;
        let opened = std::panic::catch_unwind(|| State::open(&folder.join("state.redb")));
        let Ok(state) = opened else { bail!("a flipped bit at byte {at} is a panic") };
        let left = all_records(&state.context("it does not open")?)?;
        if set_aside(&folder)?.is_some() {
            let told = left.first().is_some_and(|record| record.kind == "outbox.reset");
            ensure!(told, "the state was set aside and no record says so");
            reset += 1;
        } else {
            ensure!(left == records, "a flipped bit at byte {at} changed a record unseen");
            unhurt += 1;
        }
    }
    Ok(format!("of {FLIPS} flipped bits {reset} were found and told, {unhurt} hit nothing in use"))
}

fn all_records(state: &State) -> Result<Vec<Record>> {
    block_on(async { Ok(state.load(0, usize::MAX).await?) })
}
