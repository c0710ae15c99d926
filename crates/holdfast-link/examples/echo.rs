//! A whole link in one process, over a real socket: the agent appends records, the server prints
//! what took effect. Run it with `cargo run -p holdfast-link --example echo`.

use std::sync::Arc;

use axum::{Router, routing::any};
use holdfast_link::{
    Client, ClientConfig, Identity, OpenGate, ServeConfig, Upgrade, accept,
    store::memory::MemoryStore,
};
use holdfast_protocol::{
    CONNECT_PATH, Incarnation, Payload,
    message::{config::Secret, link::Facts},
};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (outbox, inbox) = (Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default()));

    // The server. A real one checks the token before the upgrade and keeps a store per agent.
    let gate = Arc::new(OpenGate::new(Arc::clone(&inbox)));
    let connect = async move |upgrade: Upgrade| {
        upgrade.open(async move |socket| {
            accept(socket, &*gate, &ServeConfig::default(), CancellationToken::new()).await;
        })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?).parse()?;
    let app = Router::new().route(CONNECT_PATH, any(connect));
    tokio::spawn(axum::serve(listener, app).into_future());

    // The agent. A real one has its outbox on disk and mints the incarnation together with it.
    let identity = Identity { incarnation: Incarnation::from_uuid(uuid::Uuid::new_v4()), boot: 1 };
    let (config, token) = (ClientConfig::new(url), Secret::new("token"));
    let client = Client::new(config, identity, Arc::clone(&outbox), token, Facts::default())?;
    let stop = CancellationToken::new();
    let work = async {
        outbox.append("echo", Payload::of(&"once, and only once"));
        client.wake();
        inbox.wait_until(|inbox| inbox.applied().len() == 1).await;
        println!("{:?} says {}", inbox.applied()[0], inbox.applied()[0].payload.as_str());
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(client.run(stop.clone()), work);
    Ok(ended?)
}
