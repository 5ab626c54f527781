//! Embeds the YANG modules: our own of `yang/`, and the published ones that `.ci/setup` copies to `.cargo/yang/`.
//!
//! Writes `modules.rs` to `OUT_DIR`: one static slice of (name, revision, text), sorted by name.

#![allow(clippy::print_stdout)] // cargo reads a build script's standard output

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// See https://reproducible-builds.org/docs/source-date-epoch/.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// What the set-up writes the published modules by; here it says which of them have to be there.
const PUBLISHED: &str = ".ci/yang-modules.sha256";

fn main() {
    // A directory stands for everything below it; `.cargo` holds the published modules and the override.
    for path in ["build.rs", "yang", ".cargo", PUBLISHED] {
        println!("cargo::rerun-if-changed={path}");
    }
    if !russh_is_patched() {
        println!(
            "cargo::warning=russh is not patched (.cargo/patches): logins of ncclient hang after a refused key. Run `make setup`"
        );
    }
    println!("cargo::rerun-if-env-changed={SOURCE_DATE_EPOCH}");
    println!("cargo::rustc-env=TETHER_BUILD_DATE={}", build_date());
    if let Err(error) = embed() {
        println!("cargo::error={error}");
    }
}

/// Seconds since 1970: a clock that is earlier is unset. For builds that are to be repeated, the date of the source.
fn build_date() -> u64 {
    let source = std::env::var(SOURCE_DATE_EPOCH).ok();
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let given = source.and_then(|seconds| seconds.parse().ok());
    given.unwrap_or_else(|| now().map_or(0, |since| since.as_secs()))
}

/// Whether cargo's configuration puts the patched crate in the place of the published one.
fn russh_is_patched() -> bool {
    fs::read_to_string(".cargo/config.toml").is_ok_and(|config| config.contains("patched/russh"))
}

fn embed() -> Result<(), String> {
    let mut files = published_modules()?;
    files.extend(own_modules()?);
    files.sort_by(|one, other| one.file_stem().cmp(&other.file_stem()));
    let mut code = String::from(
        "/// The embedded YANG modules: name, revision, text; sorted by name.\npub static MODULES: &[(&str, &str, &str)] = &[\n",
    );
    for file in &files {
        code += &entry(file)?;
    }
    code += "];\n";
    let out = std::env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?;
    let target = Path::new(&out).join("modules.rs");
    fs::write(&target, code).map_err(|error| format!("{}: {error}", target.display()))
}

/// The files that the set-up made; all of them, or the one thing to do about it.
fn published_modules() -> Result<Vec<PathBuf>, String> {
    let list = fs::read_to_string(PUBLISHED).map_err(|error| format!("{PUBLISHED}: {error}"))?;
    let files: Vec<PathBuf> = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(|name| Path::new(".cargo/yang").join(name))
        .collect();
    match files.iter().find(|file| !file.exists()) {
        Some(_) => Err(
            "the published YANG modules are not there yet: run `make setup` once, then build again"
                .into(),
        ),
        None => Ok(files),
    }
}

fn own_modules() -> Result<Vec<PathBuf>, String> {
    let unreadable = |error| format!("yang: {error}");
    let mut files = Vec::new();
    for file in fs::read_dir("yang").map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yang")
        {
            files.push(path);
        }
    }
    Ok(files)
}

/// One line of the slice. The text itself is included by the compiler, from where it lies.
fn entry(file: &Path) -> Result<String, String> {
    let at = |problem: &dyn std::fmt::Display| format!("{}: {problem}", file.display());
    let text = fs::read_to_string(file).map_err(|error| at(&error))?;
    let name = argument(&text, "module").ok_or_else(|| at(&"no module statement"))?;
    let revision = argument(&text, "revision").ok_or_else(|| at(&"no revision statement"))?;
    let path = fs::canonicalize(file).map_err(|error| at(&error))?;
    let mut line = String::new();
    writeln!(
        line,
        "    ({name:?}, {revision:?}, include_str!({path:?})),"
    )
    .map_err(|error| at(&error))?;
    Ok(line)
}

/// The argument of the first statement `keyword` that begins a line; the newest revision stands first (RFC 7950, section 7.1.9).
fn argument<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| {
        line.trim_start()
            .strip_prefix(keyword)?
            .strip_prefix([' ', '\t'])
    })?;
    let word = rest.trim_start().split([' ', '\t', '{', ';']).next()?;
    Some(word.trim_matches(['"', '\'']))
}
