//! The agent's own source, as the tests about it read it: code without comments and without `mod tests`.

use std::fs;
use std::path::{Path, PathBuf};

/// One file below `src`.
pub struct SourceFile {
    /// Relative to `src`, such as `tunnel/machine.rs`.
    pub name: String,
    /// All of it.
    pub text: String,
    /// Without comments and test modules; line breaks are kept.
    pub code: String,
}

/// Every file below `src`, by name.
pub fn files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let text = fs::read_to_string(path).unwrap();
        let code = code(&text);
        SourceFile { name, text, code }
    };
    let mut files: Vec<SourceFile> = paths.iter().map(read).collect();
    let tests: Vec<String> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        let module = file.name.trim_end_matches(".rs");
        let is_test = |test: &String| {
            let below = module.strip_prefix(test.as_str());
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        if tests.iter().any(is_test) {
            file.code.clear();
        }
    }
    files
}

/// The modules in files of their own that a file declares for tests alone, such as `netconf/session/tests`.
fn test_modules(file: &SourceFile) -> Vec<String> {
    let base = match file.name.strip_suffix("/mod.rs") {
        Some(folder) => folder,
        None => file.name.trim_end_matches(".rs"),
    };
    let declared = file.text.split("#[cfg(test)]\n").skip(1);
    let names = declared.filter_map(|after| test_module(after)?.strip_suffix(';'));
    names.map(|name| format!("{base}/{name}")).collect()
}

/// What follows `mod` in a line behind `#[cfg(test)]`; a module of tests may lend its parts to others.
pub fn test_module(after: &str) -> Option<&str> {
    let line = after.lines().next()?.trim_start();
    line.strip_prefix("pub(crate) ")
        .unwrap_or(line)
        .strip_prefix("mod ")
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Test modules come last in a file, so everything from the first one on is left out.
fn code(text: &str) -> String {
    let production = text.split("\n#[cfg(test)]\nmod tests {").next();
    let lines = production.unwrap_or_default().lines();
    let bare = lines.map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line.split(" // ").next().unwrap_or_default(),
    });
    bare.collect::<Vec<_>>().join("\n")
}

/// The string literals of a file's code, escapes as they stand.
pub fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(['"', '\'']) {
        let (before, from) = rest.split_at(start);
        if let Some(character) = from.strip_prefix('\'') {
            // A character such as '"' or '\''; anything else is a lifetime.
            let length = match character.strip_prefix('\\') {
                Some(_) => character[2..].find('\'').map(|end| end + 3),
                None => {
                    let one = character.chars().next().map_or(0, char::len_utf8);
                    character[one..].starts_with('\'').then_some(one + 1)
                }
            };
            rest = &character[length.unwrap_or(0)..];
            continue;
        }
        let raw = before.ends_with("r#");
        let text = &from[1..];
        let end = match raw {
            true => text.find("\"#"),
            false => end_of(text),
        };
        let Some(end) = end else { break };
        found.push(text[..end].to_owned());
        rest = &text[end + 1..];
    }
    found
}

/// Where a literal ends, escapes skipped.
fn end_of(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

#[test]
fn literals_are_found_among_characters_lifetimes_and_escapes() {
    let code =
        r##"fn f<'a>(x: &'a str) { g('"', '\'', "a\"b", r#"c"d"#, '\u{FEFF}', b"e"); h("") }"##;
    assert_eq!(literals(code), ["a\\\"b", "c\"d", "e", ""]);
}
