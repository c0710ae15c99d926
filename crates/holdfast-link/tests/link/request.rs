//! Questions and answers over a whole link, in virtual time.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast_link::RequestError;
use holdfast_protocol::Payload;
use tokio::time::Instant;

use crate::{
    memory::{Door, Pair},
    world::{append, connected, numbers, soon},
};

const SECOND: Duration = Duration::from_secs(1);

fn body(number: u32) -> Payload {
    Payload::of(&number)
}

fn code(outcome: Result<Payload, RequestError>) -> String {
    match outcome {
        Err(RequestError::Refused(refusal)) => refusal.code,
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn either_side_asks_and_gets_its_own_answer() {
    let pair = Pair::start();
    connected(&pair.client).await;
    let mailbox = pair.house.mailbox();
    let there = (0..50).map(|number| pair.client.request("echo", body(number), 5 * SECOND));
    let back = (100..150).map(|number| mailbox.request("echo", body(number), 5 * SECOND));
    let both = async { tokio::join!(join_all(there), join_all(back)) };
    let (there, back) = soon(both).await;
    assert_eq!(there, (0..50).map(|number| Ok(body(number))).collect::<Vec<_>>());
    assert_eq!(back, (100..150).map(|number| Ok(body(number))).collect::<Vec<_>>());
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_its_time_holds_up_nothing() {
    let pair = Pair::start();
    connected(&pair.client).await;
    let slow = pair.client.request("slow.echo", body(1), 20 * SECOND);
    let quick = async {
        append(&pair.store, 0..500);
        pair.client.wake();
        let answer = pair.client.request("echo", body(2), SECOND).await;
        pair.house.store.wait_until(|store| store.applied().len() == 500).await;
        answer
    };
    let began = Instant::now();
    let both = soon(async { tokio::join!(slow, async { (quick.await, began.elapsed()) }) });
    let (slow, (quick, took)) = both.await;
    assert_eq!((slow, quick), (Ok(body(1)), Ok(body(2))));
    assert!(took < SECOND, "{took:?}");
    assert_eq!(numbers(&pair.house.store).len(), 500);
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_question_is_answered_with_a_refusal_by_either_side() {
    let pair = Pair::start();
    connected(&pair.client).await;
    let there = pair.client.request("no.such.thing", body(0), 5 * SECOND).await;
    let back = pair.house.mailbox().request("no.such.thing", body(0), 5 * SECOND).await;
    assert_eq!((code(there), code(back)), ("unknown_request".into(), "unknown_request".into()));
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_ends_when_its_time_is_over() {
    let pair = Pair::start();
    connected(&pair.client).await;
    let began = Instant::now();
    let outcome = pair.client.request("slow.echo", body(0), 3 * SECOND).await;
    assert_eq!(outcome, Err(RequestError::TimedOut { after: 3 * SECOND }));
    assert_eq!(began.elapsed(), 3 * SECOND);
    // The late answer disturbs nobody.
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(pair.client.request("echo", body(1), SECOND).await, Ok(body(1)));
    assert_eq!(pair.client.status().borrow().reconnect_count, 0);
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_hear_at_once_that_the_link_is_lost() {
    let pair = Pair::start();
    connected(&pair.client).await;
    let mailbox = pair.house.mailbox();
    let began = Instant::now();
    let there =
        join_all((0..50).map(|number| pair.client.request("slow.echo", body(number), 20 * SECOND)));
    let back =
        join_all((0..50).map(|number| mailbox.request("slow.echo", body(number), 20 * SECOND)));
    let cut = async {
        tokio::time::sleep(SECOND).await;
        pair.cut();
    };
    let (there, back, ()) = soon(async { tokio::join!(there, back, cut) }).await;
    assert!(there.iter().chain(&back).all(|outcome| *outcome == Err(RequestError::Lost)));
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(mailbox.request("echo", body(0), SECOND).await, Err(RequestError::NotConnected));
    connected(&pair.client).await;
    assert_eq!(pair.client.request("echo", body(1), SECOND).await, Ok(body(1)));
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_link_that_is_not_there() {
    let pair = Pair::start_with(std::sync::Arc::default(), Door::Silent);
    let outcome = pair.client.request("echo", body(0), 60 * SECOND).await;
    assert_eq!(outcome, Err(RequestError::NotConnected));
    pair.finish().await;
}

#[tokio::test(start_paused = true)]
async fn too_many_questions_are_refused_and_those_given_up_make_room() {
    let pair = Pair::start();
    connected(&pair.client).await;
    let ask = |_| pair.client.request("slow.echo", body(0), 30 * SECOND);
    let outcomes = soon(join_all((0..300).map(ask))).await;
    let count = |wanted: fn(&Result<Payload, RequestError>) -> bool| {
        outcomes.iter().filter(|outcome| wanted(outcome)).count()
    };
    // 256 may wait here; of those the other side takes 64 at a time.
    assert_eq!(count(|outcome| matches!(outcome, Err(RequestError::TooMany))), 44);
    assert_eq!(count(Result::is_ok), 64);
    assert_eq!(count(|outcome| matches!(outcome, Err(RequestError::Refused(_)))), 192);
    for _ in 0..5 {
        let some = join_all((0..60).map(ask));
        assert!(tokio::time::timeout(SECOND / 10, some).await.is_err());
        tokio::time::sleep(11 * SECOND).await;
    }
    assert_eq!(pair.client.request("echo", body(1), SECOND).await, Ok(body(1)));
    pair.finish().await;
}
