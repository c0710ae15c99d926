//! A server with one host, and an agent for it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use holdfast_link::{
    Admission, Client, ClientConfig, CloseReason, Credentials, CredentialsError, Ended, Gate, Host,
    Identity, LinkStatus, Mailbox, Request, Unsequenced, store::memory::MemoryStore,
};
use holdfast_protocol::{
    Incarnation, Payload, SessionId,
    message::{
        config::Secret,
        link::{Facts, Hello, Refusal, Reject},
    },
};
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

/// The token the server knows.
pub(crate) const TOKEN: &str = "hf_agt_canary";

/// More than any step here may take: in paused time the longest wait of the link is two minutes,
/// and in real time a step that hangs should fail while someone is still watching.
const PATIENCE: Duration = Duration::from_secs(200);

/// Waits for `step`, but not for ever.
pub(crate) async fn soon<F: Future>(step: F) -> F::Output {
    timeout(PATIENCE, step).await.expect("this should have happened by now")
}

/// The server's side: one host, whoever calls.
#[derive(Default)]
pub(crate) struct House {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) states: Mutex<Vec<Unsequenced>>,
    pub(crate) reject: Mutex<Option<Reject>>,
    pub(crate) redial_spread: Mutex<Duration>,
    pub(crate) hellos: Mutex<Vec<Hello>>,
    /// How long the house stands still between letting an agent in and serving it.
    pub(crate) standstill: Mutex<Duration>,
    /// Records appended after the positions were read, while there is no mailbox to wake.
    pub(crate) late: Mutex<u32>,
    current: Mutex<Option<Mailbox>>,
    pub(crate) ended: watch::Sender<Vec<&'static str>>,
}

impl House {
    pub(crate) fn mailbox(&self) -> Mailbox {
        self.current.lock().unwrap().clone().expect("a session was opened")
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.hellos.lock().unwrap().len() as u64
    }

    pub(crate) async fn has_ended(&self, code: &str) {
        let mut ended = self.ended.subscribe();
        soon(ended.wait_for(|codes| codes.contains(&code))).await.expect("the house stands");
    }
}

impl Gate for House {
    type Store = MemoryStore;

    async fn admit(&self, hello: Hello) -> Result<Admission<MemoryStore>, Reject> {
        self.hellos.lock().unwrap().push(hello);
        if let Some(reject) = self.reject.lock().unwrap().clone() {
            return Err(reject);
        }
        Ok(Admission {
            session_id: SessionId::from_uuid(Uuid::new_v4()),
            epoch: self.epoch(),
            store: Arc::clone(&self.store),
            states: self.states.lock().unwrap().clone(),
            redial_spread: *self.redial_spread.lock().unwrap(),
        })
    }

    async fn opened(&self, mailbox: Mailbox) {
        append(&self.store, 0..std::mem::take(&mut *self.late.lock().unwrap()));
        let standstill = *self.standstill.lock().unwrap();
        tokio::time::sleep(standstill).await;
        let older = self.current.lock().unwrap().replace(mailbox);
        if let Some(older) = older.filter(Mailbox::is_open) {
            older.close(CloseReason::Fenced);
        }
    }

    async fn answer(&self, _session_id: SessionId, request: Request) -> Result<Payload, Refusal> {
        answer(request).await
    }

    async fn closed(&self, _session_id: SessionId, ended: &Ended) {
        self.ended.send_modify(|codes| codes.push(ended.code()));
    }
}

/// Both sides know the same few questions.
async fn answer(request: Request) -> Result<Payload, Refusal> {
    match request.kind.as_str() {
        "echo" => Ok(request.payload),
        "slow.echo" => {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok(request.payload)
        }
        kind => Err(Refusal::unknown(kind)),
    }
}

/// The agent's side.
pub(crate) struct Machine;

impl Host for Machine {
    fn facts(&self) -> Facts {
        Facts { hostname: "box".to_owned(), ..Facts::default() }
    }

    fn capabilities(&self) -> Vec<String> {
        vec!["pause".to_owned()]
    }

    fn heartbeat(&self) -> Payload {
        Payload::of(&serde_json::json!({"running_jobs": []}))
    }

    async fn answer(&self, request: Request) -> Result<Payload, Refusal> {
        answer(request).await
    }
}

/// A token, or none.
#[derive(Clone)]
pub(crate) struct Keys(pub(crate) Arc<Mutex<Option<Secret>>>);

impl Keys {
    pub(crate) fn new(token: &str) -> Self {
        Self(Arc::new(Mutex::new(Some(Secret::new(token)))))
    }
}

impl Credentials for Keys {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        let token = self.0.lock().unwrap().clone();
        token.ok_or_else(|| CredentialsError::new("the file is gone"))
    }
}

pub(crate) fn identity() -> Identity {
    Identity { incarnation: Incarnation::from_uuid(Uuid::from_u128(7)), boot: 1 }
}

/// A configuration that redials quickly, for tests in real time.
pub(crate) fn quick(server: &str) -> ClientConfig {
    let millis = Duration::from_millis;
    ClientConfig {
        delay_min: millis(5),
        delay_max: millis(50),
        delay_slow: millis(100),
        ..ClientConfig::new(server.parse().unwrap())
    }
}

pub(crate) async fn status(
    client: &Client<MemoryStore>,
    condition: impl FnMut(&LinkStatus) -> bool,
) -> LinkStatus {
    let mut status = client.status();
    soon(status.wait_for(condition)).await.expect("the client lives").clone()
}

pub(crate) async fn connected(client: &Client<MemoryStore>) -> LinkStatus {
    status(client, LinkStatus::is_connected).await
}

/// The bodies of everything that took effect, in order.
pub(crate) fn numbers(store: &MemoryStore) -> Vec<u32> {
    store.applied().iter().map(|record| record.payload.parse().unwrap()).collect()
}

/// Appends the numbers of `range` as records.
pub(crate) fn append(store: &MemoryStore, range: std::ops::Range<u32>) {
    for number in range {
        store.append("job.finished", Payload::of(&number));
    }
}
