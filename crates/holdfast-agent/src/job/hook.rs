//! One hook of the host: a supervised child whose end is known and whose output is bounded.

use std::{io, os::fd::OwnedFd, process::Stdio, time::Duration};

use holdfast_engine::{Control, Event};
use holdfast_protocol::message::{job::JobError, log::Source};
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    process::Command,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{job_error, recovery};
use crate::policy::Hook;

/// How much of a hook's output the job's log takes; the rest is read and dropped.
const OUTPUT_MAX: usize = 64 * 1024;

/// How long the output is still read after the hook has ended, should something it left behind hold
/// it open.
const DRAIN_WITHIN: Duration = Duration::from_millis(500);

/// Runs `hook` with `environment` added to the few variables it may see. Whatever it leaves behind
/// is killed with it.
///
/// # Errors
/// `hook_failed`, `hook_timed_out`, or `cancelled` when `control` says so.
pub(super) async fn run(
    hook: &Hook,
    environment: &[(&str, String)],
    control: &Control,
    events: &mpsc::Sender<Event>,
) -> Result<(), JobError> {
    say(events, format!("hook `{}` begins", hook.name)).await;
    let (mut child, mut output) =
        spawn(hook, environment).map_err(|error| failed(hook, &format!("not start: {error}")))?;
    let pid = child.id().unwrap_or_default();
    let group = Group(pid);
    if let Some(known) = recovery::child(pid) {
        // It makes the job a running one, and lets a crashed agent's next start find the hook.
        let _ = events.send(Event::Spawned(known)).await;
    }
    let deadline = Instant::now() + hook.within;
    let mut said = Vec::new();
    let ended = loop {
        tokio::select! {
            biased;
            () = control.cancelled() => break Err(cancelled(hook)),
            () = sleep_until(deadline) => break Err(timed_out(hook)),
            ended = child.wait() => break Ok(ended),
            more = read_some(&mut output, &mut said) => if !more {
                // It has closed its output and still runs.
                tokio::select! {
                    () = control.cancelled() => break Err(cancelled(hook)),
                    () = sleep_until(deadline) => break Err(timed_out(hook)),
                    ended = child.wait() => break Ok(ended),
                }
            },
        }
    };
    let drained = async { while read_some(&mut output, &mut said).await {} };
    let _ = timeout(DRAIN_WITHIN, drained).await;
    drop(group);
    tell(&said, events).await;
    match ended? {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(hook, &format!("not succeed: {status}"))),
        Err(error) => Err(failed(hook, &format!("not be waited for: {error}"))),
    }
}

pub(super) async fn say(events: &mpsc::Sender<Event>, text: String) {
    // Nobody listens when the job is about to end; then nobody misses the line.
    let _ = events.send(Event::Log { stream: Source::Event, text }).await;
}

fn spawn(
    hook: &Hook,
    environment: &[(&str, String)],
) -> io::Result<(tokio::process::Child, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    let (program, arguments) = hook.command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(
            ["PATH", "HOME", "LANG", "TMPDIR"]
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// Reads what there is; false at the end of the output.
async fn read_some(output: &mut pipe::Receiver, said: &mut Vec<u8>) -> bool {
    let mut piece = [0; 4096];
    match output.read(&mut piece).await {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            let room = OUTPUT_MAX.saturating_sub(said.len()).min(length);
            said.extend_from_slice(&piece[..room]);
            true
        }
    }
}

async fn tell(said: &[u8], events: &mpsc::Sender<Event>) {
    for line in String::from_utf8_lossy(said).lines() {
        let text = line.chars().take(4096).collect();
        let _ = events.send(Event::Log { stream: Source::Stdout, text }).await;
    }
    if said.len() == OUTPUT_MAX {
        say(events, "the rest of the hook's output is left out".to_owned()).await;
    }
}

/// Dropped, it ends everything that the hook started and that stayed in its group.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let Ok(pid) = i32::try_from(self.0) else { return };
        if pid > 0 {
            // Gone already, as a rule.
            let _ = nix::sys::signal::killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn failed(hook: &Hook, what: &str) -> JobError {
    let message = format!("The hook `{}` did {what}.", hook.name);
    job_error(
        "hook_failed",
        &message,
        "Read the job's log for what it said, and try it on the host.",
    )
}

fn timed_out(hook: &Hook) -> JobError {
    let seconds = hook.within.as_secs();
    let message = format!("The hook `{}` did not end within {seconds} s.", hook.name);
    let action = "Mend the hook, or raise its `timeout_seconds` in the host's policy.";
    job_error("hook_timed_out", &message, action)
}

fn cancelled(hook: &Hook) -> JobError {
    let message = format!("The job was cancelled while the hook `{}` ran.", hook.name);
    job_error("cancelled", &message, "Start the job again when it is wanted.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, within: Duration) -> Hook {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).into();
        Hook { name: "stop-app".to_owned(), command, within }
    }

    /// How the hook ended, and what the log then holds.
    async fn outcome(
        hook: &Hook,
        environment: &[(&str, String)],
        control: &Control,
    ) -> (Result<(), JobError>, Vec<String>) {
        let (events, mut incoming) = mpsc::channel(16);
        let running = async move {
            let ended = run(hook, environment, control, &events).await;
            drop(events);
            ended
        };
        let reading = async {
            let mut lines = Vec::new();
            while let Some(event) = incoming.recv().await {
                if let Event::Log { text, .. } = event {
                    lines.push(text);
                }
            }
            lines
        };
        tokio::join!(running, reading)
    }

    #[tokio::test]
    async fn a_hook_is_told_its_job_and_nothing_of_the_agents_environment() {
        let hook = hook("echo $HOLDFAST_GROUP; env | wc -l", Duration::from_secs(60));
        let told = [("HOLDFAST_GROUP", "etc".to_owned())];
        let (ended, lines) = outcome(&hook, &told, &Control::new()).await;
        assert_eq!(ended, Ok(()));
        assert_eq!(lines[1], "etc");
        let count: u32 = lines[2].trim().parse().unwrap();
        assert!(count <= 10, "{lines:?}");
    }

    #[tokio::test]
    async fn a_failing_hook_says_how_and_what_it_wrote_is_bounded() {
        let script = "yes x | head -c 1000000; exit 3";
        let (ended, lines) =
            outcome(&hook(script, Duration::from_secs(60)), &[], &Control::new()).await;
        let error = ended.unwrap_err();
        assert_eq!(error.code, "hook_failed");
        assert!(error.message.contains("exit status: 3"), "{}", error.message);
        assert!(lines.iter().map(String::len).sum::<usize>() < 2 * OUTPUT_MAX);
        assert!(lines.last().unwrap().contains("left out"));
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_ended_with_all_it_started() {
        let home = tempfile::tempdir().unwrap();
        let pid = home.path().join("pid");
        let script = format!("sleep 600 & echo $! > '{}'; wait", pid.display());
        let (ended, _) =
            outcome(&hook(&script, Duration::from_secs(2)), &[], &Control::new()).await;
        assert_eq!(ended.unwrap_err().code, "hook_timed_out");
        let pid = std::fs::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !gone() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(gone(), "the hook's child lives on");
    }

    #[tokio::test]
    async fn a_cancel_ends_a_hook() {
        let control = Control::new();
        control.cancel();
        let hook = hook("sleep 600", Duration::from_secs(600));
        let (ended, _) = outcome(&hook, &[], &control).await;
        assert_eq!(ended.unwrap_err().code, "cancelled");
    }
}
