//! A bound on what frames cost beside the octets in them.
//!
//! The library keeps every data frame that a stream has not read yet as a piece of its own, which takes some 64 octets
//! more than its content. The windows bound the content alone: filled with frames of one octet, 128 of them would take
//! gigabytes. What SSH sends is never so small: its packets have 16 octets and more (RFC 4253, section 6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Octets of a yamux header: version, type, flags (2), stream (4), length (4).
const HEADER: usize = 12;
/// The type whose length is that of a body.
const DATA: u8 = 0;
/// What a data frame has to bring on average: less than a packet of SSH has with its tag.
const OCTETS: u64 = 24;
/// Data frames that may bring less before that counts.
const FRAMES: u64 = 65_536;

/// What the cloud multiplexes, read within the budget: an error once it is spent.
pub(super) struct Budgeted<S> {
    stream: S,
    header: Vec<u8>,
    body: u64,
    /// In octets.
    left: u64,
}

impl<S> Budgeted<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            header: Vec::with_capacity(HEADER),
            body: 0,
            left: FRAMES * OCTETS,
        }
    }

    /// Follows the frames; whether the budget holds.
    fn spend(&mut self, mut octets: &[u8]) -> bool {
        while !octets.is_empty() {
            let skipped = octets
                .len()
                .min(usize::try_from(self.body).unwrap_or(usize::MAX));
            self.body -= skipped as u64;
            octets = &octets[skipped..];
            let taken = octets.len().min(HEADER - self.header.len());
            self.header.extend_from_slice(&octets[..taken]);
            octets = &octets[taken..];
            if let [_, kind, .., a, b, c, d] = *self.header.as_slice()
                && self.header.len() == HEADER
            {
                self.header.clear();
                if kind == DATA {
                    self.body = u32::from_be_bytes([a, b, c, d]).into();
                    let Some(left) = (self.left + self.body).checked_sub(OCTETS) else {
                        return false;
                    };
                    self.left = left.min(FRAMES * OCTETS);
                }
            }
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Budgeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        match self.spend(&buf.filled()[before..]) {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(io::Error::other("too many tiny frames"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u32) -> Vec<u8> {
        let mut frame = vec![0, kind, 0, 0, 0, 0, 0, 1];
        frame.extend_from_slice(&length.to_be_bytes());
        if kind == DATA {
            frame.resize(HEADER + length as usize, 7);
        }
        frame
    }

    /// How many of these frames go through, up to `most`, given to it in pieces of `step` octets.
    fn passed(frame: &[u8], most: u64, step: usize) -> u64 {
        let mut budgeted = Budgeted::new(());
        let is_within = |_: &u64| frame.chunks(step).all(|piece| budgeted.spend(piece));
        (0..most).take_while(is_within).count() as u64
    }

    #[test]
    fn frames_of_one_octet_are_taken_up_to_a_bound() {
        for step in [1, 5, 13] {
            let most = 2 * FRAMES;
            assert_eq!(
                passed(&frame(DATA, 1), most, step),
                FRAMES * OCTETS / (OCTETS - 1)
            );
        }
    }

    #[test]
    fn packets_of_ssh_and_frames_without_a_body_cost_nothing() {
        assert_eq!(passed(&frame(DATA, 28), 3 * FRAMES, 40), 3 * FRAMES);
        // A window update's length is a credit.
        assert_eq!(passed(&frame(1, 1 << 18), 3 * FRAMES, 12), 3 * FRAMES);
    }
}
