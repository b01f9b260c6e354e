//! Limits that hold over several instances: what each has counted, exchanged.

use crate::store::StoreError;
use std::pin::Pin;
use tokenist_core::id::Holder;
use tokenist_core::limit::WindowKind;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::Used;

/// What this instance has counted for a holder in the window that its limit sums over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub holder: Holder,
    pub window: WindowKind,
    /// The window's first millisecond, which tells it from the one before; zero for rolling and total ones.
    pub start: Timestamp,
    /// By bucket of [`tokenist_core::window::BUCKET_MS`] for a rolling window, else one entry with index 0.
    pub buckets: Vec<(u64, Used)>,
}

/// A place where instances leave their shares and find those of the others.
pub trait Exchange: Send {
    /// Leaves these shares where the place takes them, and gives for each what all other writers have counted in the
    /// same window, in the same order.
    fn exchange<'a>(
        &'a mut self,
        shares: &'a [Share],
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Used>, StoreError>> + Send + 'a>>;
}
