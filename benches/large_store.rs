//! What changing one leaf of one entry costs in a list of 100, 10,000 and 100,000, in process and without a disk:
//! `cargo bench --bench large_store`. What counts is the ratio to the shortest list.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant, SystemTime};

use tether::datastore::confirm::Request;
use tether::datastore::edit::{EditOptions, Operation, Sealer};
use tether::datastore::{Author, Datastore, Parts, Step, Target};
use tether::model::error::RpcError;
use tether::model::schema::{ExtraModule, Schema};
use tether::model::tree::Tree;
use tether::model::xml::{self, Element, Scope};

const SIZES: [usize; 3] = [100, 10_000, 100_000];
/// Long enough for a median, short enough for an operation of a second.
const MOST_TURNS: usize = 400;
const LONGEST: Duration = Duration::from_secs(10);

struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

fn schema() -> Schema {
    let texts = [
        include_str!("../tests/yang/example-all.yang"),
        include_str!("../tests/yang/example-all-sub.yang"),
    ];
    let extra = texts.map(|text| ExtraModule::parse(text.to_owned()).unwrap());
    Schema::load(&extra).unwrap()
}

/// The content of a list of so many entries.
fn entries(numbers: std::ops::Range<usize>, value: usize) -> String {
    let entries = numbers.map(|n| {
        format!("<entry><name>n{n}</name><value>{value}</value><note>some words</note></entry>")
    });
    let entries: String = entries.collect();
    format!(r#"<all xmlns="urn:example:all">{entries}</all>"#)
}

fn device(schema: Schema, size: usize) -> Datastore {
    let running = Tree::parse_config(schema, &entries(0..size, 1)).unwrap();
    Datastore::start(running, 1, Box::new(NoSecrets), Parts::default()).unwrap()
}

fn author() -> Author {
    Author {
        session: 1,
        user: "admin".to_owned(),
        groups: Vec::new(),
        recovery: true,
        host: None,
        transport: None,
        source: "netconf",
        back_to: None,
        comment: None,
        at: SystemTime::UNIX_EPOCH,
    }
}

const MERGE: EditOptions = EditOptions {
    default: Operation::Merge,
    continue_on_error: false,
};

fn complete(datastore: &mut Datastore, step: Step) {
    let Step::Store(staged) = step else {
        panic!("the leaf changes each time");
    };
    datastore.complete(*staged, Instant::now());
}

/// An edit of the candidate and its commit.
fn commit(datastore: &mut Datastore, config: &[Element]) {
    let by = author();
    let edited = datastore.edited(Target::Candidate, &by, config, MERGE);
    datastore.set_candidate(edited.unwrap(), &by).unwrap();
    let step = datastore.commit(&by, &Request::default()).unwrap();
    complete(datastore, step);
}

/// An edit of running.
fn edit_running(datastore: &mut Datastore, config: &[Element]) {
    let by = author();
    let edited = datastore.edited(Target::Running, &by, config, MERGE);
    let step = datastore.replace_running(edited.unwrap(), &by).unwrap();
    complete(datastore, step);
}

/// The median time of an operation on entries all over the list, each time with another value.
fn median(datastore: &mut Datastore, size: usize, work: Work) -> Duration {
    let mut times = Vec::new();
    let started = Instant::now();
    while times.len() < MOST_TURNS && (times.len() < 5 || started.elapsed() < LONGEST) {
        let turn = times.len();
        let at = turn * 7919 % size;
        let edit = entries(at..at + 1, 2 + turn);
        let config = xml::parse(&edit, &Scope::default()).unwrap();
        let begun = Instant::now();
        work(datastore, &config);
        times.push(begun.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

/// An operation that is timed.
type Work = fn(&mut Datastore, &[Element]);

fn main() {
    let schema = schema();
    println!("one leaf of one entry, median       entries          time     ratio");
    let works: [(&str, Work); 2] = [
        ("edit of the candidate and commit", commit),
        ("edit of running", edit_running),
    ];
    for (name, work) in works {
        let mut first = None;
        for size in SIZES {
            let time = median(&mut device(schema, size), size, work);
            let first = *first.get_or_insert(time);
            let ratio = time.as_secs_f64() / first.as_secs_f64();
            println!(
                "{name:32} {size:>10} {:>10} us {ratio:>9.2}",
                time.as_micros()
            );
        }
    }
}
