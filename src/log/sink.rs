//! Where the log goes, and the one thread that may wait for it.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use metrics::counter;
use tracing::Level;

use super::buffer::{Buffer, Due};
use super::entry::Entry;
use super::file::LogFile;
use super::lines::Lines;

/// Something that takes entries, one after the other; it may take its time.
pub(super) trait Output: Send {
    /// Takes an entry.
    ///
    /// # Errors
    /// It could not be taken, and is gone.
    fn put(&mut self, entry: &Entry) -> io::Result<()>;

    /// Goes on in the file that is at the path now, if it is a file.
    ///
    /// # Errors
    /// It cannot be opened; the log goes on in the old one.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines to standard error.
pub(super) struct ToStderr(pub(super) Lines);

impl Output for ToStderr {
    fn put(&mut self, entry: &Entry) -> io::Result<()> {
        io::stderr().write_all(self.0.of(entry).as_bytes())
    }
}

/// Lines to a file.
pub(super) struct ToFile {
    pub(super) lines: Lines,
    pub(super) file: LogFile,
}

impl Output for ToFile {
    fn put(&mut self, entry: &Entry) -> io::Result<()> {
        self.file.write(self.lines.of(entry).as_bytes())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file.reopen()
    }
}

/// Starts the thread by which a sink follows a buffer; it ends with what fills the buffer.
///
/// # Errors
/// There is no thread to be had.
pub(super) fn start(buffer: Buffer, output: Box<dyn Output>) -> io::Result<()> {
    buffer.attach();
    let mut sink = Sink { output, lost: 0 };
    let thread = thread::Builder::new().name("log".to_owned());
    thread.spawn(move || sink.follow(&buffer)).map(drop)
}

struct Sink {
    output: Box<dyn Output>,
    /// Entries that are gone and that nobody was told of yet.
    lost: u64,
}

impl Sink {
    fn follow(&mut self, buffer: &Buffer) {
        loop {
            match buffer.due() {
                Due::Write(entries, lost) => self.write(&entries, lost),
                Due::Reopen => self.reopen(buffer),
                Due::End => return,
            }
        }
    }

    fn write(&mut self, entries: &[Arc<Entry>], lost: u64) {
        self.lose(lost);
        for entry in entries {
            if self.lost > 0 && self.output.put(&gap(entry, self.lost)).is_ok() {
                self.lost = 0;
            }
            // The sink is the only one to complain to.
            if self.output.put(entry).is_err() {
                self.lose(1);
            }
        }
    }

    fn lose(&mut self, lost: u64) {
        self.lost += lost;
        if lost > 0 {
            counter!("tether_log_entries_lost_total").increment(lost);
        }
    }

    fn reopen(&mut self, buffer: &Buffer) {
        let told = match self.output.reopen() {
            Ok(()) => Entry::own(Level::INFO, "the log file is opened again".to_owned()),
            Err(error) => Entry::own(
                Level::ERROR,
                format!("the log file cannot be opened again and stays as it is: {error}"),
            ),
        };
        buffer.push(told);
    }
}

/// What stands in the place of entries that are gone.
fn gap(before: &Entry, lost: u64) -> Entry {
    Entry {
        number: before.number,
        at: before.at,
        fields: vec![("lost", lost.into())],
        ..Entry::own(
            Level::WARN,
            "entries of the log are missing here: it could not be written as fast as it came"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Takes an entry each time it is let, and fails when it is told to.
    struct Slow {
        let_go: Receiver<bool>,
        taken: Arc<Mutex<Vec<String>>>,
    }

    impl Output for Slow {
        fn put(&mut self, entry: &Entry) -> io::Result<()> {
            match self.let_go.recv() {
                Ok(true) => {
                    self.taken.lock().unwrap().push(entry.line());
                    Ok(())
                }
                _ => Err(io::ErrorKind::StorageFull.into()),
            }
        }
    }

    fn slow() -> (Buffer, SyncSender<bool>, Arc<Mutex<Vec<String>>>) {
        let (buffer, taken) = (Buffer::default(), Arc::default());
        let (let_it, let_go) = sync_channel(100);
        let output = Slow {
            let_go,
            taken: Arc::clone(&taken),
        };
        start(buffer.clone(), Box::new(output)).unwrap();
        (buffer, let_it, taken)
    }

    fn say(buffer: &Buffer, words: &str) {
        buffer.push(Entry::own(Level::INFO, words.to_owned()));
    }

    #[test]
    fn a_sink_that_stands_still_holds_nobody_up_and_says_what_it_has_missed() {
        let (buffer, let_it, taken) = slow();
        say(&buffer, "first");
        // More than may wait for it.
        for _ in 0..100_000 {
            say(&buffer, "many");
        }
        say(&buffer, "last");
        let all = 200_000;
        std::thread::spawn(move || (0..all).try_for_each(|_| let_it.send(true)));
        buffer.flush(PATIENCE);
        let taken = taken.lock().unwrap();
        assert_eq!(taken.last().unwrap(), "last");
        let missing: u64 = taken
            .iter()
            .filter_map(|line| line.rsplit_once(" lost=")?.1.parse::<u64>().ok())
            .sum();
        let told = taken.iter().filter(|line| !line.contains(" lost=")).count() as u64;
        assert!(missing > 0, "{}", taken.len());
        assert_eq!(missing + told, 100_002);
        buffer.end();
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_once_it_can_be_again() {
        let (buffer, let_it, taken) = slow();
        // An entry and, once one is gone, the word of that before each.
        for is_room in [true, false, false, false, true, true] {
            let_it.send(is_room).unwrap();
        }
        for words in ["one", "two", "three", "four"] {
            say(&buffer, words);
        }
        buffer.flush(PATIENCE);
        let taken = taken.lock().unwrap();
        assert_eq!(taken.len(), 3, "{taken:?}");
        assert!(taken[1].ends_with(" lost=2"), "{taken:?}");
        assert_eq!((taken[0].as_str(), taken[2].as_str()), ("one", "four"));
        buffer.end();
    }
}
