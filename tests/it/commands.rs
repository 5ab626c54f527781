//! `src/cli/commands.md` is made of the table of commands. `BLESS=1` writes it.

use std::fmt::Write as _;
use std::path::Path;

use tether::cli::grammar::{COMMANDS, Does, View};
use tether::cli::values::VALUES;

fn page() -> String {
    let mut page = "# Commands\n\nThe table of the command line (`src/cli/grammar.rs`). `[ ]` may be left out, of `{ | }` one is chosen, `<name>` is a\n\
        value. Words may be abbreviated as far as they are told apart. What displays something takes\n\
        `| { begin | exclude | include } <regular-expression>` behind it. A word with blanks or a question mark stands in `\"…\"`.\n\n\
        | command | view | what it does |\n| --- | --- | --- |\n"
        .to_owned();
    for command in COMMANDS {
        let syntax = command.syntax.replace('|', "\\|");
        writeln!(
            page,
            "| `{syntax}` | {} | {} |",
            command.where_entered(),
            command.help
        )
        .unwrap();
    }
    page.push_str("\n| value | form | what it is |\n| --- | --- | --- |\n");
    for value in VALUES {
        writeln!(
            page,
            "| `<{}>` | {} | {} |",
            value.name, value.shown, value.help
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_of_commands_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/commands.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page());
}

#[test]
fn what_displays_is_there_in_every_view_and_what_resets_in_user_view_alone() {
    for command in COMMANDS {
        match command.syntax.split(' ').next().unwrap() {
            "display" if command.syntax != "display diff" => assert_eq!(command.views.len(), 3),
            "reset" => assert_eq!(command.views, [View::User]),
            _ => {
                assert!(!matches!(command.does, Does::Show(_)) || command.syntax == "display diff")
            }
        }
    }
}
