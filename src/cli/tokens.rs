//! The words of a line.
//!
//! Words are separated by blanks. `"…"` is one word, or a part of one, whatever is in it; in quotes `\"` and `\\` stand for
//! the second character, `\n`, `\r`, `\t` and `\u{9b}` for what cannot be typed (as [`super::printable`] writes it), and any
//! other backslash for itself.

use std::iter::Peekable;
use std::str::CharIndices;

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// It, without quotes.
    pub text: String,
    /// Octets of the line before it.
    pub offset: usize,
    /// Whether a part of it stands in quotes.
    pub quoted: bool,
    /// Whether it ends in quotes that nobody has closed.
    pub is_open: bool,
}

/// The words of a line.
pub fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut left = line.char_indices().peekable();
    while let Some((offset, c)) = left.peek().copied() {
        if c.is_whitespace() {
            left.next();
        } else {
            tokens.push(token(offset, &mut left));
        }
    }
    tokens
}

/// Whether the end of a line is in quotes.
pub fn ends_in_quotes(line: &str) -> bool {
    tokens(line).last().is_some_and(|last| last.is_open)
}

fn token(offset: usize, left: &mut Peekable<CharIndices<'_>>) -> Token {
    let mut token = Token {
        text: String::new(),
        offset,
        quoted: false,
        is_open: false,
    };
    while let Some((_, c)) = left.next_if(|(_, c)| token.is_open || !c.is_whitespace()) {
        match c {
            '"' => {
                token.quoted = true;
                token.is_open = !token.is_open;
            }
            '\\' if token.is_open => token.text.push(escape(left).unwrap_or('\\')),
            other => token.text.push(other),
        }
    }
    token
}

/// The character that an escape stands for; nothing is taken if it is none.
fn escape(left: &mut Peekable<CharIndices<'_>>) -> Option<char> {
    let stands_for = match left.peek()?.1 {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(left),
        own @ ('"' | '\\') => own,
        _ => return None,
    };
    left.next();
    Some(stands_for)
}

/// `u{9b}`
fn unicode(left: &mut Peekable<CharIndices<'_>>) -> Option<char> {
    let ahead: String = left.clone().map(|(_, c)| c).take(10).collect();
    let (digits, _) = ahead.strip_prefix("u{")?.split_once('}')?;
    let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    for _ in 0.."u{}".len() + digits.len() {
        left.next();
    }
    Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printable;

    fn texts(line: &str) -> Vec<String> {
        tokens(line).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_are_separated_by_blanks_and_kept_together_by_quotes() {
        assert_eq!(texts(" a\t\u{3000}b "), ["a", "b"]);
        assert_eq!(texts(r#"a "b c"d """#), ["a", "b cd", ""]);
        assert_eq!(texts(r"a\b"), [r"a\b"]);
        assert_eq!(
            texts(r#""\"\\\n\u{9b}\d\u{zz}\""#),
            ["\"\\\n\u{9b}\\d\\u{zz}\""]
        );
    }

    #[test]
    fn quotes_that_nobody_has_closed_are_told() {
        for (line, is_open) in [
            ("", false),
            (r#"a "b"#, true),
            (r#"a "b" "#, false),
            (r#""\""#, true),
        ] {
            assert_eq!(ends_in_quotes(line), is_open, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_value_that_is_displayed_can_be_typed_again(value: String, other: String) {
            let [word, next] = [&value, &other].map(|value| printable::word(&printable::value(value)).into_owned());
            let line = format!("a {word} {next}");
            proptest::prop_assert_eq!(texts(&line), ["a".to_owned(), value, other]);
        }
    }
}
