//! How anything that went wrong reaches a person.

use std::{fmt, io::Write};

/// One sentence that says what is wrong, and one that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    action: String,
}

impl Failure {
    /// A failure that says `message` and advises `action`.
    pub(crate) fn new(message: impl Into<String>, action: impl Into<String>) -> Self {
        Self { message: message.into(), action: action.into() }
    }

    /// What is wrong, in one sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The same failure with better advice.
    pub(crate) fn with_action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// Writes the failure to standard error.
    pub(crate) fn report(&self) {
        // Nobody is left to tell when standard error itself is gone.
        let _ = writeln!(std::io::stderr().lock(), "{self}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if self.action.is_empty() {
            return Ok(());
        }
        write!(f, "\n  what to do: {}", self.action)
    }
}

/// `error` and its causes in one line, joined by `: `. A cause that its parent already tells is
/// left out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// `text` with a capital and a full stop, for texts that were written to stand in a chain.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failure_is_a_sentence_and_an_advice() {
        let failure = Failure::new("The host is gone.", "Add it again.");
        assert_eq!(failure.to_string(), "error: The host is gone.\n  what to do: Add it again.");
        assert_eq!(Failure::new("No.", "").to_string(), "error: No.");
    }

    #[test]
    fn a_chain_reads_as_a_sentence() {
        assert_eq!(sentence("cannot open: disk full"), "Cannot open: disk full.");
        assert_eq!(sentence("Done."), "Done.");
    }

    #[test]
    fn a_chain_tells_each_cause_once() {
        let error = io::Error::other(io::Error::other("disk full"));
        assert_eq!(chain(&error), "disk full");
    }
}
