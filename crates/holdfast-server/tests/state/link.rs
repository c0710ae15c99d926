//! The hub and real agents' links over loopback.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::any,
};
use holdfast_link::{
    Client, ClientConfig, Credentials, CredentialsError, Host, Identity, LinkStatus, Upgrade,
    store::memory::MemoryStore,
};
use holdfast_protocol::{
    CONNECT_PATH, JobId, Message, Payload,
    message::{
        command,
        config::{Secret, Update},
        job::{Heartbeat, Operation, Status},
        link::Facts,
        parameters::{Parameters, Stats, StatsMode},
    },
};
use holdfast_server::{
    hub::Hub,
    live::Live,
    store::{NewGroup, NewSchedule, Order, Store},
    view::HostState,
};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::fleet::{Fleet, TestHost, eventually, finished, started, unsequenced};

/// A server without its API: only the door for agents.
struct House {
    hub: Hub,
    live: Live,
    url: url::Url,
    _stop: DropGuard,
}

impl House {
    async fn open(fleet: &Fleet) -> Self {
        let live = fleet.live().await;
        let hub = Hub::new(fleet.store.clone(), live.clone());
        let stop = CancellationToken::new();
        tokio::spawn(live.clone().run(stop.clone()));
        tokio::spawn(hub.clone().run(stop.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let doors = Router::new()
            .route(CONNECT_PATH, any(connect))
            .with_state((hub.clone(), fleet.store.clone()));
        tokio::spawn(axum::serve(listener, doors).into_future());
        Self { hub, live, url, _stop: stop.drop_guard() }
    }

    async fn wait_for(&self, host: &TestHost, state: HostState) {
        eventually(async || {
            let view = self.live.host(host.id).await.unwrap();
            (view.state == state).then_some(())
        })
        .await;
    }

    async fn wait_for_job(&self, job: JobId, status: Status) {
        eventually(async || (self.live.job(job).await.unwrap().status == status).then_some(()))
            .await;
    }
}

async fn connect(
    State((hub, store)): State<(Hub, Store)>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match store.agent_token(token).await.unwrap() {
        Some(host) => upgrade.open(async move |socket| hub.serve(host, socket).await),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// An agent that keeps its promises in memory only.
struct Agent {
    client: Client<MemoryStore>,
    store: Arc<MemoryStore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Token(Secret);

impl Credentials for Token {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(self.0.clone())
    }
}

struct Machine;

impl Host for Machine {
    fn facts(&self) -> Facts {
        Facts { restic_version: "0.18.0".to_owned(), ..Facts::default() }
    }

    fn capabilities(&self) -> Vec<String> {
        vec![]
    }

    fn heartbeat(&self) -> Payload {
        Message::Heartbeat(heartbeat()).encode()
    }
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        sent_at: Timestamp::now(),
        active_job_ids: vec![],
        queue_depth: 0,
        config_version: 0,
    }
}

impl Agent {
    fn start(house: &House, host: &TestHost, boot: u64, store: &Arc<MemoryStore>) -> Self {
        let identity = Identity { incarnation: host.incarnation, boot };
        let config = ClientConfig {
            delay_min: Duration::from_millis(10),
            delay_max: Duration::from_millis(50),
            ..ClientConfig::new(house.url.clone())
        };
        let token = Token(Secret::new(host.agent_token.clone()));
        let client = Client::new(config, identity, Arc::clone(store), token, Machine).unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let running = client.clone();
        let stopping = stop.clone();
        tasks.spawn(async move { running.run(stopping).await });
        Self { client, store: Arc::clone(store), stop, tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn tell(&self, message: &Message) {
        self.store.append(message.kind(), message.encode());
        self.client.wake();
    }

    async fn next_run(&self, job: JobId) -> command::Run {
        eventually(async || {
            let applied = self.store.applied();
            let runs = applied.iter().filter(|record| record.kind == "command.run");
            let mut runs = runs.map(|record| record.payload.parse::<command::Run>().unwrap());
            runs.find(|run| run.job_id == job)
        })
        .await
    }

    async fn config(&self, fits: impl Fn(&Update) -> bool) -> Update {
        eventually(async || {
            let messages = self.store.messages();
            let states = messages.iter().filter(|message| message.kind == "config.update");
            states.map(|state| state.payload.parse::<Update>().unwrap()).find(&fits)
        })
        .await
    }

    async fn status(&self, fits: impl Fn(&LinkStatus) -> bool) -> LinkStatus {
        let mut status = self.client.status();
        let limit = Duration::from_secs(10);
        let fitting = tokio::time::timeout(limit, status.wait_for(|status| fits(status)));
        fitting.await.expect("within ten seconds").unwrap().clone()
    }
}

#[tokio::test]
async fn a_backup_is_ordered_run_and_reported_over_a_real_link() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    let waiting = house.hub.run_backup("ops", host.id, "etc").await.unwrap();

    let agent = Agent::start(&house, &host, 1, &Arc::default());
    house.wait_for(&host, HostState::Online).await;
    assert_eq!(agent.next_run(waiting).await.tag, "etc");
    let config = agent.config(|_| true).await;
    assert_eq!(config.host_name, "web-1");
    assert_eq!(config.repositories[0].password.expose(), crate::fleet::PASSWORD_CANARY);

    agent.tell(&started(waiting));
    house.wait_for_job(waiting, Status::Running).await;
    let view = house.live.job(waiting).await.unwrap();
    assert!(view.host_online);
    agent.tell(&finished(waiting, Status::Succeeded));
    house.wait_for_job(waiting, Status::Succeeded).await;

    let second = house.hub.run_backup("ops", host.id, "etc").await.unwrap();
    agent.next_run(second).await;
    house.hub.cancel("ops", second).await.unwrap();
    eventually(async || {
        let applied = agent.store.applied();
        applied.iter().any(|record| record.kind == "command.cancel").then_some(())
    })
    .await;
    let view = house.live.host(host.id).await.unwrap();
    assert_eq!(view.restic_version, "0.18.0");
    agent.stop().await;
    house.wait_for(&host, HostState::Offline).await;
    let view = house.live.host(host.id).await.unwrap();
    assert!(view.last_seen_at.is_some() && view.connected_since.is_none());
}

#[tokio::test]
async fn a_connected_agent_gets_a_changed_configuration_at_once() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    let agent = Agent::start(&house, &host, 1, &Arc::default());
    let before = agent.config(|_| true).await;
    house.wait_for(&host, HostState::Online).await;
    let nightly = NewSchedule {
        cron: "0 3 * * *".into(),
        time_zone: "UTC".into(),
        enabled: true,
        timing: Default::default(),
    };
    house.hub.set_schedule("ops", host.id, "etc", &nightly).await.unwrap();
    agent.config(|config| config.version > before.version).await;
    eventually(async || {
        let messages = agent.store.messages();
        let mut sets = messages.iter().filter(|message| message.kind == "schedule.set");
        sets.next_back().filter(|set| set.payload.as_str().contains("0 3 * * *")).map(|_| ())
    })
    .await;
    let messages = agent.store.messages();
    let sent = messages.iter().filter(|message| message.kind == "config.update");
    let versions: Vec<_> =
        sent.map(|sent| sent.payload.parse::<Update>().unwrap().version).collect();
    assert_eq!(versions, [before.version, before.version + 1], "each goes once");
    agent.stop().await;
}

#[tokio::test]
async fn credentials_that_were_lent_for_a_job_are_withdrawn_when_it_has_ended() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    let agent = Agent::start(&house, &host, 1, &Arc::default());
    house.wait_for(&host, HostState::Online).await;
    let lent = fleet.other_repository("lent").await;
    let stats = Stats { mode: StatsMode::RestoreSize, snapshot_id: None };
    let order = Order {
        repository: Some(lent),
        parameters: Some(Parameters::Stats(stats)),
        may_grant: true,
        ..Order::new(Operation::Stats)
    };
    let job = house.hub.run_job("ops", host.id, &order).await.unwrap();
    let has = |config: &Update| config.repositories.iter().any(|it| it.id == lent);
    let with = agent.config(has).await;
    agent.next_run(job).await;
    agent.tell(&started(job));
    agent.tell(&finished(job, Status::Succeeded));
    house.wait_for_job(job, Status::Succeeded).await;
    agent.config(|config| config.version > with.version && !has(config)).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_configuration_that_no_frame_can_carry_is_refused_where_it_is_made() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    let agent = Agent::start(&house, &host, 1, &Arc::default());
    let before = agent.config(|_| true).await;
    let group = |number: usize| NewGroup {
        name: format!("large-{number}"),
        repository_id: host.repository,
        includes: vec!["/".to_owned()],
        excludes: vec!["x".repeat(4096); 200],
        objective_seconds: None,
        options: Default::default(),
        retention: None,
    };
    let mut added = 0;
    let refused = loop {
        match house.hub.add_group("ops", host.id, &group(added)).await {
            Ok(()) => added += 1,
            Err(refused) => break refused,
        }
        assert!(added < 10, "that is more than a frame holds");
    };
    assert_eq!((refused.code(), added), ("config_too_large", 4));
    assert!(refused.to_string().contains("too large to be sent to its agent"), "{refused}");
    // Nothing of it stays, and what was taken arrives.
    let last = agent.config(|config| config.groups.len() == 1 + added).await;
    assert_eq!(last.version, before.version + 4);
    house.hub.remove_group("ops", host.id, "large-0").await.unwrap();
    agent.config(|config| config.version == before.version + 5).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_newer_start_of_an_agent_shuts_the_older_one_out() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    let store = Arc::new(MemoryStore::default());
    let older = Agent::start(&house, &host, 1, &store);
    older.status(LinkStatus::is_connected).await;
    let newer = Agent::start(&house, &host, 2, &store);
    newer.status(LinkStatus::is_connected).await;
    let refused = older.status(|status| status.last_error_code.is_some()).await;
    assert!(!refused.is_connected());
    house.wait_for(&host, HostState::Online).await;
    older.stop().await;
    assert!(newer.client.status().borrow().is_connected());
    assert_eq!(house.live.host(host.id).await.unwrap().state, HostState::Online);
    newer.stop().await;
}

#[tokio::test]
async fn a_copy_with_an_unknown_outbox_is_told_so() {
    let fleet = Fleet::new().await;
    let mut host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    host.incarnation = holdfast_protocol::Incarnation::from_uuid(uuid::Uuid::new_v4());
    let agent = Agent::start(&house, &host, 1, &Arc::default());
    let status = agent.status(|status| status.last_error_code.is_some()).await;
    assert_eq!(status.last_error_code.as_deref(), Some("unknown_incarnation"));
    agent.stop().await;
}

#[tokio::test]
async fn a_removed_host_loses_its_link_at_once() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    let agent = Agent::start(&house, &host, 1, &Arc::default());
    agent.status(LinkStatus::is_connected).await;
    house.wait_for(&host, HostState::Online).await;
    house.hub.remove_host("ops", host.id).await.unwrap();
    agent.status(|status| !status.is_connected()).await;
    assert_eq!(house.live.host(host.id).await.unwrap_err().code(), "host_not_found");
    agent.stop().await;
}

#[tokio::test]
async fn a_job_that_the_agent_no_longer_knows_is_interrupted() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    let agent = Agent::start(&house, &host, 1, &Arc::default());
    house.wait_for(&host, HostState::Online).await;
    let job = house.hub.run_backup("ops", host.id, "etc").await.unwrap();
    agent.next_run(job).await;
    agent.tell(&started(job));
    house.wait_for_job(job, Status::Running).await;
    let still_has_it = Heartbeat { active_job_ids: vec![job], ..heartbeat() };
    for _ in 0..5 {
        agent.client.send(unsequenced(&Message::Heartbeat(still_has_it.clone())));
    }
    assert_eq!(house.live.job(job).await.unwrap().status, Status::Running);
    let error = eventually(async || {
        agent.client.send(unsequenced(&Message::Heartbeat(heartbeat())));
        let view = house.live.job(job).await.unwrap();
        view.error.filter(|_| view.status == Status::Interrupted)
    })
    .await;
    assert_eq!(error.code, "agent_forgot");
    agent.stop().await;
}

#[tokio::test]
async fn draining_sends_every_agent_away() {
    let fleet = Fleet::new().await;
    let host = fleet.host("web-1").await;
    let house = House::open(&fleet).await;
    let agent = Agent::start(&house, &host, 1, &Arc::default());
    agent.status(LinkStatus::is_connected).await;
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, house.hub.drain()).await.expect("draining ends by itself");
    agent.status(|status| !status.is_connected()).await;
    agent.stop().await;
}
