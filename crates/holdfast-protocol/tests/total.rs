//! Decoding is total: whatever the bytes, it answers and never panics.

use holdfast_protocol::{
    Envelope, Message, Payload,
    message::{DecodeError, link},
};
use proptest::prelude::*;
use serde_json::Value;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,12}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_an_envelope_or_an_error(text in ".{0,400}") {
        let _ = Envelope::from_json(&text);
    }

    #[test]
    fn any_body_of_any_kind_is_a_message_or_an_error(
        body in any_json(),
        kind in prop::sample::select(Message::KINDS),
    ) {
        let _ = Message::decode(kind, &Payload::of(&body));
        let _ = Payload::of(&body).parse::<link::Hello>();
        let _ = Payload::of(&body).parse::<link::Welcome>();
    }

    #[test]
    fn an_unknown_kind_is_told_apart_from_a_malformed_body(
        kind in "[a-z]{1,9}\\.of\\.the\\.future",
    ) {
        let error = Message::decode(&kind, &Payload::of(&Value::Null)).unwrap_err();
        let unknown = matches!(error, DecodeError::UnknownKind { .. });
        prop_assert!(unknown);
    }

    #[test]
    fn an_envelope_survives_the_wire(
        kind in "[a-z.]{1,20}",
        seq in proptest::option::of(any::<u64>()),
        ack in proptest::option::of(any::<u64>()),
        millis in 0_i64..4_000_000_000_000,
        body in any_json(),
    ) {
        let ts = jiff::Timestamp::from_millisecond(millis).expect("in range");
        // A null body and none are the same thing on this wire, so the round trip starts without.
        let mut envelope = Envelope::new(kind, ts);
        envelope.payload = (!body.is_null()).then(|| Payload::of(&body));
        envelope.seq = seq;
        envelope.ack = ack;
        let read = Envelope::from_json(&envelope.to_json()).expect("what we write, we read");
        prop_assert_eq!(read, envelope);
    }
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let deep = format!(
        r#"{{"kind":"x","ts":"2026-11-21T10:00:00Z","payload":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    // The envelope keeps the body as text; what matters is that nothing recurses without a bound.
    if let Ok(envelope) = Envelope::from_json(&deep) {
        let payload = envelope.payload.expect("the body is there");
        assert!(payload.parse::<Value>().is_err());
    }
}
