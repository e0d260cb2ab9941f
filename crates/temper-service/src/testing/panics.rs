//! Panics anywhere in this process.

use std::{
    panic,
    sync::{Arc, Mutex, PoisonError},
};

/// What has panicked since it was made. A server survives the panic of a handler: a test must not.
#[derive(Debug, Clone, Default)]
pub struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    /// Notes panics from now on.
    #[must_use]
    pub fn noted() -> Self {
        let (panics, before) = (Self::default(), panic::take_hook());
        let noted = panics.clone();
        panic::set_hook(Box::new(move |info| {
            let mut list = noted.0.lock().unwrap_or_else(PoisonError::into_inner);
            list.push(info.to_string());
            before(info);
        }));
        panics
    }

    /// The first one, if there was any.
    #[must_use]
    pub fn first(&self) -> Option<String> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.first().cloned()
    }
}
