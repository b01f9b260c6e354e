//! The newest of a value: written by one thread, read by any without waiting.

use arc_swap::{ArcSwap, Guard};
use std::fmt;
use std::sync::Arc;

pub struct Published<T>(ArcSwap<T>);

impl<T> Published<T> {
    pub fn new(value: T) -> Published<T> {
        Published(ArcSwap::from_pointee(value))
    }

    pub fn set(&self, value: T) {
        self.0.store(Arc::new(value));
    }

    /// For a look. Do not hold it across an await.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// To keep.
    pub fn get(&self) -> Arc<T> {
        self.0.load_full()
    }
}

impl<T: fmt::Debug> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}
