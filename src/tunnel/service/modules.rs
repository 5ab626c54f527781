//! Which service modules there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use tokio::sync::watch;

use super::Service;
use crate::tunnel::state::Traffic;

/// The longest name of a service, as the type `service-name` of cloud-management has it.
const LONGEST_NAME: usize = 64;

/// Services of which it is kept what their earlier modules carried. Beyond, one that has no module is forgotten.
const KEPT: usize = 64;

#[derive(Default)]
struct Named {
    modules: BTreeMap<String, Arc<dyn Service>>,
    /// What the modules of a service carried that are gone.
    earlier: BTreeMap<String, Traffic>,
}

/// The modules that are registered, each under a name of its own. Clones are the same.
#[derive(Clone, Default)]
pub struct Modules(Arc<watch::Sender<Named>>);

/// The same, without keeping them alive.
#[derive(Clone)]
pub struct WeakModules(Weak<watch::Sender<Named>>);

/// A module that is registered; dropping this ends that.
#[must_use = "a module is registered for as long as this lives"]
pub struct Registration {
    /// Absent once it is registered for good.
    modules: Option<Modules>,
    name: String,
}

/// Why a module is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// There is one of this name.
    #[error("a module is registered for the service {0:?} already")]
    Taken(String),
    /// The name is none that a cloud can list.
    #[error(
        "{0:?} is no name of a service: it takes 1 to 64 lower-case letters, digits and inner hyphens, a letter first"
    )]
    Name(String),
}

impl Modules {
    /// Registers a module under this name, for as long as the [`Registration`] lives.
    ///
    /// # Errors
    /// The name is taken, or none.
    pub fn register(
        &self,
        name: &str,
        module: Arc<dyn Service>,
    ) -> Result<Registration, RegisterError> {
        if !is_name(name) {
            let shown = name.chars().take(LONGEST_NAME).collect();
            return Err(RegisterError::Name(shown));
        }
        let is_new = self.0.send_if_modified(|named| {
            let is_new = !named.modules.contains_key(name);
            if is_new {
                named.modules.insert(name.to_owned(), module);
            }
            is_new
        });
        if !is_new {
            return Err(RegisterError::Taken(name.to_owned()));
        }
        Ok(Registration {
            modules: Some(self.clone()),
            name: name.to_owned(),
        })
    }

    /// The module of this name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Service>> {
        self.0.borrow().modules.get(name).cloned()
    }

    /// The names of all.
    pub fn names(&self) -> BTreeSet<String> {
        self.0.borrow().modules.keys().cloned().collect()
    }

    /// The counters of the module of this name.
    pub fn traffic(&self, name: &str) -> Option<Traffic> {
        Some(self.get(name)?.counters().traffic())
    }

    /// The services that have a module, in the order of their names, with what all their modules have carried.
    pub fn carried(&self) -> Vec<(String, Traffic)> {
        let named = self.0.borrow();
        let carried = named.modules.iter().map(|(name, module)| {
            let traffic = module.counters().traffic();
            let earlier = named.earlier.get(name).copied().unwrap_or_default();
            (name.clone(), earlier.and(traffic))
        });
        carried.collect()
    }

    /// For a module that looks at the others.
    pub fn downgrade(&self) -> WeakModules {
        WeakModules(Arc::downgrade(&self.0))
    }

    /// Changes each time that a module comes or goes.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}

impl Named {
    fn leave(&mut self, name: &str) {
        let Some(module) = self.modules.remove(name) else {
            return;
        };
        let earlier = self.earlier.remove(name).unwrap_or_default();
        if self.earlier.len() == KEPT {
            let mut names = self.earlier.keys();
            let idle = names.find(|name| !self.modules.contains_key(*name));
            if let Some(idle) = idle.cloned() {
                self.earlier.remove(&idle);
            }
        }
        if self.earlier.len() < KEPT {
            let sum = earlier.and(module.counters().traffic());
            self.earlier.insert(name.to_owned(), sum);
        }
    }
}

impl WeakModules {
    /// The modules, while there is one who keeps them.
    pub fn upgrade(&self) -> Option<Modules> {
        self.0.upgrade().map(Modules)
    }
}

impl Registration {
    /// The module stays as long as there are any.
    pub fn for_good(mut self) {
        self.modules = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(modules) = &self.modules {
            modules.0.send_modify(|named| named.leave(&self.name));
        }
    }
}

/// Tells when a module has come or gone.
pub(crate) struct Changes(watch::Receiver<Named>);

impl Changes {
    /// Ends with the next change. Safe to cancel.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// It stands in a subprotocol and in a list's key.
fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_part)
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::tunnel::service::{Counters, Link};

    #[derive(Default)]
    struct Idle(Counters);

    impl Service for Idle {
        fn serve(&self, _: Link) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }

        fn counters(&self) -> &Counters {
            &self.0
        }
    }

    #[tokio::test]
    async fn a_module_is_known_while_its_registration_lives_and_changes_are_told() {
        let modules = Modules::default();
        let mut changes = modules.changes();
        let registration = modules
            .register("probe", Arc::new(Idle::default()))
            .unwrap();
        changes.next().await;
        assert_eq!(modules.names(), BTreeSet::from(["probe".to_owned()]));
        assert_eq!(modules.traffic("probe"), Some(Traffic::default()));
        drop(registration);
        changes.next().await;
        assert!(modules.names().is_empty());
        assert_eq!(modules.traffic("probe"), None);
    }

    /// A module that has carried this much.
    fn busy(octets: usize) -> Arc<Idle> {
        let module = Idle::default();
        Counters::add(&module.0.sent, octets);
        Arc::new(module)
    }

    #[test]
    fn what_a_service_carried_grows_over_all_its_modules() {
        let modules = Modules::default();
        for (octets, sum) in [(300_000, 300_000), (100_000, 400_000), (1, 400_001)] {
            let _registration = modules.register("probe", busy(octets)).unwrap();
            let carried = Traffic {
                octets_out: sum,
                ..Traffic::default()
            };
            assert_eq!(modules.carried(), [("probe".to_owned(), carried)]);
            let own = modules.traffic("probe").unwrap();
            assert_eq!(own.octets_out, u64::try_from(octets).unwrap());
        }
        assert_eq!(modules.carried(), []);
    }

    #[test]
    fn of_services_that_are_gone_a_bounded_number_is_remembered() {
        let modules = Modules::default();
        let stays = modules.register("a", busy(1)).unwrap();
        drop(stays);
        let _stays = modules.register("a", busy(1)).unwrap();
        for number in 0..10 * KEPT {
            drop(modules.register(&format!("s{number}"), busy(1)).unwrap());
        }
        assert_eq!(modules.0.borrow().earlier.len(), KEPT);
        let carried = modules.carried();
        assert_eq!((carried.len(), carried[0].1.octets_out), (1, 2));
    }

    #[test]
    fn a_second_module_of_a_name_is_refused_and_the_first_stays() {
        let modules = Modules::default();
        let _first = modules
            .register("probe", Arc::new(Idle::default()))
            .unwrap();
        let second = modules.register("probe", Arc::new(Idle::default()));
        assert_eq!(second.err(), Some(RegisterError::Taken("probe".into())));
        assert!(modules.get("probe").is_some());
    }

    #[test]
    fn a_name_is_one_that_a_subprotocol_and_the_model_can_hold() {
        let modules = Modules::default();
        for name in ["", "Probe", "a b", "a'b", "1a", "-a", "a-", &"a".repeat(65)] {
            let refused = modules.register(name, Arc::new(Idle::default()));
            assert!(matches!(refused, Err(RegisterError::Name(_))), "{name}");
        }
        assert!(modules.register("a-1", Arc::new(Idle::default())).is_ok());
    }
}
