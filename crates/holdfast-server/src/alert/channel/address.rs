//! Channels by one address each, in the words that Apprise has made common.
//!
//! The addresses are not those of the web: what stands for the host is often a token, so they are
//! taken apart here. What an address says that the channel cannot do is refused, never ignored.

use std::collections::BTreeMap;

use holdfast_protocol::message::config::Secret;

use super::{
    Discord, Gotify, Mail, Ntfy, Ping, Settings, Slack, Telegram, Tls, Unfit, Webhook, one_line,
};

/// The longest address, in bytes.
const LENGTH_MAX: usize = 4096;

/// An address taken apart, with nothing percent-encoded any more.
struct Parts {
    scheme: String,
    user: Option<String>,
    password: Option<String>,
    /// What stands before the first slash, without who signs in.
    place: String,
    path: Vec<String>,
    query: BTreeMap<String, String>,
}

/// The settings that `address` stands for.
pub(super) fn read(address: &str) -> Result<Settings, Unfit> {
    if address.len() > LENGTH_MAX {
        return Err(Unfit::Address("it is too long"));
    }
    one_line("address", address)?;
    let parts = Parts::of(address.trim())?;
    let settings = match parts.scheme.as_str() {
        "discord" => discord(&parts),
        "gotify" | "gotifys" => gotify(parts),
        "http" | "https" => known_site(address.trim(), &parts),
        "json" | "jsons" => webhook(&parts),
        "mailto" | "mailtos" => mail(parts),
        "mmost" | "mmosts" => mattermost(&parts),
        "ntfy" | "ntfys" => ntfy(parts),
        "slack" => slack(&parts),
        "tgram" => telegram(&parts),
        _ => Err(Unfit::Address("its kind is not known; see docs/alerts.md for those that are")),
    }?;
    settings.check()?;
    Ok(settings)
}

impl Parts {
    fn of(address: &str) -> Result<Self, Unfit> {
        let (scheme, rest) =
            address.split_once("://").ok_or(Unfit::Address("it has no `://` after its kind"))?;
        // A fragment names a channel that the receiver has chosen already.
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (who, place) = match place.rsplit_once('@') {
            Some((who, place)) => (Some(who), place),
            None => (None, place),
        };
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            Some((user, password)) => (filled(user)?, filled(password)?),
            None => (None, None),
        };
        let path = path.split('/').filter(|part| !part.is_empty()).map(decoded);
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user,
            password,
            place: decoded(place)?,
            path: path.collect::<Result<_, _>>()?,
            query: query.collect(),
        })
    }

    fn is_encrypted(&self) -> bool {
        self.scheme.ends_with('s')
    }

    /// The server as an address of the web, with some of the path behind it.
    fn web(&self, path: &[String]) -> String {
        let scheme = if self.is_encrypted() { "https" } else { "http" };
        let mut url = format!("{scheme}://{}", self.place);
        path.iter().for_each(|part| url.push_str(&format!("/{part}")));
        url
    }

    /// Nobody signs in where this channel would not show who.
    fn nobody_signs_in(&self) -> Result<(), Unfit> {
        if self.user.is_none() && self.password.is_none() {
            return Ok(());
        }
        Err(Unfit::Address("this kind cannot sign in with a name and password"))
    }
}

fn filled(text: &str) -> Result<Option<String>, Unfit> {
    Ok(Some(decoded(text)?).filter(|text| !text.is_empty()))
}

/// `text` without percent-encoding.
fn decoded(text: &str) -> Result<String, Unfit> {
    let unfit = Unfit::Address("its percent-encoding cannot be read");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|it| char::from(it).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(unfit) };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
    }
    let text = String::from_utf8(bytes).map_err(|_| unfit.clone())?;
    if text.contains(char::is_control) { Err(unfit) } else { Ok(text) }
}

/// `ntfy://TOPIC` at ntfy.sh; `ntfys://[TOKEN@]HOST/TOPIC` elsewhere.
fn ntfy(parts: Parts) -> Result<Settings, Unfit> {
    if parts.password.is_some() {
        return Err(Unfit::Address("ntfy signs in with an access token, not with a password"));
    }
    let (url, topic) = match parts.path.as_slice() {
        [] => ("https://ntfy.sh".to_owned(), parts.place.clone()),
        [topic] => (parts.web(&[]), topic.clone()),
        _ => return Err(Unfit::Address("it names more than one topic")),
    };
    let token = parts.user.or_else(|| parts.query.get("token").cloned()).map(Secret::new);
    Ok(Settings::Ntfy(Ntfy { url, topic, token }))
}

/// `gotifys://HOST[/PATH]/TOKEN`.
fn gotify(mut parts: Parts) -> Result<Settings, Unfit> {
    parts.nobody_signs_in()?;
    let token = parts.path.pop().ok_or(Unfit::Address("it lacks the application's token"))?;
    let url = parts.web(&parts.path);
    Ok(Settings::Gotify(Gotify { url, token: Secret::new(token) }))
}

/// `slack://[NAME@]A/B/C`, the three tokens of an incoming webhook.
fn slack(parts: &Parts) -> Result<Settings, Unfit> {
    let [second, third] = parts.path.as_slice() else {
        return Err(Unfit::Address("a Slack webhook has three tokens"));
    };
    let url = format!("https://hooks.slack.com/services/{}/{second}/{third}", parts.place);
    Ok(Settings::Slack(Slack { url: Secret::new(url) }))
}

/// `mmosts://[NAME@]HOST[/PATH]/TOKEN`: Mattermost speaks as Slack does.
fn mattermost(parts: &Parts) -> Result<Settings, Unfit> {
    let Some((token, path)) = parts.path.split_last() else {
        return Err(Unfit::Address("it lacks the webhook's token"));
    };
    let url = format!("{}/hooks/{token}", parts.web(path));
    Ok(Settings::Slack(Slack { url: Secret::new(url) }))
}

/// `discord://[NAME@]ID/TOKEN`.
fn discord(parts: &Parts) -> Result<Settings, Unfit> {
    let [token] = parts.path.as_slice() else {
        return Err(Unfit::Address("a Discord webhook has an id and a token"));
    };
    let url = format!("https://discord.com/api/webhooks/{}/{token}", parts.place);
    Ok(Settings::Discord(Discord { url: Secret::new(url) }))
}

/// `tgram://TOKEN/CHAT`.
fn telegram(parts: &Parts) -> Result<Settings, Unfit> {
    let [chat] = parts.path.as_slice() else {
        return Err(Unfit::Address("a Telegram address names one chat after the bot's token"));
    };
    let settings = serde_json::json!({ "token": parts.place, "chat_id": chat });
    let telegram: Telegram = serde_json::from_value(settings)
        .map_err(|_| Unfit::Address("its token or chat cannot be read"))?;
    Ok(Settings::Telegram(telegram))
}

/// `jsons://HOST/PATH`.
fn webhook(parts: &Parts) -> Result<Settings, Unfit> {
    parts.nobody_signs_in()?;
    if !parts.query.is_empty() {
        return Err(Unfit::Address("headers and fields of one's own take a webhook's settings"));
    }
    let url = Secret::new(parts.web(&parts.path));
    Ok(Settings::Webhook(Webhook { url, secret: None, template: None }))
}

/// `mailtos://NAME:PASSWORD@HOST?smtp=RELAY&from=…&to=…`.
fn mail(parts: Parts) -> Result<Settings, Unfit> {
    let (host, port) = match parts.place.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().map_err(|_| Unfit::Address("its port is not a number"))?;
            (host.to_owned(), Some(port))
        }
        None => (parts.place.clone(), None),
    };
    let query = |name: &str| parts.query.get(name).cloned();
    let whole = |name: String| if name.contains('@') { name } else { format!("{name}@{host}") };
    let from = query("from").or_else(|| parts.user.clone());
    let from = from.map(&whole).ok_or(Unfit::Address("it does not say who the mail is from"))?;
    let named: Vec<String> = query("to").map_or_else(
        || parts.path.clone(),
        |to| to.split(',').map(|to| to.trim().to_owned()).collect(),
    );
    let to = if named.is_empty() { vec![from.clone()] } else { named };
    let tls = match query("mode").as_deref() {
        Some("ssl") => Tls::Implicit,
        Some("starttls") => Tls::Starttls,
        Some("insecure") => Tls::None,
        Some(_) => return Err(Unfit::Address("its `mode` is not ssl, starttls or insecure")),
        None if port == Some(465) => Tls::Implicit,
        // What is not said to be in the clear is not, once there is a password to lose.
        None if parts.is_encrypted() || parts.password.is_some() => Tls::Starttls,
        None => Tls::None,
    };
    let username = parts.password.as_ref().and(query("user").or(parts.user));
    let password = parts.password.map(Secret::new);
    let host = query_or(&parts.query, "smtp", host);
    Ok(Settings::Mail(Mail { host, port, tls, username, password, from, to }))
}

fn query_or(query: &BTreeMap<String, String>, name: &str, otherwise: String) -> String {
    query.get(name).cloned().unwrap_or(otherwise)
}

/// The address as a site gives it out.
fn known_site(address: &str, parts: &Parts) -> Result<Settings, Unfit> {
    parts.nobody_signs_in()?;
    let path: Vec<&str> = parts.path.iter().map(String::as_str).collect();
    let secret = || Secret::new(address);
    match (parts.place.as_str(), path.as_slice()) {
        ("hooks.slack.com", ["services", ..]) => Ok(Settings::Slack(Slack { url: secret() })),
        ("discord.com" | "discordapp.com", ["api", "webhooks", ..]) => {
            Ok(Settings::Discord(Discord { url: secret() }))
        }
        ("hc-ping.com", [_, ..]) => Ok(Settings::Ping(Ping { url: secret() })),
        ("ntfy.sh", [topic]) => {
            let (url, topic) = ("https://ntfy.sh".to_owned(), (*topic).to_owned());
            Ok(Settings::Ntfy(Ntfy { url, topic, token: None }))
        }
        _ => Err(Unfit::Address("what listens there is not known; write jsons:// for a webhook")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(address: &str) -> Value {
        serde_json::to_value(read(address).unwrap_or_else(|e| panic!("{address}: {e}"))).unwrap()
    }

    #[test]
    fn an_address_stands_for_the_settings_that_the_table_says() {
        let mail = |more: Value| {
            let mut mail = json!({"kind": "mail", "host": "example.org", "tls": "starttls",
                "from": "me@example.org", "to": ["me@example.org"]});
            mail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            mail
        };
        let telegram = "https://api.telegram.org";
        #[rustfmt::skip]
        let table = [
            ("ntfy://alerts", json!({"kind": "ntfy", "url": "https://ntfy.sh", "topic": "alerts"})),
            ("ntfys://tk_1@n.example:8443/a%20b",
                json!({"kind": "ntfy", "url": "https://n.example:8443", "topic": "a b",
                    "token": "tk_1"})),
            ("gotify://10.0.0.2/push/Atoken",
                json!({"kind": "gotify", "url": "http://10.0.0.2/push", "token": "Atoken"})),
            ("gotifys://g.example/Atoken",
                json!({"kind": "gotify", "url": "https://g.example", "token": "Atoken"})),
            ("slack://T1/B2/c3/#ops",
                json!({"kind": "slack", "url": "https://hooks.slack.com/services/T1/B2/c3"})),
            ("slack://bot@T1/B2/c3",
                json!({"kind": "slack", "url": "https://hooks.slack.com/services/T1/B2/c3"})),
            ("mmosts://m.example:8065/team/tok",
                json!({"kind": "slack", "url": "https://m.example:8065/team/hooks/tok"})),
            ("discord://12/tok",
                json!({"kind": "discord", "url": "https://discord.com/api/webhooks/12/tok"})),
            ("tgram://123:ABC/-100",
                json!({"kind": "telegram", "token": "123:ABC", "chat_id": "-100", "url": telegram})),
            ("jsons://h.example/a/b", json!({"kind": "webhook", "url": "https://h.example/a/b"})),
            ("json://h.example:8080", json!({"kind": "webhook", "url": "http://h.example:8080"})),
            ("https://hc-ping.com/uuid",
                json!({"kind": "ping", "url": "https://hc-ping.com/uuid"})),
            ("https://ntfy.sh/x", json!({"kind": "ntfy", "url": "https://ntfy.sh", "topic": "x"})),
            ("https://hooks.slack.com/services/A/B/C",
                json!({"kind": "slack", "url": "https://hooks.slack.com/services/A/B/C"})),
            ("mailto://me@example.org", mail(json!({"tls": "none"}))),
            ("mailtos://me:p%40ss@example.org",
                mail(json!({"username": "me", "password": "p@ss"}))),
            ("mailto://me:pw@example.org:465?smtp=mx.example.org&to=a@b.c,d@e.f",
                mail(json!({"host": "mx.example.org", "port": 465, "tls": "implicit",
                    "username": "me", "password": "pw", "to": ["a@b.c", "d@e.f"]}))),
            ("mailtos://me:pw@example.org?mode=ssl&user=login&from=x@y.z&to=a@b.c",
                mail(json!({"tls": "implicit", "username": "login", "password": "pw",
                    "from": "x@y.z", "to": ["a@b.c"]}))),
        ];
        for (address, wanted) in table {
            assert_eq!(settings(address), wanted, "{address}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_without_repeating_it() {
        #[rustfmt::skip]
        let wrong = [
            "canary", "canary://x", "ntfy://", "ntfy://u:canary@h/t", "ntfy://h/a/canary",
            "gotify://h", "slack://canary", "discord://canary", "tgram://canary",
            "json://u:canary@h/", "json://h/?+X-Key=canary", "mailto://example.org",
            "mailto://me:canary@h?mode=insecure", "mailto://me:canary@h:x", "mailto://a@h?mode=x",
            "https://canary.example/", "http://u:canary@ntfy.sh/x", "ntfy://%zz", "ntfy://a%0Ab",
            "ntfy://\ncanary", "tgram:///", "://", "",
        ];
        for address in wrong {
            let told = read(address).map(|_| ()).unwrap_err().to_string();
            assert!(!told.contains("canary"), "{address:?}: {told}");
        }
        assert!(read(&format!("ntfy://{}", "x".repeat(5000))).is_err());
    }
}
