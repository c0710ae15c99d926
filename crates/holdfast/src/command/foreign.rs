//! `holdfast host add NAME --dialect …`: hosts whose agents speak another system's words.

use serde_json::{Value, json};
use url::Url;

use super::Operator;
use crate::{cli, failure::Failure, input, output::print};

/// Adds the host and says how its agent joins.
pub(super) async fn add(
    operator: &Operator,
    host: &cli::HostAdd,
    dialect: cli::Dialect,
) -> Result<(), Failure> {
    let mut body = json!({ "name": host.host });
    if let Some(address) = &host.address {
        body["address"] = address.as_str().into();
    }
    if let Some(file) = &host.address_token_file {
        body["token"] = input::secret(file, "agent's token")?.expose().into();
    }
    let path = ["dialects", dialect.word(), "hosts"];
    let mut answer = operator.client.post(&path, &body).await?;
    if let Some(path) = answer["connect_path"].as_str() {
        let url = connect_url(operator.client.server(), path);
        answer["connect_url"] = url.as_str().into();
    }
    if operator.screen.is_json() {
        print(&format!("{answer:#}\n"));
    } else {
        print(&text(&answer, operator.client.server()));
    }
    Ok(())
}

/// Where the agent's WebSocket goes: at the server's address, with the scheme of WebSockets.
fn connect_url(server: &Url, path: &str) -> Url {
    let mut url = server.clone();
    let scheme = if server.scheme() == "https" { "wss" } else { "ws" };
    // Both are schemes of the same sort, for which this always works.
    let _ = url.set_scheme(scheme);
    url.set_path(path);
    url
}

fn text(answer: &Value, server: &Url) -> String {
    let word = |name: &str| answer[name].as_str().unwrap_or_default();
    let (name, dialect) = (word("name"), word("dialect"));
    let Some(token) = answer["agent_token"].as_str() else {
        return format!("Host `{name}` is added. The server dials its agent from now on.\n");
    };
    let base = server.as_str().trim_end_matches('/');
    format!(
        "Host `{name}` waits for its agent, which speaks {dialect}. Give the agent:\n\n  \
         server       {base}\n  \
         WebSocket    {url}\n  \
         agent id     {id}\n  \
         agent token  {token}\n\n\
         The agent token is shown only now. docs/migrating.md has the steps.\n",
        url = word("connect_url"),
        id = word("host_id"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_the_server_is() {
        let url = |server: &str| connect_url(&Url::parse(server).unwrap(), "/ws/agent").to_string();
        assert_eq!(url("http://127.0.0.1:7400"), "ws://127.0.0.1:7400/ws/agent");
        assert_eq!(url("https://backup.example/"), "wss://backup.example/ws/agent");
    }

    #[test]
    fn a_dialled_host_has_no_token_to_show() {
        let server = Url::parse("http://127.0.0.1:7400").unwrap();
        let answer = json!({"name": "db-1", "dialect": "local", "host_id": "h"});
        assert!(text(&answer, &server).contains("The server dials its agent"));
        let answer = json!({"name": "db-1", "dialect": "backupy", "host_id": "h",
            "agent_token": "bkpy_live_x", "connect_url": "ws://127.0.0.1:7400/v1/agents/connect"});
        let text = text(&answer, &server);
        assert!(text.contains("agent token  bkpy_live_x") && text.contains("/v1/agents/connect"));
    }
}
