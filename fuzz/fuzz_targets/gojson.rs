#![no_main]

use holdfast_protocol::dialect::gojson::{GoTime, Raw, compact, from_slice, to_text};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = from_slice::<String>(data) {
        assert_eq!(from_slice::<String>(to_text(&text).as_bytes()), Ok(text));
    }
    if let Ok(number) = from_slice::<f64>(data) {
        let again: f64 = from_slice(to_text(&number).as_bytes()).expect("ours");
        assert_eq!(again.to_bits(), number.to_bits());
    }
    if let Ok(time) = from_slice::<GoTime>(data) {
        assert_eq!(from_slice::<GoTime>(to_text(&time).as_bytes()), Ok(time));
    }
    if let Ok(raw) = from_slice::<Raw>(data) {
        let text = compact(raw.as_str().unwrap_or_default());
        assert_eq!(compact(&text), text, "compacting twice changes nothing");
        let before: Option<Value> = raw.parse();
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), before);
    }
});
