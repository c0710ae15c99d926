//! The fleet, its server, and time.

use std::collections::BTreeMap;

use holdfast_protocol::{Incarnation, RepositoryId, message::schedule::Timing};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    agent::Agent,
    receiver::{self, Receiver},
    table::{Kind, MISFORTUNES, Misfortune},
};
use crate::{
    alert::{Alarm, Courier, guard::Guard, wire::Wire},
    clock::Clock,
    fixtures,
    live::Live,
    store::{AlertFilter, Enrolment, NewSchedule, Store},
    verdict::Standing,
    view::{AlertView, Calendar},
    watch::Watch,
};

pub(super) const HOSTS: usize = 40;
pub(super) const DAYS: i64 = 30;

/// The first midnight. Summer time begins within the month, on two days on two continents.
const BEGINNING: i64 = 1_772_668_800; // 2026-03-05T00:00:00Z

pub(super) fn day(day: i64, hour: i64) -> Timestamp {
    Timestamp::from_second(BEGINNING + (day * 24 + hour) * 3600).unwrap()
}

/// When everybody goes home: after every backup of the day, and before the first of the night.
pub(super) fn evening(of: i64) -> Timestamp {
    day(of, 17)
}

/// How many days of the month have passed at `at`.
#[expect(clippy::cast_precision_loss, reason = "it is printed with two digits")]
pub(super) fn days(at: Timestamp) -> f64 {
    at.duration_since(day(0, 0)).as_secs() as f64 / 86_400.0
}

pub(super) fn host_name(number: usize) -> String {
    format!("h-{number:02}")
}

pub(super) fn host_number(name: &str) -> usize {
    name.trim_start_matches("h-").parse().unwrap()
}

pub(super) struct World {
    dir: TempDir,
    clock: Clock,
    agents: Vec<Agent>,
    server: Option<Server>,
    receiver: Receiver,
    /// When each misfortune first showed.
    shown: BTreeMap<&'static str, Timestamp>,
}

/// A server that runs.
struct Server {
    store: Store,
    live: Live,
    watch: Watch,
    alarm: Alarm,
    courier: Courier,
}

impl Server {
    async fn start(dir: &TempDir, clock: &Clock) -> Self {
        let store = Store::open_with(dir.path(), clock.clone()).await.unwrap();
        let live = Live::load(store.clone()).await.unwrap();
        let wire = Wire::new(Guard::new(vec!["127.0.0.1".parse().unwrap()]));
        Self {
            watch: Watch::new(store.clone(), live.clone(), clock.now()),
            alarm: Alarm::new(store.clone(), live.clone(), clock.now()),
            courier: Courier::new(store.clone(), live.clone(), wire),
            store,
            live,
        }
    }

    async fn look(&self, now: Timestamp) {
        self.live.look().await;
        self.watch.look(now).await.unwrap();
        self.live.look().await;
        self.alarm.look(now).await.unwrap();
        self.courier.look(now).await.unwrap();
    }
}

impl World {
    pub(super) async fn new() -> Self {
        // In memory where that can be had: the disk's patience is another test's business.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let clock = Clock::manual(day(0, 10));
        let server = Server::start(&dir, &clock).await;
        let receiver = Receiver::default();
        let channel = receiver::channel(receiver.open().await);
        server.store.add_channel("ops", &channel).await.unwrap();
        let shared = repository(&server.store, "shared", "vault-c").await;
        let mut agents = Vec::new();
        for number in 1..=HOSTS {
            agents.push(agent(&server.store, number, shared, clock.now()).await);
        }
        agents.iter_mut().for_each(|agent| agent.back_up(day(0, 10)));
        Self { dir, clock, agents, server: Some(server), receiver, shown: BTreeMap::new() }
    }

    /// Lets time pass, and the fleet and the server with it.
    pub(super) async fn pass(&mut self, step: SignedDuration) {
        let now = self.now() + step;
        self.clock.set(now);
        self.start_or_stop(now).await;
        self.switch_schedules(now).await;
        self.copy_server(now).await;
        for agent in &mut self.agents {
            let server = self.server.as_ref().map(|server| (&server.store, &server.live));
            let went_wrong = agent.step(now, server).await;
            for misfortune in MISFORTUNES.iter().filter(|it| it.befalls(&agent.name)) {
                let shows = match misfortune.kind {
                    Kind::Off
                    | Kind::Ahead
                    | Kind::Old
                    | Kind::Copied
                    | Kind::Crowded
                    | Kind::Filling
                    | Kind::Uncopied => true,
                    _ => went_wrong,
                };
                if misfortune.lasts(now) && shows {
                    self.shown.entry(misfortune.what).or_insert(now);
                }
            }
        }
        if let Some(server) = &self.server {
            server.look(now).await;
        }
    }

    /// The server is away for one evening; the fleet is not.
    async fn start_or_stop(&mut self, now: Timestamp) {
        let away = (day(28, 18)..day(28, 23)).contains(&now);
        match (&self.server, away) {
            (Some(server), true) => {
                server.store.close().await;
                self.server = None;
            }
            (None, false) => self.server = Some(Server::start(&self.dir, &self.clock).await),
            _ => {}
        }
    }

    /// The server's own backup, every night.
    async fn copy_server(&self, now: Timestamp) {
        let Some(server) = self.server.as_ref().filter(|_| self.hour_of_day() == Some(3)) else {
            return;
        };
        let mut failing = MISFORTUNES.iter().filter(|it| it.kind == Kind::Uncopied);
        let failed = failing.any(|it| it.lasts(now));
        let outcome = if failed { Err("restic could not store the copy.") } else { Ok(()) };
        server.store.note_own_backup(outcome).await.unwrap();
    }

    async fn switch_schedules(&mut self, now: Timestamp) {
        let Some(server) = &self.server else { return };
        for misfortune in MISFORTUNES.iter().filter(|it| it.kind == Kind::SwitchedOff) {
            for agent in self.agents.iter().filter(|agent| misfortune.befalls(&agent.name)) {
                if misfortune.lasts(now) {
                    let off = NewSchedule { enabled: false, ..plan(host_number(&agent.name)) };
                    server.store.set_schedule("ops", agent.host, "home", &off).await.unwrap();
                }
            }
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn day(&self) -> i64 {
        (self.now().as_second() - BEGINNING).div_euclid(86_400)
    }

    /// The hour, when it has just begun.
    pub(super) fn hour_of_day(&self) -> Option<i64> {
        let second = (self.now().as_second() - BEGINNING).rem_euclid(86_400);
        (second % 3600 == 0).then_some(second / 3600)
    }

    /// Where each host stands, and why.
    pub(super) fn standings(&self) -> Vec<(String, Standing, String)> {
        let hosts = self.server.as_ref().unwrap().live.hosts_now();
        let stands = hosts.into_iter().map(|host| {
            let reasons = host.verdict.reasons.iter().map(|reason| reason.message.clone());
            (host.name, host.verdict.standing, reasons.collect::<Vec<_>>().join(" "))
        });
        stands.collect()
    }

    /// All alerts there have been.
    pub(super) async fn alerts(&self) -> Vec<AlertView> {
        let filter = AlertFilter { states: vec![], limit: 500, before: None };
        let server = self.server.as_ref().unwrap();
        server.store.alerts(&filter, self.now()).await.unwrap().alerts
    }

    pub(super) fn told(&self, event: &str, alert: Uuid) -> usize {
        self.receiver.count(event, alert)
    }

    pub(super) fn shown(&self, misfortune: &Misfortune) -> Timestamp {
        self.shown.get(misfortune.what).copied().unwrap_or(misfortune.from())
    }
}

async fn repository(store: &Store, name: &str, server: &str) -> RepositoryId {
    let location = format!("rest:https://{server}.example:8000/{name}");
    let new = fixtures::repository(name, "rest", &location);
    store.add_repository("ops", &new).await.unwrap()
}

async fn agent(store: &Store, number: usize, shared: RepositoryId, now: Timestamp) -> Agent {
    let name = host_name(number);
    let repository = match number {
        9..=11 => shared,
        ..=30 => repository(store, &format!("vault-{number}"), "vault-a").await,
        _ => repository(store, &format!("vault-{number}"), "vault-b").await,
    };
    let added = store.add_host("ops", &name).await.unwrap();
    let group = fixtures::group("home", repository);
    store.add_group("ops", added.host_id, &group).await.unwrap();
    let schedule = plan(number);
    store.set_schedule("ops", added.host_id, "home", &schedule).await.unwrap();
    let enrolment = Enrolment {
        token: added.enrolment_token,
        incarnation: Incarnation::from_uuid(Uuid::new_v4()),
        hostname: name.clone(),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    store.enrol(&enrolment).await.unwrap();
    let (_, set) = store.config(added.host_id).await.unwrap();
    let calendar = Calendar::parse(&schedule.cron, &schedule.time_zone, now).unwrap();
    let identity = (added.host_id, enrolment.incarnation);
    Agent::new(name, identity, repository, (set.schedules[0].id, calendar), now)
}

/// Most are due at night, each at a time of its own and in one of four zones.
fn plan(number: usize) -> NewSchedule {
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"];
    let (minute, hour) = (number * 7 % 60, 1 + number / 4 % 4);
    let cron = match number {
        28 => "30 4 * * 0".to_owned(),
        29 => "0 */6 * * *".to_owned(),
        _ => format!("{minute} {hour} * * *"),
    };
    let timing = Timing::default();
    NewSchedule { cron, time_zone: zones[number % 4].to_owned(), enabled: true, timing }
}
