//! Message framing of NETCONF over SSH (RFC 6242, section 4): end-of-message marks until both hellos are
//! exchanged, chunks after that when both sides have base:1.1.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};

/// Ends a message in [`Framing::EndOfMessage`] (RFC 6242, section 4.3).
const END_OF_MESSAGE: &[u8] = b"]]>]]>";
/// Ends a message in [`Framing::Chunked`] (RFC 6242, section 4.2).
const END_OF_CHUNKS: &[u8] = b"\n##\n";
/// The largest `chunk-size` (RFC 6242, section 4.2).
const MAX_CHUNK: u64 = 4_294_967_295;
/// Octets of an oversized message that are taken in before it is refused, so that its message-id can be read.
const HEAD_OCTETS: usize = 8192;

/// How messages are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `]]>]]>` after each message: hellos always, and everything with a base:1.0 peer.
    EndOfMessage,
    /// Chunks with their sizes in front: base:1.1 peers after the hellos.
    Chunked,
}

/// Why a byte stream cannot be read any further; the session that it belongs to must end
/// (RFC 6242, section 4.2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Something other than a chunk or the end of chunks, where one must begin.
    #[error("no chunk where one must begin")]
    NotAChunk,
    /// A chunk size that is zero, has leading zeros, or is no number.
    #[error("a chunk size that is not a positive decimal number without leading zeros")]
    ChunkSize,
    /// A chunk size beyond 4294967295.
    #[error("a chunk size beyond 4294967295")]
    ChunkTooLarge,
    /// The end of chunks without any chunk before it.
    #[error("a message without a chunk")]
    NoChunk,
    /// Chunks while the framing is still that of end-of-message marks.
    #[error("a chunk before chunked framing was agreed on")]
    ChunkedTooEarly,
    /// More octets than a message may have.
    #[error("a message of more than {limit} octets")]
    TooBig {
        /// The limit that was passed.
        limit: usize,
    },
}

/// Where the reader stands inside a chunked message.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    /// At the head of a chunk or of the end of chunks.
    Head,
    /// Inside a chunk of which so many octets are to come.
    Data { remaining: u64 },
}

/// Cuts a byte stream into messages, whatever the pieces in which it arrives.
///
/// Memory stays below the message limit plus one push, as long as [`Framer::next`] is called until it returns
/// `None` before the next push. An error is final: it is returned for ever after.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    limit: usize,
    input: BytesMut,
    /// Octets at the front of `input` that are known not to begin an end-of-message mark.
    searched: usize,
    chunk: Chunk,
    /// The content of the chunks so far.
    message: BytesMut,
    failed: Option<FramingError>,
}

impl Framer {
    /// A reader for the beginning of a session, which is framed by end-of-message marks.
    /// `limit` is the greatest number of octets of one message.
    pub fn new(limit: usize) -> Self {
        Self {
            framing: Framing::EndOfMessage,
            limit,
            input: BytesMut::new(),
            searched: 0,
            chunk: Chunk::Head,
            message: BytesMut::new(),
            failed: None,
        }
    }

    /// Changes the framing of everything after the last message that [`Framer::next`] returned.
    pub fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
        self.searched = 0;
    }

    /// Changes the limit, for the message that is being read too.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes in bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next complete message, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// What the peer sent breaks the framing or passes the limit; the stream cannot be read any further.
    #[allow(clippy::should_implement_trait)] // an iterator would end at None; here more bytes may follow
    pub fn next(&mut self) -> Result<Option<Bytes>, FramingError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = match self.framing {
            Framing::EndOfMessage => self.next_marked(),
            Framing::Chunked => self.next_chunked(),
        };
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// What has arrived of the message that is not complete, or that was refused.
    pub fn partial(&self) -> &[u8] {
        match self.framing {
            Framing::EndOfMessage => &self.input,
            Framing::Chunked => &self.message,
        }
    }

    /// Whether the stream stands between two messages: the only place where a peer may end it.
    pub fn is_between_messages(&self) -> bool {
        self.input.is_empty() && self.message.is_empty() && matches!(self.chunk, Chunk::Head)
    }

    fn next_marked(&mut self) -> Result<Option<Bytes>, FramingError> {
        // No XML begins like this: a peer that is too hasty would wait for a mark that never comes.
        if self.input.starts_with(b"\n#") {
            return Err(FramingError::ChunkedTooEarly);
        }
        let Some(at) = find(&self.input[self.searched..], END_OF_MESSAGE) else {
            self.searched = self.input.len().saturating_sub(END_OF_MESSAGE.len() - 1);
            return if self.searched > self.limit {
                Err(self.too_big())
            } else {
                Ok(None)
            };
        };
        let end = self.searched + at;
        if end > self.limit {
            return Err(self.too_big());
        }
        let mut message = self.input.split_to(end).freeze();
        self.input.advance(END_OF_MESSAGE.len());
        self.searched = 0;
        message.advance(leading_white_space(&message));
        Ok(Some(message))
    }

    fn next_chunked(&mut self) -> Result<Option<Bytes>, FramingError> {
        loop {
            match self.chunk {
                Chunk::Data { remaining } => {
                    if !self.take_data(remaining)? {
                        return Ok(None);
                    }
                }
                Chunk::Head => match head(&self.input)? {
                    None => return Ok(None),
                    Some(Head::Chunk { size, length }) => {
                        self.input.advance(length);
                        self.chunk = Chunk::Data { remaining: size };
                    }
                    Some(Head::End) if self.message.is_empty() => {
                        return Err(FramingError::NoChunk);
                    }
                    Some(Head::End) => {
                        self.input.advance(END_OF_CHUNKS.len());
                        return Ok(Some(self.message.split().freeze()));
                    }
                },
            }
        }
    }

    /// Moves what has arrived of a chunk to the message; whether the chunk is complete.
    fn take_data(&mut self, remaining: u64) -> Result<bool, FramingError> {
        let arrived = self
            .input
            .len()
            .min(usize::try_from(remaining).unwrap_or(usize::MAX));
        let room = self.limit.saturating_sub(self.message.len());
        let fits = remaining <= room as u64;
        self.append(arrived.min(room));
        if !fits && self.message.len() >= self.limit.min(HEAD_OCTETS) {
            return Err(self.too_big());
        }
        let remaining = remaining - arrived as u64;
        self.chunk = if remaining == 0 {
            Chunk::Head
        } else {
            Chunk::Data { remaining }
        };
        Ok(remaining == 0)
    }

    fn append(&mut self, octets: usize) {
        let data = self.input.split_to(octets);
        if self.message.is_empty() {
            self.message = data; // one chunk in one read, the usual case: nothing is copied
        } else {
            self.message.extend_from_slice(&data);
        }
    }

    fn too_big(&self) -> FramingError {
        FramingError::TooBig { limit: self.limit }
    }
}

/// Clients end a line after each mark, and some begin their hello on a new one. An XML declaration must be the first of
/// its document, so what stands between the messages must not become part of one.
fn leading_white_space(message: &[u8]) -> usize {
    let is_content = |octet: &u8| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    message.iter().position(is_content).unwrap_or(message.len())
}

/// The head of a chunk, or the end of chunks.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    Chunk { size: u64, length: usize },
    End,
}

/// Reads `LF HASH chunk-size LF` or `LF HASH HASH LF`; `None` when it is not complete.
fn head(input: &[u8]) -> Result<Option<Head>, FramingError> {
    for (expected, found) in b"\n#".iter().zip(input) {
        if expected != found {
            return Err(FramingError::NotAChunk);
        }
    }
    match input.get(2) {
        None => Ok(None),
        Some(b'#') => match input.get(3) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(Head::End)),
            Some(_) => Err(FramingError::NotAChunk),
        },
        Some(b'1'..=b'9') => chunk_size(input),
        Some(_) => Err(FramingError::ChunkSize),
    }
}

fn chunk_size(input: &[u8]) -> Result<Option<Head>, FramingError> {
    let mut size = 0u64;
    for (at, octet) in input.iter().enumerate().skip(2) {
        match octet {
            b'0'..=b'9' => {
                size = size * 10 + u64::from(octet - b'0');
                if size > MAX_CHUNK {
                    return Err(FramingError::ChunkTooLarge);
                }
            }
            b'\n' => {
                return Ok(Some(Head::Chunk {
                    size,
                    length: at + 1,
                }));
            }
            _ => return Err(FramingError::ChunkSize),
        }
    }
    Ok(None)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// A message as it goes onto the wire; it must not be empty, which no chunk can carry.
pub fn encode(framing: Framing, message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 32);
    for piece in pieces(framing, message) {
        wire.extend_from_slice(&piece);
    }
    wire
}

/// A part of a message of which more follows; it must not be empty.
pub fn encode_part(framing: Framing, part: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(part.len() + 16);
    for piece in content(framing, part) {
        wire.extend_from_slice(&piece);
    }
    wire
}

/// The same in pieces, none of which copies the message.
pub fn pieces(framing: Framing, message: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let end = match framing {
        Framing::EndOfMessage => END_OF_MESSAGE,
        Framing::Chunked => END_OF_CHUNKS,
    };
    content(framing, message).chain([Cow::Borrowed(end)])
}

fn content(framing: Framing, message: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let longest = match framing {
        Framing::EndOfMessage => usize::MAX,
        Framing::Chunked => MAX_CHUNK as usize,
    };
    message.chunks(longest).flat_map(move |chunk| {
        let head = match framing {
            Framing::EndOfMessage => String::new(),
            Framing::Chunked => format!("\n#{}\n", chunk.len()),
        };
        [Cow::Owned(head.into_bytes()), Cow::Borrowed(chunk)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    fn framer(framing: Framing) -> Framer {
        let mut framer = Framer::new(LIMIT);
        framer.set_framing(framing);
        framer
    }

    fn read(framing: Framing, wire: &[u8]) -> Result<Vec<Bytes>, FramingError> {
        let mut framer = framer(framing);
        framer.push(wire);
        let mut messages = Vec::new();
        while let Some(message) = framer.next()? {
            messages.push(message);
        }
        Ok(messages)
    }

    fn chunked(wire: &str) -> Result<Vec<Bytes>, FramingError> {
        read(Framing::Chunked, wire.as_bytes())
    }

    #[test]
    fn two_messages_in_one_write_are_both_read() {
        let messages = read(Framing::EndOfMessage, b"<a/>]]>]]><b/>]]>]]><c").unwrap();
        assert_eq!(messages, [Bytes::from("<a/>"), Bytes::from("<b/>")]);
    }

    #[test]
    fn an_empty_marked_message_is_a_message() {
        assert_eq!(
            read(Framing::EndOfMessage, b"]]>]]>").unwrap(),
            [Bytes::new()]
        );
    }

    #[test]
    fn white_space_between_marked_messages_belongs_to_none() {
        let messages = read(
            Framing::EndOfMessage,
            b"\n<?xml?><a/>]]>]]>\r\n <b/>\n]]>]]>\n",
        );
        assert_eq!(
            messages.unwrap(),
            [Bytes::from("<?xml?><a/>"), Bytes::from("<b/>\n")]
        );
        let content = chunked("\n#5\n <a/>\n##\n").unwrap();
        assert_eq!(content, [Bytes::from(" <a/>")], "a chunk says what is in");
    }

    #[test]
    fn chunks_make_one_message_as_in_the_rfc() {
        // RFC 6242, section 4.2.
        let wire = "\n#4\n<rpc\n#18\n message-id=\"102\"\n\n#79\n     xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\">\n  <close-session/>\n</rpc>\n##\n";
        let messages = chunked(wire).unwrap();
        assert_eq!(messages.len(), 1);
        assert!(messages[0].starts_with(b"<rpc message-id=\"102\"\n     xmlns="));
        assert!(messages[0].ends_with(b"</rpc>"));
    }

    #[test]
    fn a_mark_inside_a_chunk_is_content_and_between_chunks_an_error() {
        assert_eq!(
            chunked("\n#6\n]]>]]>\n##\n").unwrap(),
            [Bytes::from("]]>]]>")]
        );
        assert_eq!(chunked("\n#4\n<a/>]]>]]>"), Err(FramingError::NotAChunk));
    }

    #[test]
    fn bad_chunk_sizes_are_refused() {
        assert_eq!(chunked("\n#0\n"), Err(FramingError::ChunkSize));
        assert_eq!(chunked("\n#01\na"), Err(FramingError::ChunkSize));
        assert_eq!(chunked("\n#a\n"), Err(FramingError::ChunkSize));
        assert_eq!(chunked("\n#1a\n"), Err(FramingError::ChunkSize));
        assert_eq!(chunked("\n#-1\n"), Err(FramingError::ChunkSize));
        assert_eq!(chunked("\n#4294967296\n"), Err(FramingError::ChunkTooLarge));
        assert_eq!(
            chunked("\n#99999999999999999999999"),
            Err(FramingError::ChunkTooLarge)
        );
        assert_eq!(chunked("\n##\n"), Err(FramingError::NoChunk));
        assert_eq!(chunked("\n#1\na\n#\n"), Err(FramingError::ChunkSize));
        assert_eq!(chunked("\n#1\na\n##x"), Err(FramingError::NotAChunk));
        assert_eq!(chunked("<rpc/>"), Err(FramingError::NotAChunk));
    }

    #[test]
    fn the_largest_chunk_size_is_bounded_by_the_message_limit_alone() {
        assert_eq!(chunked("\n#4294967295\n").unwrap(), Vec::<Bytes>::new());
        let mut wire = b"\n#4294967295\n<rpc message-id=\"1\">".to_vec();
        wire.resize(20_000, b' ');
        let mut framer = framer(Framing::Chunked);
        framer.push(&wire);
        assert_eq!(framer.next(), Err(FramingError::TooBig { limit: LIMIT }));
        assert!(framer.partial().starts_with(b"<rpc message-id=\"1\">"));
    }

    #[test]
    fn a_message_of_exactly_the_limit_passes_and_one_more_octet_does_not() {
        for framing in [Framing::EndOfMessage, Framing::Chunked] {
            let mut exact = framer(framing);
            exact.push(&encode(framing, &vec![b'x'; LIMIT]));
            assert_eq!(exact.next().unwrap().unwrap().len(), LIMIT);
            let mut over = framer(framing);
            over.push(&encode(framing, &vec![b'x'; LIMIT + 1]));
            assert_eq!(over.next(), Err(FramingError::TooBig { limit: LIMIT }));
        }
    }

    #[test]
    fn many_small_chunks_cannot_pass_the_limit() {
        let wire = "\n#1\na".repeat(LIMIT + 1);
        assert_eq!(chunked(&wire), Err(FramingError::TooBig { limit: LIMIT }));
    }

    #[test]
    fn what_is_kept_of_an_endless_message_is_bounded() {
        for (framing, start) in [
            (Framing::EndOfMessage, ""),
            (Framing::Chunked, "\n#4294967295\n"),
        ] {
            let mut framer = framer(framing);
            framer.push(start.as_bytes());
            for _ in 0..64 {
                framer.push(&[b'x'; 1 << 16]);
                if framer.next().is_err() {
                    break;
                }
            }
            assert!(framer.next().is_err());
            assert!(framer.input.len() + framer.message.len() <= LIMIT + (1 << 17));
        }
    }

    #[test]
    fn an_error_is_final() {
        let mut framer = framer(Framing::Chunked);
        framer.push(b"\n#x");
        assert_eq!(framer.next(), Err(FramingError::ChunkSize));
        framer.push(b"\n#4\n<a/>\n##\n");
        assert_eq!(framer.next(), Err(FramingError::ChunkSize));
    }

    #[test]
    fn the_framing_changes_between_a_hello_and_what_came_with_it() {
        let mut framer = Framer::new(LIMIT);
        framer.push(b"<hello/>]]>]]>\n#4\n<a/>\n##\n");
        assert_eq!(framer.next().unwrap().unwrap(), "<hello/>");
        framer.set_framing(Framing::Chunked);
        assert_eq!(framer.next().unwrap().unwrap(), "<a/>");
        assert!(framer.is_between_messages());
    }

    #[test]
    fn chunks_before_the_agreement_are_refused_at_once() {
        assert_eq!(
            read(Framing::EndOfMessage, b"\n#8\n<hello/>\n##\n"),
            Err(FramingError::ChunkedTooEarly)
        );
    }

    #[test]
    fn byte_at_a_time_costs_no_more_than_a_pass() {
        // With a search from the start each time this would be 10^12 comparisons.
        let mut framer = framer(Framing::EndOfMessage);
        for _ in 0..LIMIT {
            framer.push(b"]");
            assert_eq!(framer.next(), Ok(None));
        }
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        // Marks and heads of chunks in pieces are what a wrong resumption would trip over.
        let piece = prop_oneof![
            Just(b"]".to_vec()),
            Just(b"]]>]]".to_vec()),
            Just(b"\n#".to_vec()),
            Just(b"\n##\n".to_vec()),
            prop::collection::vec(any::<u8>(), 1..20),
        ];
        prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_messages(
            messages in prop::collection::vec(message(), 1..6),
            splits in prop::collection::vec(1usize..40, 1..60),
            is_chunked: bool,
        ) {
            let framing = if is_chunked { Framing::Chunked } else { Framing::EndOfMessage };
            let sendable = |m: &Vec<u8>| is_chunked || !(leading_white_space(m) > 0 || find(&encode(framing, m), END_OF_MESSAGE) != Some(m.len()));
            let messages: Vec<_> = messages.into_iter().filter(sendable).collect();
            let wire: Vec<u8> = messages.iter().flat_map(|m| encode(framing, m)).collect();
            let mut framer = framer(framing);
            let mut found = Vec::new();
            let mut rest = &wire[..];
            for size in splits.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                framer.push(piece);
                while let Some(message) = framer.next().unwrap() { found.push(message.to_vec()); }
                rest = after;
            }
            prop_assert_eq!(found, messages);
            prop_assert!(framer.is_between_messages());
        }

        #[test]
        fn hostile_input_never_panics(
            pieces in prop::collection::vec(message(), 0..20),
            is_chunked: bool,
        ) {
            let mut framer = Framer::new(64);
            framer.set_framing(if is_chunked { Framing::Chunked } else { Framing::EndOfMessage });
            for piece in pieces {
                framer.push(&piece);
                while let Ok(Some(_)) = framer.next() {}
                prop_assert!(framer.partial().len() <= 64 + 160);
            }
        }
    }
}
