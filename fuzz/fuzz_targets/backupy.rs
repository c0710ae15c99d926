#![no_main]

use holdfast_fuzz::{ledger, now};
use holdfast_protocol::{
    Message,
    dialect::{
        Said,
        backupy::{agent_config, hear_agent, hear_server, report, wire::Envelope},
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::from_bytes(data) else { return };
    let bytes = envelope.to_bytes();
    let again = Envelope::from_bytes(&bytes).expect("what we write, we read");
    assert_eq!(again.to_bytes(), bytes);
    let _ = format!("{envelope:?}");
    let mut ledger = ledger();
    let said = hear_agent(&envelope, &mut ledger, now());
    for said in said.into_iter().chain(hear_server(&envelope, &mut ledger, "host")) {
        let Said::Message(message) = said else { continue };
        let _ = report(&message, &ledger);
        if let Message::ConfigUpdate(update) = &message {
            let _ = agent_config(update, None);
        }
    }
});
