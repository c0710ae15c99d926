#![no_main]

use holdfast_fuzz::{frames, ledger, now};
use holdfast_protocol::dialect::{
    Said,
    local::{Command, Event, events, hear_agent},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut ledger = ledger();
    for frame in frames(data) {
        if let Ok(event) = Event::decode(frame) {
            let text = event.encode();
            let again = Event::decode(text.as_bytes()).expect("what we write, we read");
            assert_eq!(again.encode(), text);
            if let Said::Message(message) = hear_agent(&event, &mut ledger, now()) {
                let _ = events(&message, &ledger);
            }
        }
        if let Ok(command) = Command::decode(frame) {
            let again = Command::decode(command.encode().as_bytes());
            assert_eq!(again.expect("what we write, we read"), command);
            let _ = command.hear(&ledger);
        }
    }
});
