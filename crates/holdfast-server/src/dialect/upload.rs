//! Where a Backupy run puts its result: an address that takes one object, signed for it alone.
//!
//! The agent gets no credentials. The address is one of the S3 protocol with the signature in its
//! query (AWS Signature Version 4), made from the credentials of the source group's repository.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use holdfast_protocol::{
    dialect::backupy::{DataKey, Upload},
    message::{
        command,
        config::{Repository, Secret},
        job::JobError,
    },
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use url::Url;

use crate::hub::desk::Desk;

/// How long a run may take to begin its upload.
const LIFE: SignedDuration = SignedDuration::from_hours(24);

/// The upload of a run; `None` when its repository is no S3 bucket, for agents that keep their
/// results themselves.
pub(super) async fn of(run: &command::Run, desk: &Desk) -> Result<Option<Upload>, JobError> {
    let failed = |_| JobError {
        code: "database_failed".to_owned(),
        message: "The server could not prepare the upload.".to_owned(),
        action: "Check the server's data directory, then run the job again.".to_owned(),
    };
    let (config, _) = desk.config().await.map_err(|_| failed(()))?;
    let repository = config.repositories.iter().find(|one| one.id == run.repository_id);
    let Some(bucket) = repository.and_then(Bucket::of) else { return Ok(None) };
    let key = format!("{}backupy/{}/{}", bucket.prefix, run.tag, run.job_id);
    let now = Timestamp::now();
    Ok(Some(Upload {
        presigned_put_url: Secret::new(bucket.presigned_put(&key, now)),
        expires_at_ms: u64::try_from((now + LIFE).as_millisecond()).unwrap_or(0),
        key,
        data_key: data_key(run, desk).await.ok_or_else(|| failed(()))?,
    }))
}

/// The run's own key. It is on disk before the agent has it: what it seals must be readable later.
async fn data_key(run: &command::Run, desk: &Desk) -> Option<DataKey> {
    let fresh: [u8; 32] = rand::random();
    let fresh = Secret::new(STANDARD_NO_PAD.encode(fresh));
    let kept = desk.store().data_key(run.job_id, &fresh).await.ok()?;
    Some(DataKey(STANDARD_NO_PAD.decode(kept.expose()).ok()?))
}

/// An S3 bucket and who may write to it.
struct Bucket {
    endpoint: Url,
    name: String,
    prefix: String,
    region: String,
    key_id: String,
    key: Secret,
}

impl Bucket {
    /// The bucket of a repository as restic names it: `s3:https://HOST/BUCKET/PREFIX`, or without
    /// the scheme.
    fn of(repository: &Repository) -> Option<Self> {
        let address = repository.url.expose().strip_prefix("s3:")?;
        let address = match address.contains("://") {
            true => address.to_owned(),
            false => format!("https://{address}"),
        };
        let endpoint = Url::parse(&address).ok()?;
        let path = endpoint.path().trim_matches('/').to_owned();
        let (name, prefix) = path.split_once('/').unwrap_or((&path, ""));
        let variable = |name: &str| repository.environment.get(name).cloned();
        let region = variable("AWS_DEFAULT_REGION").or_else(|| variable("AWS_REGION"));
        (!name.is_empty()).then(|| Self {
            name: name.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            region: region.map_or("us-east-1".to_owned(), |region| region.expose().to_owned()),
            key_id: variable("AWS_ACCESS_KEY_ID").unwrap_or_default().expose().to_owned(),
            key: variable("AWS_SECRET_ACCESS_KEY").unwrap_or_default(),
            endpoint: endpoint.clone(),
        })
    }

    fn presigned_put(&self, key: &str, now: Timestamp) -> String {
        let now = now.to_zoned(TimeZone::UTC);
        let (day, moment) =
            (now.strftime("%Y%m%d").to_string(), now.strftime("%Y%m%dT%H%M%SZ").to_string());
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let host = self.host();
        let path = format!("/{}/{}", encoded(&self.name, true), encoded(key, true));
        let query = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{scope}", self.key_id)),
            ("X-Amz-Date", moment.clone()),
            ("X-Amz-Expires", LIFE.as_secs().to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ];
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encoded(value, false))).collect();
        let query = query.join("&");
        let request = format!("PUT\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let text =
            format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let signature = hex(&self.sign(&day, &text));
        let scheme = self.endpoint.scheme();
        format!("{scheme}://{host}{path}?{query}&X-Amz-Signature={signature}")
    }

    fn sign(&self, day: &str, text: &str) -> Vec<u8> {
        let first = format!("AWS4{}", self.key.expose());
        let mut key = first.into_bytes();
        for part in [day, &self.region, "s3", "aws4_request", text] {
            key = hmac(&key, part);
        }
        key
    }

    fn host(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        self.endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The encoding that the signature is made over: all but the unreserved, and in a path the slash.
fn encoded(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (path && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use holdfast_protocol::RepositoryId;
    use uuid::Uuid;

    use super::*;

    fn repository(url: &str) -> Repository {
        let environment = [
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ];
        Repository {
            id: RepositoryId::from_uuid(Uuid::nil()),
            name: "main".to_owned(),
            url: Secret::new(url),
            password: Secret::default(),
            ca_certificate: None,
            admin: None,
            environment: environment
                .map(|(name, value)| (name.to_owned(), Secret::new(value)))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn a_signing_key_is_the_published_one() {
        // The example of AWS's documentation: "Deriving the signing key".
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20120215", "us-east-1", "iam", "aws4_request"] {
            key = hmac(&key, part);
        }
        assert_eq!(hex(&key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn an_address_names_bucket_key_and_life_and_no_secret() {
        let bucket = Bucket::of(&repository("s3:https://s3.example:9000/vault/site")).unwrap();
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let url = bucket.presigned_put("site/backupy/shop/j 1", at);
        let start = "https://s3.example:9000/vault/site/backupy/shop/j%201?X-Amz-Algorithm=";
        assert!(url.starts_with(start), "{url}");
        assert!(url.contains("20261121%2Fus-east-1%2Fs3%2Faws4_request"), "{url}");
        assert!(url.contains("X-Amz-Expires=86400") && !url.contains("wJalr"), "{url}");
    }

    #[test]
    fn only_a_bucket_takes_uploads() {
        assert!(Bucket::of(&repository("/srv/backup")).is_none());
        assert!(Bucket::of(&repository("s3:s3.amazonaws.com")).is_none());
        assert_eq!(Bucket::of(&repository("s3:s3.amazonaws.com/vault")).unwrap().name, "vault");
    }
}
