//! The live socket, over a real one.

use std::{net::SocketAddr, time::Duration};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use crate::support::Server;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long a message may take. Nothing here takes near that long.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn listen(server: &Server) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = server.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

pub(crate) async fn connect(
    address: SocketAddr,
    headers: &[(&'static str, String)],
) -> Result<Socket, tungstenite::Error> {
    let mut request = format!("ws://{address}/api/v1/live").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

pub(crate) async fn next(socket: &mut Socket) -> Message {
    tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap()
}

pub(crate) async fn next_json(socket: &mut Socket) -> Value {
    serde_json::from_str(next(socket).await.to_text().unwrap()).unwrap()
}

fn status(error: tungstenite::Error) -> u16 {
    match error {
        tungstenite::Error::Http(response) => response.status().as_u16(),
        error => panic!("not an HTTP answer: {error}"),
    }
}

#[tokio::test]
async fn a_snapshot_comes_first_and_then_every_change() {
    let server = Server::with_group().await;
    let address = listen(&server).await;
    let bearer = ("authorization", format!("Bearer {}", server.viewer));
    let mut socket = connect(address, &[bearer]).await.unwrap();
    let snapshot = next_json(&mut socket).await;
    assert_eq!(snapshot["kind"], "snapshot");
    let mut rev = snapshot["rev"].as_u64().unwrap();
    server.post("/hosts", &json!({"name": "db-1"})).await.expect(201);
    loop {
        let update = next_json(&mut socket).await;
        let newer = update["rev"].as_u64().unwrap();
        assert!(newer > rev, "{newer} after {rev}");
        rev = newer;
        if update["kind"] == "host" && update["host"]["name"] == "db-1" {
            break;
        }
    }
}

#[tokio::test]
async fn a_browser_comes_in_with_its_cookie_from_our_own_page_only() {
    let server = Server::start().await;
    let address = listen(&server).await;
    let cookie = ("cookie", server.sign_in(&json!({"token": server.viewer})).await);
    let own = ("origin", format!("http://{address}"));
    let mut socket = connect(address, &[cookie.clone(), own]).await.unwrap();
    assert_eq!(next_json(&mut socket).await["kind"], "snapshot");
    let evil = ("origin", "http://evil.example".to_owned());
    assert_eq!(status(connect(address, &[cookie.clone(), evil]).await.unwrap_err()), 403);
    assert_eq!(status(connect(address, &[cookie]).await.unwrap_err()), 403);
    assert_eq!(status(connect(address, &[]).await.unwrap_err()), 401);
}

#[tokio::test]
async fn whose_sign_in_ends_sees_nothing_more() {
    let server = Server::start().await;
    let address = listen(&server).await;
    let word = server.sign_in(&json!({"token": server.viewer})).await;
    let own = ("origin", format!("http://{address}"));
    let mut socket = connect(address, &[("cookie", word.clone()), own]).await.unwrap();
    assert_eq!(next_json(&mut socket).await["kind"], "snapshot");
    let sign_ins = server.get("/sign-ins?all=true").await.expect(200);
    let id = sign_ins["sign_ins"][0]["id"].as_str().unwrap();
    server.delete(&format!("/sign-ins/{id}")).await.expect(204);
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 4401);
}

#[tokio::test]
async fn a_stopping_server_says_goodbye() {
    let server = Server::start().await;
    let address = listen(&server).await;
    let bearer = ("authorization", format!("Bearer {}", server.viewer));
    let mut socket = connect(address, &[bearer]).await.unwrap();
    next(&mut socket).await;
    server.stop.cancel();
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 1001);
}
