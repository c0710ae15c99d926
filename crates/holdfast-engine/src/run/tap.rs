//! A child's standard output: heard line by line, or passed on as it is.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::process::ChildStdout;

use crate::run::lines::{LineReader, RawLine};

/// Where the output goes.
pub(crate) enum Stdout<'a> {
    Lines(LineReader<ChildStdout>),
    Tap(Tap<'a>),
}

/// What came of waiting for output.
pub(crate) enum Flow {
    Line(RawLine),
    /// Some bytes were passed on, or there are no more.
    Moving,
    /// Nobody takes the bytes any more.
    Refused,
}

impl<'a> Stdout<'a> {
    pub(crate) fn of(
        pipe: Option<ChildStdout>,
        tap: Option<&'a mut DuplexStream>,
        line_max: usize,
    ) -> Self {
        match tap {
            Some(sink) => Self::Tap(Tap::new(pipe, sink)),
            None => Self::Lines(LineReader::new(pipe, line_max)),
        }
    }

    /// Whether more may come.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.is_open(),
            Self::Tap(tap) => tap.pipe.is_some() || tap.holds_bytes(),
        }
    }

    /// Whether it waits for somebody to take what was read.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self, Self::Tap(tap) if tap.holds_bytes())
    }

    /// Leaves the rest of tapped output: it is of no use to anybody. Lines are cheap to hear, and
    /// may say what happened.
    pub(crate) fn give_up(&mut self) {
        if let Self::Tap(tap) = self {
            tap.close();
        }
    }

    /// # Cancel safety
    /// Safe: what was read and not passed on stays here.
    pub(crate) async fn next(&mut self) -> Flow {
        match self {
            Self::Lines(lines) => lines.next().await.map_or(Flow::Moving, Flow::Line),
            Self::Tap(tap) => tap.step().await,
        }
    }
}

/// Passes bytes on. It reads no further before they are taken, so a slow taker slows the child.
pub(crate) struct Tap<'a> {
    pipe: Option<ChildStdout>,
    sink: &'a mut DuplexStream,
    chunk: Box<[u8]>,
    filled: usize,
    taken: usize,
}

impl<'a> Tap<'a> {
    fn new(pipe: Option<ChildStdout>, sink: &'a mut DuplexStream) -> Self {
        const CHUNK_SIZE: usize = 64 * 1024;
        let chunk = vec![0; CHUNK_SIZE].into_boxed_slice();
        Self { pipe, sink, chunk, filled: 0, taken: 0 }
    }

    fn holds_bytes(&self) -> bool {
        self.taken < self.filled
    }

    async fn step(&mut self) -> Flow {
        if self.holds_bytes() { self.pass_on().await } else { self.read().await }
    }

    async fn pass_on(&mut self) -> Flow {
        match self.sink.write(&self.chunk[self.taken..self.filled]).await {
            Ok(written) if written > 0 => self.taken += written,
            _ => {
                self.close();
                return Flow::Refused;
            }
        }
        Flow::Moving
    }

    async fn read(&mut self) -> Flow {
        let Some(pipe) = self.pipe.as_mut() else { return Flow::Moving };
        let read = pipe.read(&mut self.chunk).await;
        (self.taken, self.filled) = (0, read.unwrap_or(0));
        if self.filled == 0 {
            self.pipe = None;
        }
        Flow::Moving
    }

    fn close(&mut self) {
        self.pipe = None;
        (self.taken, self.filled) = (0, 0);
    }
}
