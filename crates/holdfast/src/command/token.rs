//! `holdfast token …`.

use std::{path::Path, process::ExitCode};

use holdfast_server::store::Store;
use serde_json::{Value, json};

use super::{Operator, runtime};
use crate::{
    cli::{self, Role},
    failure::{Failure, chain},
    output::{Cell, Look, Screen, Table},
};

/// The longest name of a token, in bytes.
const NAME_LENGTH_MAX: usize = 63;

/// `holdfast token …` over the API.
pub(super) async fn run(operator: &Operator, command: &cli::Token) -> Result<(), Failure> {
    match command {
        cli::Token::Create { name, role, host_group, life, .. } => {
            let mut body = json!({ "name": name, "role": role.word() });
            if !host_group.is_empty() {
                body["host_groups"] = json!(host_group);
            }
            if let Some(life) = life {
                body["expires_in_seconds"] = json!(life);
            }
            let answer = operator.client.post(&["tokens"], &body).await?;
            let token = answer["token"].as_str().unwrap_or_default();
            operator.screen.show(&answer, |_| format!("{token}\n"));
        }
        cli::Token::List => {
            let answer = operator.client.fetch(&["tokens"], &[]).await?;
            operator.screen.show(&answer, |look| table(&answer, look));
        }
        cli::Token::Remove { token } => {
            let answer = operator.client.delete(&["tokens", token]).await?;
            operator.screen.show(&answer, |_| format!("Token `{token}` is removed.\n"));
        }
    }
    Ok(())
}

fn table(answer: &Value, look: &Look) -> String {
    let heads = ["NAME", "ROLE", "HOST GROUPS", "EXPIRES", "LAST USED"];
    let mut table = Table::new(&heads, "There are no tokens.");
    for token in answer["tokens"].as_array().into_iter().flatten() {
        let text = |field: &str| token[field].as_str().unwrap_or("-").to_owned();
        let cells =
            [text("name"), text("role"), list(token), text("expires_at"), text("last_used_at")];
        table.row(cells.into_iter().map(Cell::from));
    }
    table.render(look)
}

/// The host groups of a token or user.
pub(super) fn list(of: &Value) -> String {
    let groups = of["host_groups"].as_array().into_iter().flatten();
    groups.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// `holdfast token create --data …`: straight in a server's data directory, for the time before
/// there is a token to ask the API with.
pub(super) fn create_here(
    name: &str,
    role: Role,
    data: &Path,
    screen: &Screen,
) -> Result<ExitCode, Failure> {
    // The name stands in lists and in the audit trail; it must be readable there.
    if name.trim().is_empty() || name.len() > NAME_LENGTH_MAX || name.contains(char::is_control) {
        return Err(Failure::new(
            "The token's name is empty, too long or not one line.",
            format!("Choose a name of at most {NAME_LENGTH_MAX} bytes, such as `backup-admins`."),
        ));
    }
    if !data.is_dir() {
        return Err(Failure::new(
            format!("There is no data directory `{}`.", data.display()),
            "Name the directory that the server runs with; start the server once to make it.",
        ));
    }
    let made = runtime()?.block_on(async {
        let store = Store::open(data).await.map_err(|error| failure(&error, error.action()))?;
        let made = store.create_api_token(name, role.word()).await;
        store.close().await;
        made.map_err(|error| failure(&error, error.action()))
    })?;
    let token = made.token.expose();
    let answer = json!({ "name": made.name, "role": made.role, "token": token });
    screen.show(&answer, |_| format!("{token}\n"));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn failure(error: &(dyn std::error::Error + 'static), action: &str) -> Failure {
    Failure::new(crate::failure::sentence(&chain(error)), action)
}
