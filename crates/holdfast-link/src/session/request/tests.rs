use proptest::prelude::*;

use super::*;

fn question(ticket: u64, seconds: u64) -> Question {
    Question {
        ticket,
        kind: "snapshot.browse".to_owned(),
        ts: Timestamp::UNIX_EPOCH,
        payload: Payload::of(&ticket),
        timeout: Duration::from_secs(seconds),
    }
}

fn request(bytes: usize) -> Request {
    let payload = Payload::of(&"x".repeat(bytes));
    Request { kind: "snapshot.browse".to_owned(), ts: Timestamp::UNIX_EPOCH, payload }
}

fn at(seconds: u64) -> Moment {
    Moment::after_origin(Duration::from_secs(seconds))
}

fn outcomes(requests: &mut Requests) -> Vec<(u64, Outcome)> {
    std::iter::from_fn(|| requests.poll_outcome()).collect()
}

#[test]
fn questions_and_answers_find_each_other() {
    let (mut asker, mut peer) = (Requests::default(), Requests::default());
    for ticket in [7, 8] {
        asker.ask(question(ticket, 5), at(0));
    }
    for _ in 0..2 {
        let frame = asker.next_frame().unwrap();
        let body = frame.payload.clone().unwrap();
        let ours = Request { payload: body.clone(), ..request(0) };
        let Taken::Ours { id, request } = peer.take(frame.id.unwrap(), ours) else { panic!() };
        let no =
            Refusal { code: "no".to_owned(), message: "No.".to_owned(), action: String::new() };
        let result = if id == "7" { Ok(body) } else { Err(no) };
        peer.give(id, &request.kind, 1, result);
    }
    while let Some(frame) = peer.next_frame() {
        assert!(frame.id.is_none(), "an answer is no request");
        let id = frame.in_reply_to.unwrap();
        assert!(asker.answered(&id, &frame.kind, frame.payload.unwrap()));
    }
    let [(7, Ok(body)), (8, Err(RequestError::Refused(no)))] = &outcomes(&mut asker)[..] else {
        panic!("two answers");
    };
    assert_eq!((body.as_str(), no.code.as_str()), ("7", "no"));
    assert_eq!((asker.held(), peer.held()), (0, 0));
}

#[test]
fn what_is_too_much_is_refused_and_costs_no_memory() {
    let mut requests = Requests::default();
    for ticket in 0..300 {
        requests.ask(question(ticket, 5), at(0));
    }
    let refused = outcomes(&mut requests);
    assert_eq!(refused.len(), 300 - ASKED_MAX);
    assert!(refused.iter().all(|(_, outcome)| *outcome == Err(RequestError::TooMany)));
    let mut large = question(1000, 5);
    large.payload = request(FRAME_SIZE_MAX).payload;
    requests.ask(large, at(0));
    assert_eq!(outcomes(&mut requests), [(1000, Err(RequestError::TooLarge))]);
}

#[test]
fn a_peer_that_asks_too_much_is_told_so_and_then_no_more() {
    let mut requests = Requests::default();
    for number in 0..1000 {
        let taken = requests.take(number.to_string(), request(10));
        assert_eq!(matches!(taken, Taken::Ours { .. }), number < ANSWERING_MAX);
    }
    assert_eq!(requests.held(), ANSWERING_MAX + ANSWERS_MAX);
    let frame = requests.next_frame().unwrap();
    assert_eq!(
        (frame.kind.as_ref(), frame.in_reply_to.as_deref()),
        ("snapshot.browse.error", Some("64"))
    );
    assert!(frame.payload.unwrap().as_str().contains("busy"));
    let mut requests = Requests::default();
    let count = (0..64).filter(|number| {
        matches!(requests.take(number.to_string(), request(BYTES_MAX)), Taken::Ours { .. })
    });
    assert_eq!(count.count(), 1, "bodies count too");
    assert_eq!(requests.take("x".repeat(129), request(0)), Taken::Done);
}

#[test]
fn an_answer_that_fits_into_no_frame_becomes_a_refusal() {
    let mut requests = Requests::default();
    assert!(matches!(requests.take("a".to_owned(), request(0)), Taken::Ours { .. }));
    requests.give("a".to_owned(), "k", 2, Ok(request(FRAME_SIZE_MAX).payload));
    let frame = requests.next_frame().unwrap();
    assert_eq!(frame.kind, "k.error");
    assert!(frame.payload.unwrap().as_str().contains("answer_too_large"));
}

#[derive(Debug, Clone)]
enum Step {
    Ask { timeout: u64 },
    Write,
    Answer { ticket: u64 },
    Abandon { ticket: u64 },
    Pass { seconds: u64 },
    Lose,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0u64..20).prop_map(|timeout| Step::Ask { timeout }),
        3 => Just(Step::Write),
        4 => (0u64..60).prop_map(|ticket| Step::Answer { ticket }),
        1 => (0u64..60).prop_map(|ticket| Step::Abandon { ticket }),
        3 => (0u64..10).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Lose),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    /// Against the plainest model there is: a list of who waits until when.
    #[test]
    fn every_question_has_exactly_one_outcome_and_it_is_the_right_one(steps in steps()) {
        let (mut requests, mut now, mut next) = (Requests::default(), 0, 0);
        let mut waiting: Vec<(u64, u64, u64)> = Vec::new();
        let mut expected: Vec<(u64, Outcome)> = Vec::new();
        let mut came = Vec::new();
        for step in steps {
            match step {
                Step::Ask { timeout } => {
                    requests.ask(question(next, timeout), at(now));
                    waiting.push((next, now + timeout, timeout));
                    next += 1;
                }
                Step::Write => {
                    if let Some(frame) = requests.next_frame() {
                        let id = frame.id.unwrap();
                        let waits = waiting.iter().any(|(ticket, ..)| ticket.to_string() == id);
                        prop_assert!(waits, "nobody waits for it any more");
                    }
                }
                Step::Answer { ticket } => {
                    let known = waiting.iter().position(|(waits, ..)| *waits == ticket);
                    let (id, body) = (ticket.to_string(), Payload::of(&ticket));
                    let answered = requests.answered(&id, "k.reply", body);
                    prop_assert_eq!(answered, known.is_some());
                    if let Some(place) = known {
                        waiting.remove(place);
                        expected.push((ticket, Ok(Payload::of(&ticket))));
                    }
                }
                Step::Abandon { ticket } => {
                    requests.abandon(ticket);
                    waiting.retain(|(waits, ..)| *waits != ticket);
                }
                Step::Pass { seconds } => {
                    now += seconds;
                    requests.expire(at(now));
                    waiting.retain(|&(ticket, due, timeout)| {
                        let after = Duration::from_secs(timeout);
                        let over = due <= now;
                        if over {
                            expected.push((ticket, Err(RequestError::TimedOut { after })));
                        }
                        !over
                    });
                }
                Step::Lose => {
                    requests.lose();
                    let lost = waiting.drain(..).map(|(ticket, ..)| ticket);
                    expected.extend(lost.map(|ticket| (ticket, Err(RequestError::Lost))));
                }
            }
            prop_assert_eq!(requests.deadline(), waiting.iter().map(|(_, due, _)| at(*due)).min());
            came.extend(outcomes(&mut requests));
        }
        prop_assert_eq!(came, expected);
    }
}
