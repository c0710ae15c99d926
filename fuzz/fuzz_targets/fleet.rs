#![no_main]

use holdfast_fuzz::{frames, ledger, now};
use holdfast_protocol::dialect::{
    Said,
    fleet::{ConfigUpdate, Frame, Keys, Words, commands, hear_agent, hear_server, reports},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut ledger, words) = (ledger(), Words::default());
    for frame in frames(data).filter_map(|frame| Frame::decode(frame).ok()) {
        for keys in Keys::ALL {
            let again = Frame::decode(frame.encode(keys, &words).as_bytes());
            assert_eq!(again.expect("what we write, we read").kind, frame.kind);
        }
        let _ = frame.payload.read_as::<ConfigUpdate>();
        let heard = hear_agent(&frame, &words, &ledger, now());
        for said in [heard, hear_server(&frame, &words, &mut ledger)] {
            if let Ok(Said::Message(message)) = said {
                let _ = reports(&message, &ledger);
                let _ = commands(&message, &ledger, None);
            }
        }
    }
});
