//! [`NoMutation`]: the mutation of shipped worlds, which changes nothing.
//!
//! Tests show that the judges find faults: they explore worlds with a *mutation*, which makes one step wrong on purpose.
//! Each family of worlds has a trait `Mutate` whose methods all change nothing unless told otherwise, and is generic over a
//! type of that trait. Shipped worlds have [`NoMutation`], which has no size: the compiler removes what it does not do.
//! The mutations themselves are enums of the tests.

/// Changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMutation;
