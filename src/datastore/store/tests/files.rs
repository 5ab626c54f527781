//! The store on real files: modes, formats, damage, a full disk, a read-only directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::*;
use crate::model::error::ErrorTag;

#[test]
fn a_commit_is_there_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let (store, loaded) = Store::open(&path).unwrap();
    assert!(loaded.is_first_start());
    store.commit(&record(1, b"a"), &[]).unwrap();
    drop(store);
    let (_, loaded) = Store::open(&path).unwrap();
    assert_eq!(loaded.diffs, [b"a"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join(FILE)), 0o600);
}

#[test]
fn a_second_store_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(dir.path()).unwrap();
    assert!(matches!(
        Store::open(dir.path()),
        Err(StoreError::InUse { .. })
    ));
}

#[test]
fn another_format_is_refused_with_its_number_and_what_to_do_and_left_alone() {
    for (format, advice) in [
        ("2", "a later one"),
        ("0", "start the version"),
        ("x", "start the version"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        store.commit(&record(1, b"a"), &[]).unwrap();
        drop(store);
        let path = dir.path().join(FILE);
        write_format(&path, format);
        let refused = Store::open(dir.path()).unwrap_err().to_string();
        let begins = format!(
            "what is stored has format {format}, and this version of tether reads 1: {advice}"
        );
        assert!(
            refused.starts_with(&begins) && !refused.contains('\n'),
            "{refused}"
        );
        write_format(&path, "1");
        assert_eq!(Store::open(dir.path()).unwrap().1.diffs, [b"a"]);
    }
}

fn write_format(path: &Path, number: &str) {
    let file = Database::open(path).unwrap();
    tables::transact(&file, |transaction| {
        let format = redb::TableDefinition::<&str, &str>::new("format");
        transaction.open_table(format)?.insert("format", number)?;
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    for content in [b"".as_slice(), b"not a store", &[0; 100_000]] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), content).unwrap();
        Store::open(dir.path()).unwrap_err();
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), content);
    }
}

#[test]
fn a_start_cut_off_in_the_middle_of_the_first_is_a_first_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(format!("{FILE}.new")), b"half").unwrap();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_first_start());
}

/// A file system of its own for a test, gone with the value; none where this process may not mount.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Self::mount(&["-t", "tmpfs", "-o", options, "tmpfs"], dir.path());
        if !mounted {
            eprintln!("skipped: no right to mount a file system");
            return None;
        }
        Some(Self(dir))
    }

    fn mount(arguments: &[&str], path: &Path) -> bool {
        let status = Command::new("mount").args(arguments).arg(path).output();
        status.is_ok_and(|output| output.status.success())
    }

    fn remount(&self, options: &str) {
        assert!(Self::mount(
            &["-o", &format!("remount,{options}")],
            self.0.path()
        ));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_refuses_the_commit_until_there_is_space() {
    let Some(disk) = Mounted::new("size=2m") else {
        return;
    };
    let path = disk.0.path().join("state");
    let (store, _) = Store::open(&path).unwrap();
    let ballast = disk.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 4 << 20]);
    let mut id = 1;
    let refused = loop {
        match store.commit(&record(id, &[1; 4096]), &[]) {
            Ok(()) => id += 1,
            Err(error) => break error,
        }
    };
    let told = refused.to_rpc_error();
    assert_eq!(told.tag, ErrorTag::ResourceDenied);
    assert_eq!(
        told.message,
        "the configuration could not be stored: no space left on device"
    );
    drop(store);
    let (store, loaded) = Store::open(&path).unwrap();
    assert_eq!(loaded.next_commit, id, "the disk is still full");
    fs::remove_file(&ballast).unwrap();
    store.commit(&record(id, b"fits again"), &[]).unwrap();
    drop(store);
    let (_, loaded) = Store::open(&path).unwrap();
    assert_eq!(loaded.next_commit, id + 1);
    assert_eq!(loaded.diffs.last().unwrap(), b"fits again");
}

#[test]
fn a_read_only_file_system_refuses_the_start_with_that_word() {
    let Some(disk) = Mounted::new("size=8m") else {
        return;
    };
    let path = disk.0.path().join("state");
    drop(Store::open(&path).unwrap());
    disk.remount("ro");
    let refused = Store::open(&path).unwrap_err().to_string();
    let words = format!(
        "the state directory {} (--state-dir) cannot be used: the file system is read-only",
        path.display()
    );
    assert_eq!(refused, words);
    disk.remount("rw");
    Store::open(&path).unwrap();
}
