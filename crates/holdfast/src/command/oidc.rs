//! `holdfast oidc …`.

use serde_json::{Value, json};

use super::{Operator, token::list as groups};
use crate::{
    cli::{self, OidcSet},
    failure::Failure,
    input,
    output::{Look, Table},
};

/// `holdfast oidc …`.
pub(super) async fn run(operator: &Operator, command: &cli::Oidc) -> Result<(), Failure> {
    match command {
        cli::Oidc::Set(wish) => {
            let answer = operator.client.put(&["oidc"], &body(wish)?).await?;
            operator.screen.show(&answer, |_| set(&answer));
        }
        cli::Oidc::Show => {
            let answer = operator.client.fetch(&["oidc"], &[]).await?;
            operator.screen.show(&answer, |look| shown(&answer, look));
        }
        cli::Oidc::Clear => {
            let answer = operator.client.delete(&["oidc"]).await?;
            operator.screen.show(&answer, |_| {
                "Nobody signs in by the identity provider any more.\n".to_owned()
            });
        }
    }
    Ok(())
}

/// What is left out takes the server's default.
fn body(wish: &OidcSet) -> Result<Value, Failure> {
    let mut body = json!({
        "issuer": wish.issuer, "client_id": wish.client_id, "page_url": wish.page,
        "roles": wish.roles,
    });
    if let Some(file) = &wish.client_secret_file {
        body["client_secret"] = json!(input::secret(file, "client secret")?);
    }
    if !wish.scope.is_empty() {
        body["scopes"] = json!(wish.scope);
    }
    let texts = [
        ("label", &wish.label),
        ("name_claim", &wish.name_claim),
        ("role_claim", &wish.role_claim),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = json!(text);
        }
    }
    Ok(body)
}

fn set(answer: &Value) -> String {
    let text = |field: &str| answer[field].as_str().unwrap_or_default();
    format!(
        "People may sign in by {}. Register {} there as the address to come back to.\n",
        text("issuer"),
        text("redirect_url")
    )
}

fn shown(answer: &Value, look: &Look) -> String {
    let text = |field: &str| answer[field].as_str().unwrap_or_default();
    let secret = if answer["has_client_secret"] == true { "sealed" } else { "none" };
    let scopes = answer["scopes"].as_array().into_iter().flatten();
    let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
    let mut lines = String::new();
    for (name, value) in [
        ("Issuer", text("issuer")),
        ("Client", text("client_id")),
        ("Secret", secret),
        ("Comes back to", text("redirect_url")),
        ("Button", text("label")),
        ("Scopes", &scopes.join(" ")),
        ("Name from", text("name_claim")),
        ("Role from", text("role_claim")),
    ] {
        lines += &format!("{name:<14} {value}\n");
    }
    let mut table = Table::new(&["VALUE", "ROLE", "HOST GROUPS"], "No value gives a role.");
    for rule in answer["roles"].as_array().into_iter().flatten() {
        let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        table.row([text("value").into(), text("role").into(), groups(rule).into()]);
    }
    format!("{lines}\n{}", table.render(look))
}
