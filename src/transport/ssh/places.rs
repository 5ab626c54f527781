//! How many command lines there may be at a time: of all users together, and of one, so that nobody takes them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places of one kind. Clones are the same.
#[derive(Clone)]
pub(super) struct Places {
    in_all: usize,
    of_one: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// One place; free again when dropped.
pub(super) struct Place {
    places: Places,
    user: String,
}

/// There is no place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many command lines at a time ({of_one} of one user, {in_all} in all); try again later"
)]
pub(super) struct Crowded {
    in_all: usize,
    of_one: usize,
}

impl Places {
    pub(super) fn new(in_all: usize, of_one: usize) -> Self {
        Self {
            in_all,
            of_one,
            taken: Arc::default(),
        }
    }

    /// Takes a place for a user.
    pub(super) fn take(&self, user: &str) -> Result<Place, Crowded> {
        let mut taken = self.taken();
        let own = taken.get(user).copied().unwrap_or(0);
        if own >= self.of_one || taken.values().sum::<usize>() >= self.in_all {
            let Self { in_all, of_one, .. } = *self;
            return Err(Crowded { in_all, of_one });
        }
        taken.insert(user.to_owned(), own + 1);
        drop(taken);
        Ok(Place {
            places: self.clone(),
            user: user.to_owned(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_places_to_the_others() {
        let places = Places::new(3, 2);
        let mine = [places.take("op").unwrap(), places.take("op").unwrap()];
        let crowded = places.take("op").err().unwrap();
        assert_eq!(
            crowded.to_string(),
            "too many command lines at a time (2 of one user, 3 in all); try again later"
        );
        let _admin = places.take("admin").unwrap();
        assert!(places.take("bob").is_err(), "there are no more than three");
        drop(mine);
        let _bob = places.take("bob").unwrap();
        assert_eq!(places.taken().len(), 2, "who has left is forgotten");
    }
}
