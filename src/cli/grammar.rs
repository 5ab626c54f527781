//! The commands: one table, which the parser, abbreviations, `?`, completion and the documentation all read.
//!
//! The syntax of a command is written as in the manual: `[ ]` may be left out, of `{ | }` one is chosen, `<name>` is a
//! value. A command that shows something takes a filter behind it, which is not written each time.

use std::fmt;

use super::edit;
use super::values::{self, Value};
use super::words;

/// Where a command is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// `<Device>`
    User,
    /// `[Device]`: each command is an edit of running.
    System,
    /// `[*Device]`: commands edit the locked candidate (`configure exclusive`).
    Exclusive,
}

const USER: &[View] = &[View::User];
const SYSTEM: &[View] = &[View::System];
const EXCLUSIVE: &[View] = &[View::Exclusive];
const CONFIGURE: &[View] = &[View::System, View::Exclusive];
const USER_AND_SYSTEM: &[View] = &[View::User, View::System];
const ANY: &[View] = &[View::User, View::System, View::Exclusive];

/// The values that were given with a command, by the names of its syntax.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Given(pub Vec<(&'static str, String)>);

/// The names alone: there are secrets among the values.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Given {
    /// A value that may be left out.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A value that the syntax asks for.
    pub fn of(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

/// What a command shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// The state of the cloud connection, as the manual prints it.
    State,
    /// All of it.
    StateVerbose,
    /// The backup servers.
    BackupServers,
    /// Running.
    Current,
    /// What of running is about the cloud connection.
    CurrentCloud,
    /// What the agent starts with.
    Saved,
    /// The sessions of NETCONF.
    Sessions,
    /// The commits so far.
    Commits,
    /// What one of them changed.
    Commit,
    /// What the candidate would change.
    Difference,
    /// The newest of the log.
    LogBuffer,
}

/// What a command does.
#[derive(Clone, Copy)]
pub enum Does {
    /// Goes to another view.
    Enter(View),
    /// Goes back to the view before, or ends the session.
    Quit,
    /// Goes back to user view.
    Return,
    /// Locks the candidate and goes to its view.
    Lock,
    /// Shows something.
    Show(Show),
    /// Edits the configuration: the content of `<config>`.
    Edit(fn(&Given) -> String),
    /// Edits the unbinding code; the one that is there already is sent once more.
    Unbind,
    /// Removes an address of a host; the host, if that is its last.
    UndoHost,
    /// An operation whose answer is `<ok/>`.
    Order(fn(&Given) -> String),
    /// Commits the candidate.
    Commit,
    /// Makes running what the device starts with.
    Save,
    /// Begins a test of the connection and shows what it finds.
    Test,
}

/// A command.
pub struct Command {
    /// As the manual writes it.
    pub syntax: &'static str,
    /// What it is for, in one line.
    pub help: &'static str,
    /// Where it is entered.
    pub views: &'static [View],
    /// What it does.
    pub does: Does,
}

impl Command {
    /// The views where it is entered, in words.
    pub fn where_entered(&self) -> String {
        let name = |view: &View| match view {
            View::User => "user",
            View::System => "system",
            View::Exclusive => "exclusive",
        };
        match self.views {
            ANY => "any".to_owned(),
            views => views.iter().map(name).collect::<Vec<_>>().join(", "),
        }
    }
}

const fn command(
    syntax: &'static str,
    help: &'static str,
    views: &'static [View],
    does: Does,
) -> Command {
    Command {
        syntax,
        help,
        views,
        does,
    }
}

/// All of them.
pub const COMMANDS: &[Command] = &[
    command(
        "system-view",
        "Enter system view",
        USER,
        Does::Enter(View::System),
    ),
    command(
        "quit",
        "Leave this view, or the session in user view",
        ANY,
        Does::Quit,
    ),
    command("return", "Go back to user view", CONFIGURE, Does::Return),
    command(
        "configure exclusive",
        "Lock the candidate and edit it, to commit all at once",
        USER_AND_SYSTEM,
        Does::Lock,
    ),
    command(
        "display cloud-management state",
        "Display cloud connection state information",
        ANY,
        Does::Show(Show::State),
    ),
    command(
        "display cloud-management state verbose",
        "Display all that is known of the cloud connection",
        ANY,
        Does::Show(Show::StateVerbose),
    ),
    command(
        "display cloud-management backup-server state",
        "Display the backup servers and which server is in use",
        ANY,
        Does::Show(Show::BackupServers),
    ),
    command(
        "display current-configuration",
        "Display the configuration in force",
        ANY,
        Does::Show(Show::Current),
    ),
    command(
        "display current-configuration cloud-management",
        "Display the configuration of the cloud connection",
        ANY,
        Does::Show(Show::CurrentCloud),
    ),
    command(
        "display saved-configuration",
        "Display the configuration that the device starts with",
        ANY,
        Does::Show(Show::Saved),
    ),
    command(
        "display netconf sessions",
        "Display the NETCONF sessions",
        ANY,
        Does::Show(Show::Sessions),
    ),
    command(
        "display configuration commit list",
        "Display the last commits",
        ANY,
        Does::Show(Show::Commits),
    ),
    command(
        "display configuration commit <commit-id>",
        "Display who made a commit and what it changed",
        ANY,
        Does::Show(Show::Commit),
    ),
    command(
        "display diff",
        "Display what a commit would change",
        EXCLUSIVE,
        Does::Show(Show::Difference),
    ),
    command(
        "display logbuffer [ reverse ] [ level { debug | error | info | trace | warning } ] [ module <module> ] [ size <number> ]",
        "Display the newest messages of the log, the oldest first",
        ANY,
        Does::Show(Show::LogBuffer),
    ),
    command(
        "cloud-management test",
        "Test the way to the cloud servers step by step, without touching the tunnel",
        USER_AND_SYSTEM,
        Does::Test,
    ),
    command(
        "reset cloud-management tunnel",
        "Re-establish the cloud connection to the cloud server",
        USER,
        Does::Order(edit::reset_tunnel),
    ),
    command(
        "free netconf session <session-id>",
        "End a NETCONF session",
        USER,
        Does::Order(edit::free_session),
    ),
    command(
        "save",
        "Make the configuration in force the one that the device starts with",
        ANY,
        Does::Save,
    ),
    command(
        "sysname <sysname>",
        "Set the name of the device",
        CONFIGURE,
        Does::Edit(edit::sysname),
    ),
    command(
        "undo sysname",
        "Set the name of the device to the default",
        CONFIGURE,
        Does::Edit(edit::undo_sysname),
    ),
    command(
        "ip host <host-name> <ip-address>",
        "Map a host name to an IP address",
        CONFIGURE,
        Does::Edit(edit::ip_host),
    ),
    command(
        "undo ip host <host-name> [ <ip-address> ]",
        "Remove the mapping of a host name",
        CONFIGURE,
        Does::UndoHost,
    ),
    command(
        "cloud-management server domain <domain-name> [ vpn-instance <vpn-instance-name> ] [ source-ip <source-ip> ]",
        "Configure the IPv4 domain name of the cloud server",
        CONFIGURE,
        Does::Edit(edit::domain),
    ),
    command(
        "undo cloud-management server domain",
        "Remove the IPv4 domain name of the cloud server",
        CONFIGURE,
        Does::Edit(edit::undo_domain),
    ),
    command(
        "cloud-management server ipv6 domain <domain-name> [ vpn-instance <vpn-instance-name> ] [ source-ip <source-ipv6> ]",
        "Configure the IPv6 domain name of the cloud server",
        CONFIGURE,
        Does::Edit(edit::ipv6_domain),
    ),
    command(
        "undo cloud-management server ipv6 domain",
        "Remove the IPv6 domain name of the cloud server",
        CONFIGURE,
        Does::Edit(edit::undo_ipv6_domain),
    ),
    command(
        "cloud-management server port <port-number>",
        "Specify the TCP port number used to establish cloud connections",
        CONFIGURE,
        Does::Edit(edit::port),
    ),
    command(
        "undo cloud-management server port",
        "Set the TCP port number to the default, 443",
        CONFIGURE,
        Does::Edit(edit::undo_port),
    ),
    command(
        "cloud-management server password { cipher <cipher> | simple <simple> }",
        "Set the password for establishing cloud connections to the cloud server",
        CONFIGURE,
        Does::Edit(edit::password),
    ),
    command(
        "undo cloud-management server password",
        "Remove the password",
        CONFIGURE,
        Does::Edit(edit::undo_password),
    ),
    command(
        "cloud-management keepalive <interval>",
        "Set the keepalive interval",
        CONFIGURE,
        Does::Edit(edit::keepalive),
    ),
    command(
        "undo cloud-management keepalive",
        "Set the keepalive interval to the default, 180 seconds",
        CONFIGURE,
        Does::Edit(edit::undo_keepalive),
    ),
    command(
        "cloud-management unbinding-code <code>",
        "Send the verification code for device unbinding to the cloud server",
        CONFIGURE,
        Does::Unbind,
    ),
    command(
        "undo cloud-management unbinding-code",
        "Remove the verification code for device unbinding",
        CONFIGURE,
        Does::Edit(edit::undo_unbinding_code),
    ),
    command(
        "cloud-management backup-server domain <backup-domain> [ port <port-number> ] [ vpn-instance <vpn-instance-name> ] [ source-ip <source-ip> ]",
        "Configure a backup server over IPv4",
        CONFIGURE,
        Does::Edit(edit::backup_server),
    ),
    command(
        "undo cloud-management backup-server domain <backup-domain>",
        "Remove a backup server over IPv4",
        CONFIGURE,
        Does::Edit(edit::undo_backup_server),
    ),
    command(
        "cloud-management backup-server ipv6 domain <backup-domain> [ port <port-number> ] [ vpn-instance <vpn-instance-name> ] [ source-ip <source-ipv6> ]",
        "Configure a backup server over IPv6",
        CONFIGURE,
        Does::Edit(edit::ipv6_backup_server),
    ),
    command(
        "undo cloud-management backup-server ipv6 domain <backup-domain>",
        "Remove a backup server over IPv6",
        CONFIGURE,
        Does::Edit(edit::undo_ipv6_backup_server),
    ),
    command(
        "rollback <commit-id>",
        "Make the configuration what it was after an earlier commit",
        SYSTEM,
        Does::Order(edit::roll_back_to),
    ),
    command(
        "rollback",
        "Throw the changes away that are not committed",
        EXCLUSIVE,
        Does::Order(edit::discard),
    ),
    command(
        "commit [ confirmed <seconds> ] [ comment <text> ]",
        "Make the changes the configuration in force, for good or until it is not confirmed in time",
        EXCLUSIVE,
        Does::Commit,
    ),
];

/// A word, or a value in its place.
#[derive(Clone, Debug)]
pub enum Symbol {
    /// A word of the command, with what `?` says of it.
    Word(&'static str, &'static str),
    /// A value.
    Value(&'static Value),
}

/// A part of a syntax.
#[derive(Debug)]
pub enum Part {
    /// A word or value.
    Symbol(Symbol),
    /// May be left out.
    Optional(Vec<Part>),
    /// One of these.
    Choice(Vec<Vec<Part>>),
}

/// The commands with their syntax taken apart.
pub struct Grammar {
    /// Each command with its parts.
    pub commands: Vec<(&'static Command, Vec<Part>)>,
}

impl Default for Grammar {
    fn default() -> Self {
        let commands = COMMANDS.iter().map(|command| {
            let mut parts = parse(&mut command.syntax.split(' ').peekable());
            if matches!(command.does, Does::Show(_)) {
                parts.push(filter());
            }
            (command, parts)
        });
        Self {
            commands: commands.collect(),
        }
    }
}

type Words<'a> = std::iter::Peekable<std::str::Split<'a, char>>;

/// The parts up to the end of the group.
fn parse(words: &mut Words<'static>) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some(word) = words.next_if(|word| !matches!(*word, "]" | "}" | "|")) {
        parts.push(match word {
            "[" => {
                let inside = parse(words);
                words.next();
                Part::Optional(inside)
            }
            "{" => {
                let mut choices = vec![parse(words)];
                while words.next() == Some("|") {
                    choices.push(parse(words));
                }
                Part::Choice(choices)
            }
            word => Part::Symbol(symbol(word)),
        });
    }
    parts
}

fn symbol(word: &'static str) -> Symbol {
    match word
        .strip_prefix('<')
        .and_then(|word| word.strip_suffix('>'))
    {
        Some(name) => Symbol::Value(values::named(name)),
        None => Symbol::Word(word, words::help(word)),
    }
}

/// `| { begin | exclude | include } <regular-expression>`
fn filter() -> Part {
    let word = |word| Part::Symbol(symbol(word));
    let kinds = ["begin", "exclude", "include"].map(|kind| vec![word(kind)]);
    Part::Optional(vec![
        word("|"),
        Part::Choice(kinds.into()),
        word("<regular-expression>"),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn symbols(parts: &[Part], into: &mut Vec<Symbol>) {
        for part in parts {
            match part {
                Part::Symbol(symbol) => into.push(symbol.clone()),
                Part::Optional(inside) => symbols(inside, into),
                Part::Choice(choices) => choices.iter().for_each(|one| symbols(one, into)),
            }
        }
    }

    #[test]
    fn no_value_is_in_what_is_written_of_them_for_the_log() {
        let given = Given(vec![("simple", "My#Pa55".to_owned())]);
        assert_eq!(format!("{given:?}"), r#"["simple"]"#);
    }

    #[test]
    fn every_word_and_value_of_the_table_is_explained_and_nothing_else_is() {
        let mut all = Vec::new();
        for (_, parts) in &Grammar::default().commands {
            symbols(parts, &mut all);
        }
        let (mut words_used, mut values_used) = (BTreeSet::new(), BTreeSet::new());
        for symbol in all {
            match symbol {
                Symbol::Word(word, help) => {
                    assert!(!help.is_empty(), "{word} has no help");
                    words_used.insert(word);
                }
                Symbol::Value(value) => drop(values_used.insert(value.name)),
            }
        }
        let words: BTreeSet<_> = words::WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(words, words_used);
        let values: BTreeSet<_> = values::VALUES.iter().map(|value| value.name).collect();
        assert_eq!(values, values_used);
    }

    #[test]
    fn every_command_that_configures_has_its_undo() {
        let undo = |syntax: &str| {
            let start = format!("undo {}", syntax.split(" <").next().unwrap());
            let start = start.split(" {").next().unwrap().to_owned();
            COMMANDS
                .iter()
                .any(|other| other.syntax.starts_with(&start))
        };
        for command in COMMANDS {
            let configures = matches!(command.does, Does::Edit(_) | Does::Unbind);
            if configures && !command.syntax.starts_with("undo") {
                assert!(undo(command.syntax), "{}", command.syntax);
            }
        }
    }
}
