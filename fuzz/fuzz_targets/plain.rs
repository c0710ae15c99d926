#![no_main]

use holdfast_fuzz::{frames, ledger, now};
use holdfast_protocol::dialect::plain::{Envelope, hear, reaction};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let ledger = ledger();
    for envelope in frames(data).filter_map(|frame| Envelope::decode(frame).ok()) {
        let text = envelope.encode().expect("it has a kind");
        let again = Envelope::decode(text.as_bytes()).expect("what we write, we read");
        assert_eq!(again.encode().as_ref(), Ok(&text));
        let _ = hear(&envelope, &ledger);
        if let Some(answer) = reaction(&envelope, now()) {
            assert_eq!(answer.in_reply_to, envelope.id);
            assert_eq!(reaction(&answer, now()), None, "an answer is never answered");
        }
    }
});
