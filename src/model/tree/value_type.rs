//! The type of a leaf, in words for whoever gave it a wrong value.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use yang5::ffi;

use super::SchemaNode;
use super::schema_node::text;

/// Names of an enumeration that are told; a country code has hundreds.
const NAMES: usize = 16;
/// Characters of a pattern that is told; a longer one explains nothing.
const PATTERN: usize = 64;

/// The words that a module has for a restriction of its own (RFC 7950, section 7.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnWords {
    /// `error-message`; empty if there is none.
    pub(super) message: &'static str,
    /// `error-app-tag`; empty if there is none.
    pub(super) app_tag: &'static str,
}

impl SchemaNode {
    /// What values the type of a leaf or leaf-list takes.
    pub(super) fn expects(self) -> String {
        let leaf_type = self.leaf_type();
        match leaf_type.is_null() {
            true => "no value".to_owned(),
            false => expects(leaf_type),
        }
    }

    /// Whether the type of a leaf or leaf-list takes a value, whose prefixes are module names.
    pub(super) fn takes(self, value: &str) -> bool {
        let Ok(length) = u32::try_from(value.len()) else {
            return false;
        };
        let (nowhere, no_type, no_text) =
            (std::ptr::null(), std::ptr::null_mut(), std::ptr::null_mut());
        super::failure::forget(self);
        let text = value.as_ptr().cast();
        // SAFETY: a leaf of the leaked schema, and a text with its length; nothing is kept of either.
        let code =
            unsafe { ffi::lyd_value_validate(self.raw(), text, length, nowhere, no_type, no_text) };
        matches!(code, ffi::LY_ERR::LY_SUCCESS | ffi::LY_ERR::LY_EINCOMPLETE)
    }

    /// The restrictions of the type that have words of their own.
    pub(super) fn own_words(self) -> Vec<OwnWords> {
        let mut found = Vec::new();
        let leaf_type = self.leaf_type();
        if !leaf_type.is_null() {
            own_words(leaf_type, &mut found);
        }
        found
    }
}

/// An array of libyang, which keeps its length in the word before the first element.
pub(super) fn sized<T>(raw: *const T) -> &'static [T] {
    if raw.is_null() {
        return &[];
    }
    // SAFETY: every array that comes here is one of the leaked schema.
    unsafe { std::slice::from_raw_parts(raw, *raw.cast::<u64>().sub(1) as usize) }
}

/// The type that a type stands for (leafref) and whether its bounds are signed.
fn number(base: ffi::LY_DATA_TYPE::Type) -> Option<(bool, &'static str)> {
    use ffi::LY_DATA_TYPE as Base;
    Some(match base {
        Base::LY_TYPE_INT8 => (true, "-128..127"),
        Base::LY_TYPE_INT16 => (true, "-32768..32767"),
        Base::LY_TYPE_INT32 => (true, "-2147483648..2147483647"),
        Base::LY_TYPE_INT64 => (true, "-9223372036854775808..9223372036854775807"),
        Base::LY_TYPE_UINT8 => (false, "0..255"),
        Base::LY_TYPE_UINT16 => (false, "0..65535"),
        Base::LY_TYPE_UINT32 => (false, "0..4294967295"),
        Base::LY_TYPE_UINT64 => (false, "0..18446744073709551615"),
        _ => return None,
    })
}

fn expects(leaf_type: *const ffi::lysc_type) -> String {
    use ffi::LY_DATA_TYPE as Base;
    // SAFETY: a type of the leaked schema; the base type says which structure it is.
    unsafe {
        let base = (*leaf_type).basetype;
        if let Some((signed, all)) = number(base) {
            let range = (*leaf_type.cast::<ffi::lysc_type_num>()).range;
            let bounds = bounds(range, signed, 0).unwrap_or_else(|| all.to_owned());
            return format!("a whole number in {bounds}");
        }
        match base {
            Base::LY_TYPE_DEC64 => {
                let decimal = &*leaf_type.cast::<ffi::lysc_type_dec>();
                let digits = decimal.fraction_digits;
                let range = bounds(decimal.range, true, digits);
                let range = range.map(|range| format!(" in {range}"));
                let range = range.unwrap_or_default();
                format!("a number with at most {digits} digits after the point{range}")
            }
            Base::LY_TYPE_STRING => string(&*leaf_type.cast::<ffi::lysc_type_str>()),
            Base::LY_TYPE_BINARY => {
                let length = (*leaf_type.cast::<ffi::lysc_type_bin>()).length;
                let length = bounds(length, false, 0).map(|length| format!(" of {length} octets"));
                format!("Base64{}", length.unwrap_or_default())
            }
            Base::LY_TYPE_BOOL => "true or false".to_owned(),
            Base::LY_TYPE_ENUM => {
                let enums = (*leaf_type.cast::<ffi::lysc_type_enum>()).enums;
                format!("one of {}", names(enums))
            }
            Base::LY_TYPE_BITS => {
                let bits = (*leaf_type.cast::<ffi::lysc_type_bits>()).bits;
                format!("each at most once of {}", names(bits))
            }
            Base::LY_TYPE_EMPTY => "no value".to_owned(),
            Base::LY_TYPE_IDENT => {
                let bases = sized((*leaf_type.cast::<ffi::lysc_type_identityref>()).bases);
                let name = |base: &*mut ffi::lysc_ident| {
                    let module = (**base).module;
                    format!("{}:{}", text((*module).name), text((**base).name))
                };
                let bases: Vec<_> = bases.iter().map(name).collect();
                format!("an identity derived from {}", bases.join(" and "))
            }
            Base::LY_TYPE_INST => "an instance-identifier".to_owned(),
            Base::LY_TYPE_LEAFREF => {
                expects((*leaf_type.cast::<ffi::lysc_type_leafref>()).realtype)
            }
            Base::LY_TYPE_UNION => {
                let members = sized((*leaf_type.cast::<ffi::lysc_type_union>()).types);
                let members: Vec<_> = members.iter().map(|member| expects(*member)).collect();
                members.join(", or ")
            }
            _ => "another value".to_owned(),
        }
    }
}

fn string(of: &ffi::lysc_type_str) -> String {
    let patterns = sized(of.patterns);
    let mut words = match (text(of.name), patterns.is_empty()) {
        ("" | "string", _) | (_, true) => "a text".to_owned(),
        (name, false) => format!("a text of type {name}"),
    };
    if let Some(length) = bounds(of.length, false, 0) {
        words.push_str(&format!(" of {length} characters"));
    }
    // SAFETY: patterns of the leaked schema.
    let shown = |pattern: &*mut ffi::lysc_pattern| unsafe {
        (text((**pattern).expr), (**pattern).inverted() != 0)
    };
    let shown: Vec<_> = patterns.iter().map(shown).collect();
    // One of two patterns would be half of the truth.
    if shown
        .iter()
        .all(|(pattern, _)| pattern.chars().count() <= PATTERN)
    {
        for (pattern, inverted) in shown {
            let not = if inverted {
                "does not match"
            } else {
                "matches"
            };
            words.push_str(&format!(" that {not} {pattern}"));
        }
    }
    words
}

fn names(items: *const ffi::lysc_type_bitenum_item) -> String {
    let items = sized(items);
    let names = items.iter().take(NAMES).map(|item| text(item.name));
    let mut names: Vec<_> = names.collect();
    if items.len() > NAMES {
        names.push("…");
    }
    names.join(", ")
}

/// A range or length as a module writes it; `digits` of each bound stand behind the point.
fn bounds(range: *const ffi::lysc_range, signed: bool, digits: u8) -> Option<String> {
    if range.is_null() {
        return None;
    }
    // SAFETY: a restriction of the leaked schema; the type says whether its bounds are signed.
    let parts = sized(unsafe { (*range).parts });
    let bound = |bits: u64| match signed {
        true => point(bits.cast_signed(), digits),
        false => bits.to_string(),
    };
    let part = |part: &ffi::lysc_range_lysc_range_part| {
        // SAFETY: both members of each union have 64 bits.
        let (least, most) =
            unsafe { (part.__bindgen_anon_1.min_u64, part.__bindgen_anon_2.max_u64) };
        match least == most {
            true => bound(least),
            false => format!("{}..{}", bound(least), bound(most)),
        }
    };
    let parts: Vec<_> = parts.iter().map(part).collect();
    Some(parts.join(" | "))
}

/// A number with a point before its last digits.
fn point(number: i64, digits: u8) -> String {
    if digits == 0 {
        return number.to_string();
    }
    let scale = 10_u64.pow(u32::from(digits));
    let sign = if number < 0 { "-" } else { "" };
    let (whole, fraction) = (number.unsigned_abs() / scale, number.unsigned_abs() % scale);
    let width = usize::from(digits);
    format!("{sign}{whole}.{fraction:0width$}")
}

fn own_words(leaf_type: *const ffi::lysc_type, found: &mut Vec<OwnWords>) {
    use ffi::LY_DATA_TYPE as Base;
    let mut range = |range: *const ffi::lysc_range| {
        if !range.is_null() {
            // SAFETY: a restriction of the leaked schema.
            let (message, app_tag) = unsafe { (text((*range).emsg), text((*range).eapptag)) };
            found.push(OwnWords { message, app_tag });
        }
    };
    // SAFETY: a type of the leaked schema; the base type says which structure it is.
    unsafe {
        match (*leaf_type).basetype {
            base if number(base).is_some() => {
                range((*leaf_type.cast::<ffi::lysc_type_num>()).range);
            }
            Base::LY_TYPE_DEC64 => range((*leaf_type.cast::<ffi::lysc_type_dec>()).range),
            Base::LY_TYPE_BINARY => range((*leaf_type.cast::<ffi::lysc_type_bin>()).length),
            Base::LY_TYPE_STRING => {
                let string = &*leaf_type.cast::<ffi::lysc_type_str>();
                range(string.length);
                found.extend(sized(string.patterns).iter().map(|pattern| OwnWords {
                    message: text((**pattern).emsg),
                    app_tag: text((**pattern).eapptag),
                }));
            }
            Base::LY_TYPE_LEAFREF => own_words(
                (*leaf_type.cast::<ffi::lysc_type_leafref>()).realtype,
                found,
            ),
            _ => {}
        }
    }
}
