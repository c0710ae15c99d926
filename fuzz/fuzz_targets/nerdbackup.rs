#![no_main]

use holdfast_fuzz::{frames, ledger, now};
use holdfast_protocol::dialect::{
    Said,
    gojson::from_slice,
    nerdbackup::{AgentMessage, Command, hear_agent, hear_command, http, refuse, reports},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut ledger = ledger();
    for frame in frames(data) {
        if let Ok(message) = AgentMessage::decode(frame) {
            let text = message.encode();
            let again = AgentMessage::decode(text.as_bytes()).expect("what we write, we read");
            assert_eq!(again.encode(), text);
            for said in hear_agent(&message, &ledger, now()) {
                if let Said::Message(message) = said {
                    let _ = reports(&message, &ledger, now()).map(|report| report.encode());
                }
            }
        }
        if let Ok(command) = Command::decode(frame) {
            let text = command.encode();
            Command::decode(text.as_bytes()).expect("what we write, we read");
            let _ = hear_command(&command, &mut ledger);
            let _ = refuse(&command, "no", now()).map(|answer| answer.encode());
        }
        if let Ok(repos) = from_slice::<Vec<http::Repo>>(frame) {
            let update = http::update_of(&repos, &ledger, 1, "host");
            let _ = http::answer(&http::repos_of(&update, None), "q");
        }
    }
});
