//! Who changed what. Rows are only ever added.

use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

/// Notes that `actor` did `action` to `subject`, in the transaction that does it.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    actor: &str,
    action: &'static str,
    subject: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO audit (id, at, actor, action, subject) VALUES ($1, $2, $3, $4, $5)")
        .bind(Uuid::now_v7().to_string())
        .bind(Timestamp::now().as_millisecond())
        .bind(actor)
        .bind(action)
        .bind(subject)
        .execute(connection)
        .await?;
    Ok(())
}
