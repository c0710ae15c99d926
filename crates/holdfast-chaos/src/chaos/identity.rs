//! Two that say they are one, and one that is not what it was.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::fleet::Agent;
use holdfast_e2e::process::Process;

use crate::stand::{BACK_LIMIT, Bench, LIMIT, Stand, copy, last};

/// F26: the agent is started twice on one directory.
pub(super) fn started_twice(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 1)?;
    let second = stand.fleet.agents[0].run_to_end(LIMIT)?;
    let (status, said) = second;
    ensure!(status.code() == Some(1), "the second one ended with {status}");
    let sentence = said.lines().find(|line| line.starts_with("error: "));
    let sentence = sentence.context("the second one said nothing")?.to_owned();
    stand.fleet.agents[0].check_running()?;
    stand.order("host-0")?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("exit 1, {sentence:?}, {judged}"))
}

/// F27: the machine was copied, and both copies run.
pub(super) fn cloned(bench: &Bench) -> Result<String> {
    /// The clone takes over; whoever lost may look again, slowly; then somebody has to be told.
    const SESSIONS_MAX: i64 = 3;
    const WATCHED: Duration = Duration::from_secs(300);
    let mut stand = Stand::with_agents(bench, 1)?;
    let job = stand.order("host-0")?;
    stand.await_end(&job, LIMIT)?;
    stand.fleet.agents[0].stop()?;
    let original = stand.fleet.agents[0].data().to_path_buf();
    copy(&original, &original.with_file_name("clone"))?;
    let program = bench.programs.agent.clone();
    let mut clone = Agent::new(&program, stand.stub.program(), stand.path(), "clone")?;
    stand.fleet.agents[0].start()?;
    stand.await_state("host-0", "online", LIMIT)?;
    let before = stand.sessions("host-0")?;
    clone.start()?;
    let started = Instant::now();
    last(WATCHED);
    let sessions = stand.sessions("host-0")? - before;
    ensure!(
        sessions <= SESSIONS_MAX,
        "{sessions} takeovers in {} s: the two alternate, and neither is shut out",
        WATCHED.as_secs(),
    );
    let told = [clone.last_words(), stand.fleet.agents[0].last_words()];
    let told = told.iter().find_map(|words| {
        words.lines().find(|line| line.contains("copy") || line.contains("copied"))
    });
    let told = told.context("nobody said that the machine was copied")?;
    let told: String = told.chars().filter(|letter| !letter.is_control()).take(160).collect();
    let (took, state) = (started.elapsed().as_secs(), stand.api.host("host-0")?["state"].clone());
    clone.stop()?;
    Ok(format!(
        "{sessions} takeovers in {took} s, then one of the two is {state}; the loser's log says: \
         {told}"
    ))
}

/// F28: the agent's directory comes back from a backup.
pub(super) fn agent_set_back(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 1)?;
    run_one(&stand)?;
    stand.fleet.agents[0].stop()?;
    let data = stand.fleet.agents[0].data().to_path_buf();
    let old = data.with_extension("old");
    copy(&data, &old)?;
    stand.fleet.agents[0].start()?;
    run_one(&stand)?;
    run_one(&stand)?;
    stand.fleet.agents[0].stop()?;
    restore(&old, &data)?;
    let before =
        stand.database()?.number("SELECT received FROM hosts WHERE name = $1", "host-0")?;
    stand.fleet.agents[0].start()?;
    let said = await_words(&stand, "enrol it again")?;
    let after = stand.database()?.number("SELECT received FROM hosts WHERE name = $1", "host-0")?;
    ensure!(before == after, "{} records were taken for old ones", after - before);
    ensure!(stand.api.host("host-0")?["state"] == "offline", "it should not be connected");
    stand.fleet.agents[0].stop()?;
    enrol_again(&stand, bench, &data)?;
    stand.fleet.agents[0].start()?;
    stand.await_state("host-0", "online", LIMIT)?;
    run_one(&stand)?;
    let judged = stand.judge(&["succeeded"])?;
    Ok(format!("the link stays down and the agent says {said:?}; enrolled anew, {judged}"))
}

fn run_one(stand: &Stand) -> Result<()> {
    stand.await_state("host-0", "online", BACK_LIMIT)?;
    let job = stand.order("host-0")?;
    let end = stand.await_end(&job, LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    Ok(())
}

fn restore(old: &Path, data: &Path) -> Result<()> {
    fs::remove_dir_all(data).context("cannot remove the directory")?;
    copy(old, data)
}

fn await_words(stand: &Stand, words: &str) -> Result<String> {
    holdfast_e2e::wait::until(&format!("the agent to say {words:?}"), LIMIT, || {
        let said = stand.fleet.agents[0].last_words();
        let line = said.lines().find(|line| line.contains(words));
        Ok(line.map(|line| line.chars().filter(|c| !c.is_control()).take(200).collect()))
    })
}

fn enrol_again(stand: &Stand, bench: &Bench, data: &Path) -> Result<()> {
    let answer = stand.api.call("POST", "/hosts/host-0/enrolment-token", None)?;
    let token = answer["enrolment_token"].as_str().context("no enrolment token")?;
    let file = stand.path().join("token");
    fs::write(&file, token)?;
    let mut command = std::process::Command::new(&bench.programs.agent);
    command.args(["enroll", "--force", "--server", &stand.proxy.url(), "--token-file"]);
    command.arg(&file).arg("--data").arg(data);
    let log = stand.path().join("enrol.log");
    let mut process = Process::spawn("the enrolment", &mut command, &log)?;
    let status = process.wait(LIMIT)?;
    ensure!(status.success(), "the enrolment failed: {}", process.last_words());
    Ok(())
}

/// F29: the server's database comes back from yesterday's copy.
pub(super) fn server_set_back(bench: &Bench) -> Result<String> {
    let mut stand = Stand::with_agents(bench, 1)?;
    run_one(&stand)?;
    stand.fleet.server.stop()?;
    let (data, old) = (stand.data(), stand.path().join("yesterday"));
    copy(&data, &old)?;
    stand.fleet.server.restart()?;
    // The agent keeps these although they are acknowledged; the server forgets them.
    for _ in 0..3 {
        run_one(&stand)?;
    }
    let host = stand.database()?.host_id("host-0")?;
    let known = stand.database()?.received(&host)?;
    stand.fleet.server.stop()?;
    restore(&old, &data)?;
    stand.fleet.server.restart()?;
    stand.await_state("host-0", "online", BACK_LIMIT)?;
    let job = stand.api.order("host-0", crate::stand::GROUP)?;
    let end = stand.await_end(&job, LIMIT)?;
    ensure!(end["status"] == "succeeded", "{end}");
    let gaps = "SELECT COUNT(*) FROM audit WHERE action = $1";
    let gaps = stand.database()?.number(gaps, "link.gap")?;
    ensure!(gaps == 0, "{gaps} gaps, though the agent still has every record");
    let again = stand.database()?.received(&host)?;
    ensure!(again >= known, "record {known} was known yesterday, and {again} is the newest now");
    stand.fleet.agents[0].check_running()?;
    stand.fleet.server.check_running()?;
    stand.fleet.stop()?;
    Ok(format!("{known} records came again, no gap, nothing crashed, the next job succeeded"))
}
