//! Ways to tell people: one set of settings each, and what makes a request of a note.
//!
//! All but mail are one HTTP POST, so all a kind has to say is what is posted where.

mod address;
mod chat;
mod mail;
mod ping;
mod push;
mod webhook;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::{
    note::{Event, Note},
    wire::{Post, SendError, Wire},
};

pub use chat::{Discord, Slack, Telegram};
pub use mail::{Mail, Tls};
pub use ping::Ping;
pub use push::{Gotify, Ntfy};
pub use webhook::Webhook;

/// How a channel is set. It holds secrets and is never shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = ChannelSettings)]
pub enum Settings {
    /// A message in a Discord channel.
    Discord(Discord),
    /// A push message by Gotify.
    Gotify(Gotify),
    /// A mail.
    Mail(Mail),
    /// A push message by ntfy.
    Ntfy(Ntfy),
    /// Pings of every job's beginning and end, as healthchecks.io and its kin take them.
    Ping(Ping),
    /// A message in a Slack channel.
    Slack(Slack),
    /// A message by a Telegram bot.
    Telegram(Telegram),
    /// A signed JSON document to any address.
    Webhook(Webhook),
}

/// A kind of channel that is one HTTP POST.
trait HttpChannel {
    /// The request that tells `note`; `None` when this channel does not tell such things.
    fn request(&self, note: &Note) -> Result<Option<Post>, SendError>;
    /// Where it goes, for people: without anything secret.
    fn target(&self) -> String;
}

/// Why settings cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the address cannot be used: {0}")]
    Address(&'static str),
    #[error("`{0}` is not an http or https address")]
    Url(&'static str),
    #[error("`{0}` is empty or has more than one line")]
    Text(&'static str),
    #[error("the template is not JSON once its placeholders are filled in")]
    Template,
    #[error("`{0}` is not a mail address")]
    MailAddress(String),
    #[error("a name and password are given, but the connection would not be encrypted")]
    PlainPassword,
}

impl Settings {
    /// The settings that an address in the words of Apprise stands for; checked.
    pub(crate) fn from_address(address: &str) -> Result<Self, Unfit> {
        address::read(address)
    }

    /// The word in the API and in the store.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Discord(_) => "discord",
            Self::Gotify(_) => "gotify",
            Self::Mail(_) => "mail",
            Self::Ntfy(_) => "ntfy",
            Self::Ping(_) => "ping",
            Self::Slack(_) => "slack",
            Self::Telegram(_) => "telegram",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Where it goes, for people: without anything secret.
    pub(crate) fn target(&self) -> String {
        match self.http() {
            Some(channel) => channel.target(),
            None => self.mail().map(Mail::target).unwrap_or_default(),
        }
    }

    /// Checks what can be checked without sending.
    pub(crate) fn check(&self) -> Result<(), Unfit> {
        match self {
            Self::Discord(it) => it.check(),
            Self::Gotify(it) => it.check(),
            Self::Mail(it) => it.check(),
            Self::Ntfy(it) => it.check(),
            Self::Ping(it) => it.check(),
            Self::Slack(it) => it.check(),
            Self::Telegram(it) => it.check(),
            Self::Webhook(it) => it.check(),
        }
    }

    /// Tells `note`.
    pub(crate) async fn send(&self, wire: &Wire, note: &Note) -> Result<(), SendError> {
        if let Some(mail) = self.mail() {
            return mail.send(wire.guard(), note).await;
        }
        let request = self.http().map(|channel| channel.request(note)).transpose()?;
        match request.flatten() {
            Some(post) => wire.post(post).await,
            None => Ok(()),
        }
    }

    fn http(&self) -> Option<&dyn HttpChannel> {
        match self {
            Self::Discord(it) => Some(it),
            Self::Gotify(it) => Some(it),
            Self::Ntfy(it) => Some(it),
            Self::Ping(it) => Some(it),
            Self::Slack(it) => Some(it),
            Self::Telegram(it) => Some(it),
            Self::Webhook(it) => Some(it),
            Self::Mail(_) => None,
        }
    }

    fn mail(&self) -> Option<&Mail> {
        match self {
            Self::Mail(mail) => Some(mail),
            _ => None,
        }
    }
}

fn web(field: &'static str, text: &str) -> Result<Url, Unfit> {
    let url = Url::parse(text).map_err(|_| Unfit::Url(field))?;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host();
    if plain { Ok(url) } else { Err(Unfit::Url(field)) }
}

/// A stored address. It was checked when it came in.
fn stored(text: &str) -> Result<Url, SendError> {
    web("url", text).map_err(|_| SendError::Settings("its address cannot be read"))
}

/// `base` with `segments` after its path; its query stays.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// Scheme, host and port: what follows them is often a secret.
fn origin(text: &str) -> String {
    web("url", text).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

fn one_line(field: &'static str, text: &str) -> Result<(), Unfit> {
    let fine = !text.trim().is_empty() && text.len() <= 4096 && !text.contains(['\n', '\r', '\0']);
    if fine { Ok(()) } else { Err(Unfit::Text(field)) }
}

/// `text`, at most `max` characters of it.
fn bounded(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// Alerts, digests and tests are for people; jobs are for pings.
fn is_for_people(note: &Note) -> bool {
    matches!(note.event, Event::Opened | Event::Resolved | Event::Digest | Event::Test)
}

#[cfg(test)]
mod tests;
