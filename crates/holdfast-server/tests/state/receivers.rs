//! Real receivers: a web server and a mail relay on this machine.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A web server that takes everything down and answers as it is told.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    came: Arc<Mutex<Vec<Request>>>,
    answer: Arc<AtomicU16>,
}

impl Web {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let web = Self { address, came: Arc::default(), answer: Arc::new(200.into()) };
        let router = Router::new().fallback(take).with_state(web.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        web
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers everything with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.answer.store(status, Ordering::SeqCst);
    }

    /// What has come since the last look.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.came.lock().unwrap())
    }
}

async fn take(
    State(web): State<Web>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, String); 1], &'static str) {
    let body = String::from_utf8(body.to_vec()).unwrap();
    web.came.lock().unwrap().push(Request { uri: uri.to_string(), headers, body });
    let status = StatusCode::from_u16(web.answer.load(Ordering::SeqCst)).unwrap();
    // Only a redirect's status makes a client look at it.
    (status, [("location", web.url("/elsewhere"))], "canary-answer")
}

/// A mail relay that takes everything down, and refuses mail to `refused@`.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    came: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), came: Arc::default() };
        let serving = relay.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(socket));
            }
        });
        relay
    }

    /// The mails that have come since the last look, as they were sent.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.came.lock().unwrap())
    }

    async fn serve(self, socket: TcpStream) {
        let (read, mut write) = socket.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut mail: Option<String> = None;
        let _ = write.write_all(b"220 relay ready\r\n").await;
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(text) = mail.take() {
                if line == "." {
                    self.came.lock().unwrap().push(text);
                    let _ = write.write_all(b"250 taken\r\n").await;
                } else {
                    mail = Some(format!("{text}{line}\n"));
                }
                continue;
            }
            let answer = match line.split([' ', ':']).next().unwrap_or_default() {
                "DATA" => {
                    mail = Some(String::new());
                    "354 go on\r\n"
                }
                "QUIT" => "221 bye\r\n",
                "RCPT" if line.contains("refused@") => "550 no such box\r\n",
                _ => "250 fine\r\n",
            };
            let _ = write.write_all(answer.as_bytes()).await;
        }
    }
}
