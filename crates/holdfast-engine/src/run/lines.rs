//! Lines from a pipe, each of bounded length.

use tokio::io::{AsyncRead, AsyncReadExt};

/// One line, without its end. Bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawLine {
    pub(crate) text: String,
    /// How many bytes of the line were not kept.
    pub(crate) cut_bytes: u64,
}

/// Splits what comes out of a pipe into lines and keeps at most `line_max` bytes of each.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    pipe: Option<R>,
    chunk: Box<[u8]>,
    filled: usize,
    taken: usize,
    line: Vec<u8>,
    cut_bytes: u64,
    line_max: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(pipe: Option<R>, line_max: usize) -> Self {
        const CHUNK_SIZE: usize = 16 * 1024;
        let chunk = vec![0; CHUNK_SIZE].into_boxed_slice();
        Self { pipe, chunk, filled: 0, taken: 0, line: Vec::new(), cut_bytes: 0, line_max }
    }

    /// Whether more may come.
    pub(crate) fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// The next line; `None` at the end, and for a pipe that cannot be read any more.
    ///
    /// # Cancel safety
    /// Safe: what was read so far stays in the reader.
    pub(crate) async fn next(&mut self) -> Option<RawLine> {
        loop {
            if self.take_chunk() {
                return Some(self.take_line());
            }
            let read = self.pipe.as_mut()?.read(&mut self.chunk).await;
            (self.taken, self.filled) = (0, read.unwrap_or(0));
            if self.filled == 0 {
                self.pipe = None;
                let rest = !self.line.is_empty();
                return rest.then(|| self.take_line());
            }
        }
    }

    /// Moves bytes from the chunk to the line; true when the line is whole.
    fn take_chunk(&mut self) -> bool {
        let waiting = &self.chunk[self.taken..self.filled];
        let end = waiting.iter().position(|&byte| byte == b'\n');
        let part = &waiting[..end.unwrap_or(waiting.len())];
        let room = self.line_max.saturating_sub(self.line.len()).min(part.len());
        self.line.extend_from_slice(&part[..room]);
        self.cut_bytes += (part.len() - room) as u64;
        self.taken += part.len() + usize::from(end.is_some());
        end.is_some()
    }

    fn take_line(&mut self) -> RawLine {
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let text = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        RawLine { text, cut_bytes: std::mem::take(&mut self.cut_bytes) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn lines_of(bytes: &[u8], line_max: usize) -> Vec<RawLine> {
        let mut reader = LineReader::new(Some(bytes), line_max);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await {
            lines.push(line);
        }
        assert!(!reader.is_open());
        lines
    }

    #[tokio::test]
    async fn a_line_too_long_is_cut_and_the_next_one_is_whole() {
        let mut bytes = vec![b'x'; 100_000];
        bytes.extend_from_slice(b"\r\nnext\xff\n\nrest");
        let lines = lines_of(&bytes, 1000).await;
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[1..], ["next\u{fffd}", "", "rest"]);
        assert_eq!((lines[0].text.len(), lines[0].cut_bytes), (1000, 99_001));
        assert_eq!(lines[1].cut_bytes, 0);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_what_is_counted(bytes in prop::collection::vec(0_u8..128, 0..5000)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let lines = runtime.block_on(lines_of(&bytes, 16));
            let kept: usize = lines.iter().map(|line| line.text.len()).sum();
            let cut: u64 = lines.iter().map(|line| line.cut_bytes).sum();
            let marks = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
            prop_assert!(kept as u64 + cut <= bytes.len() as u64);
            prop_assert!(kept as u64 + cut + marks as u64 >= bytes.len() as u64);
        }
    }
}
