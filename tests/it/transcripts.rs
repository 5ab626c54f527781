//! Sessions of the command line as they look on a terminal: `tests/transcripts/NAME.txt`. `BLESS=1` rewrites them.
//!
//! What stands behind a prompt is typed, what follows is what it shows. Comment lines are directions: `# wait WORD` until
//! the device is in a state, `# wait source WORD` until the newest commit has a source; by another session `# lock DATASTORE`,
//! `# unlock DATASTORE`, `# discard`, and `# edit DATASTORE LEAF VALUE` below cloud-management (its escapes are those of a word in
//! quotes). `# part` sets parts apart, which the README shows. `PORT` is the port of the reference cloud; dates, ciphertext and the like are replaced.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use quick_xml::escape::escape;
use regex::Regex;
use tether::agent::options::Options;
use tether::cli::grammar::{COMMANDS, Grammar, View};
use tether::cli::session::{Answer, Session};
use tether::cli::tokens::tokens;
use tokio::net::UnixStream;

use crate::support::{Device, PASSWORD, PATIENCE, cloud_management, options, soon, trust_anchor};

/// What is another each time, and what stands for it.
const REPLACED: [(&str, &str); 9] = [
    (r"\$1\$[A-Za-z0-9+/]+=*", "$$1$$CIPHERTEXT"),
    (
        r"\w{3} \w{3} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}",
        "Wed Jan 27 14:18:40 2019",
    ),
    (
        r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}",
        "2019-01-27 14:18:40",
    ),
    (r"until \d{4}-\d{2}-\d{2}", "until 2019-01-27"),
    (r"\b\d+ ms", "1 ms"),
    (
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\S*",
        "2019-01-27T14:18:40Z",
    ),
    (r"\d{2}d \d{2}h \d{2}m \d{2}s", "00d 00h 02m 01s"),
    (r"\$6\$\S+", "$$6$$HASH"),
    (r"(-----BEGIN CERTIFICATE-----).*", "$1 ..."),
];

/// What a comment line begins with that is a direction.
const DIRECTIONS: [&str; 6] = ["wait", "lock", "unlock", "edit", "discard", "part"];

/// Behind a prompt, what is typed.
const TYPED: &str = r"^(?:(<)[^>]+>|\[(\*?)[^\]]+\]) (.*)$";

struct Transcript {
    device: Device,
    session: Session<UnixStream>,
    written: String,
}

impl Transcript {
    /// A device that lacks only the domain of its cloud.
    async fn start(startup_datastore: bool) -> Self {
        let mut device = Device::start().await;
        if startup_datastore {
            let options = Options {
                startup_datastore,
                ..options(device.directory())
            };
            device = device.restart_with(options).await;
        }
        let server = format!(
            "<server><port>{}</port><password>$0${PASSWORD}</password></server>",
            device.cloud.addr().port()
        );
        let trust = trust_anchor("reference", device.cloud.ca_pem());
        device.commit(&cloud_management(&(server + &trust))).await;
        let session = tether::cli::connect(device.agent().socket()).await;
        Self {
            device,
            session: session.unwrap(),
            written: String::new(),
        }
    }

    fn port(&self) -> String {
        self.device.cloud.addr().port().to_string()
    }

    async fn direct(&mut self, words: &[&str]) {
        match words {
            ["wait", state] => {
                let wanted = (*state).to_owned();
                self.device
                    .wait_state(|now| now.is("device-state", &wanted))
                    .await;
            }
            ["wait", "source", source] => self.wait_source(source).await,
            ["lock", datastore] => self.device.session.lock(datastore).await.unwrap(),
            ["unlock", datastore] => self.device.session.unlock(datastore).await.unwrap(),
            ["part"] => {}
            ["discard"] => self.device.session.discard_changes().await.unwrap(),
            ["edit", datastore, leaf, value] => {
                let value = &tokens(&format!("\"{value}\""))[0].text;
                let leaf = cloud_management(&format!("<{leaf}>{}</{leaf}>", escape(value)));
                let edited = self.device.session.edit_config(datastore, &leaf);
                edited.await.unwrap();
            }
            other => panic!("no direction: {other:?}"),
        }
    }

    async fn wait_source(&mut self, source: &str) {
        let commits = r#"<device-management xmlns="urn:tether:yang:device-management"><commit><source/></commit></device-management>"#;
        let last = format!("<source>{source}</source></commit></device-management>");
        soon(async {
            while !self
                .device
                .session
                .get(Some(commits))
                .await
                .unwrap()
                .ends_with(&last)
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn type_in(&mut self, command: &str) {
        let prompt = self.session.prompt();
        writeln!(self.written, "{prompt}{command}").unwrap();
        let line = command.replace("PORT", &self.port());
        let columns = prompt.chars().count();
        let mut answer = soon(self.session.line(&line, columns)).await.unwrap();
        while let Answer::More(text) = answer {
            self.written.push_str(&self.hide(&text));
            let more = self.session.more_until(std::future::pending());
            answer = soon(more).await.unwrap();
        }
        match answer {
            Answer::Done(text) | Answer::Failed(text) | Answer::More(text) => {
                let shown = self.hide(&text);
                self.written.push_str(&shown);
            }
            Answer::Over => self.written.push_str("# the session is over\n"),
        }
    }

    /// The text with what is another each time replaced.
    fn hide(&self, text: &str) -> String {
        let mut text = text.replace(&self.port(), "PORT");
        for (found, replaced) in REPLACED {
            text = Regex::new(found)
                .unwrap()
                .replace_all(&text, replaced)
                .into_owned();
        }
        text
    }

    async fn play(mut self, path: &Path, text: &str) {
        let typed = Regex::new(TYPED).unwrap();
        for line in text.lines() {
            if let Some(direction) = line.strip_prefix("# ")
                && DIRECTIONS.contains(&direction.split(' ').next().unwrap())
            {
                writeln!(self.written, "{line}").unwrap();
                let words: Vec<_> = direction.splitn(4, ' ').collect();
                self.direct(&words).await;
            } else if let Some(typed) = typed.captures(line) {
                self.type_in(&typed[3]).await;
            }
        }
        let written = self.written;
        self.device.stop().await;
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, written).unwrap();
        } else {
            assert_eq!(written, text, "{}", path.display());
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

async fn play(name: &str) {
    play_with(name, false).await;
}

async fn play_with(name: &str, startup_datastore: bool) {
    let path = folder().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap();
    let start = Transcript::start(startup_datastore).await;
    let played = start.play(&path, &text);
    tokio::time::timeout(2 * PATIENCE, played).await.unwrap();
}

#[tokio::test]
async fn the_example_of_the_manual() {
    play("manual").await;
}

#[tokio::test]
async fn every_command_that_configures_in_good_and_bad_form_and_its_undo() {
    play("configure").await;
}

#[tokio::test]
async fn views_abbreviations_and_mistakes() {
    play("views").await;
}

#[tokio::test]
async fn what_is_displayed_and_filtered() {
    play("display").await;
}

#[tokio::test]
async fn exclusive_configuration_and_the_way_back() {
    play("exclusive").await;
}

#[tokio::test]
async fn what_is_wrong_with_a_line_is_pointed_at() {
    play("mistakes").await;
}

#[tokio::test]
async fn the_connection_is_tested_step_by_step() {
    play("test").await;
}

#[tokio::test]
async fn what_others_do_meanwhile() {
    play("others").await;
}

#[tokio::test]
async fn what_the_device_starts_with_is_saved_where_it_is_asked_to_be() {
    play_with("startup", true).await;
}

/// What the README shows of the command line is what it does: each part of the transcript, between lines `# part`, stands in
/// it as it is, with the address and port of the manual, and a certificate that has not ended.
#[tokio::test]
async fn the_transcripts_of_the_readme() {
    play("readme").await;
    let text = std::fs::read_to_string(folder().join("readme.txt")).unwrap();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    for part in text.split("# part\n") {
        let shown = part.lines().filter(|line| !line.starts_with("# "));
        let shown: String = shown.map(|line| format!("{line}\n")).collect();
        let shown = shown
            .replace("127.0.0.1", "10.1.1.1")
            .replace("PORT", "443")
            .replace("until 2019", "until 2029");
        assert!(readme.contains(&shown), "the README lacks this:\n{shown}");
    }
}

/// The commands that were typed in a transcript, and whether each was done.
fn typed_in(text: &str) -> Vec<(&'static str, bool)> {
    let grammar = Grammar::default();
    let prompt = Regex::new(TYPED).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let mut commands = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(typed) = prompt.captures(line) else {
            continue;
        };
        let view = match (typed.get(1), typed.get(2).map(|star| star.as_str())) {
            (Some(_), _) => View::User,
            (_, Some("*")) => View::Exclusive,
            _ => View::System,
        };
        let shown = lines[at + 1..].iter();
        let mut shown = shown.take_while(|line| !prompt.is_match(line));
        let is_refused = shown.any(|line| line.starts_with("% "));
        match grammar.parse(view, &typed[3]) {
            Ok(Some(parsed)) => commands.push((parsed.command.syntax, !is_refused)),
            _ => {
                let begun = grammar.begun(&typed[3]).into_iter();
                let meant = begun.filter(|begun| begun.has_its_words);
                commands.extend(meant.map(|begun| (begun.command.syntax, false)));
            }
        }
    }
    commands
}

#[test]
fn every_command_of_the_table_is_typed_in_good_and_in_bad_form() {
    let mut typed = BTreeSet::new();
    for file in std::fs::read_dir(folder()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        typed.extend(typed_in(&text));
    }
    let wanted = COMMANDS
        .iter()
        .flat_map(|command| [(command.syntax, true), (command.syntax, false)]);
    let missing: Vec<_> = wanted.filter(|form| !typed.contains(form)).collect();
    assert_eq!(missing, []);
}
