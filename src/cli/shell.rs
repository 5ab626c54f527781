//! The command line on a terminal: line editor, history, `?`, completion, paging.
//!
//! The line editor blocks, so it has a thread of its own, which asks the task that has the session.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Context, Editor, Event, EventContext,
    EventHandler, Helper, Highlighter, Hinter, KeyEvent, RepeatCount, Validator,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::grammar::{Grammar, Symbol};
use super::parse::{Begun, Place};
use super::session::{Answer, Session};
use super::tokens::{ends_in_quotes, tokens};
use super::values::Known;
use super::{CliError, pager, printable};
use crate::protocol::client::ClientError;

/// Lines that can be called back.
const HISTORY: usize = 200;
/// Values that are not remembered.
const SECRETS: [&str; 2] = ["simple", "code"];
/// What is said of octets that are no text; the line that they were typed in is gone.
const NO_TEXT: &str = "% That is no UTF-8: the line is dropped.\n";

/// What the editor asks the session.
enum Ask {
    Prompt(oneshot::Sender<String>),
    Place(String, oneshot::Sender<Place>),
    Known(Known, oneshot::Sender<Vec<String>>),
    /// A line, which began after so many columns.
    Line(String, usize, oneshot::Sender<Answer>),
    /// What a command that is under way has come to since.
    More(oneshot::Sender<Answer>),
}

/// Serves a person at the terminal until he leaves.
///
/// # Errors
/// The session broke, or the terminal did.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    mut session: Session<S>,
) -> Result<(), CliError> {
    // At the prompt Ctrl-C is a key like others; at any other time it breaks off what is being done.
    let mut interrupts = signal(SignalKind::interrupt())?;
    let (asks, mut asked) = mpsc::channel(1);
    let editor = tokio::task::spawn_blocking(move || edit(Asker(asks)));
    while let Some(ask) = asked.recv().await {
        answer(&mut session, &mut interrupts, ask).await?;
    }
    match editor.await {
        Ok(done) => done?,
        Err(_) => return Err(io::Error::other("the line editor broke down").into()),
    }
    Ok(session.close().await?)
}

/// An editor that is gone does not hear its answer.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<S>,
    interrupts: &mut Signal,
    ask: Ask,
) -> Result<(), ClientError> {
    match ask {
        Ask::Prompt(to) => {
            // What was interrupted before is over.
            while interrupts.recv().now_or_never().is_some() {}
            drop(to.send(session.prompt()));
        }
        Ask::Place(line, to) => drop(to.send(session.place(&line))),
        Ask::Known(known, to) => drop(to.send(session.known(known).await?)),
        Ask::Line(line, columns, to) => {
            let broken_off = interrupts.recv().map(drop);
            drop(to.send(session.line_until(&line, columns, broken_off).await?));
        }
        Ask::More(to) => {
            let broken_off = interrupts.recv().map(drop);
            drop(to.send(session.more_until(broken_off).await?));
        }
    }
    Ok(())
}

/// The editor's way to the session.
#[derive(Clone)]
struct Asker(mpsc::Sender<Ask>);

impl Asker {
    /// None if the session is gone.
    fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (to, answer) = oneshot::channel();
        self.0.blocking_send(ask(to)).ok()?;
        answer.blocking_recv().ok()
    }
}

/// What a key asked for that ended the line early.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    /// `?`, with the cursor at this octet.
    Help(usize),
    /// Ctrl-Z: back to user view.
    Return,
}

type Asked = Arc<Mutex<Option<Early>>>;

/// Remembers what a key is for, and ends the line.
struct Key {
    asked: Asked,
    is_help: bool,
}

impl ConditionalEventHandler for Key {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, at: &EventContext<'_>) -> Option<Cmd> {
        let before = &at.line()[..at.pos()];
        // In quotes it is a character like any other.
        if self.is_help && ends_in_quotes(before) {
            return None;
        }
        let early = if self.is_help {
            Early::Help(at.pos())
        } else {
            Early::Return
        };
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(early);
        Some(Cmd::AcceptLine)
    }
}

/// Completes words from the table of commands, and values that the device knows.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Words(Asker);

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..position];
        let place = self.0.ask(|to| Ask::Place(before.to_owned(), to));
        let place = place.unwrap_or_default();
        let mut candidates = Vec::new();
        for fit in &place.fits {
            match &fit.symbol {
                Symbol::Word(word, _) => candidates.push((*word).to_owned()),
                Symbol::Value(value) => {
                    let known = value.known;
                    let known = known.and_then(|known| self.0.ask(|to| Ask::Known(known, to)));
                    let known = known.unwrap_or_default().into_iter();
                    let known = known.filter(|value| value.starts_with(&place.begun));
                    candidates.extend(known.map(|value| {
                        let value = printable::value(&value);
                        printable::word(&value).into_owned()
                    }));
                }
            }
        }
        let pairs = candidates.into_iter().map(|text| Pair {
            replacement: format!("{text} "),
            display: text,
        });
        Ok((place.start, pairs.collect()))
    }
}

type Line = Editor<Words, MemHistory>;

fn editor(asker: &Asker, asked: &Asked) -> rustyline::Result<Line> {
    let config = Config::builder()
        .max_history_size(HISTORY)?
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        // A configuration that is pasted is so many lines, each of them a command.
        .bracketed_paste(false)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(Words(asker.clone())));
    for (key, is_help) in [(KeyEvent::from('?'), true), (KeyEvent::ctrl('Z'), false)] {
        let handler = Key {
            asked: Arc::clone(asked),
            is_help,
        };
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(handler)));
    }
    Ok(editor)
}

fn edit(asker: Asker) -> io::Result<()> {
    let asked = Asked::default();
    let mut editor = editor(&asker, &asked).map_err(io::Error::other)?;
    let mut begun = (String::new(), String::new());
    while let Some(prompt) = asker.ask(Ask::Prompt) {
        let (before, after) = std::mem::take(&mut begun);
        let line = editor.readline_with_initial(&prompt, (&before, &after));
        let early = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (line, early) {
            (Ok(line), Some(Early::Help(at))) => {
                let (before, after) = line.split_at_checked(at).unwrap_or((&line, ""));
                help(&asker, before)?;
                begun = (before.to_owned(), after.to_owned());
            }
            (Ok(_), Some(Early::Return)) => {
                // In user view there is nothing to return from.
                if prompt.starts_with('[') && !work(&asker, &mut editor, &prompt, "return")? {
                    return Ok(());
                }
            }
            (Ok(line), None) => {
                remember(&mut editor, &line);
                if !work(&asker, &mut editor, &prompt, &line)? {
                    return Ok(());
                }
            }
            (Err(ReadlineError::Interrupted), _) => {}
            (Err(ReadlineError::Eof), _) => return Ok(()),
            (Err(ReadlineError::Io(error)), _) if error.kind() == ErrorKind::InvalidData => {
                io::stdout().write_all(NO_TEXT.as_bytes())?;
            }
            (Err(error), _) => return Err(io::Error::other(error)),
        }
    }
    Ok(())
}

/// A password in clear text and an unbinding code are not called back, also where the line is wrong in another word.
fn remember(editor: &mut Line, line: &str) {
    if !line.trim().is_empty() && !has_secret(line) {
        // A line that is not remembered is only to be typed again.
        let _ = editor.add_history_entry(line);
    }
}

fn has_secret(line: &str) -> bool {
    let grammar = Grammar::default();
    let is_given = |begun: &Begun| SECRETS.iter().any(|name| begun.given.get(name).is_some());
    let words: Vec<_> = tokens(line)
        .into_iter()
        .map(|token| token.text.to_ascii_lowercase())
        .collect();
    // Behind a word that is misspelt nothing is understood.
    let looks_like = |word: &String| {
        let begins = |full: &str| word.len() > 2 && full.starts_with(word.as_str());
        begins("simple") || begins("unbinding-code")
    };
    grammar.begun(line).iter().any(is_given) || words.iter().rev().skip(1).any(looks_like)
}

/// Has a line done; false if the session is over.
fn work(asker: &Asker, editor: &mut Line, prompt: &str, line: &str) -> io::Result<bool> {
    let columns = printable::width(prompt, 0);
    let mut answer = asker.ask(|to| Ask::Line(line.to_owned(), columns, to));
    while let Some(Answer::More(text)) = &answer {
        io::stdout().write_all(text.as_bytes())?;
        answer = asker.ask(Ask::More);
    }
    let text = match answer {
        Some(Answer::Done(text) | Answer::Failed(text) | Answer::More(text)) => text,
        Some(Answer::Over) | None => return Ok(false),
    };
    pager::show(&text, || editor.dimensions())?;
    Ok(true)
}

/// What fits at the cursor.
fn help(asker: &Asker, before: &str) -> io::Result<()> {
    let place = asker.ask(|to| Ask::Place(before.to_owned(), to));
    let text = explained(&place.unwrap_or_default());
    io::stdout().write_all(text.as_bytes())
}

/// The words and values of a place, each with what it is for.
pub fn explained(place: &Place) -> String {
    let fits = place
        .fits
        .iter()
        .map(|fit| (fit.symbol.text(), fit.symbol.help()));
    let mut lines: Vec<(&str, &str)> = fits.collect();
    if place.may_end {
        lines.push(("<cr>", ""));
    }
    if lines.is_empty() {
        return "% Nothing fits here.\n".to_owned();
    }
    let width = lines.iter().map(|(text, _)| text.len()).max().unwrap_or(0);
    let line = |(text, help): (&str, &str)| {
        let line = format!("  {text:<width$}  {help}");
        format!("{}\n", line.trim_end())
    };
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::grammar::View;

    #[test]
    fn a_line_with_a_secret_is_not_remembered_however_wrong_it_is() {
        for secret in [
            "cloud-management server password simple Pa55",
            "cl s pass s Pa55",
            "cloud-management server password simple Pa55 and more",
            "cloud-management server pasword simple Pa55",
            "cloud-management server password sim \"Pa55",
            "cloud-management unbinding-code 4711",
            "cl unb 4711 x",
            "clod-management unbinding-code 4711",
        ] {
            assert!(has_secret(secret), "{secret}");
        }
        for plain in [
            "display cloud-management state",
            "cloud-management server password cipher $1$AAAA",
            "undo cloud-management unbinding-code",
            "undo sysname",
            "cloud-management server password simple",
        ] {
            assert!(!has_secret(plain), "{plain}");
        }
    }

    fn help_at(line: &str) -> String {
        explained(&Grammar::default().place(View::System, line))
    }

    #[test]
    fn a_question_mark_explains_what_fits() {
        assert_eq!(
            help_at("cloud-management server p"),
            "  password  Password for establishing cloud connections\n  port      TCP port number\n"
        );
        assert_eq!(
            help_at("cloud-management keepalive "),
            "  INTEGER<10-600>  Keepalive interval in seconds\n"
        );
        assert_eq!(help_at("undo sysname "), "  <cr>\n");
        assert_eq!(help_at("nothing "), "% Nothing fits here.\n");
    }
}
