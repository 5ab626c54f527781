//! What may reach a terminal.
//!
//! Names, comments and reasons come from managers and clouds, and a control sequence among them would be obeyed by the
//! terminal of whoever displays them. There are two rules, each kept in one place: nothing leaves a session of the command
//! line but what [`text`] lets through, and what the agent tells is taken in as [`value`] writes it, so that it stays in its
//! line and can be typed again.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// Columns from one tabulator stop of a terminal to the next.
const TAB: usize = 8;

/// Controls, and what has no form of its own but turns, hides or joins what stands around it.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if stays(c) => written.push(c),
            '\\' => written.push_str(r"\\"),
            '\n' => written.push_str(r"\n"),
            '\r' => written.push_str(r"\r"),
            '\t' => written.push_str(r"\t"),
            // Writing to a String does not fail.
            _ => drop(write!(written, "{}", c.escape_unicode())),
        }
    }
    Cow::Owned(written)
}

/// Lines as a terminal may have them: what is not printable is written as `\u{9b}`.
pub fn text(lines: &str) -> Cow<'_, str> {
    escaped(lines, |c| is_printable(c) || matches!(c, '\n' | '\t'))
}

/// A value in one line: what is not printable as `\n`, `\r`, `\t` or `\u{9b}`, and a backslash as two.
pub fn value(value: &str) -> Cow<'_, str> {
    escaped(value, |c| is_printable(c) && c != '\\')
}

/// A [`value`] as a word of a command: in quotes where it would else be another word, or several.
pub fn word(value: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '?' | '\\');
    match !value.is_empty() && value.chars().all(is_plain) {
        true => Cow::Borrowed(value),
        false => Cow::Owned(format!("\"{}\"", value.replace('"', "\\\""))),
    }
}

/// Columns that a line takes which begins in this one.
pub fn width(line: &str, from: usize) -> usize {
    let ahead = |column: usize, c: char| match c {
        '\t' => column + TAB - column % TAB,
        c => column + c.width().unwrap_or(0),
    };
    line.chars().fold(from, ahead) - from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (hostile, shown) in [
            ("\u{1b}]0;owned\u{7}", r"\u{1b}]0;owned\u{7}"),
            ("a\u{9b}2J", r"a\u{9b}2J"),
            ("admin\u{202e}nimda", r"admin\u{202e}nimda"),
            ("over\rwritten", r"over\rwritten"),
            ("zero\u{200b}width", r"zero\u{200b}width"),
        ] {
            assert_eq!(text(hostile), shown);
            assert_eq!(value(hostile), shown);
        }
        assert_eq!(text("Zürich 東京\n\tC:\\"), "Zürich 東京\n\tC:\\");
    }

    #[test]
    fn a_value_stays_in_its_line() {
        assert_eq!(value("1\n2 admin"), r"1\n2 admin");
        assert_eq!(value(r"C:\n"), r"C:\\n");
        assert_eq!(word("a.b-c"), "a.b-c");
        assert_eq!(word("a \"b\""), r#""a \"b\"""#);
        assert_eq!(word(""), r#""""#);
    }

    #[test]
    fn the_width_of_a_line_is_that_on_the_terminal() {
        assert_eq!(width("abc", 0), 3);
        assert_eq!(width("東京", 0), 4);
        assert_eq!(width("e\u{301}", 0), 1);
        assert_eq!(width("a\tb", 0), 9);
        assert_eq!(width("\tb", 9), 8);
    }
}
