//! A mutex whose poisoning does not matter: every critical section here leaves its data consistent.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// `std::sync::Mutex` that ignores poisoning; never held across an await.
#[derive(Default)]
pub(super) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
