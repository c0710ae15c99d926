//! Through an HTTP proxy that wants a password.

use std::sync::{Arc, Mutex};

use holdfast_link::{
    Client, ClientConfig, PlaintextRule, ProxyRule, store::memory::MemoryStore,
    transport::TransportKind,
};
use holdfast_protocol::{CONNECT_PATH, message::config::Secret};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use tokio_rustls::TlsAcceptor;

use crate::{
    loopback::{Site, start},
    tls::{AUTHORITY, LOCALHOST, speaking},
    world::{Keys, Machine, TOKEN, append, connected, identity, quick, soon, status},
};

/// A proxy that leads to `server`, whatever the name that is asked for.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn open(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, server) = (Arc::clone(&asked), server.trim_start_matches("http://").to_owned());
        tokio::spawn(async move {
            loop {
                let (agent, _) = listener.accept().await.unwrap();
                tokio::spawn(lead(agent, server.clone(), Arc::clone(&log)));
            }
        });
        Self { address, asked }
    }

    fn rule(&self, credentials: &str) -> ProxyRule {
        ProxyRule::Via(Secret::new(format!("http://{credentials}{}", self.address)))
    }
}

async fn lead(mut agent: TcpStream, server: String, log: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(agent.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    log.lock().unwrap().push(head.lines().next().unwrap().to_owned());
    // "agent:canary", as a browser would send it.
    if !head.to_lowercase().contains("proxy-authorization: basic ywdlbnq6y2fuyxj5\r\n") {
        let no = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        agent.write_all(no.as_bytes()).await.unwrap();
        return;
    }
    agent.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let mut server = TcpStream::connect(server).await.unwrap();
    let _ = copy_bidirectional(&mut agent, &mut server).await;
}

fn config(proxy: ProxyRule) -> ClientConfig {
    let allow_plaintext = PlaintextRule::Allow;
    // Only the proxy knows this name.
    ClientConfig { proxy, allow_plaintext, ..quick("http://hold.test:7400") }
}

fn client(config: ClientConfig) -> (Client<MemoryStore>, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::default());
    let outbox = Arc::clone(&store);
    (Client::new(config, identity(), outbox, Keys::new(TOKEN), Machine).unwrap(), store)
}

#[tokio::test]
async fn both_roads_lead_through_a_proxy_with_a_password() {
    let site = Site::open().await;
    let proxy = Proxy::open(&site.url).await;
    for (path, road) in
        [(CONNECT_PATH, TransportKind::WebSocket), ("/blocked", TransportKind::LongPoll)]
    {
        let path = path.to_owned();
        let (client, store) = client(ClientConfig { path, ..config(proxy.rule("agent:canary@")) });
        append(&store, 0..10);
        let (stop, task) = start(&client);
        assert_eq!(connected(&client).await.transport, Some(road));
        soon(store.wait_until(|store| store.outbox_len() == 0)).await;
        stop.cancel();
        soon(task).await.unwrap();
    }
    let asked = proxy.asked.lock().unwrap();
    assert!(asked.iter().all(|line| line == "CONNECT hold.test:7400 HTTP/1.1"), "{asked:?}");
}

/// Speaks TLS in front of `server`, as a reverse proxy does.
async fn secured(server: &str) -> String {
    let acceptor = TlsAcceptor::from(speaking(LOCALHOST));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        loop {
            let (agent, _) = listener.accept().await.unwrap();
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let mut agent = acceptor.accept(agent).await.unwrap();
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut agent, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn tls_goes_through_the_tunnel_and_is_checked_behind_it() {
    let site = Site::open().await;
    let secured = secured(&site.url).await;
    let proxy = Proxy::open(&secured).await;
    let authority = CertificateDer::from_pem_slice(AUTHORITY).unwrap();
    for (path, road) in
        [(CONNECT_PATH, TransportKind::WebSocket), ("/blocked", TransportKind::LongPoll)]
    {
        let config = ClientConfig {
            path: path.to_owned(),
            proxy: proxy.rule("agent:canary@"),
            extra_roots: vec![authority.clone()],
            ..quick("https://localhost:7400")
        };
        let (client, store) = client(config);
        append(&store, 0..10);
        let (stop, task) = start(&client);
        assert_eq!(connected(&client).await.transport, Some(road));
        soon(store.wait_until(|store| store.outbox_len() == 0)).await;
        stop.cancel();
        soon(task).await.unwrap();
    }
    // The proxy leads elsewhere, or listens: what it shows is not signed by anybody we trust.
    let config = ClientConfig {
        proxy: proxy.rule("agent:canary@"),
        extra_roots: vec![authority],
        ..quick("https://hold.test:7400")
    };
    let (client, _) = client(config);
    let (stop, task) = start(&client);
    let status = status(&client, |status| status.last_error.is_some()).await;
    assert_eq!(status.last_error_code.as_deref(), Some("tls_failed"));
    stop.cancel();
    soon(task).await.unwrap();
    let asked = proxy.asked.lock().unwrap();
    assert!(asked.iter().any(|line| line == "CONNECT localhost:7400 HTTP/1.1"), "{asked:?}");
}

#[tokio::test]
async fn a_proxy_that_wants_another_password_is_told_in_words_without_it() {
    let site = Site::open().await;
    let proxy = Proxy::open(&site.url).await;
    for credentials in ["", "agent:wrong-canary@"] {
        let (client, _) = client(config(proxy.rule(credentials)));
        let (stop, task) = start(&client);
        let status = status(&client, |status| status.last_error.is_some()).await;
        assert_eq!(status.last_error_code.as_deref(), Some("proxy_refused"));
        let text = status.last_error.unwrap();
        assert!(text.contains("HTTP 407") && !text.contains("canary"), "{text}");
        stop.cancel();
        soon(task).await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_is_away_or_of_another_kind_is_told_apart_from_the_server() {
    for (url, words) in [
        ("http://127.0.0.1:9", "connection refused"),
        ("https://127.0.0.1:9", "only proxies with an http:// URL"),
        ("socks5://127.0.0.1:9", "only proxies with an http:// URL"),
    ] {
        let (client, _) = client(config(ProxyRule::Via(Secret::new(url))));
        let (stop, task) = start(&client);
        let status = status(&client, |status| status.last_error.is_some()).await;
        let text = status.last_error.unwrap();
        assert!(text.contains("the proxy 127.0.0.1") && text.contains(words), "{text}");
        stop.cancel();
        soon(task).await.unwrap();
    }
}
