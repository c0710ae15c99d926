//! `holdfast user …`.

use serde_json::{Value, json};

use super::{Operator, token::list as groups};
use crate::{
    cli,
    failure::Failure,
    input,
    output::{Cell, Look, Table},
};

/// `holdfast user …`.
pub(super) async fn run(operator: &Operator, command: &cli::User) -> Result<(), Failure> {
    match command {
        cli::User::Add { name, role, password_file, host_group } => {
            let password = input::secret(password_file, "password")?;
            let mut body = json!({ "name": name, "role": role.word(), "password": password });
            if !host_group.is_empty() {
                body["host_groups"] = json!(host_group);
            }
            let answer = operator.client.post(&["users"], &body).await?;
            operator.screen.show(&answer, |_| format!("User `{name}` is made.\n"));
        }
        cli::User::List => {
            let answer = operator.client.fetch(&["users"], &[]).await?;
            operator.screen.show(&answer, |look| table(&answer, look));
        }
        cli::User::Set { name, .. } => {
            let answer = operator.client.patch(&["users", name], &change(command)?).await?;
            operator.screen.show(&answer, |_| format!("User `{name}` is changed.\n"));
        }
        cli::User::Remove { name } => {
            let answer = operator.client.delete(&["users", name]).await?;
            operator.screen.show(&answer, |_| format!("User `{name}` is removed.\n"));
        }
    }
    Ok(())
}

/// What `user set` asks for; what is not named is left out and stays.
fn change(command: &cli::User) -> Result<Value, Failure> {
    let mut body = json!({});
    let cli::User::Set { role, password_file, host_group, disable, enable, forget_totp, .. } =
        command
    else {
        return Ok(body);
    };
    if let Some(role) = role {
        body["role"] = json!(role.word());
    }
    if let Some(file) = password_file {
        body["password"] = json!(input::secret(file, "password")?);
    }
    if !host_group.is_empty() {
        body["host_groups"] = json!(host_group);
    }
    if *disable || *enable {
        body["disabled"] = json!(disable);
    }
    if *forget_totp {
        body["totp_enabled"] = json!(false);
    }
    Ok(body)
}

fn table(answer: &Value, look: &Look) -> String {
    let heads = ["NAME", "ROLE", "HOST GROUPS", "CODE", "STATE", "LAST SIGN-IN"];
    let mut table = Table::new(&heads, "There are no users.");
    for user in answer["users"].as_array().into_iter().flatten() {
        let text = |field: &str| user[field].as_str().unwrap_or("-").to_owned();
        let word = |field: &str, yes: &str, no: &str| {
            if user[field] == true { yes.to_owned() } else { no.to_owned() }
        };
        let cells = [
            text("name"),
            text("role"),
            groups(user),
            if user["single_sign_on"] == true {
                "provider's".to_owned()
            } else {
                word("totp_enabled", "yes", "no")
            },
            word("disabled", "disabled", "active"),
            text("last_sign_in_at"),
        ];
        table.row(cells.into_iter().map(Cell::from));
    }
    table.render(look)
}
