//! Filters that look at names and keys alone: whether a node is selected follows from its path.

use super::{Content, Criterion, Filter, Kind, selects_all};
use crate::model::schema::Schema;
use crate::model::tree::SchemaNode;
use crate::model::xml::Scope;
use std::sync::{Arc, Mutex};

impl Filter {
    /// Whether it compares no value but those of keys, and of lists that the user orders picks all or nothing: where an
    /// entry of a part stands is not in its path.
    pub fn is_by_name(&self, schema: Schema) -> bool {
        level_is_by_name(&self.criteria, &tops(schema))
    }

    /// Whether it can select a value of the schema at all, of those that `wanted` names: it is asked of a node and then of
    /// those below.
    pub fn can_select(&self, schema: Schema, wanted: &dyn Fn(SchemaNode) -> bool) -> bool {
        level_can_select(&self.criteria, &tops(schema), wanted)
    }

    /// The filter that selects the same as a location path such as `/m:a/m:b[m:key='x']`, or several of them with `|`
    /// between; prefixes are names of modules. None for whatever else XPath can say.
    pub fn of_location_paths(schema: Schema, text: &str) -> Option<Self> {
        let paths = split(text, '|')?;
        let criteria = paths.into_iter().map(|path| of_path(schema, path.trim()));
        let criteria = criteria.collect::<Option<Vec<_>>>()?;
        Some(Self {
            criteria: Arc::new(criteria),
        })
    }
}

fn tops(schema: Schema) -> Vec<SchemaNode> {
    let modules = schema.implemented().into_iter();
    modules.flat_map(|module| schema.roots(module)).collect()
}

fn level_is_by_name(criteria: &[Criterion], nodes: &[SchemaNode]) -> bool {
    criteria.iter().all(|criterion| {
        let mut about = nodes.iter().filter(|node| criterion.is_about(**node));
        match &criterion.kind {
            Kind::Selection => true,
            Kind::Content(_) => about.all(|node| node.is_key()),
            Kind::Containment(inside) => about.all(|node| {
                let is_ordered = node.is_user_ordered() && node.is_config();
                if is_ordered && !selects_all(inside.iter()) {
                    return false;
                }
                let children: Vec<_> = node.children().collect();
                level_is_by_name(inside, &children)
            }),
        }
    })
}

fn level_can_select(
    criteria: &[Criterion],
    nodes: &[SchemaNode],
    wanted: &dyn Fn(SchemaNode) -> bool,
) -> bool {
    criteria.iter().any(|criterion| {
        let mut about = nodes.iter().filter(|node| criterion.is_about(**node));
        about.any(|node| match &criterion.kind {
            _ if !wanted(*node) => false,
            Kind::Containment(inside) if !selects_all(inside.iter()) => {
                let children: Vec<_> = node.children().collect();
                level_can_select(inside, &children, wanted)
            }
            // A value that is looked at selects nothing beside others.
            Kind::Content(_) => selects_all(criteria.iter()),
            _ => has_value(*node, wanted),
        })
    })
}

/// Whether there is a value at or below a node.
fn has_value(node: SchemaNode, wanted: &dyn Fn(SchemaNode) -> bool) -> bool {
    use crate::model::tree::NodeKind as Kind;
    wanted(node)
        && match node.kind() {
            Kind::Leaf | Kind::LeafList | Kind::Any => true,
            Kind::Container | Kind::List => {
                node.is_presence() || node.children().any(|child| has_value(child, wanted))
            }
            _ => false,
        }
}

/// Splits a text where a character stands outside of quotes and brackets.
fn split(text: &str, at: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_u32, None);
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.checked_sub(1)?,
            _ if depth == 0 && character == at => {
                parts.push(&text[start..index]);
                start = index + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (depth == 0 && quote.is_none()).then_some(parts)
}

fn of_path(schema: Schema, path: &str) -> Option<Criterion> {
    let steps = split(path.strip_prefix('/')?, '/')?;
    let mut nodes = tops(schema);
    let mut line = Vec::new();
    for step in steps {
        let (name, keys) = step.split_at(step.find('[').unwrap_or(step.len()));
        let (module, name) = match name.split_once(':') {
            Some((module, name)) => (Some(module), name),
            None => (None, name),
        };
        // Without a prefix: of the module of the parent; at the top that would be any.
        let of_parent = |node: &SchemaNode| node.parent().map(SchemaNode::module);
        let found: Vec<_> = nodes
            .into_iter()
            .filter(|node| node.name() == name)
            .filter(|node| {
                module
                    .or(of_parent(node))
                    .is_none_or(|own| own == node.module())
            })
            .collect();
        let [node] = found[..] else { return None };
        line.push((node, predicates(node, keys)?));
        nodes = node.children().collect();
    }
    line.into_iter().rev().fold(None, |inner, (node, keys)| {
        let mut inside = keys;
        inside.extend(inner);
        let kind = match inside.is_empty() {
            true => Kind::Selection,
            false => Kind::Containment(Arc::new(inside)),
        };
        Some(named(node, kind))
    })
}

/// Predicates that are equal signs between keys and literals.
fn predicates(node: SchemaNode, text: &str) -> Option<Vec<Criterion>> {
    let mut keys = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.strip_prefix('[')?.split_once('=')?;
        let name = name.trim();
        let name = name.split_once(':').map_or(name, |(_, name)| name);
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (value, after) = after[1..].split_once(quote)?;
        rest = after.trim_start().strip_prefix(']')?;
        let key = node.keys().find(|key| key.name() == name)?;
        // Of an empty text a filter would make something else.
        let text = Some(value).filter(|value| !value.is_empty() && value.trim() == *value)?;
        keys.push(named(
            key,
            Kind::Content(Content {
                text: text.to_owned(),
                scope: Scope::default(),
                canonical: Mutex::new(None),
            }),
        ));
    }
    Some(keys)
}

fn named(node: SchemaNode, kind: Kind) -> Criterion {
    Criterion {
        namespace: Some(node.namespace().to_owned()),
        name: node.name().to_owned(),
        has_attributes: false,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "urn:ietf:params:xml:ns:yang:ietf-system";

    fn by_name(inside: &str) -> bool {
        let schema = Schema::load(&[]).unwrap();
        let xml = format!(r#"<system xmlns="{SYSTEM}">{inside}</system>"#);
        let filter = Filter::parse(&xml, &Scope::default()).unwrap();
        filter.is_by_name(schema)
    }

    #[test]
    fn a_filter_that_compares_values_other_than_keys_is_not_by_name() {
        assert!(by_name("<hostname/>"));
        assert!(by_name(
            "<authentication><user><name>a</name><authorized-key/></user></authentication>"
        ));
        assert!(by_name("<dns-resolver><server/></dns-resolver>"));
        let part = "<server><name>a</name><udp-and-tcp/></server>";
        assert!(!by_name(&format!("<dns-resolver>{part}</dns-resolver>")));
        assert!(!by_name("<hostname>a</hostname>"));
        let inner = "<server><udp-and-tcp><port>53</port></udp-and-tcp></server>";
        assert!(!by_name(&format!("<dns-resolver>{inner}</dns-resolver>")));
    }

    fn of(text: &str) -> Option<Filter> {
        Filter::of_location_paths(Schema::load(&[]).unwrap(), text)
    }

    #[test]
    fn location_paths_are_filters_and_all_else_of_xpath_is_not() {
        for path in [
            "/ietf-system:system",
            "/ietf-system:system/hostname",
            "/ietf-system:system/ietf-system:dns-resolver/ietf-system:server[ietf-system:name = 'a']/udp-and-tcp",
            "/ietf-system:system/hostname | /cloud-management:cloud-management/state",
        ] {
            assert!(of(path).is_some(), "{path}");
        }
        for path in [
            "//hostname",
            "/ietf-system:system/*",
            "/ietf-system:system[hostname='a']",
            "/ietf-system:system/dns-resolver/server[1]",
            "/ietf-system:system/dns-resolver/server[name='a' or name='b']",
            "/ietf-system:system/hostname/text()",
            "count(/ietf-system:system)",
            "ietf-system:system",
            "/ietf-system:nothing",
        ] {
            assert!(of(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_filter_knows_what_it_can_select_of_the_schema() {
        let schema = Schema::load(&[]).unwrap();
        let can = |path: &str, wanted: &dyn Fn(SchemaNode) -> bool| {
            of(path).unwrap().can_select(schema, wanted)
        };
        let state = "/cloud-management:cloud-management/state";
        assert!(can(state, &|_| true));
        assert!(!can(state, &SchemaNode::is_config));
        assert!(!can(&format!("{state}/duration"), &|node| node.name()
            != "duration"));
        assert!(can(state, &|node| node.name() != "duration"));
        let unknown = Filter::parse(r#"<nothing xmlns="urn:x"/>"#, &Scope::default()).unwrap();
        assert!(!unknown.can_select(schema, &|_| true));
    }
}
