//! What runs when, and how days went.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::Server;

fn times(value: &Value) -> Vec<Timestamp> {
    let times = value.as_array().unwrap().iter();
    times.map(|at| at.as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn a_schedule_is_read_aloud_before_it_is_set() {
    let server = Server::start().await;
    let path = "/schedules/preview?cron=30+2+*+*+*&time_zone=Europe/Berlin";
    let said = server.get(path).await.expect(200);
    assert_eq!(said["in_words"], "At 02:30.");
    let next = times(&said["next"]);
    assert_eq!(next.len(), 5);
    assert!(next.windows(2).all(|pair| pair[0] < pair[1]) && next[0] > Timestamp::now());
    let wrong = server.get("/schedules/preview?cron=nightly&time_zone=UTC").await;
    wrong.expect_problem(400, "invalid_schedule");
}

#[tokio::test]
async fn the_calendar_has_every_run_of_the_hours_asked_for() {
    let server = Server::with_group().await;
    let path = "/hosts/web-1/groups/etc/schedule";
    let hourly = json!({"cron": "0 * * * *", "time_zone": "UTC"});
    server.put(path, &hourly).await.expect(200);
    let said = server.get("/schedules?hours=24").await.expect(200);
    let planned = &said["schedules"][0];
    assert_eq!((&planned["host_name"], &planned["group"]), (&json!("web-1"), &json!("etc")));
    let runs = times(&planned["runs"]);
    assert!((23..=25).contains(&runs.len()), "{runs:?}");
    assert!(
        runs.windows(2)
            .all(|pair| pair[1].duration_since(pair[0]) == SignedDuration::from_hours(1))
    );
    assert_eq!(said["more"], false);

    let often = json!({"cron": "* * * * *", "time_zone": "UTC"});
    server.put(path, &often).await.expect(200);
    let said = server.get("/schedules").await.expect(200);
    assert_eq!((times(&said["schedules"][0]["runs"]).len(), &said["more"]), (384, &json!(true)));

    let off = json!({"cron": "0 * * * *", "time_zone": "UTC", "enabled": false});
    server.put(path, &off).await.expect(200);
    let said = server.get("/schedules").await.expect(200);
    assert_eq!(said["schedules"][0]["runs"], json!([]));
    server.get("/schedules?hours=0").await.expect_problem(400, "invalid_hours");
}

#[tokio::test]
async fn days_are_told_in_the_zone_asked_for_and_no_more_than_are_known() {
    let server = Server::with_group().await;
    let said = server.get("/overview/days?days=7&time_zone=Asia/Kolkata").await.expect(200);
    assert_eq!((&said["days"], &said["hosts"]), (&json!(7), &json!({})));
    server.get("/overview/days?days=41").await.expect_problem(400, "invalid_days");
    let nowhere = server.get("/overview/days?time_zone=Mars/Olympus").await;
    nowhere.expect_problem(400, "invalid_time_zone");
}
