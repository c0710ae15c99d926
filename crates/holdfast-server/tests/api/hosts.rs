//! The list of hosts: filtered, sorted, a page at a time, and only when it has changed.

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use serde_json::{Value, json};

use crate::support::{Answer, Server};

/// A server with these hosts, of which `web-2` is in the host group `dmz` and has a label.
async fn fleet(names: &[&str]) -> Server {
    let server = Server::start().await;
    for name in names {
        server.post("/hosts", &json!({"name": name})).await.expect(201);
    }
    let change = json!({"host_group": "dmz", "labels": {"rack": "B7"}});
    server.patch("/hosts/web-2", &change).await.expect(200);
    server
}

fn names(page: &Value) -> Vec<&str> {
    page["hosts"].as_array().unwrap().iter().map(|host| host["name"].as_str().unwrap()).collect()
}

async fn list(server: &Server, query: &str) -> Value {
    server.get(&format!("/hosts?{query}")).await.expect(200)
}

#[tokio::test]
async fn pages_hold_every_host_once_in_every_order() {
    let all = ["db-1", "mail-1", "web-1", "web-10", "web-2"];
    let server = fleet(&all).await;
    for sort in ["name", "standing", "last_backup", "next_backup"] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = list(&server, &format!("sort={sort}&limit=2&after={after}")).await;
            assert_eq!(page["total"], 5);
            seen.extend(names(&page).into_iter().map(str::to_owned));
            match page["next"].as_str() {
                Some(next) => after = next.replace(' ', "%20"),
                None => break,
            }
        }
        assert_eq!(seen, all, "by {sort}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_and_searched() {
    let server = fleet(&["db-1", "web-1", "web-2"]).await;
    for (query, wanted) in [
        ("search=WEB", vec!["web-1", "web-2"]),
        ("search=web%20b7", vec!["web-2"]),
        ("search=rack", vec!["web-2"]),
        ("search=nothing", vec![]),
        ("host_group=dmz", vec!["web-2"]),
        ("host_group=", vec!["db-1", "web-1"]),
        ("state=pending", vec!["db-1", "web-1", "web-2"]),
        ("state=online", vec![]),
        ("standing=never&search=db", vec!["db-1"]),
        ("standing=protected", vec![]),
    ] {
        let page = list(&server, query).await;
        assert_eq!(
            (names(&page), &page["total"]),
            (wanted.clone(), &json!(wanted.len())),
            "{query}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_said() {
    let server = Server::start().await;
    for (query, code) in [
        ("state=lost", "invalid_state"),
        ("standing=good", "invalid_standing"),
        ("sort=size", "invalid_sort"),
        ("limit=0", "invalid_limit"),
        ("limit=501", "invalid_limit"),
    ] {
        server.get(&format!("/hosts?{query}")).await.expect_problem(400, code);
    }
}

#[tokio::test]
async fn the_list_knows_at_once_what_was_changed_before_it_was_asked_for() {
    let server = Server::start().await;
    for number in 0..50 {
        let name = format!("web-{number}");
        server.post("/hosts", &json!({"name": name})).await.expect(201);
        let page = list(&server, &format!("search={name}")).await;
        assert!(names(&page).contains(&name.as_str()), "{page}");
        server.delete(&format!("/hosts/{name}")).await.expect(204);
        assert_eq!(names(&list(&server, "").await), [""; 0]);
    }
}

#[tokio::test]
async fn who_has_the_newest_list_is_told_so_in_one_line() {
    let server = fleet(&["db-1", "web-2"]).await;
    let ask = async |token: &str, tag: &str| -> Answer {
        let request = Request::builder()
            .method(Method::GET)
            .uri("/api/v1/hosts")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::IF_NONE_MATCH, tag);
        server.send(request.body(Body::empty()).unwrap()).await
    };
    let first = ask(&server.admin, "").await;
    assert_eq!(names(&first.expect(200)), ["db-1", "web-2"]);
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let tag = first.header("etag");
    for known in [tag.to_owned(), format!("\"other\", {tag}"), tag.replace("W/", "")] {
        let again = ask(&server.admin, &known).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
        assert_eq!(again.header("etag"), tag);
    }
    // Who sees less has another list, and who may not ask is told nothing.
    let narrow = json!({"name": "dmz", "role": "viewer", "host_groups": ["dmz"]});
    let narrow = server.post("/tokens", &narrow).await.expect(201);
    let theirs = ask(narrow["token"].as_str().unwrap(), tag).await;
    assert_eq!(names(&theirs.expect(200)), ["web-2"]);
    ask("hf_api_forged", tag).await.expect_problem(401, "invalid_token");
    server.patch("/hosts/db-1", &json!({"host_group": "lan"})).await.expect(200);
    let changed = ask(&server.admin, tag).await;
    assert_eq!(changed.expect(200)["hosts"][0]["host_group"], "lan");
}
