//! The corpus: 120 and more ways to write an address that nobody may reach.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use url::Url;

use super::*;

const CORPUS: &str = include_str!("corpus.txt");

/// Resolves names as an attacker's DNS would: to the inside.
fn hostile() -> Guard {
    let lookup = |host: String, port: u16| -> Looked {
        let inside: &[&str] = match host.trim_end_matches('.') {
            "nowhere.example" => &[],
            "both.example" => &["93.184.215.14", "10.0.0.1"],
            "six.example" => &["fd00::1"],
            "mapped.example" => &["::ffff:10.0.0.1"],
            "metadata.google.internal" => &["169.254.169.254"],
            _ => &["127.0.0.1"],
        };
        let addresses = inside.iter().map(|ip| (ip.parse::<IpAddr>().unwrap(), port).into());
        let addresses: Vec<SocketAddr> = addresses.collect();
        Box::pin(async move { Ok(addresses) })
    };
    Guard::with_lookup(vec![], Arc::new(lookup))
}

#[tokio::test]
async fn no_address_of_the_corpus_is_let_through() {
    let lines = CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        count += 1;
        // What is no address at all reaches nobody either.
        if let Ok(url) = Url::parse(line) {
            let verdict = hostile().web(&url).await;
            assert!(verdict.is_err(), "{line} ({url}) goes to {verdict:?}");
        }
    }
    assert!(count >= 120, "only {count} addresses");
}

/// As above, but each is really sent, with the canary's port.
#[tokio::test]
async fn no_address_of_the_corpus_reaches_a_canary() {
    let canary = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = canary.local_addr().unwrap().port();
    let wire = crate::alert::wire::Wire::new(hostile());
    for line in CORPUS.lines().filter(|line| line.starts_with("http")) {
        let Ok(mut url) = Url::parse(line) else { continue };
        // Where a port can be set at all.
        let _ = url.set_port(Some(port));
        let post = crate::alert::wire::Post::json(url, &serde_json::json!({}));
        assert!(wire.post(post).await.is_err(), "{line}");
    }
    let hit = tokio::time::timeout(Duration::from_millis(50), canary.accept()).await;
    assert!(hit.is_err(), "the canary was reached");
}

#[tokio::test]
async fn the_outside_is_let_through_on_the_usual_ports_only() {
    let lookup = |_: String, port: u16| -> Looked {
        Box::pin(async move { Ok(vec![(Ipv4Addr::new(93, 184, 215, 14), port).into()]) })
    };
    let guard = Guard::with_lookup(vec![], Arc::new(lookup));
    let web = async |text: &str| guard.web(&Url::parse(text).unwrap()).await;
    assert_eq!(web("https://hooks.example/x").await.unwrap().len(), 1);
    assert!(web("http://hooks.example").await.is_ok());
    assert!(web("https://8.8.8.8/").await.is_ok());
    assert_eq!(web("https://hooks.example:22/").await, Err(Blocked::Port));
    assert_eq!(web("ftp://hooks.example/").await, Err(Blocked::Address));
    assert_eq!(web("https://me:secret@hooks.example/").await, Err(Blocked::Address));
}

#[tokio::test]
async fn what_whoever_starts_the_server_allows_is_allowed_on_any_port() {
    let guard = Guard::new(vec!["192.168.7.0/24".parse().unwrap()]);
    let web = async |text: &str| guard.web(&Url::parse(text).unwrap()).await;
    assert!(web("http://192.168.7.9:8080/message").await.is_ok());
    assert_eq!(web("http://192.168.8.9/").await, Err(Blocked::Internal));
    assert_eq!(web("http://[::ffff:192.168.7.9]/").await, Err(Blocked::Internal));
    assert!(guard.named("192.168.7.9", 2525, &[25]).await.is_ok());
    assert_eq!(guard.named("8.8.8.8", 2525, &[25]).await, Err(Blocked::Port));
}

/// A name that means another address when it is asked again.
#[tokio::test]
async fn a_name_is_asked_once_and_the_answer_is_used() {
    let receiver = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = receiver.local_addr().unwrap().port();
    let canary = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let lookup = move |_: String, port: u16| -> Looked {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        let ip = Ipv4Addr::new(127, 0, 0, if first { 2 } else { 1 });
        Box::pin(async move { Ok(vec![(ip, port).into()]) })
    };
    let allowed = vec!["127.0.0.2".parse().unwrap()];
    let wire = crate::alert::wire::Wire::new(Guard::with_lookup(allowed, Arc::new(lookup)));
    let url = Url::parse(&format!("http://rebinding.example:{port}/")).unwrap();
    let sending = wire.post(crate::alert::wire::Post::json(url, &serde_json::json!({})));
    tokio::select! {
        _ = receiver.accept() => {}
        _ = canary.accept() => panic!("the second answer was used"),
        sent = sending => panic!("nobody was asked: {sent:?}"),
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
