//! What a heap asks of its view beyond [`CpuView`].

use std::sync::Arc;

use bifolio_sys::{AddressRange, Mapping, SharedBytes, Uffd};

use super::staging::StagingError;
pub use crate::simulation::View as AnonymousView;

/// Memory of the program cannot be watched: here it never happens.
#[derive(Debug, thiserror::Error)]
#[error("memory of the program cannot be watched")]
pub struct WatchError;

impl AnonymousView {
    /// A window of system memory, whether it is mapped or not.
    ///
    /// # Panics
    /// If `span` is not inside the view.
    #[must_use]
    pub fn window(&self, span: AddressRange) -> SharedBytes<'_> {
        self.inner().memory().at(span).expect("spans of the engine lie in the view")
    }

    /// Decides whether children inherit the view.
    pub(crate) fn share_with_children(&self, share: bool) {
        self.inner().share_with_children(share);
    }

    /// Leaves part of the view to the kernel. No scenario does.
    pub(crate) fn leave(&self, _: AddressRange) -> Result<(), WatchError> {
        Err(WatchError)
    }

    /// Frees what was left before. No scenario does.
    pub(crate) fn bury(&self, _: AddressRange) {}

    /// What `Heap::new` makes of a userfaultfd. Here a heap is made over a view that is there: [`crate::heap::Heap::over`].
    pub(crate) fn new(_: Arc<Uffd>, _: u64) -> Result<AnonymousView, StagingError> {
        panic!("a simulated view has no userfaultfd");
    }

    pub(crate) fn add_region(&self, _: Mapping) -> Result<(), WatchError> {
        Err(WatchError)
    }

    pub(crate) fn watch(&self, _: AddressRange) -> Result<(), WatchError> {
        Err(WatchError)
    }
}
