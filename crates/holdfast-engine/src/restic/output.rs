//! restic's output, line by line. Nothing in here trusts it to be well-formed.

use std::io;

use serde::Deserialize;
use serde_json::Value;

use crate::restic::step::Step;

/// What one line of output is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// Progress of a backup or a restore.
    Status(Status),
    /// One file was looked at; said only at high verbosity.
    VerboseStatus,
    /// The end of an operation, with the object as restic wrote it.
    Summary(Summary, String),
    /// A file could not be read.
    Error(ItemError),
    /// Why restic ends; restic 0.17 and newer.
    ExitError(ExitError),
    /// Progress of a step, in words: of checks and prunes.
    Step(Step),
    /// Anything else.
    Text(String),
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) percent_done: f64,
    pub(crate) total_files: u64,
    #[serde(alias = "files_restored")]
    pub(crate) files_done: u64,
    pub(crate) total_bytes: u64,
    #[serde(alias = "bytes_restored")]
    pub(crate) bytes_done: u64,
    pub(crate) error_count: u64,
    pub(crate) seconds_remaining: Option<u64>,
    pub(crate) current_files: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub(crate) snapshot_id: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ItemError {
    error: Value,
    pub(crate) item: String,
}

impl ItemError {
    /// What went wrong with the item, in words.
    ///
    /// restic before 0.17 writes Go's error as it lies in memory: `{"Op":"open","Err":13}`.
    pub(crate) fn reason(&self) -> String {
        let text = |key| self.error.get(key).and_then(Value::as_str);
        if let Some(message) = self.error.as_str().or_else(|| text("message")) {
            return message.to_owned();
        }
        let number = self.error.get("Err").and_then(Value::as_i64);
        match number.and_then(|number| i32::try_from(number).ok()) {
            Some(number) => format!("{}: {}", text("Op").unwrap_or("access"), meaning(number)),
            None => "it could not be read".to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ExitError {
    pub(crate) message: String,
}

#[derive(Deserialize)]
#[serde(tag = "message_type", rename_all = "snake_case")]
enum Json {
    Status(Status),
    VerboseStatus,
    Summary(Summary),
    Error(ItemError),
    ExitError(ExitError),
}

impl Line {
    /// Reads one line. Whatever is not one of restic's known objects is text.
    pub(crate) fn parse(line: &str) -> Self {
        let line = line.trim();
        if !line.starts_with('{') {
            let line = plain(line);
            return Step::parse(&line).map_or(Self::Text(line), Self::Step);
        }
        match serde_json::from_str(line) {
            Ok(Json::Status(status)) => Self::Status(status),
            Ok(Json::VerboseStatus) => Self::VerboseStatus,
            Ok(Json::Summary(summary)) => Self::Summary(summary, line.to_owned()),
            Ok(Json::Error(error)) => Self::Error(error),
            Ok(Json::ExitError(error)) => Self::ExitError(error),
            Err(_) => Self::Text(plain(line)),
        }
    }
}

/// The system's words for an error number, as newer versions of restic print them.
fn meaning(number: i32) -> String {
    let words = io::Error::from_raw_os_error(number).to_string();
    words.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// The text without terminal control: restic erases its status line even where there is none.
pub(crate) fn plain(text: &str) -> String {
    let text = text.replace("\u{1b}[2K", "");
    text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect::<String>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_old_restics_raw_error_is_put_in_words() {
        let line =
            r#"{"message_type":"error","error":{"Op":"open","Path":"/x","Err":13},"item":"/x"}"#;
        let Line::Error(error) = Line::parse(line) else { panic!("not an error line") };
        assert_eq!(
            (error.item.as_str(), error.reason().as_str()),
            ("/x", "open: permission denied")
        );
    }

    #[test]
    fn objects_of_the_wrong_shape_are_only_text() {
        for line in [
            "{",
            r#"{"message_type":"status","percent_done":"x"}"#,
            r#"{"message_type":"status","bytes_done":-1}"#,
            r#"{"message_type":"dance"}"#,
            r#"{"percent_done":1}"#,
        ] {
            assert_eq!(Line::parse(line), Line::Text(line.to_owned()));
        }
    }

    #[test]
    fn terminal_control_is_taken_out_of_text() {
        let line = "\u{1b}[2Ksignal interrupt received\u{7}";
        assert_eq!(Line::parse(line), Line::Text("signal interrupt received ".to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(line in ".*") {
            let _ = Line::parse(&line);
        }

        #[test]
        fn no_object_breaks_the_parser(
            word in "status|summary|error|exit_error|verbose_status|x",
            key in "percent_done|bytes_done|current_files|snapshot_id|error|item|message",
            value in r#"-?[0-9]{1,30}|1e999|null|true|"[a-z\\\\u0]{0,8}"|\[\]|\[1\]|\{\}|\{"Err":-?[0-9]{1,20}\}"#,
        ) {
            let line = format!(r#"{{"message_type":"{word}","{key}":{value}}}"#);
            if let Line::Error(error) = Line::parse(&line) {
                let _ = error.reason();
            }
        }
    }
}
