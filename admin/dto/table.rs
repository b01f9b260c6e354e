//! Usage as a table for spreadsheets: CSV with a header, what was asked for by in its columns.
//!
//! Rows are kept as they come from the store, without what users are called, which is added as they go out.

use super::Grouping;
use super::explorer::{ExplorerQuery, text_of};
use crate::spool::Spool;
use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::Arc;
use tokenist_control::store::UsageRow;
use tokenist_core::id::UserId;
use tokenist_core::time::Timestamp;

/// Its columns, and what all rows have in common.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    from: String,
    /// Empty is no end.
    to: String,
    has_time: bool,
    by: Vec<Grouping>,
    offset: usize,
}

/// Takes rows from the store.
#[derive(Debug)]
pub(crate) struct RowSpool {
    table: Table,
    skip: usize,
    csv: csv::Writer<Spool>,
    failure: Option<io::Error>,
}

/// Rows that were taken: times, names as they are, then counts.
pub(crate) type SpooledRows = csv::StringRecordsIntoIter<Box<dyn Read + Send>>;

impl Table {
    pub(crate) fn of(query: &ExplorerQuery, now: Timestamp) -> Table {
        let span = query.time_range.span(now);
        Table {
            from: span.from.to_string(),
            to: if span.to < Timestamp::MAX { span.to.to_string() } else { String::new() },
            has_time: query.grain.flatten().is_some(),
            by: query.by.clone(),
            offset: query.offset,
        }
    }

    /// It says which time it is of.
    pub(crate) fn file_name(&self) -> String {
        let day = |time: &str| time.split('T').next().unwrap_or_default().to_owned();
        match &*self.to {
            "" => format!("tokenist-usage-from-{}.csv", day(&self.from)),
            to => format!("tokenist-usage-{}-to-{}.csv", day(&self.from), day(to)),
        }
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        let mut columns = Vec::new();
        columns.extend(self.has_time.then_some("start_utc"));
        for by in &self.by {
            let name = Grouping::WORDS.into_iter().find(|(_, grouping)| grouping == by);
            columns.extend(name.map(|(word, _)| word));
            columns.extend((*by == Grouping::User).then_some("display_name"));
        }
        columns.extend(COUNT_COLUMNS);
        columns.extend(["from_utc", "to_utc"]);
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(&columns).expect("a vector takes whatever is written");
        csv.into_inner().expect("a vector takes whatever is written")
    }

    /// Whose row it is, if users are told apart.
    pub(crate) fn user_of(&self, record: &csv::StringRecord) -> Option<UserId> {
        record.get(self.user_column()?).map(UserId::from)
    }

    fn user_column(&self) -> Option<usize> {
        let column = self.by.iter().position(|by| *by == Grouping::User)?;
        Some(usize::from(self.has_time) + column)
    }

    /// As they go out. `names` are in order of the records.
    pub(crate) fn lines(
        &self,
        records: &[csv::StringRecord],
        names: &[Option<Arc<str>>],
    ) -> io::Result<Vec<u8>> {
        let user_column = self.user_column();
        let mut csv = csv::Writer::from_writer(Vec::new());
        for (record, name) in records.iter().zip(names) {
            for (column, cell) in record.iter().enumerate() {
                csv.write_field(&*inert(cell))?;
                if user_column == Some(column) {
                    csv.write_field(&*inert(name.as_deref().unwrap_or_default()))?;
                }
            }
            csv.write_field(&self.from)?;
            csv.write_field(&self.to)?;
            csv.write_record(None::<&[u8]>)?;
        }
        csv.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }
}

impl RowSpool {
    pub(crate) fn new(table: Table) -> RowSpool {
        let skip = table.offset;
        RowSpool { table, skip, csv: csv::Writer::from_writer(Spool::default()), failure: None }
    }

    /// False once no more can be taken.
    pub(crate) fn take(&mut self, row: UsageRow) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return true;
        }
        self.failure = self.write(&row).err();
        self.failure.is_none()
    }

    fn write(&mut self, row: &UsageRow) -> io::Result<()> {
        if self.table.has_time {
            self.csv.write_field(row.key.at.unwrap_or_default().to_string())?;
        }
        for by in &self.table.by {
            self.csv.write_field(text_of(row, *by).unwrap_or_default())?;
        }
        for cell in counts(row) {
            self.csv.write_field(cell)?;
        }
        Ok(self.csv.write_record(None::<&[u8]>)?)
    }

    pub(crate) fn read(self) -> io::Result<SpooledRows> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let spool = self.csv.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(spool.read()?);
        Ok(reader.into_records())
    }
}

const COUNT_COLUMNS: [&str; 26] = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "requests",
    "cost_usd",
    "estimated_cost_usd",
    "last_updated_utc",
    "text_input_tokens",
    "audio_input_tokens",
    "image_input_tokens",
    "cached_text_input_tokens",
    "cached_audio_input_tokens",
    "cached_image_input_tokens",
    "text_output_tokens",
    "audio_output_tokens",
    "image_output_tokens",
    "reasoning_tokens",
    "duration_ms",
    "video_input_tokens",
    "cache_write_input_tokens",
    "cache_write_long_input_tokens",
    "video_output_tokens",
    "characters",
    "items",
    "searches",
    "file_searches",
];

fn counts(row: &UsageRow) -> [String; COUNT_COLUMNS.len()] {
    let (usage, totals) = (&row.totals.usage, &row.totals);
    [
        usage.input_tokens().to_string(),
        usage.output_tokens().to_string(),
        usage.total_tokens().to_string(),
        usage.requests.to_string(),
        totals.cost.usd().to_string(),
        totals.estimated_cost.usd().to_string(),
        totals.updated_at.map(|at| at.to_string()).unwrap_or_default(),
        usage.text_in.to_string(),
        usage.audio_in.to_string(),
        usage.image_in.to_string(),
        usage.cached_text_in.to_string(),
        usage.cached_audio_in.to_string(),
        usage.cached_image_in.to_string(),
        usage.text_out.to_string(),
        usage.audio_out.to_string(),
        usage.image_out.to_string(),
        usage.reasoning_out.to_string(),
        usage.duration_ms.to_string(),
        usage.video_in.to_string(),
        usage.cache_write_in.to_string(),
        usage.cache_write_long_in.to_string(),
        usage.video_out.to_string(),
        usage.characters_in.to_string(),
        usage.items_in.to_string(),
        usage.searches.to_string(),
        usage.file_searches.to_string(),
    ]
}

/// Spreadsheets would run a text that begins like a formula; behind an apostrophe they show it.
fn inert(text: &str) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}").into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_control::store::UsageKey;
    use tokenist_core::money::NanoUsd;
    use tokenist_core::totals::Totals;
    use tokenist_core::usage::Usage;

    fn table(has_time: bool, by: Vec<Grouping>, offset: usize) -> Table {
        let (from, to) = (Timestamp(0).to_string(), Timestamp(86_400_000).to_string());
        Table { from, to, has_time, by, offset }
    }

    fn row(user: &str) -> UsageRow {
        UsageRow {
            key: UsageKey { at: Some(Timestamp(0)), user: Some(user.into()), ..UsageKey::default() },
            totals: Totals {
                usage: Usage { text_in: 9, cached_text_in: 4, audio_out: 7, ..Usage::default() },
                cost: NanoUsd(1),
                ..Totals::default()
            },
        }
    }

    #[test]
    fn a_cell_never_begins_a_formula() {
        for (text, cell) in [
            ("alice", "alice"),
            ("a=b", "a=b"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
        ] {
            assert_eq!(inert(text), cell);
        }
    }

    #[test]
    fn a_table_has_the_time_it_is_of_what_was_asked_for_and_every_kind_of_token() {
        let table = table(true, vec![Grouping::User, Grouping::Feature], 0);
        assert_eq!(
            String::from_utf8(table.head()).unwrap(),
            "start_utc,user,display_name,feature,input_tokens,output_tokens,total_tokens,requests,cost_usd,\
             estimated_cost_usd,last_updated_utc,text_input_tokens,audio_input_tokens,image_input_tokens,\
             cached_text_input_tokens,cached_audio_input_tokens,cached_image_input_tokens,text_output_tokens,\
             audio_output_tokens,image_output_tokens,reasoning_tokens,duration_ms,video_input_tokens,\
             cache_write_input_tokens,cache_write_long_input_tokens,video_output_tokens,characters,items,searches,\
             file_searches,from_utc,to_utc\n"
        );
        let mut spool = RowSpool::new(table.clone());
        assert!(spool.take(row("=a,b")));
        let records: Vec<_> = spool.read().unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(table.user_of(&records[0]), Some("=a,b".into()));
        let lines = table.lines(&records, &[Some(Arc::from("A \"B\""))]).unwrap();
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "1970-01-01T00:00:00.000Z,\"'=a,b\",\"A \"\"B\"\"\",,9,7,16,0,0.000000001,0,,9,0,0,4,0,0,0,7,0,0,0,0,0,0,0,0,0,0,0,\
             1970-01-01T00:00:00.000Z,1970-01-02T00:00:00.000Z\n"
        );
        assert_eq!(table.file_name(), "tokenist-usage-1970-01-01-to-1970-01-02.csv");
    }

    #[test]
    fn a_table_is_never_cut() {
        let mut spool = RowSpool::new(table(false, vec![Grouping::User], 3));
        let count = 150_000;
        for index in 0..count {
            assert!(spool.take(row(&format!("user-{index}"))));
        }
        let mut records = spool.read().unwrap();
        assert_eq!(&records.next().unwrap().unwrap()[0], "user-3");
        assert_eq!(records.count(), count - 4);
    }
}
