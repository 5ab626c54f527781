//! What a module is made of, as it was parsed.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::ffi::CStr;

use yang5::ffi;
use yang5::schema::SchemaModule;

use super::schema_node::text;
use super::value_type::sized;

/// `LYS_VERSION_1_1` of libyang.
const YANG_1_1: u8 = 2;

/// Whether a module is written in YANG 1.1.
pub(in crate::model) fn is_yang_1_1(module: &SchemaModule<'_>) -> bool {
    // SAFETY: a module of the leaked context, which keeps it as it was parsed.
    parsed(module).is_some_and(|parsed| parsed.version == YANG_1_1)
}

/// The features of a module that are enabled, by name.
pub(in crate::model) fn features(module: &SchemaModule<'_>) -> Vec<String> {
    let Some(parsed) = parsed(module) else {
        return Vec::new();
    };
    let (mut index, mut last) = (0, std::ptr::null_mut());
    let mut names = Vec::new();
    loop {
        // SAFETY: `last` and `index` come from the call before, for the same module and its submodules.
        last = unsafe { ffi::lysp_feature_next(last, parsed, &mut index) };
        if last.is_null() {
            break;
        }
        // SAFETY: a feature of the leaked schema.
        let feature = unsafe { &*last };
        if u32::from(feature.flags) & ffi::LYS_FENABLED != 0 {
            names.push(text(feature.name).to_owned());
        }
    }
    names.sort_unstable();
    names
}

/// Name and latest revision of each submodule.
pub(in crate::model) fn submodules(module: &SchemaModule<'_>) -> Vec<(String, Option<String>)> {
    let includes = parsed(module).map_or(&[][..], |parsed| sized(parsed.includes));
    let read = |include: &ffi::lysp_include| {
        // SAFETY: null or a submodule of the leaked schema.
        let submodule = unsafe { include.submodule.as_ref() }?;
        let revision = sized(submodule.revs).first().map(|revision| {
            // SAFETY: libyang keeps dates as NUL-terminated arrays.
            let date = unsafe { CStr::from_ptr(revision.date.as_ptr()) };
            date.to_string_lossy().into_owned()
        });
        Some((text(submodule.name).to_owned(), revision))
    };
    includes.iter().filter_map(read).collect()
}

/// The modules that deviate from a module.
pub(in crate::model) fn deviations(module: &SchemaModule<'_>) -> Vec<String> {
    // SAFETY: a module of the leaked context.
    let by = sized(unsafe { (*module.as_raw()).deviated_by });
    // SAFETY: as above, each of them.
    by.iter()
        .map(|by| text(unsafe { (**by).name }).to_owned())
        .collect()
}

fn parsed(module: &SchemaModule<'_>) -> Option<&'static ffi::lysp_module> {
    // SAFETY: a module of the leaked context, which keeps it as it was parsed.
    unsafe { (*module.as_raw()).parsed.as_ref() }
}
