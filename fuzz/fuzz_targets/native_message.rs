#![no_main]

use holdfast_protocol::{Message, Payload, message::link};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (kind, body) = text.split_once('\n').unwrap_or(("", text));
    let Ok(payload) = Payload::from_text(body.to_owned()) else { return };
    let _ = payload.parse::<link::Hello>();
    let _ = payload.parse::<link::Welcome>();
    let _ = payload.parse::<link::Reject>();
    // A kind by name, and every other with the same body: fields are shared between many.
    let _ = Message::decode(kind, &payload);
    for kind in Message::KINDS {
        if let Ok(message) = Message::decode(kind, &payload) {
            Message::decode(kind, &message.encode()).expect("what we write, we read");
        }
    }
});
