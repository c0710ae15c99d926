//! Enrolment: an enrolment token, good for one use, becomes an agent token.

use std::{path::PathBuf, time::Duration};

use holdfast_protocol::{ENROL_PATH, HostId, Incarnation, message::config::Secret};
use reqwest::{StatusCode, redirect};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::{
    config::{Directory, DirectoryError, Enrolment},
    error::{Advice, chain},
    facts,
    state::{self, OpenError, State},
    trust::{Trust, TrustError},
};

/// How long the server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long reaching the server may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// What [`enroll`] is asked to do.
#[derive(Debug, Clone)]
pub struct EnrolOptions {
    /// The server's address, with `http` or `https`.
    pub server: Url,
    /// The enrolment token.
    pub token: Secret,
    /// The agent's directory.
    pub data: PathBuf,
    /// Whether the token and the link may go unencrypted to another machine.
    pub allow_plaintext: bool,
    /// Whom to trust at the other end.
    pub trust: Trust,
    /// Whether an enrolment that is there may be replaced.
    pub force: bool,
}

/// Why an enrolment did not work. Nothing has been changed on this machine then.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The address has no host, or another scheme than `http` and `https`.
    #[error("`{url}` is not the address of a server")]
    BadUrl {
        /// The address, without credentials.
        url: String,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(DirectoryError),
    /// There is an enrolment already.
    #[error("this agent is already enrolled as host {host_name} of {server}")]
    Enrolled {
        /// The host it is.
        host_name: String,
        /// The server it belongs to.
        server: Url,
    },
    /// The token would cross a network in the clear.
    #[error("the address {url} is not encrypted: the token could be read on the way")]
    Plaintext {
        /// The address.
        url: Url,
    },
    /// The server refused for a reason of its own.
    #[error("the server refused the enrolment: {title}")]
    Refused {
        /// The server's sentence.
        title: String,
        /// The server's advice.
        action: String,
    },
    /// The local state could not be opened or written.
    #[error("the agent's state cannot be written")]
    State {
        /// What the disk or the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The token was good once and its time is over.
    #[error("the enrolment token has expired")]
    TokenExpired,
    /// The server does not know the token.
    #[error("the server does not know this enrolment token")]
    TokenInvalid,
    /// The token has been redeemed before.
    #[error("the enrolment token has already been used")]
    TokenUsed,
    /// What is to be trusted makes no sense.
    #[error(transparent)]
    Trust(TrustError),
    /// Something answered that is not a Holdfast server.
    #[error("{url} answered, but not as a Holdfast server does ({what})")]
    Unexpected {
        /// The address asked.
        url: Url,
        /// What came instead.
        what: String,
    },
    /// No answer.
    #[error("the server at {url} cannot be reached: {cause}")]
    Unreachable {
        /// The address.
        url: Url,
        /// The innermost cause, such as `Connection refused`.
        cause: String,
    },
}

impl Advice for EnrolError {
    fn advice(&self) -> String {
        match self {
            Self::BadUrl { .. } => "give an address such as https://backup.example.com".to_owned(),
            Self::Directory(error) => error.advice(),
            Self::Enrolled { .. } => {
                "run `holdfast-agent run`, or enrol again with --force".to_owned()
            }
            Self::Plaintext { .. } => {
                "use https, or add --allow-plaintext on a network you trust".to_owned()
            }
            Self::Refused { action, .. } => action.clone(),
            Self::State { .. } => {
                "check the disk's free space and the data directory's permissions".to_owned()
            }
            Self::TokenExpired | Self::TokenInvalid | Self::TokenUsed => {
                "get a new token on the server with `holdfast host renew HOST` or in the \
                 dashboard; each works once, for an hour"
                    .to_owned()
            }
            Self::Trust(error) => error.advice(),
            Self::Unexpected { .. } => "check the address given with --server".to_owned(),
            Self::Unreachable { .. } => {
                "check the address, and that the server runs and can be reached from here"
                    .to_owned()
            }
        }
    }
}

/// Redeems the token and stores who this agent now is.
///
/// # Errors
/// [`EnrolError`]; then what was stored before is as it was.
pub async fn enroll(options: &EnrolOptions) -> Result<Enrolment, EnrolError> {
    check_url(&options.server, options.allow_plaintext)?;
    // Before anything is made: a wrong file or pin costs nothing.
    let client = client(&options.trust)?;
    let directory = Directory::create(&options.data).map_err(EnrolError::Directory)?;
    let _lock = directory.lock().map_err(EnrolError::Directory)?;
    let earlier = earlier_enrolment(&directory, options.force)?;
    let state = State::open(&directory.state_path()).map_err(|error| local(error_of(error)))?;

    // Every enrolment gets a new outbox: the server that takes it has seen nothing of an older one.
    let incarnation = state::mint();
    let answer = redeem(options, client, incarnation).await?;
    let enrolment = Enrolment {
        server: options.server.clone(),
        connect_path: answer.connect_path,
        host_id: answer.host_id,
        host_name: answer.host_name,
        allow_plaintext: options.allow_plaintext,
        trust: options.trust.clone(),
        dialect: None,
    };
    let keep = earlier.is_some_and(|earlier| earlier.host_id == enrolment.host_id);
    state.begin_incarnation(incarnation, keep).await.map_err(|error| local(error.into()))?;
    directory.store_enrolment(&enrolment, &answer.agent_token).map_err(EnrolError::Directory)?;
    Ok(enrolment)
}

fn local(source: Box<dyn std::error::Error + Send + Sync>) -> EnrolError {
    EnrolError::State { source }
}

fn error_of(error: OpenError) -> Box<dyn std::error::Error + Send + Sync> {
    error.into()
}

/// The enrolment that is there, if it may be replaced. A damaged one may.
pub(crate) fn earlier_enrolment(
    directory: &Directory,
    force: bool,
) -> Result<Option<Enrolment>, EnrolError> {
    match directory.enrolment() {
        Ok(Enrolment { host_name, server, .. }) if !force => {
            Err(EnrolError::Enrolled { host_name, server })
        }
        Ok(enrolment) => Ok(Some(enrolment)),
        Err(DirectoryError::NotEnrolled { .. }) => Ok(None),
        Err(DirectoryError::Damaged { .. }) if force => Ok(None),
        Err(error) => Err(EnrolError::Directory(error)),
    }
}

pub(crate) fn check_url(url: &Url, allow_plaintext: bool) -> Result<(), EnrolError> {
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_web {
        return Err(EnrolError::BadUrl { url: without_credentials(url) });
    }
    if url.scheme() == "http" && !is_loopback(url) && !allow_plaintext {
        return Err(EnrolError::Plaintext { url: url.clone() });
    }
    Ok(())
}

fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that cannot hold credentials.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.to_string()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[derive(Serialize)]
struct Request<'a> {
    token: &'a str,
    incarnation: Incarnation,
    hostname: String,
    os: String,
    arch: String,
    agent_version: String,
}

#[derive(Deserialize)]
struct Answer {
    host_id: HostId,
    host_name: String,
    agent_token: Secret,
    connect_path: String,
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    action: String,
}

async fn redeem(
    options: &EnrolOptions,
    client: reqwest::ClientBuilder,
    incarnation: Incarnation,
) -> Result<Answer, EnrolError> {
    let url = endpoint(&options.server);
    let facts = facts::collect("");
    let request = Request {
        token: options.token.expose(),
        incarnation,
        hostname: facts.hostname,
        os: facts.os,
        arch: facts.arch,
        agent_version: facts.agent_version,
    };
    let unreachable = |error: reqwest::Error| EnrolError::Unreachable {
        url: options.server.clone(),
        cause: innermost(&error),
    };
    let client = client.build().map_err(unreachable)?;
    let response = client.post(url.clone()).json(&request).send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    if status == StatusCode::CREATED {
        return serde_json::from_slice(&body)
            .map_err(|_| EnrolError::Unexpected { url, what: "an unreadable answer".to_owned() });
    }
    Err(refusal(url, status, &body))
}

/// No redirects: the token goes where the person said and nowhere else.
fn client(trust: &Trust) -> Result<reqwest::ClientBuilder, EnrolError> {
    let client = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN);
    if trust.is_empty() {
        return Ok(client);
    }
    let tls = trust.client_config().map_err(EnrolError::Trust)?;
    Ok(client.tls_backend_preconfigured((*tls).clone()))
}

/// The enrolment endpoint below the server's address, which may have a path of its own.
fn endpoint(server: &Url) -> Url {
    let mut url = server.clone();
    url.set_path(&format!("{}{ENROL_PATH}", server.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    url
}

fn refusal(url: Url, status: StatusCode, body: &[u8]) -> EnrolError {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    match problem.code.as_str() {
        "enrolment_token_invalid" => EnrolError::TokenInvalid,
        "enrolment_token_used" => EnrolError::TokenUsed,
        "enrolment_token_expired" => EnrolError::TokenExpired,
        "" => EnrolError::Unexpected { url, what: format!("HTTP {status}") },
        _ => EnrolError::Refused { title: problem.title, action: problem.action },
    }
}

/// The cause at the bottom of the chain: what the system said, without the layers above it.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    holdfast_link::dial::tls_trouble(cause).unwrap_or_else(|| chain(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn the_endpoint_keeps_the_path_the_server_lives_under() {
        let at = |text| endpoint(&url(text)).to_string();
        assert_eq!(at("https://a.example"), "https://a.example/api/v1/agent/enrol");
        assert_eq!(
            at("https://a.example/backup/?x=1"),
            "https://a.example/backup/api/v1/agent/enrol"
        );
    }

    #[test]
    fn plain_http_leaves_this_machine_only_when_allowed() {
        for near in
            ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "https://a.example"]
        {
            assert!(check_url(&url(near), false).is_ok(), "{near}");
        }
        let far = url("http://backup.example");
        assert!(matches!(check_url(&far, false), Err(EnrolError::Plaintext { .. })));
        assert!(check_url(&far, true).is_ok());
    }

    #[test]
    fn other_schemes_are_refused_without_echoing_credentials() {
        let error = check_url(&url("ftp://me:canary@a.example"), true).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}
