//! Keeps secrets out of whatever is passed on of restic's words.

use holdfast_protocol::message::config::Secret;

/// Replaces known secrets in text.
#[derive(Debug, Clone)]
pub(crate) struct Redactor {
    /// Longest first, so that a secret within a longer one does not leave the rest standing.
    secrets: Vec<Secret>,
}

impl Redactor {
    /// Texts shorter than this are left: replacing them would garble everything and hide nothing.
    const LENGTH_MIN: usize = 4;

    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<_> =
            secrets.into_iter().filter(|secret| secret.len() >= Self::LENGTH_MIN).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets: secrets.into_iter().map(Secret::new).collect() }
    }

    pub(crate) fn redact(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| {
            if text.contains(secret.expose()) {
                text.replace(secret.expose(), "(secret)")
            } else {
                text
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_secret_goes_first() {
        let redactor = Redactor::new(["canary".into(), "canary-tail".into(), "abc".into()]);
        let text = redactor.redact("x canary-tail canary abc".to_owned());
        assert_eq!(text, "x (secret) (secret) abc");
        assert!(!format!("{redactor:?}").contains("canary"));
    }
}
