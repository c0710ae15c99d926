//! People who sign in with a name.

use holdfast_protocol::message::config::Secret;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Error, Store, audit,
    row::{self, Columns, int, sql},
};
use crate::{
    auth::{Principal, PrincipalKind, Role, Scope},
    secret::Place,
    view::UserView,
};

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name, in lower case.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// On hosts of which groups; `*` stands for all.
    pub host_groups: Vec<String>,
    /// The password's hash.
    pub password: Option<String>,
}

/// What is to be changed about a user; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// What the user may do.
    pub role: Option<Role>,
    /// On hosts of which groups.
    pub host_groups: Option<Vec<String>>,
    /// Whether the user is kept out.
    pub disabled: Option<bool>,
    /// The new password's hash.
    pub password: Option<String>,
    /// Whether the authenticator app is forgotten.
    pub forget_totp: bool,
}

impl UserChange {
    /// Whether it changes what an identity provider decides about the users that it vouches for.
    fn is_the_providers(&self) -> bool {
        self.role.is_some() || self.host_groups.is_some() || self.password.is_some()
    }
}

/// What signing in compares with.
pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) scope: Scope,
    pub(crate) password: Option<String>,
    /// Unsealed.
    pub(crate) totp_secret: Option<Secret>,
    pub(crate) totp_confirmed: bool,
    pub(crate) totp_step: u64,
    pub(crate) disabled: bool,
    /// Whether the identity provider vouches for the user, and nobody else does.
    pub(crate) by_provider: bool,
}

impl UserRow {
    /// The user as somebody who asks.
    pub(crate) fn principal(self) -> Principal {
        Principal {
            name: self.name,
            role: self.role,
            scope: self.scope,
            kind: PrincipalKind::User,
            id: self.id,
            sign_in: None,
        }
    }
}

const SELECT: &str = "SELECT id, name, role, host_groups, password, subject, totp_secret,
    totp_confirmed_at, totp_step, disabled, created_at, last_sign_in_at FROM users";

impl Store {
    /// Whether nobody could come in as an admin: there is no user and no API token.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn needs_setup(&self) -> Result<bool, Error> {
        const PHASE: &str = "looking for users";
        sqlx::query_scalar::<_, bool>(NEEDS_SETUP)
            .fetch_one(self.readers())
            .await
            .map_err(Error::database(PHASE))
    }

    /// Makes the first user; `None` when there is somebody already.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn add_first_user(&self, new: &NewUser) -> Result<Option<UserView>, Error> {
        const PHASE: &str = "making the first user";
        let mut tx = self.begin(PHASE).await?;
        let needed: bool = sqlx::query_scalar(NEEDS_SETUP)
            .fetch_one(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        if !needed {
            return Ok(None);
        }
        insert(&mut tx, &new.name, new, None, self.now()).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.user(&new.name).await.map(Some)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::UserExists`] and [`Error::Database`].
    pub async fn add_user(&self, actor: &str, new: &NewUser) -> Result<UserView, Error> {
        const PHASE: &str = "making a user";
        let mut tx = self.begin(PHASE).await?;
        let added = insert(&mut tx, actor, new, None, self.now()).await;
        if !added.map_err(Error::database(PHASE))? {
            return Err(Error::UserExists { name: new.name.clone() });
        }
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.user(&new.name).await
    }

    /// All users, by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn users(&self) -> Result<Vec<UserView>, Error> {
        const PHASE: &str = "reading users";
        let rows = sqlx::query(sql(&[SELECT, " ORDER BY name"]))
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        rows.iter().map(view).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// One user.
    ///
    /// # Errors
    /// [`Error::UserNotFound`] and [`Error::Database`].
    pub async fn user(&self, name: &str) -> Result<UserView, Error> {
        const PHASE: &str = "reading a user";
        let row = self.user_by(name, PHASE).await?.ok_or_else(|| not_found(name))?;
        view(&row).map_err(Error::database(PHASE))
    }

    /// What signing in as `name` compares with.
    pub(crate) async fn user_secrets(&self, name: &str) -> Result<Option<UserRow>, Error> {
        const PHASE: &str = "reading a user";
        let Some(row) = self.user_by(name, PHASE).await? else { return Ok(None) };
        let (mut user, sealed) = read(&row).map_err(Error::database(PHASE))?;
        if let Some(sealed) = sealed {
            let secret = self.sealer().unseal(place(&user.id), &sealed);
            user.totp_secret = Some(secret.map_err(Error::damaged(PHASE))?);
        }
        Ok(Some(user))
    }

    /// Changes a user. Whoever is signed in as the user is signed out, unless as `keep`.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::UserOfProvider`], [`Error::LastAdmin`] and
    /// [`Error::Database`].
    pub async fn change_user(
        &self,
        actor: &str,
        name: &str,
        change: &UserChange,
        keep: Option<&str>,
    ) -> Result<UserView, Error> {
        const PHASE: &str = "changing a user";
        let mut tx = self.begin(PHASE).await?;
        if change.is_the_providers()
            && is_the_providers(&mut tx, name).await.map_err(Error::database(PHASE))?
        {
            return Err(Error::UserOfProvider { name: name.to_owned() });
        }
        let changed = update(&mut tx, actor, name, change, keep).await;
        if !changed.map_err(Error::database(PHASE))? {
            return Err(not_found(name));
        }
        let demotes = change.role.is_some() || change.host_groups.is_some();
        if (demotes || change.disabled.is_some())
            && !has_admin(&mut tx, self.now()).await.map_err(Error::database(PHASE))?
        {
            return Err(Error::LastAdmin);
        }
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_access();
        self.user(name).await
    }

    /// Removes a user and signs out whoever is signed in as the user.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::LastAdmin`] and [`Error::Database`].
    pub async fn remove_user(&self, actor: &str, name: &str) -> Result<(), Error> {
        const PHASE: &str = "removing a user";
        let mut tx = self.begin(PHASE).await?;
        let before = describe(&mut tx, name).await.map_err(Error::database(PHASE))?;
        let before = before.ok_or_else(|| not_found(name))?;
        sqlx::query("DELETE FROM users WHERE name = $1")
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        if !has_admin(&mut tx, self.now()).await.map_err(Error::database(PHASE))? {
            return Err(Error::LastAdmin);
        }
        audit::changed(&mut tx, (actor, "user.remove", name), Some(before), None)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.bus().touch_access();
        Ok(())
    }

    /// Keeps the secret of an authenticator app that nothing has confirmed yet.
    pub(crate) async fn offer_totp(&self, user: &UserRow, secret: &str) -> Result<(), Error> {
        const PHASE: &str = "keeping a secret of an authenticator app";
        let sealed = self.sealer().seal(place(&user.id), secret);
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "UPDATE users SET totp_secret = $1, totp_step = 0
             WHERE id = $2 AND totp_confirmed_at IS NULL",
        )
        .bind(sealed)
        .bind(&user.id)
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        let state = |offered: bool| Some(json!({ "totp_offered": offered }));
        let (name, before) = (user.name.as_str(), state(user.totp_secret.is_some()));
        audit::changed(&mut tx, (name, "user.totp_offer", name), before, state(true))
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Takes the code of a step; false when that step or a newer one was taken before.
    pub(crate) async fn take_totp_step(&self, user: &str, step: u64) -> Result<bool, Error> {
        const PHASE: &str = "taking a code";
        let mut tx = self.begin(PHASE).await?;
        let taken = sqlx::query("UPDATE users SET totp_step = $1 WHERE id = $2 AND totp_step < $1")
            .bind(int(step))
            .bind(user)
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(taken.rows_affected() == 1)
    }

    /// From now on signing in as this user takes a code.
    pub(crate) async fn confirm_totp(&self, actor: &str, user: &str) -> Result<(), Error> {
        const PHASE: &str = "confirming an authenticator app";
        let mut tx = self.begin(PHASE).await?;
        sqlx::query("UPDATE users SET totp_confirmed_at = $1 WHERE id = $2")
            .bind(self.now().as_millisecond())
            .bind(user)
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        let state = |on: bool| Some(json!({ "totp_enabled": on }));
        audit::changed(&mut tx, (actor, "user.totp_on", actor), state(false), state(true))
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    async fn user_by(&self, name: &str, phase: &'static str) -> Result<Option<SqliteRow>, Error> {
        sqlx::query(sql(&[SELECT, " WHERE name = $1"]))
            .bind(name)
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(phase))
    }
}

const NEEDS_SETUP: &str = "SELECT NOT EXISTS (SELECT 1 FROM users)
    AND NOT EXISTS (SELECT 1 FROM api_tokens)";

fn not_found(name: &str) -> Error {
    Error::UserNotFound { name: name.chars().take(100).collect() }
}

fn place(user: &str) -> Place<'_> {
    Place { table: "users", row: user, column: "totp_secret" }
}

/// Whether somebody could still undo what an admin did. A token of an admin counts; who comes by
/// the identity provider does not, because one day the provider may be away.
async fn has_admin(connection: &mut SqliteConnection, now: Timestamp) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM users
             WHERE role = 'admin' AND NOT disabled AND host_groups = '[\"*\"]'
                 AND subject IS NULL)
         OR EXISTS (SELECT 1 FROM api_tokens WHERE role = 'admin' AND host_groups = '[\"*\"]'
             AND (expires_at IS NULL OR expires_at > $1))",
    )
    .bind(now.as_millisecond())
    .fetch_one(connection)
    .await
}

async fn is_the_providers(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM users WHERE name = $1 AND subject IS NOT NULL)",
    )
    .bind(name)
    .fetch_one(connection)
    .await
}

/// Makes a user; of `subject` where the identity provider vouches for them. False when there is one
/// of that name.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    actor: &str,
    new: &NewUser,
    subject: Option<&str>,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let added = sqlx::query(
        "INSERT INTO users (id, name, role, host_groups, password, created_at, subject)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
    )
    .bind(Uuid::now_v7().to_string())
    .bind(&new.name)
    .bind(new.role.as_str())
    .bind(row::json(&new.host_groups))
    .bind(&new.password)
    .bind(now.as_millisecond())
    .bind(subject)
    .execute(&mut *connection)
    .await?;
    if added.rows_affected() == 0 {
        return Ok(false);
    }
    let after = describe(&mut *connection, &new.name).await?;
    audit::changed(connection, (actor, "user.add", &new.name), None, after).await?;
    Ok(true)
}

/// Changes a user, who is signed out by that but for `keep`. False when there is none.
pub(super) async fn update(
    connection: &mut SqliteConnection,
    actor: &str,
    name: &str,
    change: &UserChange,
    keep: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let before = describe(connection, name).await?;
    let id: Option<String> = sqlx::query_scalar(
        "UPDATE users SET role = COALESCE($2, role), host_groups = COALESCE($3, host_groups),
             disabled = COALESCE($4, disabled), password = COALESCE($5, password),
             totp_secret = CASE WHEN $6 THEN NULL ELSE totp_secret END,
             totp_confirmed_at = CASE WHEN $6 THEN NULL ELSE totp_confirmed_at END
         WHERE name = $1 RETURNING id",
    )
    .bind(name)
    .bind(change.role.map(Role::as_str))
    .bind(change.host_groups.as_ref().map(row::json))
    .bind(change.disabled)
    .bind(&change.password)
    .bind(change.forget_totp)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(id) = id else { return Ok(false) };
    // A browser that was let in for what the user was must come in again.
    sqlx::query("DELETE FROM sign_ins WHERE user_id = $1 AND id <> $2")
        .bind(id)
        .bind(keep.unwrap_or_default())
        .execute(&mut *connection)
        .await?;
    let mut after = describe(connection, name).await?;
    if let Some(after) = after.as_mut().filter(|_| change.password.is_some()) {
        after["password"] = "changed".into();
    }
    audit::changed(connection, (actor, "user.change", name), before, after).await?;
    Ok(true)
}

/// A user as the audit tells of it.
async fn describe(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<Value>, sqlx::Error> {
    let row = sqlx::query(sql(&[SELECT, " WHERE name = $1"]))
        .bind(name)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let user = view(&row)?;
    Ok(Some(json!({
        "role": user.role,
        "host_groups": user.host_groups,
        "disabled": user.disabled,
        "totp_enabled": user.totp_enabled,
        "single_sign_on": user.single_sign_on,
    })))
}

fn view(row: &SqliteRow) -> Result<UserView, sqlx::Error> {
    let (user, _) = read(row)?;
    Ok(UserView {
        name: user.name,
        role: user.role,
        host_groups: user.scope.to_list(),
        totp_enabled: user.totp_confirmed,
        disabled: user.disabled,
        single_sign_on: user.by_provider,
        created_at: row.time("created_at")?,
        last_sign_in_at: row.time_opt("last_sign_in_at")?,
    })
}

/// A user, and the sealed secret of the authenticator app.
fn read(row: &SqliteRow) -> Result<(UserRow, Option<String>), sqlx::Error> {
    let user = UserRow {
        id: row.text("id")?,
        name: row.text("name")?,
        role: super::token::role(row, "role")?,
        scope: Scope::of(row.json::<Vec<String>>("host_groups")?),
        password: row.text_opt("password")?,
        totp_secret: None,
        totp_confirmed: row.int_opt("totp_confirmed_at")?.is_some(),
        totp_step: row.count("totp_step")?,
        disabled: row.flag("disabled")?,
        by_provider: row.text_opt("subject")?.is_some(),
    };
    Ok((user, row.text_opt("totp_secret")?))
}
