//! How the file is asked.

use super::{LedgerPath, StoreError};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

/// A connection that reads.
pub(super) struct FileReader {
    pub(super) connection: Connection,
    pub(super) path: LedgerPath,
}

/// A statement and what stands for its marks.
pub(super) struct Question {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Question {
    pub(super) fn when(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(condition);
            self.values.push(value);
        }
    }
}

pub(super) fn text(text: impl ToString) -> Value {
    Value::Text(text.to_string())
}

pub(super) fn count(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

impl FileReader {
    pub(super) fn count(&self, question: &Question) -> Result<usize, StoreError> {
        let counts = self.ask(question, |row| row.get::<_, i64>(0))?;
        Ok(counts.first().map_or(0, |&count| usize::try_from(count).unwrap_or(0)))
    }

    /// Looks at one row after the other.
    pub(super) fn each(
        &self,
        question: &Question,
        mut look: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        self.each_while(question, |row| look(row).map(|()| true))
    }

    /// Likewise, until `look` says that it has seen enough.
    pub(super) fn each_while(
        &self,
        question: &Question,
        mut look: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), StoreError> {
        let mut look_at_all = || {
            let mut statement = self.connection.prepare_cached(&question.sql)?;
            let mut rows = statement.query(params_from_iter(&question.values))?;
            while let Some(row) = rows.next()? {
                if !look(row)? {
                    break;
                }
            }
            Ok(())
        };
        look_at_all().map_err(|error: rusqlite::Error| self.path.error(&error))
    }

    pub(super) fn ask<T>(
        &self,
        question: &Question,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(&question.sql).map_err(|error| self.path.error(&error))?;
        let rows = statement.query_map(params_from_iter(&question.values), read);
        rows.and_then(Iterator::collect).map_err(|error| self.path.error(&error))
    }
}
