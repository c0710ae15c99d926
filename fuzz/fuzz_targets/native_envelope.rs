#![no_main]

use holdfast_protocol::Envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(envelope) = Envelope::from_json(text) {
        let again = Envelope::from_json(&envelope.to_json()).expect("what we write, we read");
        assert_eq!(again.kind, envelope.kind);
        assert_eq!((again.seq, again.ack), (envelope.seq, envelope.ack));
    }
});
