//! Who is told: a web server that counts.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State};
use serde_json::{Value, json};

use crate::{
    alert::{Severity, channel::Settings},
    store::NewChannel,
};

/// What has come.
#[derive(Clone, Default)]
pub(super) struct Receiver {
    came: Arc<Mutex<Vec<(String, String)>>>,
}

impl Receiver {
    pub(super) async fn open(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        address
    }

    /// How often an event of an alert was told.
    pub(super) fn count(&self, event: &str, alert: uuid::Uuid) -> usize {
        let alert = alert.to_string();
        let came = self.came.lock().unwrap();
        came.iter().filter(|(what, of)| what == event && *of == alert).count()
    }
}

/// A channel that tells the receiver of everything.
pub(super) fn channel(address: SocketAddr) -> NewChannel {
    let settings = json!({"kind": "webhook", "url": format!("http://{address}/")});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let name = "everything".to_owned();
    NewChannel { name, settings, severity_min: Severity::Info, host: None, group: None }
}

async fn take(State(receiver): State<Receiver>, Json(body): Json<Value>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = (text(&body["event"]), text(&body["alert"]["id"]));
    receiver.came.lock().unwrap().push(told);
}
