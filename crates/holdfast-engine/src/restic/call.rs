//! One call of restic: its arguments, and on which terms it runs.

use std::ffi::OsString;

use tokio::io::DuplexStream;

use crate::SourceCommand;

/// By default a long operation whose output goes to the job's log. It can be made more than once.
#[derive(Default)]
pub(crate) struct Call<'a> {
    pub(crate) arguments: Vec<OsString>,
    /// It must end soon, and is ended when it does not.
    pub(crate) brief: bool,
    /// It must not be broken off in the middle: a cancel or a pause takes effect after it.
    pub(crate) undisturbed: bool,
    /// Its output is an answer to us, not words for people.
    pub(crate) capturing: bool,
    /// Its output goes here, byte by byte.
    pub(crate) tap: Option<&'a mut DuplexStream>,
    /// It reads what this command writes.
    pub(crate) source: Option<&'a SourceCommand>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { arguments, ..Self::default() }
    }

    pub(crate) fn brief(self) -> Self {
        Self { brief: true, ..self }
    }

    pub(crate) fn undisturbed(self) -> Self {
        Self { undisturbed: true, ..self }
    }

    pub(crate) fn capturing(self) -> Self {
        Self { capturing: true, ..self }
    }

    pub(crate) fn tapped(self, tap: &'a mut DuplexStream) -> Self {
        Self { tap: Some(tap), ..self }
    }

    pub(crate) fn fed_by(self, source: Option<&'a SourceCommand>) -> Self {
        Self { source, ..self }
    }
}
