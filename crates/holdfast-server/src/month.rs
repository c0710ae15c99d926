//! Thirty days of a fleet of forty, lived through in seconds.
//!
//! ```text
//! table ──► misfortunes: what goes wrong where, when, and which one alert must tell of it
//!   └─► world: forty agents by hand ──► the real store, watch, verdicts, alarm and courier
//! ```
//!
//! Two summer times begin within the month, laptops sleep through their slots, and the server is
//! away itself for an evening: none of that may ring.

mod agent;
mod receiver;
mod table;
mod world;

use jiff::{SignedDuration, Timestamp};

use crate::{alert::State, verdict::Standing, view::AlertView};
use table::{MISFORTUNES, Misfortune};
use world::{DAYS, World, day, host_name};

/// How often the world is looked at; the server's own looks come every few seconds.
const STEP: SignedDuration = SignedDuration::from_mins(30);
/// What a step, and the waits between two looks, add to any bound.
const LOOKED: SignedDuration = SignedDuration::from_mins(35);

#[tokio::test]
async fn a_month_of_misfortunes_rings_once_for_each_and_never_for_nothing() {
    let mut world = World::new().await;
    let mut wrong = Vec::new();
    while world.now() < day(DAYS, 0) {
        world.pass(STEP).await;
        if world.hour_of_day() == Some(16) {
            wrong.extend(misjudged(&world));
        }
    }
    let alerts = world.alerts().await;
    wrong.extend(falsely_rung(&alerts));
    wrong.extend(MISFORTUNES.iter().flat_map(|it| missed(it, &alerts, &world)));
    wrong.extend(told_wrongly(&alerts, &world));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where a host stands otherwise than the table says.
fn misjudged(world: &World) -> Vec<String> {
    let judged = world.standings();
    let wanted = |host: &str| table::standing(host, world.day());
    let differs = |(host, standing, reasons): (String, Standing, String)| {
        let wanted = wanted(&host);
        (standing != wanted).then(|| {
            format!("day {}: {host} is {standing:?}, not {wanted:?}: {reasons}", world.day())
        })
    };
    assert_eq!(judged.len(), world::HOSTS);
    judged.into_iter().filter_map(differs).collect()
}

/// Alerts that no misfortune stands behind.
fn falsely_rung(alerts: &[AlertView]) -> Vec<String> {
    let known = |alert: &AlertView| MISFORTUNES.iter().any(|it| tells_of(it, alert));
    let told = |alert: &AlertView| format!("a false alarm: {}", line(alert));
    alerts.iter().filter(|alert| !known(alert)).map(told).collect()
}

fn tells_of(misfortune: &Misfortune, alert: &AlertView) -> bool {
    misfortune.alert.is_some_and(|wanted| {
        let hosts = alert.subjects.iter().map(|subject| subject.host_name.as_str());
        let mut ours = hosts.map(|host| misfortune.befalls(host));
        wanted.rule == alert.rule
            && alert.title == wanted.title
            && alert.first_seen_at >= misfortune.from()
            && alert.first_seen_at < misfortune.until() + SignedDuration::from_hours(16)
            && ours.all(|ours| ours)
    })
}

/// What is wrong with how one misfortune was told of.
fn missed(misfortune: &Misfortune, alerts: &[AlertView], world: &World) -> Vec<String> {
    let Some(wanted) = misfortune.alert else { return vec![] };
    let mut wrong = Vec::new();
    let told: Vec<_> = alerts.iter().filter(|alert| tells_of(misfortune, alert)).collect();
    let [alert] = told.as_slice() else {
        let lines: Vec<String> = told.into_iter().map(line).collect();
        return vec![format!("{}: {} alerts: {lines:#?}", misfortune.what, lines.len())];
    };
    let late = alert.first_seen_at.duration_since(world.shown(misfortune)) - wanted.within;
    if late > LOOKED {
        wrong.push(format!("{}: {late:#} too late: {}", misfortune.what, line(alert)));
    }
    let over = misfortune.until() < day(DAYS, 0);
    if over != (alert.state == State::Resolved) {
        wrong.push(format!("{}: {:?} at the end", misfortune.what, alert.state));
    }
    wrong
}

/// Every alert was told of once, and its end once.
fn told_wrongly(alerts: &[AlertView], world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for alert in alerts {
        let opened = world.told("opened", alert.id);
        let resolved = world.told("resolved", alert.id);
        let over = usize::from(alert.state == State::Resolved);
        if (opened, resolved) != (1, over) {
            wrong.push(format!("told {opened} times, its end {resolved} times: {}", line(alert)));
        }
    }
    wrong
}

fn line(alert: &AlertView) -> String {
    let at = |at: Timestamp| format!("day {:.2}", world::days(at));
    format!(
        "{} ({}, {}) from {} to {}: {}",
        alert.title,
        alert.rule.as_str(),
        alert.subjects.len(),
        at(alert.first_seen_at),
        alert.resolved_at.map(at).unwrap_or_default(),
        alert.cause
    )
}

#[test]
fn the_table_names_hosts_that_there_are() {
    for misfortune in MISFORTUNES {
        let befallen = (1..=world::HOSTS).filter(|number| misfortune.befalls(&host_name(*number)));
        assert!(befallen.count() > 0, "{}", misfortune.what);
    }
}
