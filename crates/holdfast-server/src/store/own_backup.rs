//! How the control plane's own backups went.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use super::{Error, Store, row::Columns};
use crate::alert::OwnBackup;

/// How much is kept of why one failed, in characters.
const ERROR_MAX: usize = 500;

impl Store {
    /// Notes that a copy of the control plane lies where it should, or why it does not.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn note_own_backup(&self, outcome: Result<(), &str>) -> Result<(), Error> {
        const PHASE: &str = "noting the control plane's own backup";
        let now = self.now().as_millisecond();
        let error = outcome.err().map(|text| text.chars().take(ERROR_MAX).collect::<String>());
        let (made_at, failed_at) =
            if error.is_none() { (Some(now), None) } else { (None, Some(now)) };
        let mut tx = self.begin(PHASE).await?;
        sqlx::query(
            "INSERT INTO own_backup (id, made_at, failed_at, error) VALUES (1, $1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET made_at = COALESCE($1, own_backup.made_at),
                 failed_at = $2, error = $3",
        )
        .bind(made_at)
        .bind(failed_at)
        .bind(error)
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// How they went.
    pub(crate) async fn own_backup(&self) -> Result<OwnBackup, Error> {
        const PHASE: &str = "reading how the control plane's own backups went";
        let row = sqlx::query("SELECT made_at, failed_at, error FROM own_backup WHERE id = 1")
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        row.as_ref().map_or(Ok(OwnBackup::default()), read).map_err(Error::database(PHASE))
    }
}

fn read(row: &SqliteRow) -> Result<OwnBackup, sqlx::Error> {
    let failed_at: Option<Timestamp> = row.time_opt("failed_at")?;
    Ok(OwnBackup { made_at: row.time_opt("made_at")?, failed_at, error: row.text_opt("error")? })
}
