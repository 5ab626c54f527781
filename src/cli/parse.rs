//! From a line to a command, or to the word that is wrong; and what fits at the end of a line.

use super::grammar::{Command, Given, Grammar, Part, Symbol, View};
use super::printable;
use super::tokens::{Token, tokens};
use crate::model::xml::is_xml_character;

/// A command that was understood.
#[derive(Clone)]
pub struct Parsed {
    /// The entry of the table.
    pub command: &'static Command,
    /// Its values.
    pub given: Given,
    /// Its words.
    pub words: Vec<&'static str>,
    /// What of its output is wanted.
    pub filter: Option<Filter>,
}

/// Which lines of an output are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// `begin`, `exclude` or `include`.
    pub kind: &'static str,
    /// The regular expression.
    pub expression: String,
}

/// Why a line is no command. `at` counts octets from the beginning of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// No command has this word here.
    Unrecognized {
        /// Where.
        at: usize,
    },
    /// Several commands have a word that begins so.
    Ambiguous {
        /// Where.
        at: usize,
    },
    /// A value that this cannot be.
    Wrong {
        /// Where.
        at: usize,
    },
    /// Something is missing.
    Incomplete {
        /// Where.
        at: usize,
    },
    /// The command ends before.
    TooMany {
        /// Where.
        at: usize,
    },
    /// It is a command of these views.
    Elsewhere {
        /// Which.
        views: &'static [View],
    },
}

/// Something that fits at the end of a line.
#[derive(Clone, Debug)]
pub struct Fit {
    /// It.
    pub symbol: Symbol,
}

/// A command that a line may be the beginning of, as far as its words fit.
pub struct Begun {
    /// The entry of the table.
    pub command: &'static Command,
    /// The values so far.
    pub given: Given,
    /// Whether only values are missing, if anything is.
    pub has_its_words: bool,
}

/// What fits at the end of a line.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The beginning of the last word, if the line does not end behind one.
    pub begun: String,
    /// Octets of the line before that.
    pub start: usize,
    /// What it can be; each once.
    pub fits: Vec<Fit>,
    /// Whether the line is a command as it stands.
    pub may_end: bool,
}

/// One reading of the words so far.
#[derive(Clone)]
struct Reading<'g> {
    command: &'static Command,
    /// What is to come, the next last.
    rest: Vec<&'g Part>,
    given: Given,
    words: Vec<&'static str>,
}

/// A symbol that may come next, and the reading behind it.
struct Next<'g> {
    symbol: Symbol,
    reading: Reading<'g>,
}

impl<'g> Reading<'g> {
    /// Adds what may come next; true if nothing has to.
    fn next(&self, into: &mut Vec<Next<'g>>) -> bool {
        let mut ahead = self.clone();
        let Some(part) = ahead.rest.pop() else {
            return true;
        };
        let follow = |ahead: &Self, parts: &'g [Part], into: &mut Vec<Next<'g>>| {
            let mut ahead = ahead.clone();
            ahead.rest.extend(parts.iter().rev());
            ahead.next(into)
        };
        match part {
            Part::Symbol(symbol) => {
                into.push(Next {
                    symbol: symbol.clone(),
                    reading: ahead,
                });
                false
            }
            Part::Optional(inside) => {
                follow(&ahead, inside, into);
                ahead.next(into)
            }
            Part::Choice(choices) => {
                for choice in choices {
                    follow(&ahead, choice, into);
                }
                false
            }
        }
    }
}

impl Grammar {
    fn readings(&self, view: Option<View>) -> Vec<Reading<'_>> {
        let commands = self.commands.iter();
        let here = commands.filter(|(command, _)| view.is_none_or(|v| command.views.contains(&v)));
        here.map(|(command, parts)| Reading {
            command,
            rest: parts.iter().rev().collect(),
            given: Given::default(),
            words: Vec::new(),
        })
        .collect()
    }

    /// The command that a line is; none if it is empty or a comment.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse(&self, view: View, line: &str) -> Result<Option<Parsed>, ParseError> {
        let tokens = tokens(line);
        if tokens.is_empty() || line.trim_start().starts_with(['#', '!']) {
            return Ok(None);
        }
        match read(self.readings(Some(view)), line, &tokens) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) => match read(self.readings(None), line, &tokens) {
                Ok(parsed) => Err(ParseError::Elsewhere {
                    views: parsed.command.views,
                }),
                Err(_) => Err(error),
            },
        }
    }

    /// What fits at the end of a line.
    pub fn place(&self, view: View, line: &str) -> Place {
        let mut tokens = tokens(line);
        let ends_behind = line.is_empty() || line.ends_with(char::is_whitespace);
        let last = match ends_behind && !tokens.last().is_some_and(|last| last.is_open) {
            true => None,
            false => tokens.pop(),
        };
        let start = last.as_ref().map_or(line.len(), |last| last.offset);
        let begun = last.map(|token| token.text).unwrap_or_default();
        let mut readings = self.readings(Some(view));
        for token in &tokens {
            match advance(&readings, line, token) {
                Ok(ahead) => readings = ahead,
                Err(_) => return Place::default(),
            }
        }
        let mut next = Vec::new();
        let mut may_end = false;
        for reading in &readings {
            may_end |= reading.next(&mut next);
        }
        let mut fits: Vec<Fit> = Vec::new();
        for symbol in next.into_iter().map(|next| next.symbol) {
            let is_new = fits.iter().all(|fit| fit.symbol.text() != symbol.text());
            if is_new && symbol.may_begin(&begun) {
                fits.push(Fit { symbol });
            }
        }
        fits.sort_by_key(|fit| (matches!(fit.symbol, Symbol::Value(_)), fit.symbol.text()));
        Place {
            may_end: may_end && begun.is_empty() && !tokens.is_empty(),
            begun,
            start,
            fits,
        }
    }

    /// The commands of any view that the words of a line fit, up to the first that fits none.
    pub fn begun(&self, line: &str) -> Vec<Begun> {
        let mut readings = self.readings(None);
        for token in &tokens(line) {
            match advance(&readings, line, token) {
                Ok(ahead) if !readings.iter().any(Reading::ends_in_text) => readings = ahead,
                _ => break,
            }
        }
        let begun = readings.into_iter().map(|reading| {
            let mut next = Vec::new();
            let may_end = reading.next(&mut next);
            let is_value = |next: &Next<'_>| matches!(next.symbol, Symbol::Value(_));
            Begun {
                command: reading.command,
                has_its_words: may_end || next.iter().any(is_value),
                given: reading.given,
            }
        });
        begun.collect()
    }
}

fn read(readings: Vec<Reading<'_>>, line: &str, tokens: &[Token]) -> Result<Parsed, ParseError> {
    let mut readings = readings;
    for token in tokens {
        if readings.iter().any(Reading::ends_in_text) {
            break;
        }
        readings = advance(&readings, line, token)?;
    }
    let is_open = tokens.last().is_some_and(|last| last.is_open);
    let complete = readings
        .iter()
        .find(|reading| reading.next(&mut Vec::new()));
    let complete = complete.filter(|reading| !is_open || reading.ends_in_text());
    let Some(reading) = complete else {
        let at = line.trim_end().len();
        return Err(ParseError::Incomplete { at });
    };
    let kinds = ["begin", "exclude", "include"];
    let kind = reading.words.iter().find(|word| kinds.contains(word));
    Ok(Parsed {
        command: reading.command,
        filter: kind.map(|kind| Filter {
            kind,
            expression: reading.given.of("regular-expression").to_owned(),
        }),
        given: reading.given.clone(),
        words: reading.words.clone(),
    })
}

impl Reading<'_> {
    /// Whether its last value was all that follows.
    fn ends_in_text(&self) -> bool {
        let last = self.given.0.last();
        last.is_some_and(|(name, _)| super::values::named(name).takes_rest)
    }
}

/// The readings behind one more word.
fn advance<'g>(
    readings: &[Reading<'g>],
    line: &str,
    token: &Token,
) -> Result<Vec<Reading<'g>>, ParseError> {
    let at = token.offset;
    let mut next = Vec::new();
    for reading in readings {
        reading.next(&mut next);
    }
    if next.is_empty() {
        return Err(ParseError::TooMany { at });
    }
    let is_word = |next: &Next<'_>, matches: &dyn Fn(&str) -> bool| match next.symbol {
        Symbol::Word(word, _) => !token.quoted && matches(word),
        Symbol::Value(_) => false,
    };
    let typed = token.text.to_ascii_lowercase();
    let exact = |next: &Next<'_>| is_word(next, &|word| word == typed);
    let begins = |next: &Next<'_>| is_word(next, &|word| word.starts_with(&typed));
    let chosen: Vec<_> = match next.iter().any(exact) {
        true => next.iter().filter(|next| exact(next)).collect(),
        false => next.iter().filter(|next| begins(next)).collect(),
    };
    if let Some(first) = chosen.first() {
        let one = chosen
            .iter()
            .all(|other| other.symbol.text() == first.symbol.text());
        return match one {
            true => Ok(chosen.into_iter().map(Next::with_word).collect()),
            false => Err(ParseError::Ambiguous { at }),
        };
    }
    let values = next.iter().filter_map(|next| next.with_value(line, token));
    let values: Vec<_> = values.collect();
    let expects_value = next
        .iter()
        .any(|next| matches!(next.symbol, Symbol::Value(_)));
    match (values.is_empty(), expects_value) {
        (false, _) => Ok(values),
        (true, true) => Err(ParseError::Wrong { at }),
        (true, false) => Err(ParseError::Unrecognized { at }),
    }
}

impl<'g> Next<'g> {
    fn with_word(&self) -> Reading<'g> {
        let mut reading = self.reading.clone();
        if let Symbol::Word(word, _) = self.symbol {
            reading.words.push(word);
        }
        reading
    }

    fn with_value(&self, line: &str, token: &Token) -> Option<Reading<'g>> {
        let Symbol::Value(value) = self.symbol else {
            return None;
        };
        let text = match value.takes_rest {
            true => line[token.offset..].trim_end(),
            false => &token.text,
        };
        // No message can hold other characters.
        if !(value.fits)(text) || !text.chars().all(is_xml_character) {
            return None;
        }
        let mut reading = self.reading.clone();
        reading.given.0.push((value.name, text.to_owned()));
        Some(reading)
    }
}

impl Symbol {
    /// How `?` shows it.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Word(word, _) => word,
            Self::Value(value) => value.shown,
        }
    }

    /// What `?` says of it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Word(_, help) => help,
            Self::Value(value) => value.help,
        }
    }

    fn may_begin(&self, begun: &str) -> bool {
        match self {
            Self::Word(word, _) => word.starts_with(&begun.to_ascii_lowercase()),
            Self::Value(_) => true,
        }
    }
}

impl ParseError {
    /// What the operator reads below his line, which began after so many columns.
    pub fn message(&self, line: &str, columns: usize) -> String {
        let (at, words) = match self {
            Self::Elsewhere { views } => return elsewhere(views),
            Self::Unrecognized { at } => (at, "Unrecognized command"),
            Self::Ambiguous { at } => (at, "Ambiguous command"),
            Self::Wrong { at } => (at, "Wrong parameter"),
            Self::Incomplete { at } => (at, "Incomplete command"),
            Self::TooMany { at } => (at, "Too many parameters"),
        };
        let before = printable::text(line.get(..*at).unwrap_or(line));
        let width = columns + printable::width(&before, columns) + 1;
        format!("{:>width$}\n% {words} found at '^' position.\n", '^')
    }
}

fn elsewhere(views: &[View]) -> String {
    let name = |view: &View| match view {
        View::User => "user view (leave this view with quit or return)",
        View::System => "system view (enter it with system-view)",
        View::Exclusive => "exclusive configuration (enter it with configure exclusive)",
    };
    let names: Vec<_> = views.iter().map(name).collect();
    format!("% This is a command of {}.\n", names.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(view: View, line: &str) -> Result<Option<Parsed>, ParseError> {
        Grammar::default().parse(view, line)
    }

    fn syntax(view: View, line: &str) -> &'static str {
        parse(view, line).ok().flatten().unwrap().command.syntax
    }

    fn error(view: View, line: &str) -> ParseError {
        parse(view, line).err().unwrap()
    }

    fn fits(line: &str) -> Vec<&'static str> {
        let place = Grammar::default().place(View::System, line);
        place.fits.iter().map(|fit| fit.symbol.text()).collect()
    }

    #[test]
    fn words_are_abbreviated_as_far_as_they_are_told_apart() {
        for line in [
            "display cloud-management state",
            "dis clo st",
            "DIS Cloud STATE",
        ] {
            assert_eq!(syntax(View::User, line), "display cloud-management state");
        }
        assert_eq!(
            error(View::User, "display c s"),
            ParseError::Ambiguous { at: 8 }
        );
        assert_eq!(error(View::User, "s"), ParseError::Ambiguous { at: 0 });
        assert_eq!(syntax(View::User, "sy"), "system-view");
    }

    #[test]
    fn a_word_in_full_is_itself_even_where_it_begins_another() {
        assert_eq!(
            syntax(View::System, "undo ip host a"),
            "undo ip host <host-name> [ <ip-address> ]"
        );
        assert_eq!(
            syntax(View::User, "display netconf sessions"),
            "display netconf sessions"
        );
    }

    #[test]
    fn the_first_word_that_does_not_fit_is_pointed_at() {
        for (line, expected) in [
            ("show", ParseError::Unrecognized { at: 0 }),
            ("display clock", ParseError::Unrecognized { at: 8 }),
            ("  display", ParseError::Incomplete { at: 9 }),
            (
                "display cloud-management state x",
                ParseError::Unrecognized { at: 31 },
            ),
            ("quit now", ParseError::TooMany { at: 5 }),
            ("cloud-management keepalive 9", ParseError::Wrong { at: 27 }),
            ("sysname a\u{1b}b", ParseError::Wrong { at: 8 }),
            (r#"sysname "\u{0}""#, ParseError::Wrong { at: 8 }),
            (
                "cloud-management server password simple",
                ParseError::Incomplete { at: 39 },
            ),
            (
                "cloud-management server domain a source-ip ::1",
                ParseError::Wrong { at: 43 },
            ),
        ] {
            assert_eq!(error(View::System, line), expected, "{line}");
        }
        assert_eq!(
            ParseError::Unrecognized { at: 5 }.message("é東x", 9),
            "            ^\n% Unrecognized command found at '^' position.\n"
        );
    }

    #[test]
    fn the_caret_stands_below_the_word_as_the_terminal_shows_it() {
        let line = "display \t東京\u{1b}[ x";
        let at = line.len() - 1;
        let caret = ParseError::Unrecognized { at }.message(line, 9);
        // Up to the next stop, two wide characters, `\u{1b}` written out, a bracket and a blank.
        let column = 24 + 2 * 2 + 6 + 2;
        assert_eq!(caret.find('^'), Some(column));
    }

    #[test]
    fn a_command_of_another_view_is_refused_with_that_said() {
        let words = error(View::System, "reset cloud-management tunnel").message("", 0);
        assert_eq!(
            words,
            "% This is a command of user view (leave this view with quit or return).\n"
        );
        let words = error(View::User, "sysname R1").message("", 0);
        assert!(
            words.contains("system view (enter it with system-view)"),
            "{words}"
        );
    }

    #[test]
    fn values_are_given_by_name_and_options_may_be_left_out() {
        let line = "cloud-management server domain a.b source-ip 10.0.0.1";
        let given = parse(View::System, line).unwrap().unwrap().given;
        assert_eq!(given.of("domain-name"), "a.b");
        assert_eq!(given.get("vpn-instance-name"), None);
        assert_eq!(given.of("source-ip"), "10.0.0.1");
        let quoted = parse(View::System, "cloud server pass simple \"a b|?\"");
        assert_eq!(quoted.unwrap().unwrap().given.of("simple"), "a b|?");
        let open = "cloud server pass simple \"a b";
        assert_eq!(
            error(View::System, open),
            ParseError::Incomplete { at: open.len() }
        );
    }

    #[test]
    fn a_comment_and_an_expression_are_all_that_follows() {
        let line = "commit confirmed 60 comment ticket 7:  see  there ";
        let given = parse(View::Exclusive, line).unwrap().unwrap().given;
        assert_eq!(given.of("text"), "ticket 7:  see  there");
        assert_eq!(given.of("seconds"), "60");
        let filtered = parse(View::User, "dis cloud state | inc State|Duration  x");
        let filter = filtered.unwrap().unwrap().filter.unwrap();
        assert_eq!(filter.kind, "include");
        assert_eq!(filter.expression, "State|Duration  x");
    }

    #[test]
    fn a_line_that_is_wrong_is_still_the_beginning_of_some_commands() {
        let begun = |line: &str| {
            let begun = Grammar::default().begun(line);
            let whole = begun.iter().filter(|begun| begun.has_its_words);
            whole.map(|begun| begun.command.syntax).collect::<Vec<_>>()
        };
        assert_eq!(begun("sysname"), ["sysname <sysname>"]);
        assert_eq!(
            begun("display netconf sessions now"),
            ["display netconf sessions"]
        );
        assert_eq!(begun("reset"), [] as [&str; 0]);
        let line = "cloud-management server password simple secret and more";
        assert_eq!(
            Grammar::default().begun(line)[0].given.of("simple"),
            "secret"
        );
    }

    #[test]
    fn nothing_and_a_comment_are_no_command() {
        for line in ["", "   ", "# sysname x", "!"] {
            assert!(parse(View::User, line).unwrap().is_none(), "{line:?}");
        }
    }

    #[test]
    fn what_fits_is_told_at_each_place() {
        assert_eq!(
            fits("cloud-management server "),
            ["domain", "ipv6", "password", "port"]
        );
        assert_eq!(fits("cloud-management server p"), ["password", "port"]);
        assert_eq!(fits("cloud-management server port "), ["INTEGER<1-65535>"]);
        assert_eq!(
            fits("cloud-management server domain a "),
            ["source-ip", "vpn-instance"]
        );
        assert_eq!(fits("no such "), [] as [&str; 0]);
        let place = Grammar::default().place(View::System, "cloud-management server domain a ");
        assert!(place.may_end);
        let place = Grammar::default().place(View::User, "");
        assert!(!place.may_end && place.fits.iter().any(|fit| fit.symbol.text() == "display"));
    }
}
