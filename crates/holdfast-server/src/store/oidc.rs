//! The identity provider, and the users that it vouches for.

use holdfast_protocol::message::config::Secret;
use serde_json::{Value, json};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, NewUser, Store, UserChange, audit,
    row::{self, Columns},
    user,
};
use crate::{
    auth::Principal,
    oidc::{Flow, Visitor},
    secret::Place,
    view::{OidcSettings, OidcView},
};

/// Why somebody whom the provider vouches for is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// An admin keeps the user out.
    Disabled,
    /// The name is somebody else's here.
    NameTaken,
}

const SELECT: &str = "SELECT settings, client_secret FROM oidc";
const PLACE: Place<'_> = Place { table: "oidc", row: "1", column: "client_secret" };

impl Store {
    /// How people sign in by an identity provider, with what the server shows to it.
    pub(crate) async fn oidc(&self) -> Result<Option<(OidcSettings, Option<Secret>)>, Error> {
        const PHASE: &str = "reading the identity provider";
        let row = sqlx::query(SELECT).fetch_optional(self.readers()).await;
        let Some(row) = row.map_err(Error::database(PHASE))? else { return Ok(None) };
        let settings = row.json("settings").map_err(Error::database(PHASE))?;
        let sealed = row.text_opt("client_secret").map_err(Error::database(PHASE))?;
        let secret = sealed.map(|sealed| self.sealer().unseal(PLACE, &sealed)).transpose();
        Ok(Some((settings, secret.map_err(Error::damaged(PHASE))?)))
    }

    /// Sets how people sign in by an identity provider. Whoever came in by one must come again.
    pub(crate) async fn set_oidc(
        &self,
        actor: &str,
        settings: &OidcSettings,
        client_secret: Option<&Secret>,
    ) -> Result<(), Error> {
        const PHASE: &str = "setting the identity provider";
        let sealed = client_secret.map(|secret| self.sealer().seal(PLACE, secret.expose()));
        let mut tx = self.begin(PHASE).await?;
        let change = async |connection: &mut SqliteConnection| {
            let before = described(&mut *connection).await?;
            put(&mut *connection, settings, sealed.as_deref()).await?;
            sign_out_all(&mut *connection).await?;
            let after = described(&mut *connection).await?;
            audit::changed(connection, (actor, "oidc.set", &settings.issuer), before, after).await
        };
        change(&mut tx).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_access();
        Ok(())
    }

    /// Ends signing in by the identity provider, and signs out who came in by it; whether there was
    /// one.
    pub(crate) async fn clear_oidc(&self, actor: &str) -> Result<bool, Error> {
        const PHASE: &str = "clearing the identity provider";
        let mut tx = self.begin(PHASE).await?;
        let change = async |connection: &mut SqliteConnection| {
            let Some(before) = described(&mut *connection).await? else { return Ok(false) };
            sqlx::query("DELETE FROM oidc").execute(&mut *connection).await?;
            sign_out_all(&mut *connection).await?;
            let issuer = before["issuer"].as_str().unwrap_or_default().to_owned();
            let what = (actor, "oidc.clear", issuer.as_str());
            audit::changed(connection, what, Some(before), None).await?;
            Ok(true)
        };
        let cleared = change(&mut tx).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_access();
        Ok(cleared)
    }

    /// A flow as its browser keeps it.
    pub(crate) fn seal_flow(&self, flow: &Flow) -> String {
        flow.seal(self.sealer())
    }

    /// The flow to `issuer` that a browser brings back with `state`.
    pub(crate) fn open_flow(&self, sealed: &str, state: &str, issuer: &str) -> Option<Flow> {
        Flow::open(self.sealer(), sealed, state, issuer, self.now())
    }

    /// The user that somebody is whom the provider vouches for. Whoever comes first is made a user;
    /// the role is each time what the provider's word gives. Nobody becomes a user whom the
    /// provider did not make: a name that is taken stays with whom it is.
    pub(crate) async fn admit_visitor(
        &self,
        visitor: &Visitor,
    ) -> Result<Result<Principal, TurnedAway>, Error> {
        const PHASE: &str = "letting somebody in by the identity provider";
        let mut tx = self.begin(PHASE).await?;
        let admitted = admit(&mut tx, visitor, self).await.map_err(Error::database(PHASE))?;
        let name = match admitted {
            Ok(name) => name,
            Err(turned_away) => return Ok(Err(turned_away)),
        };
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_access();
        let user = self.user_secrets(&name).await?;
        let user = user.ok_or(Error::UserNotFound { name })?;
        Ok(Ok(user.principal()))
    }
}

impl OidcView {
    /// What may be shown of settings.
    pub(crate) fn of(settings: OidcSettings, client_secret: Option<&Secret>) -> Self {
        let redirect_url = settings.redirect_url();
        Self { settings, has_client_secret: client_secret.is_some(), redirect_url }
    }
}

async fn admit(
    connection: &mut SqliteConnection,
    visitor: &Visitor,
    store: &Store,
) -> Result<Result<String, TurnedAway>, sqlx::Error> {
    let row = sqlx::query("SELECT name, role, host_groups, disabled FROM users WHERE subject = $1")
        .bind(&visitor.subject)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        let new = NewUser {
            name: visitor.name.clone(),
            role: visitor.role,
            host_groups: visitor.host_groups.clone(),
            password: None,
        };
        let subject = Some(visitor.subject.as_str());
        let added = user::insert(connection, &new.name, &new, subject, store.now()).await?;
        return Ok(if added { Ok(new.name) } else { Err(TurnedAway::NameTaken) });
    };
    if row.flag("disabled")? {
        return Ok(Err(TurnedAway::Disabled));
    }
    let name = row.text("name")?;
    if !is_as_before(&row, visitor)? {
        let change = UserChange {
            role: Some(visitor.role),
            host_groups: Some(visitor.host_groups.clone()),
            ..UserChange::default()
        };
        user::update(connection, &name, &name, &change, None).await?;
    }
    Ok(Ok(name))
}

fn is_as_before(row: &SqliteRow, visitor: &Visitor) -> Result<bool, sqlx::Error> {
    let groups: Vec<String> = row.json("host_groups")?;
    Ok(row.text("role")? == visitor.role.as_str() && groups == visitor.host_groups)
}

async fn put(
    connection: &mut SqliteConnection,
    settings: &OidcSettings,
    sealed: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO oidc (id, settings, client_secret) VALUES (1, $1, $2)
         ON CONFLICT (id) DO UPDATE SET
             settings = excluded.settings, client_secret = excluded.client_secret",
    )
    .bind(row::json(settings))
    .bind(sealed)
    .execute(connection)
    .await?;
    Ok(())
}

async fn sign_out_all(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM sign_ins WHERE user_id IN (SELECT id FROM users WHERE subject IS NOT NULL)",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The settings as the audit tells of them: whether there is a secret, and never which.
async fn described(connection: &mut SqliteConnection) -> Result<Option<Value>, sqlx::Error> {
    let row = sqlx::query(SELECT).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(None) };
    let mut told: Value = row.json("settings")?;
    told["has_client_secret"] = json!(row.text_opt("client_secret")?.is_some());
    Ok(Some(told))
}
