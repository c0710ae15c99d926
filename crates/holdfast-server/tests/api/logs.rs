//! Logs that are followed over the live socket.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use holdfast_link::{Store as _, Unsequenced};
use holdfast_protocol::{
    Message as Word,
    message::log::{Line, Source, Stream},
};
use holdfast_server::store::HostStore;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    live::{Socket, connect, listen, next_json},
    support::{Server, session},
};

/// A server whose host `web-1` has a job, which a browser looks at.
struct World {
    server: Server,
    agent: HostStore,
    job: String,
    socket: Socket,
}

impl World {
    /// The browser belongs to a viewer of the host group `dmz`, in which the host is.
    async fn new() -> Self {
        let server = Server::with_group().await;
        let agent = session(&server, "web-1").await;
        server.patch("/hosts/web-1", &json!({"host_group": "dmz"})).await.expect(200);
        let order = json!({"operation": "backup", "group": "etc"});
        let job = server.post("/hosts/web-1/jobs", &order).await.expect(202);
        let token = json!({"name": "dmz", "role": "viewer", "host_groups": ["dmz"]});
        let token = server.post("/tokens", &token).await.expect(201);
        let bearer = ("authorization", format!("Bearer {}", token["token"].as_str().unwrap()));
        let socket = connect(listen(&server).await, &[bearer]).await.unwrap();
        let job = job["job_id"].as_str().unwrap().to_owned();
        Self { server, agent, job, socket }
    }

    async fn say(&mut self, word: &Value) {
        self.socket.send(Message::text(word.to_string())).await.unwrap();
    }

    async fn follow(&mut self, name: &str, job: &str, after: u64) {
        self.say(&json!({"kind": "log.follow", "follow": name, "job_id": job, "after": after}))
            .await;
    }

    /// The next word about a log.
    async fn told(&mut self) -> Value {
        loop {
            let told = next_json(&mut self.socket).await;
            if told["kind"].as_str().unwrap().starts_with("log") {
                return told;
            }
        }
    }
}

/// Lines as the agent sends them.
fn lines(job: &str, numbers: impl Iterator<Item = u64>) -> Unsequenced {
    let line = |seq| Line {
        seq,
        ts: jiff::Timestamp::now(),
        stream: Source::Stdout,
        payload: format!("line {seq}"),
    };
    let word = Word::LogStream(Stream {
        job_id: job.parse().unwrap(),
        lines: numbers.map(line).collect(),
    });
    Unsequenced {
        class: word.class(),
        key: String::new(),
        ts: jiff::Timestamp::now(),
        kind: word.kind().to_owned(),
        payload: word.encode(),
    }
}

fn numbers(told: &Value) -> Vec<u64> {
    let lines = told["lines"].as_array().unwrap();
    lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_list_and_what_follows_it_miss_no_line_and_double_none() {
    const LAST: u64 = 3000;
    let mut world = World::new().await;
    let wanted: Vec<u64> = (1..=LAST).filter(|seq| seq % 1000 != 7).collect();
    let (agent, job, parts) = (world.agent.clone(), world.job.clone(), wanted.clone());
    let talking = tokio::spawn(async move {
        for part in parts.chunks(23) {
            agent.receive(lines(&job, part.iter().copied())).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let (mut seen, mut gaps, mut last) = (Vec::new(), Vec::new(), 0);
    let mut take = |page: &Value| {
        seen.extend(numbers(page));
        gaps.extend(page["gaps"].as_array().unwrap().clone());
        seen.last().copied().unwrap_or(0)
    };
    // As a page does: the list first, while it grows, and then what comes.
    loop {
        let path = format!("/jobs/{}/log?after={last}&limit=100", world.job);
        let page = world.server.get(&path).await.expect(200);
        last = take(&page);
        if page["next"].is_null() && last > 0 {
            break;
        }
    }
    let name = "one tab's";
    world.follow(name, &world.job.clone(), last).await;
    while last < LAST {
        let told = world.told().await;
        assert_eq!((&told["follow"], &told["after"]), (&json!(name), &json!(last)), "{told}");
        last = take(&told);
        assert_eq!(told["last"], last);
    }
    talking.await.unwrap();
    assert_eq!(seen, wanted);
    let missing = |seq: u64| json!({"from": seq, "to": seq});
    assert_eq!(gaps, [missing(7), missing(1007), missing(2007)]);
}

#[tokio::test]
async fn only_who_looks_at_a_log_is_told_of_it() {
    let mut world = World::new().await;
    let job = world.job.clone();
    world.agent.receive(lines(&job, 1..=2)).await.unwrap();
    world.follow("a", &job, 0).await;
    assert_eq!(numbers(&world.told().await), [1, 2]);
    world.follow("b", &job, 1).await;
    assert_eq!(numbers(&world.told().await), [2]);
    world.say(&json!({"kind": "log.leave", "follow": "a"})).await;
    world.say(&json!({"kind": "something newer"})).await;
    world.socket.send(Message::text("not even JSON")).await.unwrap();
    // The answer shows that what was said before was heard.
    world.follow("c", &job, 1).await;
    assert_eq!(world.told().await["follow"], "c");
    world.agent.receive(lines(&job, 3..=3)).await.unwrap();
    let mut told = [world.told().await, world.told().await];
    told.sort_by_key(|told| told["follow"].to_string());
    assert_eq!(told.each_ref().map(|told| told["follow"].as_str().unwrap()), ["b", "c"]);
    assert_eq!(told.each_ref().map(numbers), [[3], [3]]);
}

#[tokio::test]
async fn a_log_of_a_host_elsewhere_is_as_if_it_did_not_exist() {
    let mut world = World::new().await;
    world.server.post("/hosts", &json!({"name": "db-1"})).await.expect(201);
    let group = json!({"name": "etc", "repository": "main", "includes": ["/etc"]});
    world.server.post("/hosts/db-1/groups", &group).await.expect(201);
    let order = json!({"operation": "backup", "group": "etc"});
    let theirs = world.server.post("/hosts/db-1/jobs", &order).await.expect(202);
    world.follow("theirs", theirs["job_id"].as_str().unwrap(), 0).await;
    let refused = world.told().await;
    assert_eq!(
        (&refused["kind"], &refused["code"]),
        (&json!("log.refused"), &json!("job_not_found"))
    );

    let job = world.job.clone();
    world.agent.receive(lines(&job, 1..=1)).await.unwrap();
    world.follow("ours", &job, 0).await;
    assert_eq!(numbers(&world.told().await), [1]);
    // The host goes to another group, and its logs with it.
    world.server.patch("/hosts/web-1", &json!({"host_group": "lan"})).await.expect(200);
    world.agent.receive(lines(&job, 2..=2)).await.unwrap();
    let refused = world.told().await;
    assert_eq!((&refused["follow"], &refused["code"]), (&json!("ours"), &json!("job_not_found")));
}

#[tokio::test]
async fn a_browser_that_floods_is_read_slowly_and_follows_a_bounded_number_of_logs() {
    // 20 frames a second, and ten seconds' worth at once.
    const FRAMES: usize = 400;
    // What was read before the meter closed, some eighty frames, is not waited for.
    const LEAST: Duration = Duration::from_secs((400 - 200 - 100) / 20);
    let mut world = World::new().await;
    let job = world.job.clone();
    let began = Instant::now();
    for frame in 0..FRAMES {
        world.follow(&format!("{frame}"), &job, 0).await;
    }
    for _ in 32..FRAMES {
        let refused = world.told().await;
        assert_eq!(refused["code"], "too_many_logs", "{refused}");
    }
    assert!(began.elapsed() >= LEAST, "{FRAMES} frames were read in {:?}", began.elapsed());
}
