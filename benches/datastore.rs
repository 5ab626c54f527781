//! What an operation costs, in process and without a disk: `cargo bench --bench datastore`.
//!
//! Each case runs next to the same one with more entries in a list, so that what counts is the ratio.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::hint::black_box;
use std::time::{Instant, SystemTime};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tether::datastore::confirm::Request;
use tether::datastore::edit::{EditOptions, Operation, Sealer};
use tether::datastore::filter::Filter;
use tether::datastore::retrieval::{Options, Retrieval, Selection, Source};
use tether::datastore::{Author, Datastore, Parts, Step, Target};
use tether::model::error::RpcError;
use tether::model::schema::Schema;
use tether::model::tree::Tree;
use tether::model::xml::{self, Element, Scope};
use tether::protocol::framing::{Framer, Framing, encode};

struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

fn cloud(inner: &str) -> Vec<Element> {
    let xml = format!(
        r#"<cloud-management xmlns="urn:tether:yang:cloud-management">{inner}</cloud-management>"#
    );
    xml::parse(&xml, &Scope::default()).unwrap()
}

/// A device with so many entries in the static host map.
fn device(hosts: usize) -> Datastore {
    let mut config =
        String::from(r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><dns-resolver>"#);
    for n in 0..hosts {
        config.push_str(&format!(
            r#"<host xmlns="urn:tether:yang:device-hosts"><name>h{n}.example</name><address>192.0.2.1</address></host>"#
        ));
    }
    config.push_str("</dns-resolver></system>");
    let running = Tree::parse_config(Schema::load(&[]).unwrap(), &config).unwrap();
    Datastore::start(running, 1, Box::new(NoSecrets), Parts::default()).unwrap()
}

/// Edits one leaf of the candidate and commits it.
fn edit_and_commit(datastore: &mut Datastore, keepalive: usize) {
    let by = Author {
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
    };
    let edit = cloud(&format!(
        "<keepalive-interval>{keepalive}</keepalive-interval>"
    ));
    let options = EditOptions {
        default: Operation::Merge,
        continue_on_error: false,
    };
    let tree = datastore
        .edited(Target::Candidate, &by, &edit, options)
        .unwrap();
    datastore.set_candidate(tree, &by).unwrap();
    let Step::Store(staged) = datastore.commit(&by, &Request::default()).unwrap() else {
        panic!("the leaf changes each time");
    };
    datastore.complete(*staged, Instant::now());
}

fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("edit and commit of one leaf");
    for hosts in [0, 100, 10_000] {
        let mut datastore = device(hosts);
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(hosts), |bencher| {
            bencher.iter(|| {
                turn += 1;
                edit_and_commit(&mut datastore, 10 + turn % 500);
            });
        });
    }
    group.finish();
}

fn gets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("get-config of one entry");
    let filter = r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><dns-resolver><host xmlns="urn:tether:yang:device-hosts"><name>h50.example</name></host></dns-resolver></system>"#;
    for hosts in [100, 10_000] {
        let datastore = device(hosts);
        group.bench_function(BenchmarkId::from_parameter(hosts), |bencher| {
            bencher.iter(|| {
                let filter = Filter::parse(filter, &Scope::default()).unwrap();
                let running = datastore.snapshot(Target::Running);
                let source = Source::new(running, Selection::Filter(filter));
                let reply = Retrieval::new(vec![source], Options::default(), None);
                black_box(reply.begin().unwrap().into_xml())
            });
        });
    }
    group.finish();
}

fn framing(criterion: &mut Criterion) {
    let message = encode(Framing::Chunked, &vec![b'x'; 1 << 20]);
    criterion.bench_function("chunked framing of 1 MiB", |bencher| {
        bencher.iter(|| {
            let mut framer = Framer::new(16 << 20);
            framer.set_framing(Framing::Chunked);
            framer.push(&message);
            black_box(framer.next().unwrap())
        });
    });
}

criterion_group!(benches, commits, gets, framing);
criterion_main!(benches);
