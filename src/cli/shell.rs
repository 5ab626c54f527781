//! The command line on a terminal: line editor, history, `?`, completion, paging.
//!
//! The line editor blocks, so it has a thread of its own, which asks the task that has the session.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Context, Editor, Event, EventContext,
    EventHandler, Helper, Highlighter, Hinter, KeyCode, KeyEvent, Modifiers, RepeatCount,
    Validator,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::ahead::{Ahead, Next};
use super::grammar::{Grammar, Symbol};
use super::parse::{Begun, Place};
use super::session::{Answer, Session};
use super::terminal::{self, Glance, Terminal};
use super::tokens::{ends_in_quotes, tokens};
use super::values::Known;
use super::{CliError, pager, printable};
use crate::protocol::client::ClientError;

/// Lines that can be called back.
const HISTORY: usize = 200;
/// Values that are not remembered.
const SECRETS: [&str; 2] = ["simple", "code"];
/// What is said of octets that are no text. Where the next line begins is not known then.
const NO_TEXT: &str =
    "% That is no UTF-8: the line is dropped, and all that was typed behind it.\n";

/// What the editor asks the session.
enum Ask {
    Prompt(oneshot::Sender<String>),
    Place(String, oneshot::Sender<Place>),
    Known(Known, oneshot::Sender<Vec<String>>),
    /// A line, which began after so many columns.
    Line(String, usize, oneshot::Sender<Told>),
    /// What a command that is under way has come to since.
    More(oneshot::Sender<Told>),
}

/// An answer, and whether the person has broken off what it is the answer to.
struct Told(Answer, bool);

/// Serves a person at the terminal until he leaves, or until the agent has ended the session: then at once, whatever is being
/// typed.
///
/// # Errors
/// The session broke, or the terminal did. The terminal is as it was before, at the beginning of a row.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    mut session: Session<S>,
) -> Result<(), CliError> {
    let terminal = Terminal::take().map_err(CliError::Terminal)?;
    let served = serve(&mut session).await;
    drop(terminal);
    if served.is_err() {
        // The next that is shown does not stand behind a prompt.
        let _ = io::stdout().write_all(b"\n");
    }
    served?;
    Ok(session.close().await?)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<S>,
) -> Result<(), CliError> {
    // At the prompt Ctrl-C is a key like others; at any other time it breaks off what is being done.
    let mut interrupts = signal(SignalKind::interrupt()).map_err(CliError::Terminal)?;
    let (asks, mut asked) = mpsc::channel(1);
    let editor = tokio::task::spawn_blocking(move || edit(Asker(asks)));
    loop {
        let ask = tokio::select! {
            biased;
            ask = asked.recv() => ask,
            // The editor waits for a key, which need not come: whoever gets this ends the program.
            why = session.ended() => return Err(why.into()),
        };
        match ask {
            Some(ask) => answer(session, &mut interrupts, ask).await?,
            None => break,
        }
    }
    let done = editor.await;
    done.unwrap_or_else(|_| Err(io::Error::other("the line editor broke down")))
        .map_err(CliError::Terminal)
}

/// An editor that is gone does not hear its answer.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<S>,
    interrupts: &mut Signal,
    ask: Ask,
) -> Result<(), ClientError> {
    if matches!(ask, Ask::Prompt(_)) {
        // What was interrupted before is over.
        while interrupts.recv().now_or_never().is_some() {}
    }
    let mut is_broken_off = false;
    let broken_off = async {
        interrupts.recv().await;
        is_broken_off = true;
    };
    match ask {
        Ask::Prompt(to) => drop(to.send(session.prompt())),
        Ask::Place(line, to) => drop(to.send(session.place(&line))),
        Ask::Known(known, to) => drop(to.send(session.known(known).await?)),
        Ask::Line(line, columns, to) => {
            let answer = session.line_until(&line, columns, broken_off).await?;
            drop(to.send(Told(answer, is_broken_off)));
        }
        Ask::More(to) => {
            let answer = session.more_until(broken_off).await?;
            drop(to.send(Told(answer, is_broken_off)));
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

const HELP: KeyEvent = KeyEvent(KeyCode::Char('?'), Modifiers::NONE);
const RETURN: KeyEvent = KeyEvent(KeyCode::Char('Z'), Modifiers::CTRL);

/// What a key asked for that ended the line early.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    /// `?`, with the cursor at this octet.
    Help(usize),
    /// Ctrl-Z: back to user view.
    Return,
}

/// What the keys have to say to those who wait for a line.
#[derive(Default)]
struct Keys {
    early: Option<Early>,
    /// Where they go while nobody waits for a line.
    ahead: Option<Ahead>,
}

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Keys>>);

impl Asked {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at each key first.
impl ConditionalEventHandler for Asked {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, at: &EventContext<'_>) -> Option<Cmd> {
        let key = event.get(0)?;
        let mut keys = self.keys();
        if let Some(ahead) = &mut keys.ahead {
            let has_room = ahead.take(key);
            return Some(if has_room { Cmd::Noop } else { Cmd::AcceptLine });
        }
        // In quotes it is a character like any other.
        if *key == HELP && !ends_in_quotes(&at.line()[..at.pos()]) {
            keys.early = Some(Early::Help(at.pos()));
        } else if *key == RETURN {
            keys.early = Some(Early::Return);
        } else {
            return None;
        }
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
    let handler = EventHandler::Conditional(Box::new(asked.clone()));
    editor.bind_sequence(Event::Any, handler);
    Ok(editor)
}

fn edit(asker: Asker) -> io::Result<()> {
    let asked = Asked::default();
    let editor = editor(&asker, &asked).map_err(io::Error::other)?;
    let mut desk = Desk {
        asker,
        asked,
        editor,
        begun: (String::new(), String::new()),
        ahead: Ahead::default(),
    };
    while let Some(prompt) = desk.asker.ask(Ask::Prompt) {
        if !desk.turn(&prompt)? {
            break;
        }
    }
    Ok(())
}

/// Where lines are typed.
struct Desk {
    asker: Asker,
    asked: Asked,
    editor: Line,
    /// What the next line has already, before the cursor and behind it.
    begun: (String, String),
    /// What is done before another line is asked for.
    ahead: Ahead,
}

impl Desk {
    /// One line, from its prompt to what it shows; false if it was the last.
    fn turn(&mut self, prompt: &str) -> io::Result<bool> {
        let line = self.line(prompt);
        let early = self.asked.keys().early.take();
        match (line, early) {
            (Ok(line), Some(Early::Help(at))) => {
                let (before, after) = line.split_at_checked(at).unwrap_or((&line, ""));
                help(&self.asker, before)?;
                self.begun = (before.to_owned(), after.to_owned());
            }
            // In user view there is nothing to return from.
            (Ok(_), Some(Early::Return)) if !prompt.starts_with('[') => {}
            (Ok(_), Some(Early::Return)) => return self.work(prompt, "return"),
            (Ok(line), None) => {
                remember(&mut self.editor, &line);
                return self.work(prompt, &line);
            }
            (Err(ReadlineError::Interrupted), _) => {}
            (Err(ReadlineError::Eof), _) => return Ok(false),
            (Err(ReadlineError::Io(error)), _) if error.kind() == ErrorKind::InvalidData => {
                terminal::forget_typed();
                io::stdout().write_all(NO_TEXT.as_bytes())?;
            }
            (Err(error), _) => return Err(io::Error::other(error)),
        }
        Ok(true)
    }

    /// The next line: one that was typed ahead, else one that is asked for.
    fn line(&mut self, prompt: &str) -> rustyline::Result<String> {
        let (mut before, after) = std::mem::take(&mut self.begun);
        match self.ahead.next() {
            Next::End => return Err(ReadlineError::Eof),
            Next::Line(line) => {
                writeln!(io::stdout(), "{prompt}{line}")?;
                return Ok(line);
            }
            Next::Begun(text) => before.push_str(&text),
        }
        self.editor.readline_with_initial(prompt, (&before, &after))
    }

    /// Has a line done; false if the session is over.
    fn work(&mut self, prompt: &str, line: &str) -> io::Result<bool> {
        let columns = printable::width(prompt, 0);
        let mut told = self.asker.ask(|to| Ask::Line(line.to_owned(), columns, to));
        while let Some(Told(Answer::More(text), _)) = &told {
            io::stdout().write_all(text.as_bytes())?;
            told = self.asker.ask(Ask::More);
        }
        let (text, is_broken_off) = match told {
            Some(Told(Answer::Done(text) | Answer::Failed(text) | Answer::More(text), broken)) => {
                (text, broken)
            }
            Some(Told(Answer::Over, _)) | None => return Ok(false),
        };
        if is_broken_off {
            // With all that was typed behind it.
            self.look_ahead()?;
            self.ahead = Ahead::default();
        }
        self.show(&text)?;
        Ok(true)
    }

    /// Shows a text, a page at a time if somebody waits for it: not if more was typed already.
    fn show(&mut self, text: &str) -> io::Result<()> {
        let is_short = pager::fits(text, self.editor.dimensions());
        if is_short || !terminal::has_pages() {
            return io::stdout().write_all(text.as_bytes());
        }
        self.look_ahead()?;
        if !self.ahead.is_empty() {
            return io::stdout().write_all(text.as_bytes());
        }
        let editor = &mut self.editor;
        if !pager::show(text, || editor.dimensions())? {
            self.ahead.end();
        }
        Ok(())
    }

    /// Takes over what was typed and has not been asked for yet.
    fn look_ahead(&mut self) -> io::Result<()> {
        if !terminal::has_pages() {
            return Ok(());
        }
        self.asked.keys().ahead = Some(std::mem::take(&mut self.ahead));
        let glance = Glance::begin()?;
        let read = self.editor.readline("");
        drop(glance);
        self.ahead = self.asked.keys().ahead.take().unwrap_or_default();
        match read {
            Ok(_) => Ok(()),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                terminal::forget_typed();
                io::stdout().write_all(NO_TEXT.as_bytes())
            }
            Err(ReadlineError::Eof) => {
                self.ahead.end();
                Ok(())
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
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
