//! A whole link in one process, over a real socket: the agent appends records, the server prints
//! what took effect. Run it with `cargo run -p holdfast-link --example echo`.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::ws::WebSocketUpgrade, routing::any};
use holdfast_link::{
    Admission, Client, ClientConfig, Credentials, CredentialsError, Ended, Gate, Host, Identity,
    Mailbox, ServeConfig, accept, configure, store::memory::MemoryStore,
};
use holdfast_protocol::{
    CONNECT_PATH, Incarnation, Payload, SessionId,
    message::{
        config::Secret,
        link::{Facts, Hello, Reject},
    },
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Lets anyone in. A real gate raises the epoch in its store and picks the store by who calls.
#[derive(Clone, Default)]
struct OpenGate(Arc<MemoryStore>);

impl Gate for OpenGate {
    type Store = MemoryStore;

    async fn admit(&self, hello: Hello) -> Result<Admission<MemoryStore>, Reject> {
        Ok(Admission {
            session_id: SessionId::from_uuid(Uuid::new_v4()),
            epoch: hello.epoch + 1,
            store: Arc::clone(&self.0),
            states: Vec::new(),
            redial_spread: Duration::from_secs(2),
        })
    }
    async fn opened(&self, _mailbox: Mailbox) {}
    async fn closed(&self, _session_id: SessionId, ended: &Ended) {
        println!("the session ended: {ended}");
    }
}

struct Machine;

impl Host for Machine {
    fn facts(&self) -> Facts {
        Facts::default()
    }
    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }
    fn heartbeat(&self) -> Payload {
        Payload::of(&serde_json::json!({}))
    }
}

impl Credentials for Machine {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(Secret::new("a server would check this before the upgrade"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (gate, stop) = (OpenGate::default(), CancellationToken::new());
    let server_store = Arc::clone(&gate.0);
    let connect = async move |upgrade: WebSocketUpgrade| {
        configure(upgrade).on_upgrade(async move |socket| {
            accept(socket, &gate, &ServeConfig::default(), CancellationToken::new()).await;
        })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("http://{}", listener.local_addr()?).parse()?;
    let app = Router::new().route(CONNECT_PATH, any(connect));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let store = Arc::new(MemoryStore::default());
    let identity = Identity { incarnation: Incarnation::from_uuid(Uuid::new_v4()), boot: 1 };
    let client =
        Client::new(ClientConfig::new(server), identity, Arc::clone(&store), Machine, Machine)?;
    let link = tokio::spawn({
        let (client, stop) = (client.clone(), stop.clone());
        async move { client.run(stop).await }
    });
    for number in 1..=3 {
        store.append("echo", Payload::of(&number));
        client.wake();
    }
    server_store.wait_until(|store| store.applied().len() == 3).await;
    for record in server_store.applied() {
        println!("record {}: {} {}", record.seq, record.kind, record.payload.as_str());
    }
    stop.cancel();
    link.await??;
    Ok(())
}
