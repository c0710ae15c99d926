//! Messages in a chat: Slack, Discord, Telegram.

use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    HttpChannel, Note, Post, SendError, Unfit, below, bounded, is_for_people, one_line, origin,
    stored, web,
};

/// An incoming webhook of Slack, or of what speaks like it (Mattermost, Rocket.Chat).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// The webhook's address, which is its key too.
    #[schema(value_type = String)]
    pub url: Secret,
}

/// A webhook of Discord.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discord {
    /// The webhook's address, which is its key too.
    #[schema(value_type = String)]
    pub url: Secret,
}

/// A bot of Telegram.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Telegram {
    /// The bot's token.
    #[schema(value_type = String)]
    pub token: Secret,
    /// The chat, by number or `@name`.
    pub chat_id: String,
    /// A Bot API server of one's own.
    #[serde(default = "telegram")]
    pub url: String,
}

fn telegram() -> String {
    "https://api.telegram.org".to_owned()
}

/// The longest messages, in characters.
const SLACK_MAX: usize = 3000;
const DISCORD_MAX: usize = 2000;
const TELEGRAM_MAX: usize = 4096;

impl Slack {
    pub(super) fn check(&self) -> Result<(), Unfit> {
        web("url", self.url.expose()).map(drop)
    }
}

impl HttpChannel for Slack {
    fn request(&self, note: &Note) -> Result<Option<Post>, SendError> {
        if !is_for_people(note) {
            return Ok(None);
        }
        // A host named `<!channel>` must not call everybody together.
        let text = note.whole().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let url = stored(self.url.expose())?;
        Ok(Some(Post::json(url, &json!({ "text": bounded(&text, SLACK_MAX) }))))
    }

    fn target(&self) -> String {
        origin(self.url.expose())
    }
}

impl Discord {
    pub(super) fn check(&self) -> Result<(), Unfit> {
        web("url", self.url.expose()).map(drop)
    }
}

impl HttpChannel for Discord {
    fn request(&self, note: &Note) -> Result<Option<Post>, SendError> {
        if !is_for_people(note) {
            return Ok(None);
        }
        let message = json!({
            "content": bounded(&note.whole(), DISCORD_MAX),
            // Nobody is called together by a name in the text.
            "allowed_mentions": { "parse": [] },
        });
        Ok(Some(Post::json(stored(self.url.expose())?, &message)))
    }

    fn target(&self) -> String {
        origin(self.url.expose())
    }
}

impl Telegram {
    pub(super) fn check(&self) -> Result<(), Unfit> {
        web("url", &self.url)?;
        one_line("chat_id", &self.chat_id)?;
        one_line("token", self.token.expose())
    }
}

impl HttpChannel for Telegram {
    fn request(&self, note: &Note) -> Result<Option<Post>, SendError> {
        if !is_for_people(note) {
            return Ok(None);
        }
        let bot = format!("bot{}", self.token.expose());
        let url = below(&stored(&self.url)?, &[&bot, "sendMessage"]);
        // Without a parse mode the text is taken as it is.
        let message = json!({
            "chat_id": self.chat_id, "text": bounded(&note.whole(), TELEGRAM_MAX),
        });
        Ok(Some(Post::json(url, &message)))
    }

    fn target(&self) -> String {
        format!("{} to {}", origin(&self.url), self.chat_id)
    }
}
