//! `holdfast server`.

use std::{io::IsTerminal, process::ExitCode};

use holdfast_server::{
    ServerConfig,
    server::{self, Ready},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{LogFormat, Server},
    failure::{Failure, chain, sentence},
    output::print,
};

/// Runs the control plane until SIGINT or SIGTERM.
pub(super) fn run(args: &Server) -> Result<ExitCode, Failure> {
    log_to_stderr(args.log_format)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(
            format!("The server could not start: {}.", chain(&error)),
            "Check this user's limits on open files and processes (`ulimit -a`).",
        )
    })?;
    runtime.block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

/// Every agent and every browser is an open file, and the usual soft limit of 1,024 is for programs
/// that use `select`. What the administrator allows at most is taken whole.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok((soft, hard))
    });
    match raised {
        Ok((soft, hard)) => {
            tracing::info!(before = soft, now = hard, "open files, which bound the connections");
        }
        Err(error) => tracing::warn!(%error, "the limit on open files could not be raised"),
    }
}

async fn serve(args: &Server) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let data_dir = args
        .data
        .clone()
        .ok_or_else(|| Failure::new("No data directory is named.", "Name it with --data."))?;
    let config = ServerConfig {
        data_dir,
        listen: args.listen.clone(),
        notify_allow: args.notify_allow.clone(),
        trusted_proxies: args.trusted_proxy.clone(),
        host_names: args.host_name.clone(),
        metrics_public: args.metrics_public,
    };
    tokio::select! {
        biased;
        () = second_signal(&stop) => Err(Failure::new(
            "A second signal came while the server was stopping.",
            "Nothing is lost: agents repeat what was not acknowledged. Send one signal and wait.",
        )),
        ended = server::run(config, stop.clone(), announce) => ended
            .map_err(|error| Failure::new(sentence(&chain(&error)), error.action())),
    }
}

/// Tells where the server listens; scripts wait for this line. The setup code is told here and
/// nowhere else: who can read it is on the machine, and not only at the other end of the network.
#[expect(clippy::needless_pass_by_value, reason = "the server hands it over")]
fn announce(ready: Ready) {
    let address = ready.address;
    let mut text = format!("listening on http://{address}\n");
    if let Some(code) = &ready.setup_code {
        let code = code.expose();
        text += &format!("nobody can sign in yet: open that page and give the setup code {code}\n");
    }
    print(&text);
}

/// Asks for a graceful end at the first signal, and returns at the second.
async fn second_signal(stop: &CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be received; only SIGKILL will end the server");
        return std::future::pending().await;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    }
}

fn log_to_stderr(format: LogFormat) -> Result<(), Failure> {
    let directives = std::env::var("HOLDFAST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        Failure::new(
            format!("HOLDFAST_LOG is not a log filter: {error}."),
            "Set it to `error`, `warn`, `info`, `debug`, or `holdfast_server=debug`.",
        )
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
