//! The YANG context: which modules the agent implements, with which features.

use std::collections::HashMap;

use yang5::context::{Context, ContextFlags, EmbeddedModuleKey, EmbeddedModules};

use super::tree::{RawContext, SchemaNode};

mod extra;
mod list;

pub use extra::{ExtraModule, Needed, NoModule};
pub use list::{Module, SchemaText};

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The module of RFC 6241.
const NETCONF: &str = "ietf-netconf";
/// Its feature of a device that has a startup datastore.
const STARTUP: &str = "startup";

/// What the agent implements: module name and enabled features.
const IMPLEMENTED: &[(&str, &[&str])] = &[
    (
        NETCONF,
        &[
            "writable-running",
            "candidate",
            "confirmed-commit",
            "rollback-on-error",
            "validate",
            "xpath",
        ],
    ),
    ("ietf-netconf-with-defaults", &[]),
    ("ietf-datastores", &[]),
    ("ietf-origin", &[]),
    ("ietf-netconf-nmda", &["origin", "with-defaults"]),
    ("ietf-netconf-acm", &[]),
    ("ietf-netconf-monitoring", &[]),
    (
        "ietf-system",
        &[
            "authentication",
            "local-users",
            "dns-udp-tcp-port",
            "timezone-name",
        ],
    ),
    (
        "iana-crypt-hash",
        &["crypt-hash-md5", "crypt-hash-sha-256", "crypt-hash-sha-512"],
    ),
    ("ietf-netconf-notifications", &[]),
    (
        "ietf-subscribed-notifications",
        &["encode-xml", "replay", "subtree", "xpath"],
    ),
    ("ietf-yang-push", &["on-change"]),
    ("ietf-system-capabilities", &[]),
    ("ietf-notification-capabilities", &[]),
    ("notifications", &[]),
    ("nc-notifications", &[]),
    ("iana-hardware", &[]),
    ("ietf-hardware", &["hardware-state"]),
    ("cloud-management", &[]),
    ("device-hosts", &[]),
    ("device-management", &[]),
];

/// Why the schema could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// libyang refused a module.
    #[error("the YANG module {module} is refused: {reason}")]
    Module {
        /// Name of the module, and the file it comes from.
        module: String,
        /// What is wrong with it.
        reason: String,
    },
    /// One of the agent's own modules came again.
    #[error("the YANG module {0} is one that the agent brings: leave it out")]
    Own(String),
    /// A module has the namespace of another.
    #[error("the YANG module {0} has the namespace of {1}: leave it out")]
    Namespace(String, String),
    /// A module came twice.
    #[error("the YANG module {0} is given twice: leave one of the files out")]
    Twice(String),
}

/// A handle on the one YANG context of the process.
///
/// The context is leaked: every data tree and schema node points into it, for as long as the process lives.
#[derive(Clone, Copy)]
pub struct Schema {
    context: &'static Context,
    raw: RawContext,
    content_id: &'static str,
}

impl Schema {
    /// Makes the context with the agent's own set of modules and `extra` ones, which may import one another.
    ///
    /// # Errors
    /// A module that libyang cannot load, with its words.
    pub fn load(extra: &[ExtraModule]) -> Result<Self, SchemaError> {
        Self::make(extra, &[])
    }

    /// The same for a device with a startup datastore (RFC 6241, section 8.7).
    ///
    /// # Errors
    /// As [`Schema::load`].
    pub fn load_with_startup(extra: &[ExtraModule]) -> Result<Self, SchemaError> {
        Self::make(extra, &[STARTUP])
    }

    /// Whether the device has a startup datastore.
    pub fn has_startup(self) -> bool {
        let netconf = self.context.get_module_implemented(NETCONF);
        netconf.is_some_and(|netconf| netconf.feature_value(STARTUP).unwrap_or(false))
    }

    /// `more` are further features of ietf-netconf.
    fn make(extra: &[ExtraModule], more: &[&str]) -> Result<Self, SchemaError> {
        check_names(extra)?;
        let nothing = || SchemaError::Module {
            module: "(context)".to_owned(),
            reason: "there is no memory for it".to_owned(),
        };
        let context = Context::new(ContextFlags::DISABLE_SEARCHDIR_CWD);
        let mut context = context.map_err(|_| nothing())?;
        super::tree::quiet();
        // libyang keeps a pointer to the map, so it lives as long as the context: for ever.
        context.set_embedded_modules(Box::leak(Box::new(embedded(extra))));
        let features = |(name, features): &(&'static str, &[&'static str])| {
            let more = if *name == NETCONF { more } else { &[] };
            (*name, [features, more].concat())
        };
        let implemented: Vec<_> = IMPLEMENTED.iter().map(features).collect();
        let wanted: Vec<_> = implemented
            .iter()
            .map(|(name, features)| (*name, None, features.as_slice()))
            .collect();
        if let Err(error) = context.load_modules(&wanted) {
            return Err(refusal(&context, "of the agent".to_owned(), &error));
        }
        for module in extra.iter().filter(|module| module.is_implemented()) {
            let loaded = context
                .load_module(module.name(), module.revision(), &["*"])
                .map(|_| ());
            if let Err(error) = loaded {
                return Err(refusal(&context, told(module), &error));
            }
            check_namespace(&context, module)?;
        }
        let context = Box::leak(Box::new(context));
        let raw = RawContext::of(context).ok_or_else(nothing)?;
        let content_id = list::content_id(context, extra).leak();
        Ok(Self {
            context,
            raw,
            content_id,
        })
    }

    /// Whether the agent has what is needed, though perhaps only to import from.
    pub fn brings(needed: &Needed) -> bool {
        let has = |revision: &str| needed.revision.as_deref().is_none_or(|it| it == revision);
        let mut own = MODULES.iter();
        own.any(|(name, revision, _)| *name == needed.name && has(revision))
    }

    /// The pointer to the context, for the tree alone.
    pub(super) fn raw(self) -> RawContext {
        self.raw
    }

    /// The names of the implemented modules.
    pub fn implemented(self) -> Vec<&'static str> {
        let modules = self.context.modules(false);
        let implemented = modules.filter(|module| module.is_implemented());
        implemented
            .map(|module| SchemaNode::static_name(&module))
            .collect()
    }

    /// Namespace of an implemented module.
    pub fn namespace(self, module: &str) -> Option<&'static str> {
        self.context
            .get_module_implemented(module)
            .map(|module| SchemaNode::static_namespace(&module))
    }

    /// Name of the implemented module of a namespace.
    pub fn module_of(self, namespace: &str) -> Option<&'static str> {
        // A namespace with a NUL byte cannot come out of XML; libyang would take its beginning.
        if namespace.contains('\0') {
            return None;
        }
        self.context
            .get_module_implemented_ns(namespace)
            .map(|module| SchemaNode::static_name(&module))
    }

    /// A top-level data node, rpc or notification of an implemented module.
    pub fn top(self, module: &str, name: &str) -> Option<SchemaNode> {
        let module = self.context.get_module_implemented(module)?;
        SchemaNode::top(&module, name)
    }

    /// The node at a path such as those of [`super::paths`], which lead through no list.
    pub fn at(self, path: &str) -> Option<SchemaNode> {
        let mut steps = path.split('/').skip(1);
        let (module, name) = steps.next()?.split_once(':')?;
        steps.try_fold(self.top(module, name)?, |above, step| {
            let (module, name) = step.split_once(':').unwrap_or((above.module(), step));
            above.child(module, name)
        })
    }

    /// The top-level data nodes of an implemented module.
    pub fn roots(self, module: &str) -> impl Iterator<Item = SchemaNode> {
        let module = self.context.get_module_implemented(module);
        module
            .into_iter()
            .flat_map(|module| SchemaNode::roots(&module))
    }

    /// Whether an implemented module defines an identity.
    pub fn has_identity(self, module: &str, name: &str) -> bool {
        let module = self.context.get_module_implemented(module);
        module.is_some_and(|module| SchemaNode::has_identity(&module, name))
    }
}

/// A module's name, and where it comes from.
fn told(module: &ExtraModule) -> String {
    match module.origin() {
        "" => module.name().to_owned(),
        origin => format!("{} ({origin})", module.name()),
    }
}

/// What the agent brings stays as it is, and no module takes the place of another.
fn check_names(extra: &[ExtraModule]) -> Result<(), SchemaError> {
    for (index, module) in extra.iter().enumerate() {
        if let Some(whole) = module.belongs_to()
            && extra.iter().all(|other| other.name() != whole)
        {
            return Err(SchemaError::Module {
                module: told(module),
                reason: format!("it is a part of {whole}: give the file of that module, too"),
            });
        }
        if IMPLEMENTED.iter().any(|(name, _)| *name == module.name()) {
            return Err(SchemaError::Own(told(module)));
        }
        let is_other = |other: &ExtraModule| {
            let both = other.is_implemented() && module.is_implemented();
            other.name() == module.name() && (both || other.revision() == module.revision())
        };
        if extra[..index].iter().any(is_other) {
            return Err(SchemaError::Twice(told(module)));
        }
    }
    Ok(())
}

/// Data are told apart by their namespaces; libyang takes whichever module comes first.
fn check_namespace(context: &Context, module: &ExtraModule) -> Result<(), SchemaError> {
    let Some(own) = context.get_module_implemented(module.name()) else {
        return Ok(());
    };
    let mut others = context.modules(false);
    let other =
        others.find(|other| other.name() != module.name() && other.namespace() == own.namespace());
    match other {
        Some(other) => Err(SchemaError::Namespace(
            told(module),
            other.name().to_owned(),
        )),
        None => Ok(()),
    }
}

fn refusal(context: &Context, module: String, error: &yang5::Error) -> SchemaError {
    let words = super::tree::refusal_of_modules(context).or_else(|| error.msg.clone());
    SchemaError::Module {
        module,
        reason: words.unwrap_or_else(|| "it cannot be loaded".to_owned()),
    }
}

/// Every module that libyang can ask for. It is given no directory to search, since it would search all those below.
fn embedded(extra: &[ExtraModule]) -> EmbeddedModules {
    let mut modules: EmbeddedModules = HashMap::new();
    for (name, revision, text) in MODULES {
        modules.insert(
            EmbeddedModuleKey::new(name, Some(revision), None, None),
            text,
        );
    }
    // Leaked with the context.
    let kept = |text: &str| -> &'static str { text.to_owned().leak() };
    // Another revision of a published module that the agent only imports from takes its place.
    modules.retain(|key, _| extra.iter().all(|module| module.name() != key.mod_name()));
    for module in extra {
        let (name, revision) = (kept(module.name()), module.revision().map(kept));
        let key = match module.belongs_to() {
            Some(whole) => EmbeddedModuleKey::new(kept(whole), None, Some(name), revision),
            None => EmbeddedModuleKey::new(name, revision, None, None),
        };
        modules.insert(key, kept(module.text()));
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(name: &str, inside: &str) -> ExtraModule {
        ExtraModule::parse(format!(
            "module {name} {{ namespace \"urn:{name}\"; prefix p; {inside} revision 2026-01-01; }}"
        ))
        .unwrap()
    }

    #[test]
    fn extra_modules_may_import_one_another_and_those_of_the_agent() {
        let types = extra("kitchen-types", "");
        let toaster = extra(
            "toaster",
            "import kitchen-types { prefix t; revision-date 2026-01-01; } import ietf-inet-types { prefix inet; }",
        );
        let schema = Schema::load(&[toaster, types]).unwrap();
        let implemented: Vec<_> = schema
            .modules()
            .filter(|module| module.implemented)
            .map(|module| module.name)
            .collect();
        assert!(implemented.contains(&"toaster".to_owned()));
    }

    #[test]
    fn the_module_for_tests_is_loaded_with_its_submodule_and_all_features() {
        let texts = [
            include_str!("../../tests/yang/example-all.yang"),
            include_str!("../../tests/yang/example-all-sub.yang"),
        ];
        let extra = texts.map(|text| ExtraModule::parse(text.to_owned()).unwrap());
        let schema = Schema::load(&extra).unwrap();
        let roots: Vec<_> = schema.roots("example-all").map(SchemaNode::name).collect();
        for root in ["all", "featured", "sub"] {
            assert!(roots.contains(&root), "{roots:?}");
        }
        let mut empty = super::super::tree::Tree::new(schema);
        empty.validate().unwrap();
    }

    fn refusal_of(text: &str) -> String {
        let module = ExtraModule::parse(text.to_owned()).unwrap();
        let module = module.from("/yang/toaster.yang".to_owned());
        Schema::load(&[module]).err().unwrap().to_string()
    }

    #[test]
    fn a_module_that_cannot_be_loaded_is_refused_with_what_where_and_what_to_do() {
        let head = "module toaster { yang-version 1.1; namespace 'urn:t'; prefix t; ";
        for (rest, expected) in [
            (
                "import electricity { prefix e; } }",
                "it imports electricity, or a revision of it, that is not there: give its file, too",
            ),
            (
                "include part; }",
                "it includes part, which is not there: give its file, too",
            ),
            (
                "container c { leaf x { type string }\n } }",
                "Invalid keyword \"}\", expected \";\" or \"{\", in line 1",
            ),
        ] {
            let expected =
                format!("the YANG module toaster (/yang/toaster.yang) is refused: {expected}");
            assert_eq!(refusal_of(&format!("{head}{rest}")), expected);
        }
        let part = refusal_of("submodule toaster { belongs-to kitchen { prefix k; } }");
        assert!(
            part.ends_with("it is a part of kitchen: give the file of that module, too"),
            "{part}"
        );
        let own = refusal_of("module ietf-system { namespace 'urn:t'; prefix t; }");
        assert!(
            own.ends_with("is one that the agent brings: leave it out"),
            "{own}"
        );
    }

    #[test]
    fn a_namespace_belongs_to_one_module() {
        let text = "module mine { namespace 'urn:ietf:params:xml:ns:yang:ietf-system'; prefix m; }";
        assert_eq!(
            refusal_of(text),
            "the YANG module mine (/yang/toaster.yang) has the namespace of ietf-system: leave it out"
        );
    }

    #[test]
    fn a_module_given_twice_is_refused() {
        let twice = [extra("toaster", ""), extra("toaster", "")];
        let refusal = Schema::load(&twice).err().unwrap().to_string();
        assert!(refusal.contains("toaster is given twice"), "{refusal}");
    }
}
