//! Long outputs, a page at a time.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::printable;

/// What stands below a page.
const MORE: &str = "---- More ----";
/// Takes it away again.
const ERASE: &str = "\r\x1b[K";

/// The key that ends the input.
const CTRL_D: u8 = 4;

/// Columns and rows of a terminal.
pub type Size = (u16, u16);

/// Whether a text is no longer than a page.
pub fn fits(text: &str, size: Option<Size>) -> bool {
    let Some((columns, rows)) = size.filter(|(_, rows)| *rows > 1) else {
        return true;
    };
    let heights = text.lines().map(|line| height(line, columns));
    heights.sum::<usize>() < usize::from(rows)
}

/// Shows a text, a page at a time where it is longer than the terminal, whose size is asked for at each page; all at once
/// where there is none. Returns whether keys may still come: where none do, there is nobody to wait for.
///
/// # Errors
/// The terminal is gone.
pub fn show(text: &str, size: impl FnMut() -> Option<Size>) -> io::Result<bool> {
    pages(text, size, &mut io::stdout(), key)
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Page,
    Line,
    Stop,
    /// There are no more keys.
    End,
}

/// Rows that a line takes.
fn height(line: &str, columns: u16) -> usize {
    let columns = usize::from(columns.max(1));
    printable::width(line, 0).div_ceil(columns).max(1)
}

fn pages(
    text: &str,
    mut size: impl FnMut() -> Option<Size>,
    out: &mut impl Write,
    mut key: impl FnMut() -> io::Result<Next>,
) -> io::Result<bool> {
    let mut has_ended = false;
    let mut has = 0;
    let mut wanted = None;
    for line in text.lines() {
        let (columns, rows) = size()
            .filter(|(_, rows)| *rows > 1)
            .unwrap_or((u16::MAX, 0));
        let takes = height(line, columns);
        let page = usize::from(rows).saturating_sub(1);
        if has > 0 && rows > 0 && !has_ended && has + takes > wanted.unwrap_or(page) {
            write!(out, "{MORE}")?;
            out.flush()?;
            let next = key()?;
            write!(out, "{ERASE}")?;
            has = 0;
            wanted = match next {
                Next::Page => None,
                Next::Line => Some(1),
                Next::Stop => break,
                Next::End => {
                    has_ended = true;
                    None
                }
            };
        }
        writeln!(out, "{line}")?;
        has += takes;
    }
    out.flush()?;
    Ok(!has_ended)
}

/// Waits for a key, and takes no more than that from the terminal: space for a page, return for a line, Ctrl-D for the end of
/// all input, Ctrl-C and all others to stop.
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
        (1, CTRL_D) | (0, _) => Next::End,
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
        let size = || Some((10, 3));
        pages("1\n2\n3\n4\n5\n6\n", size, &mut out, key).unwrap();
        String::from_utf8(out).unwrap().replace(ERASE, "|")
    }

    #[test]
    fn a_page_is_as_long_as_the_window_is_by_then_and_wide_lines_take_several_rows() {
        let mut out = Vec::new();
        let mut sizes = [3, 3, 3, 5, 5, 5, 5].into_iter().map(|rows| (4, rows));
        let text = "1\n2\n345678\n9\n0\n1\n";
        pages(text, || sizes.next(), &mut out, || Ok(Next::Page)).unwrap();
        let shown = String::from_utf8(out).unwrap().replace(ERASE, "|");
        assert_eq!(shown, format!("1\n2\n{MORE}|345678\n9\n0\n{MORE}|1\n"));
    }

    #[test]
    fn without_a_terminal_there_are_no_pages() {
        let mut out = Vec::new();
        let text = "1\n".repeat(1000);
        pages(&text, || None, &mut out, || Ok(Next::Stop)).unwrap();
        assert_eq!(out.len(), text.len());
    }

    #[test]
    fn without_further_keys_all_the_rest_is_shown() {
        assert_eq!(
            shown(&[Next::Page, Next::End]),
            format!("1\n2\n{MORE}|3\n4\n{MORE}|5\n6\n")
        );
        assert_eq!(shown(&[Next::End]), format!("1\n2\n{MORE}|3\n4\n5\n6\n"));
    }

    #[test]
    fn what_takes_a_page_and_its_last_row_waits() {
        assert!(fits("1\n2\n", Some((10, 3))));
        assert!(!fits("1\n2\n3\n", Some((10, 3))));
        assert!(!fits("1\n34567\n", Some((4, 3))));
        assert!(fits("1\n2\n3\n", None) && fits("1\n2\n3\n", Some((80, 0))));
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
