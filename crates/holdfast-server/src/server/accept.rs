//! Connections: accepted, bounded in number and patience, and ended gracefully.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// Connections at once, links and browsers included. What comes beyond is closed at once: an agent
/// backs off and tries again.
const CONNECTIONS_MAX: usize = 20_000;
/// How long a client may take for the first line and the headers of a request, and how long it may
/// keep a connection open between requests.
const HEADER_READ_MAX: Duration = Duration::from_secs(10);
/// After a failed accept (out of file descriptors) the next one would fail too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening side of a server.
pub(super) struct Front {
    no_more: CancellationToken,
    tasks: TaskTracker,
}

impl Front {
    pub(super) fn spawn(listener: TcpListener, router: Router) -> Self {
        let (no_more, tasks) = (CancellationToken::new(), TaskTracker::new());
        let accepting = accept(listener, router, no_more.clone(), tasks.clone());
        tasks.spawn(accepting);
        Self { no_more, tasks }
    }

    /// Accepts nothing more, lets requests under way finish, and closes their connections.
    pub(super) async fn finish(self) {
        self.no_more.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    no_more: CancellationToken,
    tasks: TaskTracker,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(accepted) = no_more.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(permit) => {
                    let connection = Counted { stream, _permit: permit };
                    tasks.spawn(serve(connection, peer, router.clone(), no_more.clone()));
                }
                Err(_) => tracing::warn!(%peer, "too many connections: one was closed"),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection. HTTP/1.1 only: without TLS no browser speaks HTTP/2, and hyper's protocol
/// detection would wait for the first bytes without a limit.
async fn serve(connection: Counted, peer: SocketAddr, router: Router, no_more: CancellationToken) {
    if let Err(error) = holdfast_link::transport::tcp::tune(&connection.stream) {
        tracing::debug!(%peer, %error, "the connection ended before it was served");
        return;
    }
    let service = service_fn(move |request| answer(router.clone(), peer, request));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_MAX)
        .serve_connection(TokioIo::new(connection), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        () = no_more.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}

fn answer(
    router: Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request)
}

/// A connection that counts for as long as it is open, also after it became a WebSocket.
struct Counted {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
