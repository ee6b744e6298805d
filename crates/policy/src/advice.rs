//! What a program says of its memory: [`Advice`].

use bifolio_migrate::NodeId;

use crate::memory::Side;

/// How memory will be used. Any of it may be absent; a policy may follow it or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Advice {
    /// Where its pages are best.
    pub prefer: Option<Preferred>,
    /// Whether pages stay where they are preferred, and the other side uses them from there if it can.
    pub stay: bool,
    /// Whether it is mostly read.
    pub read_mostly: bool,
    /// Whether devices use it now and then, so that they should find it mapped.
    pub accessed: bool,
    /// In which order it is touched.
    pub pattern: Pattern,
}

impl Advice {
    /// Whether pages that `side` touches are better elsewhere.
    #[must_use]
    pub fn is_elsewhere(&self, side: Side) -> bool {
        let here = |place| match (place, side) {
            (Preferred::Home, Side::Ram) => true,
            (Preferred::Node(preferred), Side::Device(node)) => preferred == node,
            _ => false,
        };
        self.prefer.is_some_and(|place| !here(place))
    }
}

/// Where pages are best.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preferred {
    /// In system memory.
    Home,
    /// On a device.
    Node(NodeId),
}

/// In which order memory is touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pattern {
    /// Unknown.
    #[default]
    Any,
    /// One page after the other.
    Sequential,
    /// Without any order: neighbours of a page that is touched are of no use.
    Random,
}
