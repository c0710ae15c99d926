//! Reading our few column shapes out of a row.

use std::{collections::BTreeMap, error::Error, str::FromStr};

use holdfast_protocol::{
    HostId,
    message::job::{Operation, Status},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};

/// Typed access by column name. A value of the wrong shape is an error that names the column.
pub(super) trait Columns {
    fn text(&self, column: &'static str) -> Result<String, sqlx::Error>;
    fn text_opt(&self, column: &'static str) -> Result<Option<String>, sqlx::Error>;
    fn int(&self, column: &'static str) -> Result<i64, sqlx::Error>;
    fn int_opt(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error>;
    fn flag(&self, column: &'static str) -> Result<bool, sqlx::Error>;

    fn count(&self, column: &'static str) -> Result<u64, sqlx::Error> {
        Ok(self.int(column)?.try_into().unwrap_or(0))
    }

    fn count_opt(&self, column: &'static str) -> Result<Option<u64>, sqlx::Error> {
        Ok(self.int_opt(column)?.and_then(|value| value.try_into().ok()))
    }

    /// An id or another type with a textual form.
    fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(
        &self,
        column: &'static str,
    ) -> Result<T, sqlx::Error> {
        self.text(column)?.parse().map_err(|source| wrong(column, source))
    }

    fn parsed_opt<T: FromStr<Err: Error + Send + Sync + 'static>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, sqlx::Error> {
        let text = self.text_opt(column)?;
        text.map(|text| text.parse().map_err(|source| wrong(column, source))).transpose()
    }

    fn time(&self, column: &'static str) -> Result<Timestamp, sqlx::Error> {
        timestamp(column, self.int(column)?)
    }

    fn time_opt(&self, column: &'static str) -> Result<Option<Timestamp>, sqlx::Error> {
        self.int_opt(column)?.map(|value| timestamp(column, value)).transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, sqlx::Error> {
        serde_json::from_str(&self.text(column)?).map_err(|source| wrong(column, source))
    }

    fn json_opt<T: DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, sqlx::Error> {
        let text = self.text_opt(column)?;
        let read = |text: String| serde_json::from_str(&text).map_err(|it| wrong(column, it));
        text.map(read).transpose()
    }

    fn status(&self, column: &'static str) -> Result<Status, sqlx::Error> {
        let word = self.text(column)?;
        Status::from_word(&word).ok_or_else(|| wrong(column, Unknown(word)))
    }

    fn operation(&self, column: &'static str) -> Result<Operation, sqlx::Error> {
        let word = self.text(column)?;
        serde_json::from_value(serde_json::Value::String(word))
            .map_err(|source| wrong(column, source))
    }
}

impl Columns for SqliteRow {
    fn text(&self, column: &'static str) -> Result<String, sqlx::Error> {
        self.try_get(column)
    }

    fn text_opt(&self, column: &'static str) -> Result<Option<String>, sqlx::Error> {
        self.try_get(column)
    }

    fn int(&self, column: &'static str) -> Result<i64, sqlx::Error> {
        self.try_get(column)
    }

    fn int_opt(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(column)
    }

    fn flag(&self, column: &'static str) -> Result<bool, sqlx::Error> {
        self.try_get(column)
    }
}

/// Rows of many hosts, each host's in the order they came in.
pub(super) fn by_host<T>(
    rows: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> Result<T, sqlx::Error>,
) -> Result<BTreeMap<HostId, Vec<T>>, sqlx::Error> {
    let mut map: BTreeMap<HostId, Vec<T>> = BTreeMap::new();
    for row in rows {
        map.entry(row.parsed("host_id")?).or_default().push(read(row)?);
    }
    Ok(map)
}

/// A number as the database holds it. Ours never come near the limit.
pub(super) fn int(value: u64) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// A list as the database holds it.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("lists of text have a JSON form")
}

/// A statement out of parts that stand in the program.
pub(super) fn sql(parts: &[&'static str]) -> AssertSqlSafe<String> {
    AssertSqlSafe(parts.concat())
}

/// The error for a word that this version does not know.
pub(super) fn unknown(column: &'static str, word: String) -> sqlx::Error {
    wrong(column, Unknown(word))
}

#[derive(Debug, thiserror::Error)]
#[error("unknown word `{0}`")]
struct Unknown(String);

fn timestamp(column: &'static str, millisecond: i64) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_millisecond(millisecond).map_err(|source| wrong(column, source))
}

fn wrong(column: &'static str, source: impl Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}
