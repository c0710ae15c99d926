//! Agents that listen: the server dials their `/ws`, and dials again when it is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use holdfast_link::{dial::WebSocketDialer, transport::tls};
use holdfast_protocol::{
    HostId, Message,
    dialect::{
        Dialect, Ledger, Said,
        local::{self as words, Command, Event},
    },
    message::job::{JobError, Operation, Started},
};
use jiff::Timestamp;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Dialects, FRAME_SIZE_MAX, RATE,
    converse::{Breach, Heard, Tongue, converse},
    socket::{Frame, Socket},
};
use crate::{
    hub::{
        Hub,
        desk::{Desk, DeskError},
    },
    store::DialledHost,
};

/// How often the list of hosts to dial is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a dial may take.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(60);
/// A connection that lasted this long was a good one: the next dial comes soon.
const GOOD_AFTER: Duration = Duration::from_secs(30);

/// Serves an agent on a socket that was dialled.
pub(super) async fn serve(
    hub: &Hub,
    host: HostId,
    socket: Socket,
    stop: CancellationToken,
) -> Result<(), DeskError> {
    let desk = hub.open_desk(host).await?;
    let (_, calls) = mpsc::channel(1);
    converse(socket, desk, Words, calls, stop).await
}

/// Dials the hosts whose agents listen.
pub(crate) struct Dialler {
    dialects: Dialects,
    lines: BTreeMap<HostId, Line>,
}

/// One host that is dialled, as it was when the dialling began.
struct Line {
    address: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Dialler {
    /// A dialler that has dialled nobody.
    pub(crate) fn new(dialects: Dialects) -> Self {
        Self { dialects, lines: BTreeMap::new() }
    }

    /// Dials until stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            match self.dialects.hub().dialled_hosts().await {
                Ok(hosts) => self.follow(hosts),
                Err(error) => tracing::warn!(%error, "the hosts to dial are not known for now"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep(LOOK_EVERY) => {}
            }
        }
        for line in self.lines.into_values() {
            line.stop.cancel();
            let _ = line.task.await;
        }
    }

    /// Begins with hosts that are new and ends with those that are gone or moved.
    fn follow(&mut self, hosts: Vec<DialledHost>) {
        let known: BTreeSet<(HostId, &str)> =
            hosts.iter().map(|host| (host.id, host.address.as_str())).collect();
        self.lines.retain(|host, line| {
            let stays = known.contains(&(*host, line.address.as_str()));
            if !stays {
                line.stop.cancel();
            }
            stays
        });
        for host in hosts {
            let dialects = self.dialects.clone();
            self.lines.entry(host.id).or_insert_with(|| {
                let stop = CancellationToken::new();
                let address = host.address.clone();
                let task = tokio::spawn(keep(dialects, host, stop.clone()));
                Line { address, stop, task }
            });
        }
    }
}

/// Keeps one host connected until stopped.
async fn keep(dialects: Dialects, host: DialledHost, stop: CancellationToken) {
    let mut delay = DELAY_MIN;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let reason = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            reason = once(&dialects, &host) => reason,
        };
        if began.elapsed() > GOOD_AFTER {
            delay = DELAY_MIN;
        }
        tracing::info!(host = host.name, reason, wait = ?delay, "an agent will be dialled again");
        // Full jitter above the half, so that a fleet does not dial in step.
        let wait = delay.mul_f64(rand::random::<f64>().mul_add(0.5, 0.5));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
        delay = (delay * 2).min(DELAY_MAX);
    }
}

/// One dial and the conversation that comes of it; why it ended.
async fn once(dialects: &Dialects, host: &DialledHost) -> String {
    let endpoint = match Url::parse(&host.address) {
        Ok(endpoint) => endpoint,
        Err(error) => return format!("the address cannot be dialled: {error}"),
    };
    let tls = match tls::client_config(&[]) {
        Ok(tls) => (endpoint.scheme() == "wss").then_some(tls),
        Err(error) => return error.to_string(),
    };
    let dialer = WebSocketDialer::new(endpoint, tls).with_frame_max(FRAME_SIZE_MAX);
    let socket = match timeout(DIAL_WITHIN, Box::pin(dialer.open(&host.token, Some(RATE)))).await {
        Ok(Ok(socket)) => Socket::new(socket),
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return "no answer in time".to_owned(),
    };
    match dialects.serve_on(host.id, Dialect::Local, socket).await {
        Ok(()) => "the connection ended".to_owned(),
        Err(error) => super::chain(&error),
    }
}

/// The words of one connection.
struct Words;

impl Tongue for Words {
    fn dialect(&self) -> Dialect {
        Dialect::Local
    }

    /// A frame that is not of the dialect costs that frame only.
    fn hear(&mut self, frame: Frame, ledger: &mut Ledger, now: Timestamp) -> Result<Heard, Breach> {
        let Frame::Text(text) = frame else { return Ok(Heard::default()) };
        let Ok(event) = Event::decode(text.as_bytes()) else { return Ok(Heard::default()) };
        let mut said: Vec<Said> = began(&event, ledger, now).into_iter().collect();
        if !matches!((&event, said.is_empty()), (Event::Started(_), false)) {
            said.push(words::hear_agent(&event, ledger, now));
        }
        Ok(Heard::said(said))
    }

    async fn say(&mut self, order: &Message, desk: &mut Desk) -> Result<Vec<Frame>, JobError> {
        let command = Command::of(order, desk.ledger());
        Ok(command.map(|command| Frame::Text(command.encode())).into_iter().collect())
    }

    /// They tell of themselves only when asked.
    fn tick(&mut self, _now: Timestamp) -> Vec<Frame> {
        vec![Frame::Text(Command::Status.encode())]
    }
}

/// These agents begin their runs by themselves: the first word about one tells its start, and how
/// they spell its name. They name no source group, so a run belongs to the host's only one.
fn began(event: &Event, ledger: &mut Ledger, now: Timestamp) -> Option<Said> {
    let name = match event {
        Event::Started(job) => &job.job_id,
        Event::Progress(progress) => &progress.job_id,
        Event::Completed(completed) => &completed.job_id,
        Event::Failed(failed) => &failed.job_id,
        Event::Status(_) | Event::Log(_) | Event::Browsed(_) => return None,
    };
    if name.is_empty() {
        return None;
    }
    let job_id = ledger.job_named(name);
    let known = ledger.job(job_id).is_some();
    ledger.spell(job_id, name);
    if known {
        return None;
    }
    Some(Said::Message(Message::JobStarted(Started {
        job_id,
        operation: Operation::Backup,
        started_at: now,
        attempt: 1,
        tag: ledger.sole_group().unwrap_or_default(),
        schedule_id: None,
        scheduled_at: None,
    })))
}
