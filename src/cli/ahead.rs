//! What is typed before its prompt: a configuration that is pasted while a command is under way.
//!
//! The line editor reads more than a line at a time and keeps the rest for its next. Nobody else can see that rest, so
//! before anything but a prompt takes a key from the terminal – a page that waits – all that was typed by then is taken out of
//! the editor, and is done before the editor is asked again.

use rustyline::{KeyCode, KeyEvent, Modifiers};

/// Octets that are taken out at a time, at the most; what is beyond stays in the terminal.
const MOST: usize = 64 << 10;
/// What the end of the input is kept as (EOT).
const END: char = '\u{4}';

/// Keys that were typed ahead, as the text that they make.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ahead(String);

/// What is to be done first.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole line.
    Line(String),
    /// The beginning of a line, perhaps none.
    Begun(String),
    /// There will be no more.
    End,
}

impl Ahead {
    /// Whether nothing was typed ahead.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a key; false if no more fit.
    pub fn take(&mut self, key: &KeyEvent) -> bool {
        match key {
            KeyEvent(KeyCode::Enter, _) => self.0.push('\n'),
            KeyEvent(KeyCode::Char('J' | 'M'), Modifiers::CTRL) => self.0.push('\n'),
            KeyEvent(KeyCode::Char('C'), Modifiers::CTRL) => self.0.clear(),
            KeyEvent(KeyCode::Char('D'), Modifiers::CTRL) => self.end(),
            KeyEvent(KeyCode::Char('H'), Modifiers::CTRL) | KeyEvent(KeyCode::Backspace, _)
                if !self.0.ends_with(['\n', END]) =>
            {
                self.0.pop();
            }
            KeyEvent(KeyCode::Tab, _) => self.0.push(' '),
            KeyEvent(KeyCode::Char(c), Modifiers::NONE | Modifiers::SHIFT) => self.0.push(*c),
            // What edits a line that nobody sees has nothing to edit.
            _ => {}
        }
        self.0.len() < MOST
    }

    /// There will be no more.
    pub fn end(&mut self) {
        self.0.push(END);
    }

    /// What is to be done first of it.
    pub fn next(&mut self) -> Next {
        if self.0.starts_with(END) {
            return Next::End;
        }
        match self.0.find(['\n', END]) {
            Some(at) => {
                let rest = self.0.split_off(at);
                let line = std::mem::replace(&mut self.0, rest);
                if self.0.starts_with('\n') {
                    self.0.remove(0);
                }
                Next::Line(line)
            }
            None => Next::Begun(std::mem::take(&mut self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Ahead {
        let mut ahead = Ahead::default();
        for c in text.chars() {
            assert!(ahead.take(&KeyEvent::new(c, Modifiers::NONE)));
        }
        ahead
    }

    fn line(text: &str) -> Next {
        Next::Line(text.to_owned())
    }

    #[test]
    fn lines_come_out_in_their_order_and_what_is_no_line_yet_at_the_end() {
        let mut ahead = typed("system-view\r\n sysname R1\nip ho");
        let lines = ["system-view", "", " sysname R1"];
        for expected in lines {
            assert_eq!(ahead.next(), line(expected));
        }
        assert_eq!(ahead.next(), Next::Begun("ip ho".to_owned()));
        assert!(ahead.is_empty());
        assert_eq!(ahead.next(), Next::Begun(String::new()));
    }

    #[test]
    fn the_end_of_the_input_ends_its_last_line_too_and_stays() {
        let mut ahead = typed("quit\rsave\u{4}");
        assert_eq!(ahead.next(), line("quit"));
        assert_eq!(ahead.next(), line("save"));
        assert_eq!(ahead.next(), Next::End);
        assert_eq!(ahead.next(), Next::End);
    }

    #[test]
    fn what_is_taken_back_is_gone_and_keys_that_edit_are_none() {
        assert_eq!(typed("syx\u{7f}s\r").next(), line("sys"));
        assert_eq!(typed("a\r\u{7f}b\r").0, "a\nb\n");
        assert_eq!(typed("sys\rsysname x\u{3}").0, "");
        assert_eq!(typed("dis\t\u{1}\u{b}cur\r").next(), line("dis cur"));
    }

    #[test]
    fn no_more_is_taken_than_fits() {
        let mut ahead = Ahead(" ".repeat(MOST - 2));
        let key = KeyEvent::from('x');
        assert!(ahead.take(&key));
        assert!(!ahead.take(&key));
    }
}
