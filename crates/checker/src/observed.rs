//! Puts the checker around an engine that is about to be made.

use std::sync::Arc;

use bifolio_engine::event::Observer;
use bifolio_engine::{NodeParts, Statistics};
use bifolio_migrate::NodeId;
use bifolio_pool::DevicePool;
use bifolio_rules::PageRange;

use super::checker::Checker;
use super::device::CheckedDevice;
use super::pool::CheckedPool;

/// The nodes and the observers that an engine is to be made of, and its checker if it is to have one.
pub struct Observed {
    /// The nodes, each behind the checker.
    pub nodes: Vec<NodeParts>,
    /// The statistics, and the checker.
    pub observers: Vec<Arc<dyn Observer>>,
    /// The checker.
    pub checker: Option<Arc<Checker>>,
}

impl Observed {
    /// Lets `statistics` count what an engine of these nodes does and, if it is to be `checked`, a checker judge it. All
    /// device memory is free.
    #[must_use]
    pub fn new(nodes: Vec<NodeParts>, statistics: &Statistics, checked: bool) -> Observed {
        let mut observers: Vec<Arc<dyn Observer>> = vec![Arc::new(statistics.clone())];
        if !checked {
            return Observed { nodes, observers, checker: None };
        }
        let checker = Checker::new(statistics.clone());
        observers.push(Arc::clone(&checker) as Arc<dyn Observer>);
        Observed { nodes: checker.watch(nodes), observers, checker: Some(checker) }
    }
}

impl Checker {
    /// Puts the checker before the devices and pools of nodes.
    fn watch(self: &Arc<Checker>, nodes: Vec<NodeParts>) -> Vec<NodeParts> {
        (0..).zip(nodes).map(|(number, parts)| self.watch_node(NodeId(number), parts)).collect()
    }

    /// Puts the checker before the device and the pool of a node that is about to join its engine as number `node`.
    #[must_use]
    pub fn watch_node(self: &Arc<Checker>, node: NodeId, parts: NodeParts) -> NodeParts {
        let NodeParts { device, pagemap } = parts;
        let pages = PageRange { first: pagemap.first().get(), pages: pagemap.pages() };
        self.tell(&bifolio_rules::Event::NodeAdded { node: node.0, pagemap: pages });
        let of_pool = Arc::clone(self);
        let pagemap =
            pagemap.map_pool(|pool| Arc::new(CheckedPool::new(pool, node, of_pool)) as Arc<dyn DevicePool>);
        NodeParts { device: Arc::new(CheckedDevice::new(device, node, Arc::clone(self))), pagemap }
    }
}
