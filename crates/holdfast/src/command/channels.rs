//! `holdfast channels` and `holdfast channel …`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::Operator;
use crate::{
    cli::{self, ChannelName},
    failure::Failure,
    input,
    model::{Channel, Channels, Deliveries, Delivery, DigestPlan, DigestText, Tested},
    output::{Cell, Look, Table, print, tone_of},
};

/// `holdfast channels`.
pub(super) async fn list(operator: &Operator) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["channels"], &[]).await?;
    let channels: Channels = operator.read(&answer)?;
    operator.screen.show(&answer, |look| table(&channels.channels, look));
    Ok(())
}

/// `holdfast channel …`.
pub(super) async fn run(operator: &Operator, command: &cli::Channel) -> Result<ExitCode, Failure> {
    match command {
        cli::Channel::Add { name, settings_file, address_file, severity, host, group } => {
            let mut body = json!({
                "name": name, "severity_min": severity, "host": host, "group": group,
            });
            match (settings_file, address_file) {
                (Some(file), _) => body["settings"] = settings(file)?,
                (None, Some(file)) => {
                    body["address"] = input::secret(file, "address")?.expose().into();
                }
                (None, None) => {}
            }
            add(operator, name, host.as_deref(), &body).await?;
        }
        cli::Channel::Digest { channel, on, off, cron, zone, preview: false } => {
            let enabled = (*on || *off).then_some(*on);
            let change = json!({ "enabled": enabled, "cron": cron, "time_zone": zone });
            digest(operator, channel, change).await?;
        }
        cli::Channel::Digest { channel, .. } => preview(operator, channel).await?,
        cli::Channel::Log(channel) => log(operator, channel).await?,
        cli::Channel::Remove(channel) => remove(operator, channel).await?,
        cli::Channel::Test(channel) => test(operator, channel).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(
    operator: &Operator,
    name: &str,
    host: Option<&str>,
    body: &Value,
) -> Result<(), Failure> {
    let answer = match operator.client.post(&["channels"], body).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(host.unwrap_or_default(), error).await),
    };
    operator.screen.show(&answer, |_| {
        format!("Channel `{name}` is added. Try it with `holdfast channel test {name}`.\n")
    });
    Ok(())
}

fn settings(file: &std::path::Path) -> Result<Value, Failure> {
    let settings = input::secret(file, "settings")?;
    // The parser's own text could quote a secret.
    serde_json::from_str(settings.expose()).map_err(|_| {
        Failure::new("The settings are not JSON.", "See docs/alerts.md for the kinds.")
    })
}

async fn digest(operator: &Operator, channel: &str, mut change: Value) -> Result<(), Failure> {
    let path = ["channels", channel, "digest"];
    let asks = change.as_object_mut().is_some_and(|fields| {
        fields.retain(|_, value| !value.is_null());
        !fields.is_empty()
    });
    let answer = if asks {
        operator.client.patch(&path, &change).await?
    } else {
        operator.client.fetch(&path, &[]).await?
    };
    let plan: DigestPlan = operator.read(&answer)?;
    operator.screen.show(&answer, |look| told(channel, &plan, look));
    Ok(())
}

fn told(channel: &str, plan: &DigestPlan, look: &Look) -> String {
    if !plan.enabled {
        return format!("Channel `{channel}` gets no digest; `--on` changes that.\n");
    }
    let (cron, zone) = (&plan.cron, &plan.time_zone);
    let next = look.when_some(plan.next_at);
    format!("Channel `{channel}` gets a digest at `{cron}` ({zone}), next {next}.\n")
}

async fn preview(operator: &Operator, channel: &str) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["channels", channel, "digest", "preview"], &[]).await?;
    let digest: DigestText = operator.read(&answer)?;
    operator.screen.show(&answer, |_| format!("{}\n\n{}\n", digest.title, digest.text));
    Ok(())
}

async fn log(operator: &Operator, ChannelName { channel }: &ChannelName) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["channels", channel, "deliveries"], &[]).await?;
    let log: Deliveries = operator.read(&answer)?;
    operator.screen.show(&answer, |look| log_table(&log.deliveries, look));
    Ok(())
}

async fn remove(operator: &Operator, ChannelName { channel }: &ChannelName) -> Result<(), Failure> {
    operator.client.delete(&["channels", channel]).await?;
    let told = format!("Channel `{channel}` is removed.\n");
    print(if operator.screen.is_json() { "{}\n" } else { &told });
    Ok(())
}

async fn test(operator: &Operator, ChannelName { channel }: &ChannelName) -> Result<(), Failure> {
    let answer = operator.client.post(&["channels", channel, "test"], &json!({})).await?;
    let tested: Tested = operator.read(&answer)?;
    if tested.delivered {
        operator.screen.show(&answer, |_| "The test message was taken.\n".to_owned());
        return Ok(());
    }
    let why = tested.error.unwrap_or_default();
    Err(Failure::new(format!("The test message did not arrive. {why}"), advice(&why)))
}

fn advice(why: &str) -> &'static str {
    if why.contains("may not go to") {
        "If it lies inside on purpose, start the server with --notify-allow and its address."
    } else {
        "Check the channel's settings and its receiver; add the channel anew to change them."
    }
}

fn table(channels: &[Channel], look: &Look) -> String {
    let heads = ["CHANNEL", "KIND", "TO", "FROM", "ABOUT"];
    let mut table = Table::new(&heads, "No channels: nobody is told. Add one with `channel add`.");
    for channel in channels {
        table.row([
            channel.name.as_str().into(),
            channel.kind.as_str().into(),
            channel.target.as_str().into(),
            channel.severity_min.as_str().into(),
            about(channel).into(),
        ]);
    }
    table.render(look)
}

fn about(channel: &Channel) -> String {
    match (&channel.host_name, &channel.group) {
        (Some(host), Some(group)) => format!("{host}/{group}"),
        (Some(host), None) => host.clone(),
        (None, _) => "all hosts".to_owned(),
    }
}

fn log_table(deliveries: &[Delivery], look: &Look) -> String {
    let heads = ["WHEN", "EVENT", "STATE", "TRIES", "ERROR"];
    let mut table = Table::new(&heads, "Nothing has been sent so far.");
    for delivery in deliveries {
        table.row([
            look.when_some(delivery.created_at).into(),
            delivery.event.replace('_', " ").into(),
            Cell::toned(&delivery.state, tone_of(&delivery.state)),
            delivery.attempts.to_string().into(),
            delivery.error.as_deref().unwrap_or("-").into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    #[test]
    fn the_log_tells_what_became_of_every_message() {
        let answer = json!({"deliveries": [
            {"event": "opened", "state": "waiting", "attempts": 2, "error": "No connection.",
             "created_at": "2026-11-21T13:15:00Z"},
        ]});
        let log: Deliveries = serde_json::from_value(answer).unwrap();
        let text = log_table(&log.deliveries, &test_look());
        let wanted = "2026-11-21 13:15 (10 min ago)  opened  waiting  2      No connection.\n";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn a_channel_says_what_it_is_about() {
        let host = || Some("web-1".to_owned());
        assert_eq!(about(&Channel::default()), "all hosts");
        assert_eq!(about(&Channel { host_name: host(), ..Channel::default() }), "web-1");
        let group = Some("etc".to_owned());
        let both = Channel { host_name: host(), group, ..Channel::default() };
        assert_eq!(about(&both), "web-1/etc");
    }
}
