//! Power cuts: what was synced stays, of the rest any part.

use nix::libc::EIO;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::{Disk, Fault};
use super::*;

/// One write; what it writes follows from its place in the sequence.
#[derive(Clone, Copy, Debug)]
enum Step {
    Commit { size: usize },
    Meta { key: u8 },
    Snapshot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..20_000_usize).prop_map(|size| Step::Commit { size }),
        2 => (0..3_u8).prop_map(|key| Step::Meta { key }),
        1 => Just(Step::Snapshot),
    ];
    prop::collection::vec(step, 1..24)
}

/// The contents of the store, by a simpler rule: running is the concatenation of the differences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Expected {
    running: Vec<u8>,
    commits: u64,
    meta: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Expected {
    fn of(loaded: &Loaded) -> Self {
        Self {
            running: [
                loaded.snapshot.clone().unwrap_or_default(),
                loaded.diffs.concat(),
            ]
            .concat(),
            commits: loaded.next_commit - 1,
            meta: loaded.meta.clone(),
        }
    }

    /// Performs one step and returns what must be there if it is acknowledged.
    fn step(&self, store: &Store, step: Step) -> (Self, Result<(), StoreError>) {
        let mut after = self.clone();
        let mark = u8::try_from(self.commits % 251).unwrap();
        let done = match step {
            Step::Commit { size } => {
                let diff = vec![mark; size];
                after.commits += 1;
                after.running.extend(&diff);
                after.meta.insert("last".to_owned(), vec![mark]);
                store.commit(&record(after.commits, &diff), &[meta("last", &[mark])])
            }
            Step::Meta { key } => {
                after.meta.insert(key.to_string(), vec![mark; 100]);
                store.put_meta(&[meta(&key.to_string(), &[mark; 100])])
            }
            Step::Snapshot => store.snapshot(self.commits, &self.running),
        };
        (after, done)
    }
}

fn cut(disk: &Disk, seed: u64) -> Disk {
    let mut random = StdRng::seed_from_u64(seed);
    disk.after_power_cut(|length| match random.random_range(0..4) {
        0 => None,
        1 if length > 0 => {
            let start = random.random_range(0..length);
            Some(start..random.random_range(start..=length))
        }
        _ => Some(0..length),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_leaves_the_old_or_the_new_state(
        steps in steps(), cut_after in 0..160_usize, seed: u64,
    ) {
        let disk = Disk::default();
        let store = make(&disk);
        disk.inject(Fault::From { after: cut_after, errno: EIO });
        let mut old = Expected::default();
        let mut new = old.clone();
        for step in steps {
            let (after, done) = old.step(&store, step);
            new = after;
            if done.is_err() {
                break;
            }
            old = new.clone();
        }
        let left = cut(&disk, seed);
        let (again, loaded) = reopen(&left).unwrap();
        let found = Expected::of(&loaded);
        prop_assert!(found == old || found == new, "a mixture: {} commits", found.commits);
        let (further, done) = found.step(&again, Step::Commit { size: 10 });
        prop_assert!(done.is_ok());
        prop_assert!(Expected::of(&on_disk(&left)) == further);
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_as_it_was_written(
        at in 0..1_000_000_usize, to: u8, length in 1..64_usize,
    ) {
        let disk = Disk::default();
        let store = make(&disk);
        store.snapshot(0, &[1; 5000]).unwrap();
        store.commit(&record(1, &[2; 5000]), &[meta("base", b"x")]).unwrap();
        drop(store);
        let expected = on_disk(&disk);
        let damaged = disk.damaged(at, length, to);
        match reopen(&damaged) {
            Ok((store, loaded)) => {
                prop_assert_eq!(loaded, expected);
                let _ = store.commit(&record(2, b"c"), &[]);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
