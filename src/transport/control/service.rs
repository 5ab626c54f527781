//! An external service over the control socket: the connections of a service, one after the other, for one program.
//!
//! After the answer to `{"request":"service","name":…}` both sides send frames: one octet says which, four how many octets
//! follow (big-endian), at most 64 KiB. The agent says `Opened` once the subconnection stands, both say `Data`, and each
//! says `Closed` once for each connection, when no more `Data` come from it: the agent because the subconnection has
//! ended, the program because it is done. When both have, the next `Opened` may come. The registration lasts as long as
//! the stream.

mod frame;
pub mod program;
#[cfg(test)]
mod tests;

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, mpsc};

use self::frame::Frame;
use crate::transport::BoxedStream;

/// Hands each connection that is offered to the program behind the stream, until either is gone.
pub async fn attend(stream: BoxedStream, mut offers: mpsc::Receiver<DuplexStream>) {
    let (mut from, mut to) = split(stream);
    loop {
        let pipe = tokio::select! {
            offer = offers.recv() => match offer {
                Some(pipe) => pipe,
                None => return,
            },
            // Without a connection the program has nothing to say but its end.
            _ = from.read_u8() => return,
        };
        if connect(pipe, &mut from, &mut to).await.is_err() {
            return;
        }
    }
}

/// One connection, until both sides are done with it.
async fn connect(
    pipe: DuplexStream,
    from: &mut ReadHalf<BoxedStream>,
    to: &mut WriteHalf<BoxedStream>,
) -> io::Result<()> {
    let (pipe_read, pipe_write) = split(pipe);
    let done = Notify::new();
    frame::write(to, &Frame::Opened).await?;
    let ((), ()) = tokio::try_join!(
        to_program(pipe_read, to, &done),
        from_program(from, pipe_write, &done),
    )?;
    Ok(())
}

async fn to_program(
    mut pipe: ReadHalf<DuplexStream>,
    to: &mut WriteHalf<BoxedStream>,
    done: &Notify,
) -> io::Result<()> {
    let mut octets = vec![0; frame::LONGEST];
    loop {
        let read = tokio::select! {
            read = pipe.read(&mut octets) => read?,
            () = done.notified() => 0,
        };
        match read {
            0 => return frame::write(to, &Frame::Closed).await,
            length => frame::write(to, &Frame::Data(octets[..length].to_vec())).await?,
        }
    }
}

async fn from_program(
    from: &mut ReadHalf<BoxedStream>,
    mut pipe: WriteHalf<DuplexStream>,
    done: &Notify,
) -> io::Result<()> {
    loop {
        match frame::read(from).await? {
            // What comes after the end of the subconnection has nowhere to go.
            Frame::Data(octets) => drop(pipe.write_all(&octets).await),
            Frame::Closed => {
                done.notify_one();
                return Ok(());
            }
            Frame::Opened => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
