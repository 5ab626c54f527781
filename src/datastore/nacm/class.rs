//! Users for whom the same rules go: they see the same, so what one of them sees need not be found out for the other.

use std::sync::{Arc, PoisonError, RwLock};

use super::rules::About;
use super::{Nacm, Who};

/// The users to whom the rules of one [`Nacm`] give the same answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The places of the lists whose rules go for them.
    lists: Vec<usize>,
    /// The one user it is, where a rule names him as `$USER`.
    user: Option<String>,
}

impl Nacm {
    /// The class that a user is in.
    pub fn class_of<'a>(&self, who: impl Into<Who<'a>>) -> Class {
        let who = who.into();
        let names_user = |rule: &&super::Rule| match &rule.about {
            About::Data(path) => path.names_user(),
            _ => false,
        };
        let is_his_own = self.rules.of(who).iter().any(names_user);
        Class {
            lists: self.rules.lists_of(who).map(|(place, _)| place).collect(),
            user: is_his_own.then(|| who.user.to_owned()),
        }
    }
}

/// The rules in force, for those who look at them without asking the owner of the datastores. Cheap to clone; all clones
/// are the same.
#[derive(Clone)]
pub struct InForce(Arc<RwLock<Arc<Nacm>>>);

impl InForce {
    /// These rules.
    pub fn new(nacm: Arc<Nacm>) -> Self {
        Self(Arc::new(RwLock::new(nacm)))
    }

    /// The rules of the configuration that runs.
    pub fn get(&self) -> Arc<Nacm> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on other ones.
    pub(in crate::datastore) fn set(&self, nacm: Arc<Nacm>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = nacm;
    }
}
