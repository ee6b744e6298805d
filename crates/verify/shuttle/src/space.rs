//! As much of a space as its buffer objects need: an engine, and addresses. The objects are the shipped ones.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::buffer::BufferError;
use crate::engine::Engine;
use crate::simulation::View;

#[path = "../../../host/src/space/allocations.rs"]
mod allocations;
#[path = "../../../host/src/space/buffer.rs"]
pub mod buffer;

use allocations::Allocations;

/// A space of buffer objects.
pub struct Space {
    engine: Arc<Engine<View>>,
    /// Never held while another thread may go on.
    allocations: Mutex<Allocations>,
}

impl Space {
    /// A space whose device finds objects at `addresses`, where nothing else is ever mapped.
    ///
    /// # Panics
    /// If these are no addresses of whole pages.
    #[must_use]
    pub fn over(engine: Arc<Engine<View>>, addresses: Range<usize>) -> Space {
        let allocations = Allocations::new(addresses, 1).expect("some pages");
        Space { engine, allocations: Mutex::new(allocations) }
    }

    fn allocations(&self) -> MutexGuard<'_, Allocations> {
        self.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
