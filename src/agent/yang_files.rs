//! The files of `--yang`, and what lies beside them.
//!
//! The data of each module that is given is held. What such a module imports or includes is looked for among the files
//! given, then among the modules of the agent, then beside the file that asks for it, as `NAME.yang` or
//! `NAME@REVISION.yang` (RFC 7950, section 5.2), not in folders below. A module found beside is only imported from.

use std::fs;
use std::path::{Path, PathBuf};

use super::options::OptionsError;
use crate::model::schema::{ExtraModule, Needed, Schema};

/// Reads the modules of these files, and what they need beside them.
///
/// # Errors
/// A file that cannot be read or holds no module.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<ExtraModule>, OptionsError> {
    let mut modules = Vec::new();
    for file in files {
        modules.push((file.clone(), read_one(file)?));
    }
    let mut asked = 0;
    while let Some((file, module)) = modules.get(asked) {
        asked += 1;
        let (file, needs) = (file.clone(), module.needs().to_vec());
        for needed in needs {
            let is_it = |(_, module): &(PathBuf, ExtraModule)| is(module, &needed);
            if modules.iter().any(is_it) || Schema::brings(&needed) {
                continue;
            }
            // A file that was read is not what is needed, but for another revision of it.
            let unread = |found: &PathBuf| modules.iter().all(|(file, _)| file != found);
            if let Some(found) = beside(&file, &needed).filter(unread) {
                let module = read_one(&found)?.for_others();
                modules.push((found, module));
            }
        }
    }
    Ok(modules.into_iter().map(|(_, module)| module).collect())
}

fn is(module: &ExtraModule, needed: &Needed) -> bool {
    let has = |revision: &str| module.revision() == Some(revision);
    module.name() == needed.name && needed.revision.as_deref().is_none_or(has)
}

fn read_one(file: &Path) -> Result<ExtraModule, OptionsError> {
    let text = fs::read_to_string(file).map_err(|source| OptionsError::Yang {
        path: file.to_owned(),
        source,
    })?;
    let module = ExtraModule::parse(text).map_err(|source| OptionsError::NoModule {
        path: file.to_owned(),
        source,
    })?;
    Ok(module.from(file.display().to_string()))
}

/// The file of a module in the folder of the one that needs it: without a revision asked for the plain name, then the
/// latest revision.
fn beside(file: &Path, needed: &Needed) -> Option<PathBuf> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let dated = |revision: &str| folder.join(format!("{}@{revision}.yang", needed.name));
    let plain = folder.join(format!("{}.yang", needed.name));
    if let Some(revision) = &needed.revision {
        return [dated(revision), plain]
            .into_iter()
            .find(|path| path.is_file());
    }
    if plain.is_file() {
        return Some(plain);
    }
    let prefix = format!("{}@", needed.name);
    let names = fs::read_dir(folder).ok()?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let latest = names
        .filter(|name| name.starts_with(&prefix) && name.ends_with(".yang"))
        .max()?;
    Some(folder.join(latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn what_a_module_needs_is_found_beside_it_and_is_only_imported_from() {
        let folder = folder(&[
            (
                "toaster.yang",
                "module toaster { import bread { prefix b; } include slots; import ietf-system { prefix s; } }",
            ),
            (
                "slots.yang",
                "submodule slots { belongs-to toaster { prefix t; } }",
            ),
            ("bread@2024-01-01.yang", "module bread { }"),
            (
                "bread@2025-01-01.yang",
                "module bread { import flour { prefix f; revision-date 2020-02-02; } }",
            ),
            ("flour@2020-02-02.yang", "module flour { }"),
            ("unwanted.yang", "module unwanted { }"),
        ]);
        let modules = read(&[folder.path().join("toaster.yang")]).unwrap();
        let found: Vec<_> = modules
            .iter()
            .map(|module| (module.name(), module.is_implemented()))
            .collect();
        let expected = [
            ("toaster", true),
            ("bread", false),
            ("slots", false),
            ("flour", false),
        ];
        assert_eq!(found, expected);
        assert!(modules[1].origin().ends_with("bread@2025-01-01.yang"));
    }

    #[test]
    fn a_file_that_is_no_module_is_named() {
        let folder = folder(&[("toaster.yang", "<toaster/>")]);
        let error = read(&[folder.path().join("toaster.yang")]).unwrap_err();
        let expected = "toaster.yang (--yang) is no YANG module: it does not begin with a module or submodule statement";
        assert!(error.to_string().ends_with(expected), "{error}");
        let error = read(&[folder.path().join("missing.yang")]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("missing.yang (--yang) cannot be read"),
            "{error}"
        );
    }
}
