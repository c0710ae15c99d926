//! A short run of every fuzz target with a stable compiler: seeded mutations of the goldens.
//!
//! It knows nothing of coverage, so it finds less than `cargo fuzz`; but it runs everywhere, and
//! the same way each time.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say so")]

#[expect(unreachable_pub, reason = "for cargo-fuzz it is a module of a library")]
#[path = "../../../fuzz/src/targets.rs"]
mod targets;

use std::{fs, panic, path::Path};

/// Inputs per target, unless `HOLDFAST_FUZZ_ROUNDS` says otherwise.
const ROUNDS: u64 = 10_000;

#[test]
fn no_target_minds_what_it_is_given() {
    let rounds = std::env::var("HOLDFAST_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    let seeds = seeds();
    for (name, target) in targets::ALL {
        for round in 0..rounds.unwrap_or(ROUNDS) {
            let input = Mutator::new(round).mutate(&seeds);
            if panic::catch_unwind(|| target(&input)).is_err() {
                panic!("{name}, round {round}: b\"{}\"", input.escape_ascii());
            }
        }
    }
}

/// A mutator that changes nothing, or seeds that no target understands, would find nothing.
#[test]
fn inputs_are_many_and_some_are_still_understood() {
    let seeds = seeds();
    let inputs: Vec<_> = (0..2_000).map(|round| Mutator::new(round).mutate(&seeds)).collect();
    let distinct: std::collections::BTreeSet<_> = inputs.iter().collect();
    assert!(distinct.len() > 1_500, "{} distinct inputs", distinct.len());
    let json = |input: &&Vec<u8>| serde_json::from_slice::<serde_json::Value>(input).is_ok();
    let whole = inputs.iter().filter(json).count();
    assert!((100..1_900).contains(&whole), "{whole} of them are JSON");
}

/// Every golden whole and line by line, and a frame of each of the link's own words.
fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let mut seeds = own_words();
    for folder in [root.clone(), root.join("dialect")] {
        for entry in fs::read_dir(folder).expect("the goldens are in the tree") {
            let path = entry.expect("a readable folder").path();
            let Ok(text) = fs::read(&path) else { continue };
            let kind = path.file_stem().unwrap_or_default().as_encoded_bytes();
            seeds.push([kind, b"\n", &text].concat());
            seeds.extend(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            seeds.push(text);
        }
    }
    // What a directory lists first is the file system's business.
    seeds.sort();
    seeds
}

fn own_words() -> Vec<Vec<u8>> {
    [
        r#"{"kind":"job.progress","ts":"2026-11-21T10:00:00Z","seq":7,"ack":12,"payload":{}}"#,
        r#"{"kind":"ping","ts":"2026-11-21T10:00:00Z","id":"a","in_reply_to":"b"}"#,
        r#"{"protocol_version":1,"incarnation":"0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b","boot":1,
           "instance":"7d0ab5f2-7c3e-4d0a-9a51-3f6f0c1d2e4b","epoch":3,"received":0,"oldest":1}"#,
        r#"{"session_id":"00000000-0000-0000-0000-000000000001","epoch":1,"received":0,"oldest":1,
           "heartbeat_interval_ms":20000,"silence_max_ms":48000,"redial_spread_ms":0,
           "server_time":"2026-11-21T10:00:00Z"}"#,
        r#"{"code":"busy","message":"later","retry_after_ms":5000,"fatal":false}"#,
        r#"{"link":"6f9d0000-0000-4000-8000-000000000000","number":3,"received":4,"first":7,
           "frames":[{"kind":"heartbeat","ts":"2026-11-21T10:00:00Z"}],
           "close":{"code":1000,"reason":"bye"}}"#,
        "\x0a\x05hello\x12\x08\x08\x01\x12\x04host\x1a\x02\x08\x07",
        "1.5e-7",
        "\"\\ud83d\\ude00 \\u003c\"",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// What numbers are often confused with.
const ODD: [&str; 12] = [
    "-1",
    "0",
    "18446744073709551615",
    "9223372036854775808",
    "1e400",
    "NaN",
    "null",
    "\"\"",
    "[]",
    "{}",
    "\"\\ud800\"",
    "1.7976931348623157e308",
];

/// Makes inputs out of seeds. The round decides everything.
struct Mutator(u64);

impl Mutator {
    fn new(round: u64) -> Self {
        Self(round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(4) {
            self.change(&mut input, seeds);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let (from, to) = self.span(input.len());
        match self.below(8) {
            0 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] ^= 1 << self.below(8);
            }
            1 => input.truncate(from),
            2 => drop(input.drain(from..to)),
            3 => {
                let again = input[from..to].repeat(1 + self.below(4));
                input.splice(to..to, again);
            }
            4 => {
                let other = &seeds[self.below(seeds.len())];
                let (first, last) = self.span(other.len());
                input.splice(from..to, other[first..last].iter().copied());
            }
            5 => drop(input.splice(from..to, std::iter::repeat_n(b'[', self.below(300)))),
            6 => self.replace_value(input),
            _ => {
                let byte = u8::try_from(self.below(256)).unwrap_or_default();
                input.insert(from, byte);
            }
        }
    }

    /// Puts something odd in the place of what follows a colon: most likely to be read at all.
    fn replace_value(&mut self, input: &mut Vec<u8>) {
        let colons: Vec<usize> =
            (0..input.len()).filter(|at| input[*at] == b':').map(|at| at + 1).collect();
        if colons.is_empty() {
            return;
        }
        let from = colons[self.below(colons.len())];
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'\n');
        let to = input[from..].iter().position(ends).map_or(input.len(), |length| from + length);
        let odd = ODD[self.below(ODD.len())];
        input.splice(from..to, odd.bytes());
    }

    fn span(&mut self, length: usize) -> (usize, usize) {
        let (one, other) = (self.below(length + 1), self.below(length + 1));
        (one.min(other), one.max(other))
    }

    fn below(&mut self, bound: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % bound.max(1) as u64).unwrap_or_default()
    }
}
