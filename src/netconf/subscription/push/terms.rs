//! The terms of a subscription to a datastore (RFC 8641, section 3.1).

use std::time::{Duration, SystemTime};

use crate::datastore::changes::ChangeType;
use crate::datastore::retrieval::Selection;
use crate::model::date_and_time;
use crate::netconf::rpc::{Datastore, EventFilter, Filter, Stored};
use crate::protocol::xml::{write_declaration, write_leaf};

/// The unit of the module's periods.
const CENTISECOND: Duration = Duration::from_millis(10);
/// The namespace of ietf-datastores (RFC 8342).
const DATASTORES: &str = "urn:ietf:params:xml:ns:yang:ietf-datastores";

/// When there is an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Again and again.
    Periodic {
        /// Between two updates, in hundredths of a second.
        period: u32,
        /// A time at which there would be one; without it the first is at once.
        anchor: Option<SystemTime>,
    },
    /// When something has changed.
    OnChange {
        /// Between two updates at least, in hundredths of a second.
        dampening: u32,
        /// Whether all there is comes first, and again where changes were missed.
        sync: bool,
        /// Changes that are not told.
        excluded: Vec<ChangeType>,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::netconf) struct Terms {
    pub datastore: Stored,
    /// The filter as it was given.
    pub filter: EventFilter,
    /// Its XPath expression, by the names of modules.
    pub expression: Option<String>,
    /// What it selects.
    pub selection: Selection,
    pub trigger: Trigger,
}

/// So many hundredths of a second.
pub(super) fn centiseconds(number: u32) -> Duration {
    CENTISECOND * number
}

impl Terms {
    /// Whether it is about the operational datastore.
    pub fn is_operational(&self) -> bool {
        self.datastore == Stored::Operational
    }

    fn datastore_name(&self) -> &'static str {
        match self.datastore {
            Stored::Operational => "operational",
            Stored::Conventional(Datastore::Running) => "running",
            Stored::Conventional(Datastore::Candidate) => "candidate",
            Stored::Conventional(Datastore::Startup) => "startup",
        }
    }

    /// The leaves of the state: path below the subscription, and value. A subtree filter is not among them.
    pub fn shown(&self) -> Vec<(String, String)> {
        let leaf = |name: &str, value: &str| (format!("ietf-yang-push:{name}"), value.to_owned());
        let name = format!("ietf-datastores:{}", self.datastore_name());
        let mut leaves = vec![leaf("datastore", &name)];
        match (&self.filter, &self.expression) {
            (EventFilter::Named(name), _) => leaves.push(leaf("selection-filter-ref", name)),
            (_, Some(expression)) => leaves.push(leaf("datastore-xpath-filter", expression)),
            _ => {}
        }
        for (name, value) in self.trigger.leaves() {
            leaves.push(leaf(&name, &value));
        }
        leaves
    }

    /// The elements of `subscription-modified`, of the namespace of ietf-yang-push.
    pub fn elements(&self) -> String {
        let mut xml = String::from("<datastore");
        write_declaration(&mut xml, "", super::message::NAMESPACE);
        write_declaration(&mut xml, "ds", DATASTORES);
        xml.push_str(&format!(">ds:{}</datastore>", self.datastore_name()));
        xml.push_str(&self.filter_element());
        let (name, leaves) = match self.trigger {
            Trigger::Periodic { .. } => ("periodic", self.trigger.leaves()),
            Trigger::OnChange { .. } => ("on-change", self.trigger.leaves()),
        };
        xml.push_str(&format!("<{name}"));
        write_declaration(&mut xml, "", super::message::NAMESPACE);
        xml.push('>');
        for (leaf, value) in leaves {
            let leaf = leaf.split(['/', '[']).nth(1).unwrap_or_default();
            write_leaf(&mut xml, leaf, &value);
        }
        xml.push_str(&format!("</{name}>"));
        xml
    }

    fn filter_element(&self) -> String {
        let mut xml = String::new();
        let mut open = |name: &str, declared: &[(String, String)], inside: &str| {
            xml.push('<');
            xml.push_str(name);
            write_declaration(&mut xml, "", super::message::NAMESPACE);
            let prefixes = declared.iter().filter(|(prefix, _)| !prefix.is_empty());
            prefixes.for_each(|(prefix, uri)| write_declaration(&mut xml, prefix, uri));
            xml.push_str(&format!(">{inside}</{name}>"));
        };
        let escaped = |text: &str| quick_xml::escape::escape(text).into_owned();
        match &self.filter {
            EventFilter::None => {}
            EventFilter::Named(name) => open("selection-filter-ref", &[], &escaped(name)),
            EventFilter::Own(Filter::Subtree(inside)) => {
                open("datastore-subtree-filter", &[], inside);
            }
            EventFilter::Own(Filter::XPath {
                expression,
                declared,
            }) => open("datastore-xpath-filter", declared, &escaped(expression)),
        }
        xml
    }
}

impl Trigger {
    /// Its leaves: path and value.
    fn leaves(&self) -> Vec<(String, String)> {
        match self {
            Self::Periodic { period, anchor } => {
                let period = ("periodic/period".to_owned(), period.to_string());
                let anchor = anchor.map(|anchor| {
                    let time = date_and_time::milliseconds(anchor);
                    ("periodic/anchor-time".to_owned(), time)
                });
                [Some(period), anchor].into_iter().flatten().collect()
            }
            Self::OnChange {
                dampening,
                sync,
                excluded,
            } => {
                let mut leaves = vec![
                    (
                        "on-change/dampening-period".to_owned(),
                        dampening.to_string(),
                    ),
                    ("on-change/sync-on-start".to_owned(), sync.to_string()),
                ];
                for kind in excluded {
                    let word = kind.as_str();
                    let path = format!("on-change/excluded-change[.='{word}']");
                    leaves.push((path, word.to_owned()));
                }
                leaves
            }
        }
    }
}
