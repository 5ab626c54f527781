//! Sessions of the command line as they look on a terminal: `tests/transcripts/NAME.txt`. `BLESS=1` rewrites them.
//!
//! What stands behind a prompt is typed, what follows is what it shows. Comment lines are directions: `# wait WORD` until
//! the device is in a state, `# lock DATASTORE` and `# unlock DATASTORE` by another session. `PORT` is the port of the
//! reference cloud; dates, ciphertext and the like are replaced.

use std::fmt::Write as _;
use std::path::Path;

use regex::Regex;
use tether::cli::session::{Answer, Session};
use tokio::net::UnixStream;

use crate::support::{Device, PASSWORD, PATIENCE, cloud_management, soon, trust_anchor};

/// What is another each time, and what stands for it.
const REPLACED: [(&str, &str); 7] = [
    (r"\$1\$[A-Za-z0-9+/]+=*", "$$1$$CIPHERTEXT"),
    (
        r"\w{3} \w{3} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}",
        "Wed Jan 27 14:18:40 2019",
    ),
    (
        r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}",
        "2019-01-27 14:18:40",
    ),
    (
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\S*",
        "2019-01-27T14:18:40Z",
    ),
    (r"\d{2}d \d{2}h \d{2}m \d{2}s", "00d 00h 02m 01s"),
    (r"\$6\$\S+", "$$6$$HASH"),
    (r"(-----BEGIN CERTIFICATE-----).*", "$1 ..."),
];

struct Transcript {
    device: Device,
    session: Session<UnixStream>,
    written: String,
}

impl Transcript {
    /// A device that lacks only the domain of its cloud.
    async fn start() -> Self {
        let mut device = Device::start().await;
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
            ["lock", datastore] => self.device.session.lock(datastore).await.unwrap(),
            ["unlock", datastore] => self.device.session.unlock(datastore).await.unwrap(),
            other => panic!("no direction: {other:?}"),
        }
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
        let typed = Regex::new(r"^(?:<[^>]+>|\[[^\]]+\]) (.*)$").unwrap();
        for line in text.lines() {
            if let Some(direction) = line.strip_prefix("# ")
                && direction != "the session is over"
                && ["wait", "lock", "unlock"].contains(&direction.split(' ').next().unwrap())
            {
                writeln!(self.written, "{line}").unwrap();
                let words: Vec<_> = direction.split(' ').collect();
                self.direct(&words).await;
            } else if let Some(typed) = typed.captures(line) {
                self.type_in(&typed[1]).await;
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

async fn play(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/transcripts/{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap();
    let played = Transcript::start().await.play(&path, &text);
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
