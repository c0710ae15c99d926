//! Push messages to a phone: ntfy and Gotify.

use holdfast_protocol::message::config::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    HttpChannel, Note, Post, SendError, Unfit, below, is_for_people, one_line, origin, stored, web,
};
use crate::alert::Severity;

/// ntfy, on ntfy.sh or a server of one's own.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ntfy {
    /// The server, such as `https://ntfy.sh`.
    pub url: String,
    /// The topic. Who knows it can read along.
    pub topic: String,
    /// An access token, when the topic needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub token: Option<Secret>,
}

/// Gotify, on a server of one's own.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Gotify {
    /// The server.
    pub url: String,
    /// The application's token.
    #[schema(value_type = String)]
    pub token: Secret,
}

impl Ntfy {
    pub(super) fn check(&self) -> Result<(), Unfit> {
        web("url", &self.url)?;
        one_line("topic", &self.topic)?;
        self.token.as_ref().map_or(Ok(()), |token| one_line("token", token.expose()))
    }
}

impl HttpChannel for Ntfy {
    fn request(&self, note: &Note) -> Result<Option<Post>, SendError> {
        if !is_for_people(note) {
            return Ok(None);
        }
        let (priority, tag) = match note.severity {
            Severity::Critical => (5, "rotating_light"),
            Severity::Warning => (4, "warning"),
            Severity::Info => (3, "white_check_mark"),
        };
        let message = json!({
            "topic": self.topic, "title": note.title, "message": note.text,
            "priority": priority, "tags": [tag],
        });
        let post = Post::json(stored(&self.url)?, &message);
        match &self.token {
            Some(token) => {
                post.header("authorization", &format!("Bearer {}", token.expose())).map(Some)
            }
            None => Ok(Some(post)),
        }
    }

    fn target(&self) -> String {
        format!("{}/{}", origin(&self.url), self.topic)
    }
}

impl Gotify {
    pub(super) fn check(&self) -> Result<(), Unfit> {
        web("url", &self.url)?;
        one_line("token", self.token.expose())
    }
}

impl HttpChannel for Gotify {
    fn request(&self, note: &Note) -> Result<Option<Post>, SendError> {
        if !is_for_people(note) {
            return Ok(None);
        }
        let priority = match note.severity {
            Severity::Critical => 8,
            Severity::Warning => 5,
            Severity::Info => 2,
        };
        let message = json!({ "title": note.title, "message": note.text, "priority": priority });
        let url = below(&stored(&self.url)?, &["message"]);
        Post::json(url, &message).header("x-gotify-key", self.token.expose()).map(Some)
    }

    fn target(&self) -> String {
        origin(&self.url)
    }
}
