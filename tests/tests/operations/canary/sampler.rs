//! Looks at every process again and again.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use holdfast_e2e::wait;

/// How often; a short-lived restic lives for half a second.
const LOOK: Duration = Duration::from_millis(20);

/// A secret where it can be seen by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) secret: String,
    /// `cmdline` or `environ`.
    pub(crate) part: &'static str,
    /// The program.
    pub(crate) process: String,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) hits: Vec<Hit>,
    pub(crate) looks: u64,
}

/// A thread that looks until it is stopped.
pub(crate) struct Sampler {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Sampler {
    pub(crate) fn start(secrets: &[String]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (watched, stop) = (secrets.to_vec(), Arc::clone(&over));
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            while !stop.load(Ordering::SeqCst) {
                look(&watched, &mut seen);
                wait::pause(LOOK);
            }
            seen
        });
        Self { over, thread }
    }

    pub(crate) fn stop(self) -> Seen {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or_default()
    }
}

fn look(secrets: &[String], seen: &mut Seen) {
    seen.looks += 1;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let folder = entry.path();
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        for part in ["cmdline", "environ"].into_iter().filter(|_| is_process) {
            // A process that has ended in between has nothing to show.
            let bytes = fs::read(folder.join(part)).unwrap_or_default();
            for secret in super::found(secrets, &bytes) {
                let process = fs::read_link(folder.join("exe")).unwrap_or_default();
                let hit = Hit { secret, part, process: process.display().to_string() };
                if !seen.hits.contains(&hit) {
                    seen.hits.push(hit);
                }
            }
        }
    }
}

/// A secret as it is, in hexadecimal, and in base 64 wherever it may begin in a triple.
pub(crate) fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![bytes.to_vec(), hex.into_bytes()];
    for before in 0..3 {
        let whole = [&[0; 2][..before], bytes].concat();
        let text = base64(&whole[..whole.len() / 3 * 3]);
        // The first letters also tell of what stands before.
        forms.push(text[if before == 0 { 0 } else { 4 }..].to_vec());
    }
    forms
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for triple in bytes.chunks_exact(3) {
        let number = triple.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        text.extend([18, 12, 6, 0].map(|shift| LETTERS[number >> shift & 63]));
    }
    text
}

#[test]
fn a_secret_is_known_in_every_disguise() {
    let secrets = ["canary-x-1".to_owned()];
    let known = |text: &str| !super::found(&secrets, text.as_bytes()).is_empty();
    assert!(known("a canary-x-1 b") && known("63616e6172792d782d31"));
    // `canary-x-1`, `u:canary-x-1` and `ab:canary-x-1` in base 64.
    for text in ["Y2FuYXJ5LXgtMQ==", "dTpjYW5hcnkteC0x", "YWI6Y2FuYXJ5LXgtMQ=="] {
        assert!(known(text), "{text}");
    }
    assert!(!known("canary-x-2"));
}
