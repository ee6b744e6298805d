//! What a heap asks of its view beyond [`super::CpuView`].

use std::sync::Arc;

use bifolio_sys::{Mapping, SharedBytes, Span, Uffd};

use super::staging::StagingError;
pub use crate::simulation::view::SimulatedView as AnonymousView;

/// Memory of the program cannot be watched: here it never happens.
#[derive(Debug, thiserror::Error)]
#[error("memory of the program cannot be watched")]
pub struct WatchError;

impl AnonymousView {
    /// A window of system memory, whether it is in view or not.
    ///
    /// # Panics
    /// If `span` is not inside the view.
    #[must_use]
    pub fn window(&self, span: Span) -> SharedBytes<'_> {
        self.memory().at(span).expect("spans of the engine lie in the view")
    }

    /// Leaves part of the view to the kernel. No scenario does.
    pub(crate) fn leave(&self, _: Span) -> Result<(), WatchError> {
        Err(WatchError)
    }

    /// Frees what was left before. No scenario does.
    pub(crate) fn bury(&self, _: Span) {}

    /// What `Heap::new` makes of a userfaultfd. Here a heap is made over a view that is there: [`crate::heap::Heap::over`].
    pub(crate) fn new(_: Arc<Uffd>, _: u64) -> Result<AnonymousView, StagingError> {
        panic!("a simulated view has no userfaultfd");
    }

    pub(crate) fn add_region(&self, _: Mapping) -> Result<(), WatchError> {
        Err(WatchError)
    }

    pub(crate) fn watch(&self, _: Span) -> Result<(), WatchError> {
        Err(WatchError)
    }
}
