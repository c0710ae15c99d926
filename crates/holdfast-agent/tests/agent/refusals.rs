//! What people meet when something is wrong.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use crate::bench::{Bench, Running, Server, refusal, wait_for};

#[test]
fn tokens_that_do_not_work_are_told_apart() {
    let table = [
        ("enrolment_token_invalid", "does not know this enrolment token"),
        ("enrolment_token_used", "has already been used"),
        ("enrolment_token_expired", "has expired"),
    ];
    for (code, sentence) in table {
        let bench = Bench::new();
        let server = Server::refusing(401, code);
        let said = refusal(&bench.enroll(&server.url(), &[]));
        assert!(said.contains(sentence), "{said}");
        assert!(said.contains("get a new token"), "{said}");
        assert!(!bench.data().join("agent.json").exists());
    }
}

#[test]
fn another_refusal_is_passed_on_in_the_servers_words() {
    let server = Server::refusing(429, "too_many_requests");
    let said = refusal(&Bench::new().enroll(&server.url(), &[]));
    assert!(said.contains("refused the enrolment: No."), "{said}");
    assert!(said.contains("what to do: Do it."), "{said}");
}

#[test]
fn an_unreachable_server_is_named_with_the_cause() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = refusal(&Bench::new().enroll(&format!("http://{address}"), &[]));
    assert!(said.contains(&address.to_string()), "{said}");
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(said.contains("onnection refused"), "{said}");
}

#[test]
fn something_else_than_a_holdfast_server_is_recognised() {
    let server = Server::answering(200, serde_json::json!("hello"));
    let said = refusal(&Bench::new().enroll(&server.url(), &[]));
    assert!(said.contains("not as a Holdfast server does"), "{said}");
    let said = refusal(&Bench::new().enroll(&format!("{}/elsewhere", server.url()), &[]));
    assert!(said.contains("404"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named_before_the_token_is_spent() {
    let bench = Bench::new();
    // Below a file nobody can make a directory, not even root.
    fs::write(bench.data(), "").unwrap();
    let server = Server::willing();
    let said = refusal(&bench.enroll(&server.url(), &[]));
    assert!(said.contains(&bench.data().display().to_string()), "{said}");
    assert!(said.contains("cannot be written"), "{said}");
    assert!(server.asked().is_empty(), "the token must still be good");
}

#[test]
fn a_token_does_not_cross_a_network_in_the_clear() {
    let said = refusal(&Bench::new().enroll("http://backup.invalid", &[]));
    assert!(said.contains("not encrypted"), "{said}");
    assert!(said.contains("--allow-plaintext"), "{said}");
}

#[test]
fn enrolling_stores_the_token_for_this_user_alone_and_shows_it_nowhere() {
    let bench = Bench::new();
    let server = Server::willing();
    let output = bench.enroll(&server.url(), &[]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("enrolled as host alpha"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    let token = bench.data().join("token");
    assert_eq!(fs::read_to_string(&token).unwrap(), "hf_agt_canary");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(bench.data()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(server.asked()[0]["token"], "hf_enr_canary");
}

#[test]
fn an_enrolment_is_replaced_only_by_force_and_then_with_a_new_outbox() {
    let bench = Bench::new();
    let server = Server::willing();
    assert!(bench.enroll(&server.url(), &[]).status.success());
    let said = refusal(&bench.enroll(&server.url(), &[]));
    assert!(said.contains("already enrolled as host alpha"), "{said}");
    assert!(bench.enroll(&server.url(), &["--force"]).status.success());
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0]["incarnation"], asked[1]["incarnation"]);
}

#[test]
fn an_enrolment_that_failed_can_be_tried_again() {
    let bench = Bench::new();
    let refused = Server::refusing(401, "enrolment_token_used");
    refusal(&bench.enroll(&refused.url(), &[]));
    assert!(bench.enroll(&Server::willing().url(), &[]).status.success());
}

#[test]
fn running_without_an_enrolment_says_how_to_enrol() {
    let said = refusal(&Bench::new().agent("run", &[]).output().unwrap());
    assert!(said.contains("not enrolled"), "{said}");
    assert!(said.contains("holdfast-agent enroll"), "{said}");
}

#[test]
fn a_missing_and_a_too_old_restic_are_named() {
    let bench = Bench::new();
    bench.pretend_enrolled("http://127.0.0.1:9");
    let nowhere = bench.path("no-restic-here");
    let run = |restic: &std::path::Path| {
        refusal(&bench.agent("run", &["--restic"]).arg(restic).output().unwrap())
    };
    let said = run(&nowhere);
    assert!(said.contains("no-restic-here"), "{said}");
    let old = bench.program("old-restic", "echo 'restic 0.9.6 compiled with go1.13.4'");
    let said = run(&old);
    assert!(said.contains("0.9.6") && said.contains("0.14.0"), "{said}");
}

#[test]
fn a_second_agent_in_the_same_directory_is_refused() {
    let bench = Bench::new();
    bench.pretend_enrolled("http://127.0.0.1:9");
    let restic = bench.program("restic", "echo 'restic 0.18.0 compiled with go1.24'");
    let restic = restic.to_str().unwrap();
    let log = bench.path("log");
    let _first = Running::start(bench.agent("run", &["--restic", restic]), &log);
    let is_up = || {
        let output = bench.agent("status", &["--json"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("\"running\":true").then_some(())
    };
    wait_for("the first agent", is_up);
    let said = refusal(&bench.agent("run", &["--restic", restic]).output().unwrap());
    assert!(said.contains("already using"), "{said}");
    let said = refusal(&bench.enroll("http://127.0.0.1:9", &["--force"]));
    assert!(said.contains("already using"), "{said}");
}

#[test]
fn wrong_usage_ends_with_two() {
    let bench = Bench::new();
    for arguments in [&["--server", "not a url"][..], &["--server", "http://localhost"]] {
        let output = bench.agent("enroll", arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}
