//! A disk in memory that fails on request and loses power.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What the next operations meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The operation after `after` more fails with this errno; those behind it work again.
    Once {
        after: usize,
        errno: i32,
    },
    /// That one and all behind it fail.
    From {
        after: usize,
        errno: i32,
    },
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct State {
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    /// What was written since the last sync, in order.
    unsynced: Vec<Op>,
    /// What reads see: the page cache.
    seen: Vec<u8>,
    fault: Option<Fault>,
    failed: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn inject(&self, fault: Fault) {
        let mut state = self.state();
        state.fault = Some(fault);
        state.failed = false;
    }

    /// Whether the injected fault has been met.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Another disk with what reads of this one see.
    pub(super) fn copy(&self) -> Self {
        Self::holding(self.state().seen.clone())
    }

    /// Another disk with what a power cut leaves of this one: all that was synced, and of the rest what `survives`
    /// says – for each write the part of it that reached the platter.
    pub(super) fn after_power_cut(
        &self,
        mut survives: impl FnMut(usize) -> Option<Range<usize>>,
    ) -> Self {
        let state = self.state();
        let mut left = state.durable.clone();
        for op in &state.unsynced {
            match op {
                Op::Length(length) => {
                    if survives(0).is_some() {
                        left.resize(usize::try_from(*length).unwrap(), 0);
                    }
                }
                Op::Write(offset, data) => {
                    if let Some(part) = survives(data.len()) {
                        write(&mut left, *offset + part.start as u64, &data[part]);
                    }
                }
            }
        }
        Self::holding(left)
    }

    /// Another disk on which `length` bytes somewhere have changed.
    pub(super) fn damaged(&self, at: usize, length: usize, to: u8) -> Self {
        let mut bytes = self.state().seen.clone();
        let at = at % bytes.len();
        let end = (at + length).min(bytes.len());
        bytes[at..end].fill(to);
        Self::holding(bytes)
    }

    fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State {
            durable: bytes.clone(),
            seen: bytes,
            ..State::default()
        })))
    }
}

impl State {
    fn meet_fault(&mut self) -> io::Result<()> {
        let (after, errno, lasts) = match &mut self.fault {
            Some(Fault::Once { after, errno }) => (after, *errno, false),
            Some(Fault::From { after, errno }) => (after, *errno, true),
            _ => return Ok(()),
        };
        if *after > 0 {
            *after -= 1;
            return Ok(());
        }
        if !lasts {
            self.fault = None;
        }
        self.failed = true;
        Err(io::Error::from_raw_os_error(errno))
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap();
    if bytes.len() < start + data.len() {
        bytes.resize(start + data.len(), 0);
    }
    bytes[start..start + data.len()].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let start = usize::try_from(offset).unwrap();
        let end = start + out.len();
        let bytes = state.seen.get(start..end);
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.meet_fault()?;
        state.seen.resize(usize::try_from(len).unwrap(), 0);
        state.unsynced.push(Op::Length(len));
        Ok(())
    }

    /// A sync that fails has still written, as is usual.
    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        let met = state.meet_fault();
        state.durable = state.seen.clone();
        state.unsynced.clear();
        met
    }

    /// A write that fails has written half.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let met = state.meet_fault();
        let written = if met.is_ok() {
            data
        } else {
            &data[..data.len() / 2]
        };
        write(&mut state.seen, offset, written);
        state.unsynced.push(Op::Write(offset, written.to_vec()));
        met
    }
}
