//! The server of a world: the real server's end of the link, on all roads.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast_link::{
    Admission, CloseReason, Dice, Ended, ExchangeError, Exchanges, Gate, Mailbox, ServeConfig,
    server::serve,
    transport::{
        Transport,
        metered::Metered,
        websocket::{Socket, limits},
    },
};
use holdfast_protocol::{
    SessionId,
    message::link::{Hello, Reject},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::accept_async_with_config;
use tokio_util::sync::CancellationToken;
use turmoil::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::{
    road::{BOX, EXCHANGES, WEB_SOCKETS},
    world::{Held, Household},
};

/// The box lets nothing pass for this long, then everything, and so on.
const BOX_SHUT: Duration = Duration::from_secs(60);
const BOX_OPEN: Duration = Duration::from_secs(60);

/// What the server's lives have counted together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sessions: AtomicU64,
    pub(crate) polled: AtomicU64,
}

/// One life of the server's process.
pub(crate) struct House {
    households: Vec<Arc<Household>>,
    mailboxes: Mutex<BTreeMap<usize, Mailbox>>,
    exchanges: Exchanges,
    tally: Arc<Tally>,
}

impl House {
    pub(crate) fn new(households: Vec<Arc<Household>>, tally: Arc<Tally>) -> Self {
        let (mailboxes, exchanges) = (Mutex::default(), Exchanges::default());
        Self { households, mailboxes, exchanges, tally }
    }

    pub(crate) async fn run(self: Arc<Self>, dice: Dice) -> turmoil::Result {
        for household in &self.households {
            let (house, household) = (Arc::clone(&self), Arc::clone(household));
            tokio::spawn(async move {
                let wake = || house.wake(household.number);
                household.server.append_until_full("command.run", wake).await;
            });
        }
        let anywhere = Ipv4Addr::UNSPECIFIED;
        let sockets = TcpListener::bind((anywhere, WEB_SOCKETS)).await?;
        let exchanges = TcpListener::bind((anywhere, EXCHANGES)).await?;
        let boxed = TcpListener::bind((anywhere, BOX)).await?;
        loop {
            // The order of several that are ready must not be left to chance.
            tokio::select! {
                biased;
                stream = sockets.accept() => {
                    tokio::spawn(Arc::clone(&self).serve(stream?.0, dice.clone()));
                }
                stream = exchanges.accept() => {
                    tokio::spawn(Arc::clone(&self).answer_all(stream?.0, dice.clone()));
                }
                stream = boxed.accept() => {
                    tokio::spawn(Arc::clone(&self).pass(stream?.0, dice.clone()));
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, dice: Dice) {
        let stream = Metered::new(stream);
        let Ok(socket) = accept_async_with_config(stream, Some(limits())).await else { return };
        self.talk(Box::new(Socket::new(socket)), dice).await;
    }

    async fn talk(&self, transport: Box<dyn Transport>, dice: Dice) {
        let config = ServeConfig { dice, ..ServeConfig::default() };
        serve(transport, self, &config, CancellationToken::new()).await;
    }

    async fn pass(self: Arc<Self>, mut stream: TcpStream, dice: Dice) {
        let phase = turmoil::sim_elapsed().unwrap().as_secs() % (BOX_SHUT + BOX_OPEN).as_secs();
        if phase >= BOX_SHUT.as_secs() {
            return self.serve(stream, dice).await;
        }
        let answer = "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n";
        // The agent may have gone meanwhile.
        let _ = stream.write_all(answer.as_bytes()).await;
    }

    async fn answer_all(self: Arc<Self>, stream: TcpStream, dice: Dice) {
        let answer = service_fn(|request| Arc::clone(&self).answer(request, dice.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), answer);
        // One that is cut is dialled again.
        let _ = connection.await;
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        dice: Dice,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let bearer = request.headers()[header::AUTHORIZATION].to_str().unwrap();
        let number: u128 = bearer.trim_start_matches("Bearer ").parse().unwrap();
        let body = request.into_body().collect().await?.to_bytes();
        let house = Arc::clone(&self);
        let open = move |held| {
            house.tally.polled.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move { house.talk(Box::new(held), dice).await });
        };
        let answer = self.exchanges.answer(Uuid::from_u128(number), &body, open).await;
        let (status, body) = match answer {
            Ok(body) => (StatusCode::OK, body),
            Err(ExchangeError::Malformed) => (StatusCode::BAD_REQUEST, Vec::new()),
            Err(_) => (StatusCode::GONE, Vec::new()),
        };
        let mut response = Response::new(Full::new(body.into()));
        *response.status_mut() = status;
        Ok(response)
    }

    fn wake(&self, number: usize) {
        if let Some(mailbox) = self.mailboxes.lock().unwrap().get(&number) {
            mailbox.wake();
        }
    }
}

impl Gate for House {
    type Store = Held;

    async fn admit(&self, hello: Hello) -> Result<Admission<Held>, Reject> {
        let number = hello.incarnation.as_uuid().as_u128() as usize;
        let disk = Arc::clone(&self.households[number].server);
        disk.spin().await;
        let epoch = disk.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let session = self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        disk.trace.note(turmoil::sim_elapsed().unwrap(), ("admit", number, epoch));
        Ok(Admission {
            // The number in front tells whose it is.
            session_id: SessionId::from_uuid(Uuid::from_u64_pair(number as u64, session)),
            epoch,
            store: Arc::new(Held { disk, epoch }),
            states: Vec::new(),
            redial_spread: Duration::from_secs(2),
        })
    }

    async fn opened(&self, mailbox: Mailbox) {
        let number = mailbox.session_id().as_uuid().as_u64_pair().0 as usize;
        let mut mailboxes = self.mailboxes.lock().unwrap();
        if mailboxes.get(&number).is_some_and(|other| other.epoch() > mailbox.epoch()) {
            return mailbox.close(CloseReason::Fenced);
        }
        if let Some(older) = mailboxes.insert(number, mailbox) {
            older.close(CloseReason::Fenced);
        }
    }

    async fn closed(&self, session_id: SessionId, ended: &Ended) {
        let (number, _) = session_id.as_uuid().as_u64_pair();
        let trace = &self.households[number as usize].server.trace;
        trace.note(turmoil::sim_elapsed().unwrap(), ("closed", number, ended.code()));
    }
}
