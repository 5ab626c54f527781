//! The modules as yang-library, the hello and the monitoring list them.

use ring::digest::{Context as Digest, SHA256};
use yang5::context::Context;
use yang5::schema::{SchemaModule, SchemaOutputFormat, SchemaPrinterFlags};

use super::{ExtraModule, Schema};
use crate::model::tree::module;

/// Octets of the content-id: enough that no two sets have the same.
const CONTENT_ID: usize = 16;

/// A module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Module name.
    pub name: String,
    /// Latest revision date, if any.
    pub revision: Option<String>,
    /// XML namespace.
    pub namespace: String,
    /// False for a module that only lends types and groupings.
    pub implemented: bool,
    /// Enabled features.
    pub features: Vec<String>,
    /// Whether it is written in YANG 1.1, and so announced by yang-library alone (RFC 7950, section 5.6.4).
    pub yang_1_1: bool,
    /// Name and latest revision of each submodule.
    pub submodules: Vec<(String, Option<String>)>,
    /// The modules that deviate from it.
    pub deviations: Vec<String>,
}

/// A module or submodule, of which there is a text (RFC 6022, section 2.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaText {
    /// Name of the module or submodule.
    pub identifier: String,
    /// Its revision; empty if it has none.
    pub version: String,
    /// XML namespace of the module.
    pub namespace: String,
    /// Of a submodule, name and revision of its module.
    of: Option<(String, Option<String>)>,
}

impl Module {
    fn of(module: &SchemaModule<'_>) -> Self {
        Self {
            name: module.name().to_owned(),
            revision: module.revision().map(str::to_owned),
            namespace: module.namespace().to_owned(),
            implemented: module.is_implemented(),
            features: module::features(module),
            yang_1_1: module::is_yang_1_1(module),
            submodules: module::submodules(module),
            deviations: module::deviations(module),
        }
    }
}

impl Schema {
    /// Every module, implemented or imported, internal ones included.
    pub fn modules(self) -> impl Iterator<Item = Module> {
        self.context
            .modules(false)
            .map(|module| Module::of(&module))
    }

    /// Every module and submodule, each of which has a text.
    pub fn texts(self) -> Vec<SchemaText> {
        let texts = self.modules().flat_map(|module| {
            let of = (module.name.clone(), module.revision.clone());
            let namespace = module.namespace.clone();
            let parts = module.submodules.into_iter();
            let parts = parts.map(move |(name, revision)| SchemaText {
                identifier: name,
                version: revision.unwrap_or_default(),
                namespace: namespace.clone(),
                of: Some(of.clone()),
            });
            let whole = SchemaText {
                identifier: module.name,
                version: module.revision.unwrap_or_default(),
                namespace: module.namespace,
                of: None,
            };
            std::iter::once(whole).chain(parts)
        });
        texts.collect()
    }

    /// The text of a module or submodule in YANG or YIN (RFC 6022, section 3.1).
    pub fn text(self, of: &SchemaText, yin: bool) -> Option<String> {
        let format = if yin {
            SchemaOutputFormat::YIN
        } else {
            SchemaOutputFormat::YANG
        };
        let options = SchemaPrinterFlags::empty();
        let version = Some(of.version.as_str()).filter(|version| !version.is_empty());
        match &of.of {
            None => {
                let module = self.context.get_module(&of.identifier, version)?;
                module.print_string(format, options).ok()
            }
            Some((name, revision)) => {
                let module = self.context.get_module(name, revision.as_deref())?;
                let part = module.get_submodule(&of.identifier, version)?;
                part.print_string(format, options).ok()
            }
        }
    }

    /// A text that changes with the set of modules, their revisions, features, deviations and submodules (RFC 8525,
    /// content-id).
    pub fn content_id(self) -> &'static str {
        self.content_id
    }
}

/// See [`Schema::content_id`]. A module that is given may change without a new revision, so its text counts, too.
pub(super) fn content_id(context: &Context, extra: &[ExtraModule]) -> String {
    let mut lines: Vec<_> = context
        .modules(false)
        .map(|module| format!("{:?}", Module::of(&module)))
        .collect();
    lines.sort_unstable();
    let mut digest = Digest::new(&SHA256);
    let texts = extra.iter().map(ExtraModule::text);
    for line in lines.iter().map(String::as_str).chain(texts) {
        digest.update(line.as_bytes());
        digest.update(&[0]);
    }
    let octets = digest.finish();
    let octets = octets.as_ref().iter().take(CONTENT_ID);
    octets.map(|octet| format!("{octet:02x}")).collect()
}
