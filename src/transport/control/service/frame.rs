//! The frames between agent and program.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Octets of the longest data.
pub(super) const LONGEST: usize = 64 << 10;

const OPENED: u8 = 0;
const DATA: u8 = 1;
const CLOSED: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The subconnection stands.
    Opened,
    /// A part of its byte stream.
    Data(Vec<u8>),
    /// Nothing more comes on this connection.
    Closed,
}

/// The next frame; the end of the stream is an error. Not safe to cancel.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let length = usize::try_from(length).map_err(|_| invalid())?;
    match (kind, length) {
        (OPENED, 0) => Ok(Frame::Opened),
        (CLOSED, 0) => Ok(Frame::Closed),
        (DATA, 0..=LONGEST) => {
            let mut octets = vec![0; length];
            from.read_exact(&mut octets).await?;
            Ok(Frame::Data(octets))
        }
        _ => Err(invalid()),
    }
}

/// Writes one; data of at most [`LONGEST`] octets.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    let (kind, octets) = match frame {
        Frame::Opened => (OPENED, &[][..]),
        Frame::Data(octets) => (DATA, octets.as_slice()),
        Frame::Closed => (CLOSED, &[][..]),
    };
    let length = u32::try_from(octets.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut whole = Vec::with_capacity(5 + octets.len());
    whole.push(kind);
    whole.extend_from_slice(&length.to_be_bytes());
    whole.extend_from_slice(octets);
    to.write_all(&whole).await?;
    to.flush().await
}
