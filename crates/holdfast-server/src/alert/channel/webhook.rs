//! A JSON document to any address, signed.

use hmac::{Hmac, KeyInit, Mac};
use holdfast_protocol::message::config::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    HttpChannel, Note, Post, SendError, Unfit, is_for_people, one_line, origin, stored, web,
};
use crate::alert::Severity;

/// A webhook.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where the document is posted.
    #[schema(value_type = String)]
    pub url: Secret,
    /// Signs the document: `X-Holdfast-Signature: t=SECONDS,v1=HEX`, the HMAC-SHA256 of
    /// `SECONDS.BODY`. Absent leaves it unsigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub secret: Option<Secret>,
    /// The document, JSON with `{{event}}`, `{{severity}}`, `{{title}}`, `{{text}}`, `{{rule}}`,
    /// `{{alert_id}}` and `{{at}}` inside its strings. Absent sends all that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

impl Webhook {
    pub(super) fn check(&self) -> Result<(), Unfit> {
        web("url", self.url.expose())?;
        if let Some(secret) = &self.secret {
            one_line("secret", secret.expose())?;
        }
        let Some(template) = &self.template else { return Ok(()) };
        // With everything in it that could break out of a string.
        let hard = Note {
            title: "\"}\\\n{{text}}".to_owned(),
            ..Note::test(Uuid::nil(), "x", Timestamp::UNIX_EPOCH)
        };
        let filled = fill(template, &hard);
        serde_json::from_str::<serde_json::Value>(&filled).map(drop).map_err(|_| Unfit::Template)
    }

    fn document(&self, note: &Note) -> Vec<u8> {
        if let Some(template) = &self.template {
            return fill(template, note).into_bytes();
        }
        let document = json!({
            "event": note.event,
            "delivery_id": note.id,
            "severity": note.severity,
            "title": note.title,
            "text": note.text,
            "at": note.at,
            "alert": note.alert,
        });
        document.to_string().into_bytes()
    }
}

impl HttpChannel for Webhook {
    fn request(&self, note: &Note) -> Result<Option<Post>, SendError> {
        if !is_for_people(note) {
            return Ok(None);
        }
        let url = stored(self.url.expose())?;
        let post = Post::new(url, "application/json", self.document(note))
            .header("x-holdfast-event", note.event.as_str())?
            .header("x-holdfast-delivery", &note.id.to_string())?;
        let Some(secret) = &self.secret else { return Ok(Some(post)) };
        let seconds = note.at.as_second();
        let signature = sign(secret, seconds, post.body());
        post.header("x-holdfast-signature", &format!("t={seconds},v1={signature}")).map(Some)
    }

    fn target(&self) -> String {
        origin(self.url.expose())
    }
}

/// The HMAC-SHA256 of the time and the body, in hexadecimal. With the time in it, an old document
/// cannot be sent again by somebody else.
pub(super) fn sign(secret: &Secret, seconds: i64, body: &[u8]) -> String {
    let key = secret.expose().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts values into the template's placeholders, in one go: a value is never searched for others.
fn fill(template: &str, note: &Note) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((name, tail)) = after.split_once("}}") else {
            filled.push_str("{{");
            rest = after;
            break;
        };
        match value(name.trim(), note) {
            Some(value) => filled.push_str(&escaped(&value)),
            None => filled.push_str(&format!("{{{{{name}}}}}")),
        }
        rest = tail;
    }
    filled.push_str(rest);
    filled
}

fn value(name: &str, note: &Note) -> Option<String> {
    let alert = note.alert.as_ref();
    Some(match name {
        "event" => note.event.as_str().to_owned(),
        "severity" => Severity::as_str(note.severity).to_owned(),
        "title" => note.title.clone(),
        "text" => note.text.clone(),
        "rule" => alert.map(|alert| alert.rule.as_str().to_owned()).unwrap_or_default(),
        "alert_id" => alert.map(|alert| alert.id.to_string()).unwrap_or_default(),
        "at" => note.at.to_string(),
        _ => return None,
    })
}

/// As it stands inside a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("text has a JSON form");
    quoted[1..quoted.len() - 1].to_owned()
}
