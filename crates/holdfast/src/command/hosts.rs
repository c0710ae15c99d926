//! `holdfast hosts` and `holdfast host …`.

use holdfast_protocol::dialect::Ability;
use serde_json::json;
use url::Url;

use super::{Operator, foreign};
use crate::{
    cli,
    failure::Failure,
    model::{Enrolment, Group, Host, Hosts, LastBackup, Verdict},
    output::{Cell, Facts, Look, Table, Tone, print, printable, tone_of},
};

/// Where the package puts the agent's state; the enrolment command names it.
const AGENT_DATA: &str = "/var/lib/holdfast-agent";

/// `holdfast host …`.
pub(super) async fn run(operator: &Operator, command: &cli::Host) -> Result<(), Failure> {
    match command {
        cli::Host::Add(host) => match host.dialect {
            Some(dialect) => foreign::add(operator, host, dialect).await,
            None => add(operator, &host.host).await,
        },
        cli::Host::Remove(host) => remove(operator, &host.host).await,
        cli::Host::Renew(host) => renew(operator, &host.host).await,
        cli::Host::Show(host) => show(operator, &host.host).await,
    }
}

/// `holdfast hosts`.
pub(super) async fn list(operator: &Operator) -> Result<(), Failure> {
    let answer = operator.client.fetch_hosts().await?;
    let hosts: Hosts = operator.read(&answer)?;
    operator.screen.show(&answer, |look| table(&hosts.hosts, look));
    Ok(())
}

async fn add(operator: &Operator, name: &str) -> Result<(), Failure> {
    let answer = operator.client.post(&["hosts"], &json!({ "name": name })).await?;
    let enrolment: Enrolment = operator.read(&answer)?;
    let server = operator.client.server();
    operator.screen.show(&answer, |look| enrolment_text(&enrolment, server, look));
    Ok(())
}

async fn renew(operator: &Operator, host: &str) -> Result<(), Failure> {
    let path = ["hosts", host, "enrolment-token"];
    let answer = match operator.client.post(&path, &json!({})).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(host, error).await),
    };
    let enrolment: Enrolment = operator.read(&answer)?;
    let server = operator.client.server();
    operator.screen.show(&answer, |look| enrolment_text(&enrolment, server, look));
    Ok(())
}

async fn show(operator: &Operator, name: &str) -> Result<(), Failure> {
    let answer = match operator.client.fetch(&["hosts", name], &[]).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(name, error).await),
    };
    let host: Host = operator.read(&answer)?;
    operator.screen.show(&answer, |look| facts(&host, look));
    Ok(())
}

async fn remove(operator: &Operator, host: &str) -> Result<(), Failure> {
    match operator.client.delete(&["hosts", host]).await {
        Ok(_) if operator.screen.is_json() => print("{}\n"),
        Ok(_) => print(&format!("Host `{host}` is removed. Its snapshots stay.\n")),
        Err(error) => return Err(operator.about_host(host, error).await),
    }
    Ok(())
}

fn enrolment_text(enrolment: &Enrolment, server: &Url, look: &Look) -> String {
    let Enrolment { name, enrolment_token: token, expires_at } = enrolment;
    let server = server.as_str().trim_end_matches('/');
    let until = expires_at.map(|time| format!(" It works once, until {}.", look.when(time)));
    format!(
        "Host `{name}` waits for its agent. On that machine, run:\n\n  \
         echo '{token}' | holdfast-agent enroll --server {server} --token-file - \
         --data {AGENT_DATA}\n  \
         holdfast-agent run --data {AGENT_DATA}\n\n\
         The enrolment token is shown only now.{}\n",
        until.unwrap_or_default()
    )
}

fn table(hosts: &[Host], look: &Look) -> String {
    let heads = ["HOST", "STATE", "PROTECTION", "LAST BACKUP", "NEXT BACKUP", "RUNNING"];
    let mut table = Table::new(&heads, "No hosts yet. Add one with `holdfast host add NAME`.");
    for host in hosts {
        table.row([
            host.name.as_str().into(),
            Cell::toned(&host.state, tone_of(&host.state)),
            standing(&host.verdict),
            last_backup(host.last_backup.as_ref(), look),
            look.when_some(host.next_backup_at).into(),
            running(host).into(),
        ]);
    }
    table.render(look)
}

fn last_backup(backup: Option<&LastBackup>, look: &Look) -> Cell {
    match backup {
        Some(backup) => {
            let text = format!("{} {}", backup.status, look.when_some(backup.finished_at));
            Cell::toned(&text, tone_of(&backup.status))
        }
        None => Cell::toned("never", Tone::Warning),
    }
}

/// `at risk`; the API's word is for programs.
fn standing(verdict: &Verdict) -> Cell {
    let word = verdict.standing.as_str();
    Cell::toned(&or_dash(word.replace('_', " ")), tone_of(word))
}

/// Why it is not protected, a reason and its advice each.
pub(super) fn reasons(verdict: &Verdict) -> String {
    let mut text = String::new();
    for reason in &verdict.reasons {
        let group = reason.group.as_ref().map(|group| format!("{group}: ")).unwrap_or_default();
        let why = printable(&format!("{group}{}", reason.message));
        text.push_str(&format!("\n{why}\n  what to do: {}\n", printable(&reason.action)));
    }
    text
}

fn running(host: &Host) -> String {
    match host.running_jobs.len() {
        0 => "-".to_owned(),
        1 => "1 job".to_owned(),
        jobs => format!("{jobs} jobs"),
    }
}

fn facts(host: &Host, look: &Look) -> String {
    let mut text = Facts::new()
        .add("Host", host.name.as_str())
        .add("Id", host.id.as_str())
        .toned("State", &host.state, tone_of(&host.state))
        .maybe("Speaks", host.dialect.clone())
        .maybe("Cannot", lacks(host))
        .toned("Protection", &protection(&host.verdict, look), tone_of(&host.verdict.standing))
        .maybe("Connected since", host.connected_since.map(|time| look.when(time)))
        .maybe("Last seen", host.last_seen_at.map(|time| look.when(time)))
        .maybe("Machine", host.hostname.clone())
        .add("System", system(host))
        .maybe("Time zone", host.time_zone.clone())
        .maybe("Agent", host.agent_version.clone())
        .maybe("restic", host.restic_version.clone())
        .maybe("Clock", host.clock_offset_ms.filter(|ms| ms.abs() >= 1000).map(clock))
        .add("Reconnects", host.reconnects.to_string())
        .maybe("Last backup", host.last_backup.as_ref().map(|backup| backup_fact(backup, look)))
        .maybe("Next backup", host.next_backup_at.map(|time| look.when(time)))
        .add("Running jobs", host.running_jobs.join(", "))
        .render(look);
    text.push_str(&reasons(&host.verdict));
    text.push('\n');
    text.push_str(&groups_table(&host.groups, look));
    text
}

/// What an agent of another system has no words for.
fn lacks(host: &Host) -> Option<String> {
    host.dialect.as_ref()?;
    let can = |ability: &Ability| host.capabilities.iter().any(|word| word == ability.as_str());
    let missing = Ability::ALL.into_iter().filter(|ability| !can(ability));
    let missing: Vec<&str> = missing.map(Ability::in_words).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

pub(super) fn protection(verdict: &Verdict, look: &Look) -> String {
    let word = verdict.standing.replace('_', " ");
    match verdict.restorable_at {
        Some(at) => format!("{word}, can be restored as of {}", look.when(at)),
        None => word,
    }
}

fn system(host: &Host) -> String {
    let parts = [host.os.as_deref(), host.arch.as_deref()];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn clock(offset_ms: i64) -> String {
    let way = if offset_ms > 0 { "ahead of" } else { "behind" };
    format!("{} s {way} the server's", offset_ms.abs() / 1000)
}

fn backup_fact(backup: &LastBackup, look: &Look) -> String {
    let when = look.when_some(backup.finished_at);
    format!("{} of `{}`, {when}, job {}", backup.status, backup.group, backup.job_id)
}

/// Source groups with what they hold and when they are backed up.
pub(super) fn groups_table(groups: &[Group], look: &Look) -> String {
    let heads = [
        "SOURCE GROUP",
        "PROTECTION",
        "OBJECTIVE",
        "REPOSITORY",
        "SCHEDULE",
        "NEXT BACKUP",
        "INCLUDES",
        "EXCLUDES",
    ];
    let mut table = Table::new(&heads, "No source groups. Add one with `holdfast group add`.");
    for group in groups {
        let next = group.schedule.as_ref().and_then(|schedule| schedule.next_at);
        table.row([
            group.name.as_str().into(),
            standing(&group.verdict),
            Look::span(group.objective_seconds).into(),
            group.repository_name.as_str().into(),
            schedule(group).into(),
            look.when_some(next).into(),
            group.includes.join(", ").into(),
            or_dash(group.excludes.join(", ")).into(),
        ]);
    }
    table.render(look)
}

fn schedule(group: &Group) -> String {
    match &group.schedule {
        Some(schedule) if schedule.enabled => {
            format!("{} ({})", schedule.words(), schedule.time_zone)
        }
        Some(schedule) => format!("off: {} ({})", schedule.cron, schedule.time_zone),
        None => "none".to_owned(),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    fn host() -> Host {
        let text = r#"{"id":"h1","name":"web-1","state":"online","os":"linux","arch":"amd64",
            "last_backup":{"job_id":"j1","group":"etc","status":"partial",
                "finished_at":"2026-11-21T13:00:00Z"},
            "next_backup_at":"2026-11-22T01:00:00Z","running_jobs":["j2"],"reconnects":3,
            "clock_offset_ms":-2500,
            "verdict":{"standing":"at_risk","restorable_at":"2026-11-21T13:00:00Z","reasons":[
                {"code":"partial","group":"etc","message":"Some files.","action":"Look."}]},
            "groups":[{"name":"etc","repository_name":"main","includes":["/etc","/srv"],
                "schedule":{"cron":"0 1 * * *","time_zone":"UTC","enabled":true,
                    "in_words":"At 01:00.","next_at":"2026-11-22T01:00:00Z"}}]}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_table_tells_outcome_and_next_time() {
        let text = table(&[host()], &test_look());
        let wanted = "web-1  online  at risk     partial 2026-11-21 13:00 (25 min ago)  \
                      2026-11-22 01:00 (in 11 h)  1 job\n";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn a_host_without_a_backup_says_never() {
        let host = Host { name: "db-1".into(), state: "pending".into(), ..Host::default() };
        assert!(table(&[host], &test_look()).contains("pending  -           never"));
    }

    #[test]
    fn what_an_agent_of_another_system_cannot_do_is_among_its_facts() {
        let all = Ability::ALL.map(Ability::as_str);
        let can = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let foreign = |capabilities| Host {
            dialect: Some("backupy".into()),
            capabilities,
            ..Host::default()
        };
        let fewer = all.into_iter().filter(|word| !["pause", "resume"].contains(word));
        let fewer: Vec<_> = fewer.collect();
        let text = facts(&foreign(can(&fewer)), &test_look());
        assert!(text.contains("pause a job, resume a job"), "{text}");
        assert!(!facts(&foreign(can(&all)), &test_look()).contains("Cannot"));
        assert!(!facts(&host(), &test_look()).contains("Cannot"));
    }

    #[test]
    fn the_enrolment_command_keeps_the_token_out_of_argv() {
        let enrolment = Enrolment {
            name: "web-1".into(),
            enrolment_token: "hf_enr_x".into(),
            expires_at: Some("2026-11-21T14:25:00Z".parse().unwrap()),
        };
        let server = Url::parse("https://backup.example").unwrap();
        let text = enrolment_text(&enrolment, &server, &test_look());
        let command = "echo 'hf_enr_x' | holdfast-agent enroll --server https://backup.example \
                       --token-file - --data /var/lib/holdfast-agent\n";
        assert!(text.contains(command), "{text}");
        assert!(text.contains("until 2026-11-21 14:25 (in 1 h)"), "{text}");
    }

    #[test]
    fn the_facts_show_schedule_in_words_and_a_wrong_clock() {
        let text = facts(&host(), &test_look());
        let why = "etc: Some files.\n  what to do: Look.\n";
        let since = "Protection:    at risk, can be restored as of 2026-11-21 13:00 (25 min ago)";
        assert!(text.contains(why) && text.contains(since), "{text}");
        for wanted in ["At 01:00 (UTC)", "2 s behind the server's", "linux amd64", "/etc, /srv"] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }
}
