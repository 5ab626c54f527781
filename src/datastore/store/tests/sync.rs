//! What the kernel is asked for, seen by strace: the page cache hides a missing sync from every other test.

use std::fs;
use std::process::Command;

use super::*;

const DIRECTORY: &str = "TETHER_TEST_STATE_DIRECTORY";
const COMMITS: u64 = 3;

#[test]
#[ignore = "does its work under strace, for the test below"]
fn commits_that_are_watched() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let (store, _) = Store::open(Path::new(&directory)).unwrap();
    eprintln!("acknowledged 0");
    for id in 1..=COMMITS {
        store.commit(&record(id, b"diff"), &[]).unwrap();
        eprintln!("acknowledged {id}");
    }
}

/// The system calls of [`commits_that_are_watched`], one a line; none where nothing may be traced.
fn trace() -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("calls");
    let ran = Command::new("strace")
        .args(["-f", "-e", "trace=/write|sync|rename|ftruncate", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact"])
        .arg("datastore::store::tests::sync::commits_that_are_watched")
        .env(DIRECTORY, dir.path().join("state"))
        .output();
    let calls = fs::read_to_string(&log).unwrap_or_default();
    match ran {
        Ok(output) if output.status.success() && !calls.is_empty() => Some(calls),
        Ok(output) if !calls.is_empty() => {
            panic!("{}", String::from_utf8_lossy(&output.stderr))
        }
        _ => {
            eprintln!("skipped: strace is missing or may not trace");
            None
        }
    }
}

#[test]
fn every_write_is_synced_before_the_commit_is_acknowledged() {
    let Some(calls) = trace() else {
        return;
    };
    let parts: Vec<&str> = calls.split("acknowledged ").collect();
    assert_eq!(parts.len() as u64, COMMITS + 2, "{calls}");
    let last = |part: &str, call: &str| part.rfind(call);
    let start = parts[0];
    let renamed = last(start, "rename").unwrap();
    assert!(last(&start[..renamed], "sync(").unwrap() > last(&start[..renamed], "pwrite").unwrap());
    assert!(
        start[renamed..].contains("fsync("),
        "the directory: {start}"
    );
    for part in &parts[1..=usize::try_from(COMMITS).unwrap()] {
        let written = last(part, "pwrite").unwrap();
        let synced = last(part, "sync(").unwrap();
        assert!(synced > written, "{part}");
        assert!(part[synced..].lines().next().unwrap().ends_with("= 0"));
    }
}
