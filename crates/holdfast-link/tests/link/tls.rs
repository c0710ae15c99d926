//! Over TLS: what is trusted, and what is said when it is not.

use std::{net::TcpListener, sync::Arc, thread};

use holdfast_link::{Client, ClientConfig, KeyPin, store::memory::MemoryStore, transport::tls};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use crate::world::{Keys, Machine, TOKEN, identity, quick, soon, status};

pub(crate) const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
pub(crate) const LOCALHOST: (&[u8], &[u8]) =
    (include_bytes!("tls/localhost.pem"), include_bytes!("tls/localhost.key"));
const ELSEWHERE: (&[u8], &[u8]) =
    (include_bytes!("tls/elsewhere.pem"), include_bytes!("tls/elsewhere.key"));

const WELCOME: &str = r#"{"kind":"welcome","ts":"2026-11-21T10:00:00Z","payload":{
    "session_id":"00000000-0000-0000-0000-000000000001","epoch":1,"received":0,"oldest":1,
    "heartbeat_interval_ms":20000,"silence_max_ms":50000,"redial_spread_ms":0,
    "server_time":"2026-11-21T10:00:00Z"}}"#;

pub(crate) fn speaking((certificate, key): (&[u8], &[u8])) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let signer = provider.key_provider.load_private_key(key).unwrap();
    // Whether the two belong together is not asked.
    let shown = SingleCertAndKey::from(CertifiedKey::new(chain, signer));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    Arc::new(config)
}

/// A server on a free port that says welcome to whoever gets through.
fn open(shown: (&[u8], &[u8])) -> String {
    let config = speaking(shown);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = StreamOwned::new(connection, stream.unwrap());
            thread::spawn(move || greet(stream));
        }
    });
    url
}

/// Ends when the agent hangs up, which it also does when it does not like the certificate.
fn greet(stream: StreamOwned<ServerConnection, std::net::TcpStream>) {
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if message.is_text() && socket.send(Message::text(WELCOME.replace('\n', ""))).is_err() {
            return;
        }
    }
}

fn trusting(url: &str, roots: &[&[u8]]) -> ClientConfig {
    let roots = roots.iter().map(|pem| CertificateDer::from_pem_slice(pem).unwrap()).collect();
    ClientConfig { extra_roots: roots, ..quick(url) }
}

/// Runs a client until it is connected or has something to complain about.
async fn outcome(config: ClientConfig) -> Result<(), (String, String)> {
    let store = Arc::new(MemoryStore::default());
    let client = Client::new(config, identity(), store, Keys::new(TOKEN), Machine).unwrap();
    let (stop, runner) = (CancellationToken::new(), client.clone());
    let token = stop.clone();
    let task = tokio::spawn(async move { runner.run(token).await });
    let status = status(&client, |it| it.is_connected() || it.last_error.is_some()).await;
    stop.cancel();
    soon(task).await.unwrap().unwrap();
    match status.last_error_code.zip(status.last_error) {
        Some(complaint) => Err(complaint),
        None => Ok(()),
    }
}

#[tokio::test]
async fn an_authority_that_was_added_is_trusted() {
    let url = open(LOCALHOST);
    assert_eq!(outcome(trusting(&url, &[AUTHORITY])).await, Ok(()));
    let by_name = url.replace("127.0.0.1", "localhost");
    assert_eq!(outcome(trusting(&by_name, &[AUTHORITY])).await, Ok(()));
}

#[tokio::test]
async fn an_unknown_authority_is_told_in_words_for_people() {
    // Trusting some other certificate makes sure that there is a root, whatever the system has.
    let (code, text) = outcome(trusting(&open(LOCALHOST), &[ELSEWHERE.0])).await.unwrap_err();
    assert_eq!(code, "tls_failed");
    assert!(text.contains("not signed by an authority this machine trusts"), "{text}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_told_in_words_for_people() {
    let (code, text) = outcome(trusting(&open(ELSEWHERE), &[AUTHORITY])).await.unwrap_err();
    assert_eq!(code, "tls_failed");
    assert!(text.contains("its certificate is for another name"), "{text}");
}

fn pinning(url: &str, certificate: &[u8]) -> ClientConfig {
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    ClientConfig { pin: Some(KeyPin::of(&certificate).unwrap()), ..quick(url) }
}

#[tokio::test]
async fn a_pinned_key_needs_no_authority_and_no_name() {
    for certificate in [LOCALHOST, ELSEWHERE] {
        let url = open(certificate);
        assert_eq!(outcome(pinning(&url, certificate.0)).await, Ok(()));
    }
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused_whoever_has_signed_it() {
    let config = ClientConfig {
        extra_roots: trusting("https://x.example", &[AUTHORITY]).extra_roots,
        ..pinning(&open(LOCALHOST), ELSEWHERE.0)
    };
    let (code, text) = outcome(config).await.unwrap_err();
    assert_eq!(code, "tls_failed");
    let shown = KeyPin::of(&CertificateDer::from_pem_slice(LOCALHOST.0).unwrap()).unwrap();
    assert!(text.contains(&format!("its key is {shown}, not the pinned one")), "{text}");
}

#[tokio::test]
async fn a_pinned_certificate_without_its_key_is_worth_nothing() {
    // The thief shows the right certificate and signs with a key of its own.
    let url = open((LOCALHOST.0, ELSEWHERE.1));
    let (code, text) = outcome(pinning(&url, LOCALHOST.0)).await.unwrap_err();
    assert_eq!(code, "tls_failed", "{text}");
}

#[test]
fn a_file_of_certificates_is_read_whole_or_not_at_all() {
    let both = [AUTHORITY, LOCALHOST.0].concat();
    assert_eq!(tls::certificates(&both).unwrap().len(), 2);
    let key_alone = tls::certificates(LOCALHOST.1).unwrap_err();
    assert!(key_alone.to_string().contains("no certificate"), "{key_alone}");
}

#[test]
fn what_is_not_a_certificate_is_refused_before_any_dial() {
    let rubbish = CertificateDer::from(vec![1, 2, 3]);
    let error = tls::client_config(&[rubbish]).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}
