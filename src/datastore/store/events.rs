//! The log of events on the disk: a file of its own, since nothing of it is worth a commit's waiting or failing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::directory::StateDirectory;
use super::error::StoreError;
use super::{builder, tables};
use crate::datastore::events::{Event, Place};

const FILE: &str = "events.redb";

/// Event number to its time in milliseconds since 1970, its text, and what it is about.
const EVENTS: TableDefinition<'_, u64, (u64, &str, Option<&str>)> = TableDefinition::new("events");
/// When the log was begun, and the time of the last event that it dropped; in milliseconds since 1970.
const TIMES: TableDefinition<'_, &str, u64> = TableDefinition::new("times");
const CREATED: &str = "created";
const AGED: &str = "aged";

/// The events of earlier runs.
#[derive(Debug)]
pub struct Recorded {
    /// When the log was begun.
    pub created: SystemTime,
    /// The time of the last event that it dropped.
    pub aged: Option<SystemTime>,
    /// What it holds, oldest first.
    pub events: Vec<Event>,
}

/// The durable side of a stream.
pub struct EventStore {
    database: Database,
}

impl EventStore {
    /// Opens the log of a state directory and reads it. One that is damaged is begun anew, which is logged: what is in it
    /// is past.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(
        directory: &StateDirectory,
        now: SystemTime,
    ) -> Result<(Self, Recorded), StoreError> {
        let path = directory.path().join(FILE);
        if path.try_exists().map_err(StoreError::file(&path))? {
            match Self::read(&path) {
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the log of events is damaged and begun anew");
                    std::fs::remove_file(&path).map_err(StoreError::file(&path))?;
                }
            }
        }
        directory.create(FILE, |file| {
            let backend = redb::backends::FileBackend::new(file).map_err(redb::Error::from)?;
            let database = builder().create_with_backend(backend);
            let database = database.map_err(redb::Error::from)?;
            tables::transact(&database, |transaction| {
                transaction.open_table(EVENTS)?;
                let mut times = transaction.open_table(TIMES)?;
                times.insert(CREATED, milliseconds(now))?;
                Ok(())
            })?;
            database.close().map_err(redb::Error::from)?;
            Ok::<_, StoreError>(())
        })?;
        Ok(Self::read(&path)?)
    }

    fn read(path: &std::path::Path) -> Result<(Self, Recorded), redb::Error> {
        let database = builder().open(path)?;
        let transaction = database.begin_read()?;
        let times = transaction.open_table(TIMES)?;
        let time = |name| -> Result<_, redb::Error> {
            Ok(times.get(name)?.map(|time| date(time.value())))
        };
        let recorded = Recorded {
            created: time(CREATED)?.unwrap_or(SystemTime::UNIX_EPOCH),
            aged: time(AGED)?,
            events: transaction
                .open_table(EVENTS)?
                .iter()?
                .map(|row| {
                    let (number, row) = row?;
                    let (at, xml, about) = row.value();
                    let about = about.map(str::to_owned);
                    Ok(Event::stored(
                        number.value(),
                        date(at),
                        xml.to_owned(),
                        about,
                    ))
                })
                .collect::<Result<_, redb::Error>>()?,
        };
        drop(times);
        drop(transaction);
        Ok((Self { database }, recorded))
    }

    /// Adds events, and drops those before the oldest that is kept. On the disk when this returns.
    ///
    /// # Errors
    /// What the disk says; then none of them is there.
    pub fn append(
        &self,
        events: &[Arc<Event>],
        oldest: Place,
        aged: Option<SystemTime>,
    ) -> Result<(), StoreError> {
        tables::transact(&self.database, |transaction| {
            let mut table = transaction.open_table(EVENTS)?;
            for event in events {
                let row = (
                    milliseconds(event.at),
                    event.xml.as_str(),
                    event.about.as_deref(),
                );
                table.insert(event.number, row)?;
            }
            table.retain_in(..oldest.0, |_, _| false)?;
            if let Some(aged) = aged {
                let mut times = transaction.open_table(TIMES)?;
                times.insert(AGED, milliseconds(aged))?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

fn date(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    let date = SystemTime::UNIX_EPOCH.checked_add(since);
    date.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Arc<Event> {
        let at = date(1_000 * number);
        Arc::new(Event::stored(
            number,
            at,
            format!("<e>{number}</e>"),
            Some("about".to_owned()),
        ))
    }

    fn texts(recorded: &Recorded) -> Vec<&str> {
        let events = recorded.events.iter();
        events.map(|event| event.xml.as_str()).collect()
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(folder.path()).unwrap();
        let (store, recorded) = EventStore::open(&directory, date(500)).unwrap();
        assert_eq!((recorded.created, recorded.aged), (date(500), None));
        store.append(&[event(1), event(2)], Place(1), None).unwrap();
        store
            .append(&[event(3)], Place(2), Some(date(1_000)))
            .unwrap();
        drop(store);
        let (_, recorded) = EventStore::open(&directory, date(9_000)).unwrap();
        assert_eq!(texts(&recorded), ["<e>2</e>", "<e>3</e>"]);
        assert_eq!(recorded.created, date(500));
        assert_eq!(recorded.aged, Some(date(1_000)));
        let second = &recorded.events[0];
        assert_eq!((second.number, second.at), (2, date(2_000)));
        assert_eq!(second.about.as_deref(), Some("about"));
    }

    #[test]
    fn a_damaged_log_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(folder.path()).unwrap();
        let (store, _) = EventStore::open(&directory, date(500)).unwrap();
        store.append(&[event(1)], Place(1), None).unwrap();
        drop(store);
        std::fs::write(folder.path().join(FILE), vec![7; 8192]).unwrap();
        let (_, recorded) = EventStore::open(&directory, date(9_000)).unwrap();
        assert!(recorded.events.is_empty());
        assert_eq!(recorded.created, date(9_000));
    }
}
