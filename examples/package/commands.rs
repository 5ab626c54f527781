//! tether-commands(7), from the table of the command line.

use clap_mangen::roff::{Roff, roman};
use tether::cli::grammar::COMMANDS;
use tether::cli::values::VALUES;

use super::pages::entry;

const ABOUT: &str = "The command line of tether is there with tether cli and over SSH. [ ] may be left out, of { | } one is chosen, \
    <name> is a value. Words may be abbreviated as far as they are told apart. What displays something takes \
    | { begin | exclude | include } <regular-expression> behind it. A word with blanks or a question mark stands in \"...\".";

/// The page.
pub fn page() -> Roff {
    let mut page = Roff::new();
    page.control("TH", ["tether-commands", "7"]);
    page.control("SH", ["NAME"]);
    page.text([roman("tether-commands - commands of the network element")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(ABOUT)]);
    page.control("SH", ["COMMANDS"]);
    for command in COMMANDS {
        let text = format!("{} ({}).", command.help, command.where_entered());
        entry(&mut page, command.syntax, &text);
    }
    page.control("SH", ["VALUES"]);
    for value in VALUES {
        let text = format!("{}: {}.", value.shown, value.help);
        entry(&mut page, &format!("<{}>", value.name), &text);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("tether-cli(1), tether-agent(1)")]);
    page
}
