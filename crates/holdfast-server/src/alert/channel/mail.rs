//! Mail by SMTP.

use std::{net::SocketAddr, time::Duration};

use holdfast_protocol::message::config::Secret;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls as Encryption, TlsParameters},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Note, SendError, Unfit, bounded, is_for_people, one_line};
use crate::alert::guard::Guard;

/// Mail through a relay.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The relay's name or address.
    pub host: String,
    /// Its port; 587, 465 or 25 by the kind of encryption when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: Tls,
    /// Who signs in there, when it needs that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
    /// Who the mail is from, such as `Holdfast <holdfast@example.org>`.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
}

/// How a connection to a mail relay is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MailEncryption)]
pub enum Tls {
    /// From the first byte on.
    Implicit,
    /// Not at all: for a relay in the house, without a password.
    None,
    /// After the greeting; refused when the relay does not offer it.
    #[default]
    Starttls,
}

/// Where mail relays listen.
const PORTS: [u16; 4] = [25, 465, 587, 2525];
/// How long one address may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest subject, in characters.
const SUBJECT_MAX: usize = 200;

impl Mail {
    pub(super) fn check(&self) -> Result<(), Unfit> {
        one_line("host", &self.host)?;
        mailbox(&self.from)?;
        if self.to.is_empty() {
            return Err(Unfit::Text("to"));
        }
        self.to.iter().try_for_each(|to| mailbox(to).map(drop))?;
        if self.tls == Tls::None && self.password.is_some() {
            return Err(Unfit::PlainPassword);
        }
        Ok(())
    }

    pub(super) fn target(&self) -> String {
        bounded(&self.to.join(", "), 200)
    }

    pub(super) async fn send(&self, guard: &Guard, note: &Note) -> Result<(), SendError> {
        if !is_for_people(note) {
            return Ok(());
        }
        let message = self.message(note)?;
        let addresses = guard.named(&self.host, self.port(), &PORTS).await?;
        let mut last = SendError::Settings("its relay has no address");
        for address in addresses {
            match self.send_to(address, message.clone()).await {
                Err(error) if error.is_passing() => last = error,
                done => return done,
            }
        }
        Err(last)
    }

    /// Speaks to one address, which the guard has checked; the name is only for the certificate.
    async fn send_to(&self, address: SocketAddr, message: Message) -> Result<(), SendError> {
        type Relay = AsyncSmtpTransport<Tokio1Executor>;
        let mut relay = Relay::builder_dangerous(address.ip().to_string())
            .port(address.port())
            .timeout(Some(DEADLINE))
            .tls(self.encryption()?);
        if let (Some(name), Some(password)) = (&self.username, &self.password) {
            let password = password.expose().to_owned();
            relay = relay.credentials(Credentials::new(name.clone(), password));
        }
        let sent = tokio::time::timeout(DEADLINE * 2, relay.build().send(message)).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_permanent() => {
                let code = error.status().map_or_else(String::new, |code| code.to_string());
                Err(SendError::Refused(code))
            }
            // The relay's own words may repeat addresses and names.
            Ok(Err(error)) if error.is_tls() => {
                Err(SendError::Passing("its encryption failed".to_owned()))
            }
            Ok(Err(_)) => Err(SendError::Passing("the relay did not take it".to_owned())),
            Err(_) => Err(SendError::Passing("no answer in time".to_owned())),
        }
    }

    fn encryption(&self) -> Result<Encryption, SendError> {
        let parameters = || {
            TlsParameters::new(self.host.clone())
                .map_err(|_| SendError::Settings("no encryption could be set up"))
        };
        Ok(match self.tls {
            Tls::Implicit => Encryption::Wrapper(parameters()?),
            Tls::None => Encryption::None,
            Tls::Starttls => Encryption::Required(parameters()?),
        })
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Implicit => 465,
            Tls::None => 25,
            Tls::Starttls => 587,
        })
    }

    fn message(&self, note: &Note) -> Result<Message, SendError> {
        let unfit = |_| SendError::Settings("a mail address cannot be read");
        let subject = note.title.replace(['\r', '\n'], " ");
        let mut builder = Message::builder()
            .from(mailbox(&self.from).map_err(unfit)?)
            .subject(bounded(&subject, SUBJECT_MAX))
            // The same at every try, so that a mail that came twice can be told.
            .message_id(Some(format!("<{}@holdfast>", note.id)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(mailbox(to).map_err(unfit)?);
        }
        builder.body(note.whole()).map_err(|_| SendError::Settings("no mail could be made"))
    }
}

fn mailbox(text: &str) -> Result<Mailbox, Unfit> {
    let address = |_| text.parse::<Address>().map(|address| Mailbox::new(None, address));
    text.parse::<Mailbox>().or_else(address).map_err(|_| Unfit::MailAddress(bounded(text, 80)))
}
