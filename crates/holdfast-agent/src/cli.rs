//! The command line: parse, call, print.

use std::{collections::BTreeMap, io::Read, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_agent::{
    Directory, EnrolOptions, JoinOptions, LocalOptions, LocalRepository, RunOptions, Trust,
    error::{Advice, report},
};
use holdfast_engine::Restic;
use holdfast_protocol::{dialect::Dialect, message::config::Secret};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use url::Url;

/// The Holdfast agent: keeps this machine backed up.
#[derive(Debug, Parser)]
#[command(name = "holdfast-agent", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this machine a host of a server, with an enrolment token
    Enroll(Enroll),
    /// Make this machine an agent of another system's server
    Join(Box<Join>),
    /// Run the agent until it is stopped
    Run(Run),
    /// Say which host this is and whether the agent runs and is connected
    Status(StatusOf),
}

#[derive(Debug, Args)]
struct Enroll {
    /// The server's address, such as https://backup.example.com
    #[arg(long, value_name = "URL")]
    server: Url,
    /// The enrolment token. Others on this machine may see it while the command runs
    #[arg(
        long,
        value_name = "TOKEN",
        required_unless_present = "token_file",
        conflicts_with = "token_file"
    )]
    token: Option<String>,
    /// A file with the enrolment token; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The agent's directory
    #[arg(long, value_name = "DIR", env = "HOLDFAST_AGENT_DATA")]
    data: PathBuf,
    /// Replace an enrolment that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    trusted: Trusted,
}

/// Whom to trust at the other end.
#[derive(Debug, Args)]
struct Trusted {
    /// Allow an address with http on another machine: the token can be read on the way
    #[arg(long)]
    allow_plaintext: bool,
    /// A PEM file with the certificate authority that signed the server's certificate; it is
    /// trusted besides the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Trust only the server whose public key has this SHA-256, whoever signed its certificate
    #[arg(long, value_name = "sha256//BASE64")]
    pin: Option<String>,
}

impl Trusted {
    fn trust(self) -> Result<Trust, Told> {
        let authorities = self.ca_file.as_deref().map(read_pem).transpose()?;
        Ok(Trust { authorities, pin: self.pin })
    }
}

#[derive(Debug, Args)]
struct Join {
    /// The words that the server speaks
    #[arg(long, value_enum)]
    dialect: Words,
    /// The server's address, such as https://backup.example.com
    #[arg(long, value_name = "URL")]
    server: Url,
    /// A file with what the server gave out for this agent; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The agent's id at the server; NerdBackup has one
    #[arg(long, value_name = "ID", default_value = "")]
    agent_id: String,
    /// The agent's name at the server; the machine's own when absent
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    /// The repository that backups go to, for a server that does not say so
    #[arg(long, value_name = "LOCATION", requires = "password_file")]
    repository: Option<String>,
    /// A file with that repository's password
    #[arg(long, value_name = "FILE", requires = "repository")]
    password_file: Option<PathBuf>,
    /// What to back up under a name of the server's, as NAME=PATH. May be given several times
    #[arg(long = "group", value_name = "NAME=PATH", value_parser = group)]
    groups: Vec<(String, String)>,
    /// The agent's directory
    #[arg(long, value_name = "DIR", env = "HOLDFAST_AGENT_DATA")]
    data: PathBuf,
    /// Replace an enrolment that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    trusted: Trusted,
}

/// The words of another system's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Words {
    Backupy,
    Envelope,
    Nerdbackup,
}

fn group(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && path.starts_with('/') => {
            Ok((name.to_owned(), path.to_owned()))
        }
        _ => Err("give NAME=/PATH".to_owned()),
    }
}

#[derive(Debug, Args)]
struct Run {
    /// The agent's directory
    #[arg(long, value_name = "DIR", env = "HOLDFAST_AGENT_DATA")]
    data: PathBuf,
    /// The restic to use, instead of the first on the PATH
    #[arg(long, value_name = "PATH")]
    restic: Option<PathBuf>,
    /// Serve the agent's own socket at /ws, for scripts and pages on this machine
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8080")]
    local_socket: Option<SocketAddr>,
    /// An origin of pages that may use that socket, such as http://localhost:3000
    #[arg(long, value_name = "ORIGIN", requires = "local_socket")]
    local_origin: Vec<String>,
    /// How to write the log, which goes to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
struct StatusOf {
    /// The agent's directory
    #[arg(long, value_name = "DIR", env = "HOLDFAST_AGENT_DATA")]
    data: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// A failure that has its text for people already.
pub(crate) struct Told(pub(crate) String);

impl<E: Advice> From<E> for Told {
    fn from(error: E) -> Self {
        Self(report(&error))
    }
}

impl Cli {
    /// Does what was asked.
    pub(crate) async fn execute(self) -> Result<(), Told> {
        match self.command {
            Command::Enroll(args) => enroll(args).await,
            Command::Join(args) => join(*args).await,
            Command::Run(args) => run(args).await,
            Command::Status(args) => status(&args),
        }
    }
}

async fn enroll(args: Enroll) -> Result<(), Told> {
    let token = token(args.token, args.token_file)?;
    let options = EnrolOptions {
        server: args.server,
        token,
        data: args.data,
        allow_plaintext: args.trusted.allow_plaintext,
        trust: args.trusted.trust()?,
        force: args.force,
    };
    let enrolment = holdfast_agent::enroll(&options).await?;
    println!("enrolled as host {} of {}", enrolment.host_name, enrolment.server);
    if let Err(error) = Restic::discover(None).await {
        eprintln!("warning: {error}\n  what to do: {}", error.action());
    }
    println!("now run: holdfast-agent run --data {}", options.data.display());
    Ok(())
}

fn read_pem(path: &std::path::Path) -> Result<String, Told> {
    std::fs::read_to_string(path).map_err(|error| {
        let sentence = format!("the file {} cannot be read: {error}", path.display());
        told(&sentence, "give --ca-file a PEM file that begins with BEGIN CERTIFICATE")
    })
}

async fn join(args: Join) -> Result<(), Told> {
    let token = token(None, Some(args.token_file))?;
    let password = args.password_file.map(|file| self::token(None, Some(file))).transpose()?;
    let repository = args.repository.zip(password);
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, path) in args.groups {
        groups.entry(name).or_default().push(path);
    }
    let options = JoinOptions {
        dialect: match args.dialect {
            Words::Backupy => Dialect::Backupy,
            Words::Envelope => Dialect::Envelope,
            Words::Nerdbackup => Dialect::Nerdbackup,
        },
        server: args.server,
        token,
        agent_id: args.agent_id,
        name: args.name,
        repository: repository
            .map(|(url, password)| LocalRepository { url: Secret::new(url), password }),
        groups,
        data: args.data,
        allow_plaintext: args.trusted.allow_plaintext,
        trust: args.trusted.trust()?,
        force: args.force,
    };
    let enrolment = holdfast_agent::join(&options).await?;
    println!("joined {} as {}", enrolment.server, enrolment.host_name);
    println!("now run: holdfast-agent run --data {}", options.data.display());
    Ok(())
}

/// The token, from wherever it was to come, without the line end that editors add.
fn token(given: Option<String>, file: Option<PathBuf>) -> Result<Secret, Told> {
    let text = match (given, file) {
        (Some(text), _) => text,
        (None, Some(path)) => read_token(&path)?,
        (None, None) => String::new(),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(told(
            "the enrolment token is empty",
            "give the token as the server printed it",
        ));
    }
    Ok(Secret::new(text))
}

fn read_token(path: &std::path::Path) -> Result<String, Told> {
    let mut text = String::new();
    let outcome = if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    outcome.map_err(|error| {
        let sentence = format!("the token file {} cannot be read: {error}", path.display());
        told(&sentence, "check the path and the permissions")
    })
}

fn told(sentence: &str, advice: &str) -> Told {
    Told(format!("error: {sentence}\n  what to do: {advice}"))
}

async fn run(args: Run) -> Result<(), Told> {
    start_log(args.log_format);
    let stop = CancellationToken::new();
    let again = stop_on_signals(stop.clone())?;
    let origins = args.local_origin;
    let local = args.local_socket.map(|listen| LocalOptions { listen, origins });
    let options = RunOptions { data: args.data, restic: args.restic, local };
    let agent = holdfast_agent::run(options, stop, |enrolment| {
        println!("connected to {} as host {}", enrolment.server, enrolment.host_name);
    });
    tokio::select! {
        biased;
        outcome = agent => outcome.map_err(Told::from),
        // Dropping the agent kills its restics; the journal tells the next start.
        () = again.cancelled() => {
            Err(told("stopped without waiting for running jobs", "they end as interrupted"))
        }
    }
}

/// The first SIGTERM or SIGINT cancels `stop`; a second one the token that is returned.
fn stop_on_signals(stop: CancellationToken) -> Result<CancellationToken, Told> {
    let listen = |kind| {
        signal(kind).map_err(|error| {
            told(&format!("signals cannot be received: {error}"), "start the agent again")
        })
    };
    let mut term = listen(SignalKind::terminate())?;
    let mut int = listen(SignalKind::interrupt())?;
    let again = CancellationToken::new();
    let second = again.clone();
    tokio::spawn(async move {
        for token in [stop, second] {
            tokio::select! {
                _ = term.recv() => tracing::info!("SIGTERM received"),
                _ = int.recv() => tracing::info!("SIGINT received"),
            }
            token.cancel();
        }
    });
    Ok(again)
}

fn start_log(format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It fails only when there is a log already, and then there is one.
    let _ = match format {
        LogFormat::Text => {
            log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
        LogFormat::Json => log.json().try_init(),
    };
}

fn status(args: &StatusOf) -> Result<(), Told> {
    let directory = Directory::existing(&args.data);
    let enrolment = directory.enrolment()?;
    let running = directory.is_in_use();
    let said = directory.status()?.filter(|_| running);
    if args.json {
        let answer = serde_json::json!({
            "host_id": enrolment.host_id,
            "host_name": enrolment.host_name,
            "server": enrolment.server,
            "running": running,
            "connected": said.as_ref().is_some_and(|said| said.connected),
            "transport": said.as_ref().and_then(|said| said.transport.clone()),
            "last_error": said.as_ref().and_then(|said| said.last_error.clone()),
            "restic_version": said.as_ref().map(|said| said.restic_version.clone()),
        });
        println!("{answer}");
        return Ok(());
    }
    println!("host {} of {}", enrolment.host_name, enrolment.server);
    match said {
        None => println!("the agent is not running"),
        Some(said) if said.connected => {
            let road = match said.transport.as_deref() {
                Some("long_poll") => " over long polls: no WebSocket passes on the way",
                _ => "",
            };
            println!("running (process {}) and connected{road}", said.pid);
        }
        Some(said) => {
            let why = said.last_error.unwrap_or_else(|| "dialling".to_owned());
            println!("running (process {}), not connected: {why}", said.pid);
        }
    }
    Ok(())
}
