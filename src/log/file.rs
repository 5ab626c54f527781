//! A log file that can be moved away under the agent.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// The file. Clones are the same.
#[derive(Clone)]
pub(super) struct LogFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: Mutex<Arc<File>>,
}

impl LogFile {
    /// Opens or makes it; others than its owner and group may not read it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            file: Mutex::new(open(path)?),
        })))
    }

    /// Goes on in whatever is at the path now.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let file = open(&self.0.path)?;
        *self.0.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Arc<File>> {
    let mut options = File::options();
    options.create(true).append(true).mode(0o640);
    options.open(path).map(Arc::new)
}

/// Writes a line at a time.
pub(super) struct Line(Arc<File>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (&*self.0).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogFile {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        let file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        Line(Arc::clone(&file))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_goes_on_in_a_new_file_once_it_is_reopened() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
        let log = LogFile::open(&path).unwrap();
        let say = |word: &str| log.make_writer().write_all(word.as_bytes()).unwrap();
        say("one ");
        std::fs::rename(&path, &moved).unwrap();
        say("two");
        log.reopen().unwrap();
        say("three");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one two");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0);
    }

    #[test]
    fn a_file_that_cannot_be_reopened_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("folder").join("log");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let log = LogFile::open(&path).unwrap();
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(log.reopen().is_err());
        log.make_writer().write_all(b"still").unwrap();
    }
}
