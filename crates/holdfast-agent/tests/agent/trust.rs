//! Whom an enrolment trusts, over real TLS.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use holdfast_link::KeyPin;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::Value;

use crate::bench::{Bench, refusal};

const AUTHORITY: &str = include_str!("../../../holdfast-link/tests/link/tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../holdfast-link/tests/link/tls/localhost.pem");
const KEY: &[u8] = include_bytes!("../../../holdfast-link/tests/link/tls/localhost.key");
const OTHER: &[u8] = include_bytes!("../../../holdfast-link/tests/link/tls/elsewhere.pem");

const ANSWER: &str = r#"{"host_id":"0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b","host_name":"alpha",
    "agent_token":"hf_agt_canary","connect_path":"/api/v1/agent/connect"}"#;

/// A server with a certificate that nobody knows, which takes any token.
fn secured() -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = StreamOwned::new(connection, stream.unwrap());
            // An agent that does not like the certificate hangs up.
            thread::spawn(move || take(stream).unwrap_or_default());
        }
    });
    url
}

fn take(stream: StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    let head = "HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length:";
    write!(stream.get_mut(), "{head} {}\r\n\r\n{ANSWER}", ANSWER.len())?;
    stream.get_mut().conn.send_close_notify();
    stream.get_mut().flush()
}

fn pin(certificate: &[u8]) -> String {
    KeyPin::of(&CertificateDer::from_pem_slice(certificate).unwrap()).unwrap().to_string()
}

fn stored(bench: &Bench) -> Value {
    let text = fs::read_to_string(bench.data().join("agent.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_server_nobody_vouches_for_is_not_enrolled_with() {
    let said = refusal(&Bench::new().enroll(&secured(), &[]));
    assert!(said.contains("cannot be reached") && said.contains("certificate"), "{said}");
}

#[test]
fn an_authority_of_ones_own_is_trusted_and_kept_for_the_link() {
    let bench = Bench::new();
    let file = bench.path("authority.pem");
    fs::write(&file, AUTHORITY).unwrap();
    let output = bench.enroll(&secured(), &["--ca-file", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stored(&bench)["trust"]["authorities"], AUTHORITY);
}

#[test]
fn a_pinned_key_is_trusted_and_kept_for_the_link_and_another_is_refused() {
    let bench = Bench::new();
    let url = secured();
    let said = refusal(&bench.enroll(&url, &["--pin", &pin(OTHER)]));
    assert!(said.contains(&format!("its key is {}", pin(CERTIFICATE))), "{said}");
    let output = bench.enroll(&url, &["--pin", &pin(CERTIFICATE)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stored(&bench)["trust"]["pin"], pin(CERTIFICATE));
}

#[test]
fn what_cannot_be_trusted_is_told_before_the_token_is_spent() {
    let bench = Bench::new();
    let nothing = bench.path("nothing.pem");
    fs::write(&nothing, "hello").unwrap();
    for (arguments, sentence) in [
        (["--pin", "sha256//short"], "the pin cannot be used"),
        (["--ca-file", nothing.to_str().unwrap()], "there is no certificate in it"),
        (["--ca-file", "/nowhere.pem"], "cannot be read"),
    ] {
        let said = refusal(&bench.enroll("https://127.0.0.1:9", &arguments));
        assert!(said.contains(sentence), "{said}");
        assert!(!bench.data().join("agent.json").exists());
    }
}
