//! `holdfast token …`: straight in a server's data directory, for the time before there is a token
//! to ask the API with.

use std::{path::Path, process::ExitCode};

use holdfast_server::store::Store;
use serde_json::json;

use super::runtime;
use crate::{
    cli::{self, Role},
    failure::{Failure, chain},
    output::Screen,
};

/// The longest name of a token, in bytes.
const NAME_LENGTH_MAX: usize = 63;

/// `holdfast token …`.
pub(super) fn run(command: &cli::Token, screen: &Screen) -> Result<ExitCode, Failure> {
    match command {
        cli::Token::Create { name, role, data } => create(name, *role, data, screen)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(name: &str, role: Role, data: &Path, screen: &Screen) -> Result<(), Failure> {
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
        let made = store.create_api_token(name, word(role)).await;
        store.close().await;
        made.map_err(|error| failure(&error, error.action()))
    })?;
    let token = made.token.expose();
    let answer = json!({ "name": made.name, "role": made.role, "token": token });
    screen.show(&answer, |_| format!("{token}\n"));
    Ok(())
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

fn failure(error: &(dyn std::error::Error + 'static), action: &str) -> Failure {
    Failure::new(crate::failure::sentence(&chain(error)), action)
}
