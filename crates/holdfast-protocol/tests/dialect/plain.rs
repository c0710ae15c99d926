//! D4: the plain envelope, which carries anything.

use holdfast_protocol::{
    Message,
    dialect::{
        Said,
        gojson::{Go, Raw},
        plain::{
            self, CredentialFetch, CredentialFetchResult, Deregister, Dispatch, DispatchError,
            DispatchResult, DispatchStatus, Envelope, ErrorBody, FrameError, Heard,
            OutpostDeregister, OutpostRegister, OutpostRegisterAck, Register, RegisterAck,
            RelayRequest, RelayResponse, RunCancel, RunCancelResult, SessionRefresh,
            SessionRefreshResult, Shutdown, Turn, TurnResult, WorkerStatus, hear, reaction,
        },
    },
    message::command,
};

use crate::{JOB, empty_ledger, goldens, is_unplaced, job, ledger, now};

fn rewritten<T: Go>(envelope: &Envelope) -> Raw {
    Raw::of(&envelope.body::<T>().expect("a golden fits its type"))
}

fn through_its_type(envelope: &Envelope) -> Raw {
    match envelope.kind.as_str() {
        "register" => rewritten::<Register>(envelope),
        "register.ack" => rewritten::<RegisterAck>(envelope),
        "register.error" => rewritten::<ErrorBody>(envelope),
        "deregister" => rewritten::<Deregister>(envelope),
        "outpost.register" => rewritten::<OutpostRegister>(envelope),
        "outpost.register.ack" => rewritten::<OutpostRegisterAck>(envelope),
        "outpost.deregister" => rewritten::<OutpostDeregister>(envelope),
        "shutdown" => rewritten::<Shutdown>(envelope),
        "session.refresh" => rewritten::<SessionRefresh>(envelope),
        "session.refresh.result" => rewritten::<SessionRefreshResult>(envelope),
        "dispatch" => rewritten::<Dispatch>(envelope),
        "dispatch.result" => rewritten::<DispatchResult>(envelope),
        "dispatch.error" => rewritten::<DispatchError>(envelope),
        "dispatch.status" => rewritten::<DispatchStatus>(envelope),
        "worker.status" => rewritten::<WorkerStatus>(envelope),
        "turn" => rewritten::<Turn>(envelope),
        "turn.result" => rewritten::<TurnResult>(envelope),
        "credential.fetch" => rewritten::<CredentialFetch>(envelope),
        "credential.fetch.result" => rewritten::<CredentialFetchResult>(envelope),
        "cwb.request" => rewritten::<RelayRequest>(envelope),
        "cwb.response" => rewritten::<RelayResponse>(envelope),
        "run.cancel" => rewritten::<RunCancel>(envelope),
        "run.cancel.result" => rewritten::<RunCancelResult>(envelope),
        "ping" | "chat.send" => envelope.payload.clone(),
        other => panic!("{other} has no type"),
    }
}

#[test]
fn every_core_frame_reads_and_writes_the_same() {
    for line in goldens("plain.jsonl") {
        let mut envelope = Envelope::decode(line.as_bytes()).unwrap();
        assert!(!format!("{envelope:?}").contains("canary"));
        envelope.payload = through_its_type(&envelope);
        assert_eq!(envelope.encode().unwrap(), line);
    }
}

#[test]
fn a_frame_needs_a_kind_and_a_body_that_is_read_must_be_there() {
    assert_eq!(Envelope::decode(b"{}").unwrap_err(), FrameError::NoKind);
    assert!(matches!(Envelope::decode(b"[]").unwrap_err(), FrameError::Malformed(_)));
    assert_eq!(Envelope::default().encode().unwrap_err(), FrameError::NoKind);
    let ping = Envelope::event("ping", now());
    assert_eq!(ping.body::<Shutdown>().unwrap_err(), FrameError::NoPayload);
    let wrong = Envelope::decode(br#"{"kind":"shutdown","payload":{"reason":7}}"#).unwrap();
    assert!(matches!(wrong.body::<Shutdown>().unwrap_err(), FrameError::Payload(_)));
}

#[test]
fn a_literal_null_is_a_payload_and_none_is_not() {
    let null =
        Envelope::decode(br#"{"kind":"x","ts":"2026-11-21T10:00:00Z","payload":null}"#).unwrap();
    assert!(null.encode().unwrap().ends_with(r#""payload":null}"#));
    let none = Envelope::decode(br#"{"kind":"x","ts":"2026-11-21T10:00:00Z"}"#).unwrap();
    assert_eq!(none.encode().unwrap(), r#"{"kind":"x","ts":"2026-11-21T10:00:00Z"}"#);
}

#[test]
fn answers_point_at_their_request_and_have_no_id() {
    let ask = Envelope::request("env.health", "01X", now());
    let text = ask.error("not <here>", now()).encode().unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"kind":"env.health.error","in_reply_to":"01X","ts":"2026-11-21T10:00:00Z","#,
            r#""payload":{"error":"not \u003chere\u003e"}}"#
        )
    );
}

#[test]
fn every_request_that_cannot_be_served_is_declined_in_its_own_form() {
    let ask = |kind: &str| Envelope::request(kind, "01X", now());
    for kind in ["chat.send", "knowledge.search", "roster.list", "of.the.future", "turn"] {
        let answer = reaction(&ask(kind), now()).unwrap();
        assert_eq!(answer.kind, format!("{kind}.error"));
        assert_eq!((answer.in_reply_to.as_str(), answer.id.as_str()), ("01X", ""));
    }
    assert_eq!(reaction(&ask("ping"), now()).unwrap().kind, "pong");
    assert_eq!(reaction(&ask("deregister"), now()).unwrap().kind, "deregister");
    let dispatch =
        ask("dispatch").with(&Dispatch { dispatch_id: "d1".into(), ..Dispatch::default() });
    let answer = reaction(&dispatch, now()).unwrap();
    let body: DispatchError = answer.body().unwrap();
    assert_eq!((answer.kind.as_str(), body.code.as_str()), ("dispatch.error", "no_dispatcher"));
    assert_eq!(body.dispatch_id, "d1");
}

#[test]
fn events_answers_and_our_own_kinds_get_no_such_answer() {
    assert_eq!(reaction(&Envelope::event("chat.send", now()), now()), None);
    assert_eq!(reaction(&Envelope::request("job.finished", "01X", now()), now()), None);
    let ask = Envelope::request("x", "01X", now());
    let error = ask.error("no", now());
    assert_eq!(reaction(&error, now()), None, "an error is never answered by an error");
    let odd = Envelope { id: "01Y".into(), ..error };
    assert_eq!(reaction(&odd, now()), None, "not even with an id");
}

#[test]
fn a_register_introduces_the_client_under_the_name_it_claims() {
    let line = &goldens("plain.jsonl")[0];
    let heard = hear(&Envelope::decode(line.as_bytes()).unwrap(), &ledger()).unwrap();
    let Heard::Register(register, introduction) = heard else { panic!("{heard:?}") };
    assert_eq!(introduction.name.as_deref(), Some("web-1"));
    assert_eq!((introduction.facts.os.as_str(), register.session_id.as_str()), ("linux", "s1"));
    assert_eq!(register.missing(), None);
    let nameless = Register { name: String::new(), ..*register };
    assert_eq!(nameless.missing(), Some("name"));
}

#[test]
fn our_own_messages_travel_under_their_own_names() {
    let cancel = Message::CommandCancel(command::Cancel { job_id: job() });
    let envelope = Envelope::of_message(&cancel, Some("01X".into()), now());
    let text = envelope.encode().unwrap();
    assert_eq!(
        text,
        format!(
            concat!(
                r#"{{"kind":"command.cancel","id":"01X","ts":"2026-11-21T10:00:00Z","#,
                r#""payload":{{"job_id":"{job}"}}}}"#
            ),
            job = JOB
        )
    );
    let heard = hear(&Envelope::decode(text.as_bytes()).unwrap(), &ledger()).unwrap();
    assert_eq!(heard, Heard::Said(Said::Message(cancel)));
}

#[test]
fn a_declined_command_finds_the_job_it_was_about() {
    let mut ledger = ledger();
    ledger.mark_request(job(), "01X");
    let ask = Envelope::request("command.run", "01X", now());
    let heard = hear(&ask.error("busy", now()), &ledger).unwrap();
    let Heard::Answer(Said::Message(Message::CommandResult(outcome))) = heard else { panic!() };
    assert_eq!((outcome.job_id, outcome.accepted), (job(), false));
    assert_eq!(outcome.error.unwrap().message, "busy");
    let unknown = Envelope::request("command.run", "01Z", now()).error("busy", now());
    assert!(matches!(hear(&unknown, &ledger).unwrap(), Heard::Answer(Said::Other { .. })));
}

#[test]
fn the_nearest_words_of_the_original_are_understood() {
    let mut ledger = ledger();
    ledger.open(job(), holdfast_protocol::dialect::OpenJob::of_group("home").named("run-1"));
    let status = |word: &str| {
        let body =
            DispatchStatus { run_id: "run-1".into(), status: word.into(), ..Default::default() };
        hear(&Envelope::event("dispatch.status", now()).with(&body), &ledger).unwrap()
    };
    for (word, accepted) in [("accepted", true), ("failed", false)] {
        let Heard::Said(Said::Message(Message::CommandResult(outcome))) = status(word) else {
            panic!()
        };
        assert_eq!((outcome.job_id, outcome.accepted), (job(), accepted));
    }
    let worker =
        goldens("plain.jsonl").into_iter().find(|line| line.contains("worker.status")).unwrap();
    let heard = hear(&Envelope::decode(worker.as_bytes()).unwrap(), &ledger).unwrap();
    assert!(matches!(heard, Heard::Said(Said::Message(Message::Heartbeat(_)))));
    let cancel = |run: &str| {
        let body = RunCancel { run_id: run.into(), force: false };
        hear(&Envelope::request("run.cancel", "01X", now()).with(&body), &ledger).unwrap()
    };
    let wanted = Message::CommandCancel(command::Cancel { job_id: job() });
    assert_eq!(cancel("run-1"), Heard::Said(Said::Message(wanted)));
    let Heard::Said(said) = cancel("run-2") else { panic!() };
    assert!(is_unplaced(&said));
}

#[test]
fn kinds_of_others_are_carried_as_they_came() {
    let chat = goldens("plain.jsonl").pop().unwrap();
    let heard = hear(&Envelope::decode(chat.as_bytes()).unwrap(), &empty_ledger()).unwrap();
    let Heard::Said(Said::Other { kind, payload }) = heard else { panic!() };
    assert_eq!(kind, "chat.send");
    assert_eq!(payload.as_str(), r#"{"from":"a","content":"b","mentions":null}"#);
    let misshapen = Envelope::event("job.finished", now()).with(&ErrorBody::default());
    let heard = hear(&misshapen, &empty_ledger()).unwrap();
    assert!(matches!(heard, Heard::Said(Said::Other { .. })), "our kind, not our body");
    assert_eq!(plain::BAD_FRAMES_MAX, 16);
}
