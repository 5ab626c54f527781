//! One line of JSON, which may hold a secret: read and written within bounds, and wiped.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

/// The longest line, in octets with its end: several times what the longest request takes.
const LONGEST: u64 = 4096;

/// Reads a line; the inner error says in one line what is wrong with it.
pub(super) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Result<T, String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
    stream.take(LONGEST).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return match line.len() as u64 {
            LONGEST => Ok(Err(format!("the line is longer than {LONGEST} octets"))),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        };
    }
    // The parser's own words quote what it read; where they point is enough, and holds no secret.
    let wrong = |error: serde_json::Error| match error.classify() {
        serde_json::error::Category::Data => "the line is no request that is known here".to_owned(),
        _ => format!("the line is no JSON: column {}", error.column()),
    };
    Ok(serde_json::from_slice(&line).map_err(wrong))
}

/// Writes a line.
pub(super) async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
    serde_json::to_writer(&mut *line, value)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

/// A secret as it stands in a request.
pub(super) mod clear_text {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::model::settings::Secret;

    pub fn serialize<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::reveal).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}
