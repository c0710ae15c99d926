//! How anything that went wrong reaches a person: one sentence, and what to do about it.

use std::error::Error;

/// An error that also knows what a person can do about it.
pub trait Advice: Error {
    /// One sentence: what to do. Empty when there is nothing to be done.
    fn advice(&self) -> String;
}

/// `error` and its causes in one line, joined by `: `. A cause that its parent already tells is
/// left out.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// The lines a person reads: the sentence, then what to do.
#[must_use]
pub fn report(error: &(impl Advice + ?Sized)) -> String {
    let mut text = format!("error: {error}");
    if let Some(cause) = error.source() {
        text = format!("{text}: {}", chain(cause));
    }
    let advice = error.advice();
    if advice.is_empty() { text } else { format!("{text}\n  what to do: {advice}") }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file cannot be read")]
    struct Unreadable(#[source] io::Error);

    impl Advice for Unreadable {
        fn advice(&self) -> String {
            "mend it".to_owned()
        }
    }

    #[test]
    fn a_report_is_the_sentence_with_its_causes_and_then_the_advice() {
        let error = Unreadable(io::Error::other("no such thing"));
        assert_eq!(
            report(&error),
            "error: the file cannot be read: no such thing\n  what to do: mend it"
        );
    }
}
