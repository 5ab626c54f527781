//! Long outputs, a page at a time.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

/// What stands below a page.
const MORE: &str = "---- More ----";
/// Takes it away again.
const ERASE: &str = "\r\x1b[K";

/// Shows a text, a page at a time where it is longer than the terminal; without rows all at once.
///
/// # Errors
/// The terminal is gone.
pub fn show(text: &str, rows: Option<usize>) -> io::Result<()> {
    let mut out = io::stdout();
    match rows {
        Some(rows) if rows > 1 => pages(text, rows, &mut out, key),
        _ => out.write_all(text.as_bytes()),
    }
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Page,
    Line,
    Stop,
}

fn pages(
    text: &str,
    rows: usize,
    out: &mut impl Write,
    mut key: impl FnMut() -> io::Result<Next>,
) -> io::Result<()> {
    let mut left = rows - 1;
    for line in text.lines() {
        if left == 0 {
            write!(out, "{MORE}")?;
            out.flush()?;
            let next = key()?;
            write!(out, "{ERASE}")?;
            left = match next {
                Next::Page => rows - 1,
                Next::Line => 1,
                Next::Stop => break,
            };
        }
        writeln!(out, "{line}")?;
        left -= 1;
    }
    out.flush()
}

/// Waits for a key, and takes no more than that from the terminal: space for a page, return for a line, Ctrl-C and all others to stop.
fn key() -> io::Result<Next> {
    let mut input = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let usual = tcgetattr(&input)?;
    let mut raw = usual.clone();
    cfmakeraw(&mut raw);
    tcsetattr(&input, SetArg::TCSADRAIN, &raw)?;
    let mut octet = [0];
    let read = input.read(&mut octet);
    tcsetattr(&input, SetArg::TCSADRAIN, &usual)?;
    Ok(match (read?, octet[0]) {
        (1, b' ') => Next::Page,
        (1, b'\r' | b'\n') => Next::Line,
        _ => Next::Stop,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(keys: &[Next]) -> String {
        let mut out = Vec::new();
        let mut keys = keys.iter();
        let key = || Ok(*keys.next().unwrap());
        pages("1\n2\n3\n4\n5\n6\n", 3, &mut out, key).unwrap();
        String::from_utf8(out).unwrap().replace(ERASE, "|")
    }

    #[test]
    fn a_long_text_stops_at_the_end_of_each_page() {
        assert_eq!(
            shown(&[Next::Page, Next::Page]),
            format!("1\n2\n{MORE}|3\n4\n{MORE}|5\n6\n")
        );
        assert_eq!(
            shown(&[Next::Line, Next::Stop]),
            format!("1\n2\n{MORE}|3\n{MORE}|")
        );
    }
}
