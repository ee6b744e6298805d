//! What the policies are asked, and what they want beside the page that faulted.

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_migrate::{CpuFaultOrders, Failure, Finished, NodeId, OrderRange, Rights, Transaction};
use bifolio_policy::{Advice, Decision, Fault, Policy, Prefetch, Side};
use bifolio_sys::PAGE;

use crate::device::DeviceRequest;
use crate::engine::{Engine, lock};
use crate::event::Cause;
use crate::request::{Request, Tally};
use crate::retry::FEW_TRIES;
use crate::view::CpuView;

impl<V: CpuView> Engine<V> {
    /// What the policy of system memory decides about a fault of the CPU.
    pub(crate) fn decide_for_cpu(&self, address: usize) -> Decision {
        let advice = self.advised.of(address);
        if let (None, Some(decision)) = (advice, self.ram_constant) {
            return decision;
        }
        let free_pages = self.budget.limit_pages().saturating_sub(self.budget.used_pages());
        let now_ns = self.clock.now_ns();
        let fault = Fault { now_ns, ..Fault::new(address, Side::Ram, free_pages) };
        decide(lock(&self.ram).policy.as_mut(), fault, advice)
    }

    /// The same, where only orders are wanted.
    pub(crate) fn cpu_orders(&self, address: usize) -> CpuFaultOrders {
        self.decide_for_cpu(address).cpu_orders()
    }

    /// What the policy of a device's memory decides about a fault of that device.
    pub(crate) fn decide_for_device(&self, id: NodeId, request: &DeviceRequest) -> Decision {
        let node = self.node(id);
        let DeviceRequest { address, unit, access, .. } = *request;
        let advice = self.advised.of(address);
        if let (None, Some(decision)) = (advice, node.constant()) {
            return decision;
        }
        let (now_ns, free_pages) = (self.clock.now_ns(), node.pool().free_pages());
        let was_remote = node.capabilities().remote && self.was_remote(address);
        let fault =
            Fault { unit, access, now_ns, was_remote, ..Fault::new(address, Side::Device(id), free_pages) };
        decide(lock(&node.residents).policy.as_mut(), fault, advice)
    }

    /// Waits as long as a policy wants, so that the other side gets something done.
    pub(crate) fn wait_for(&self, decision: &Decision) {
        if decision.wait_ns > 0 {
            self.clock.sleep(decision.wait_ns);
        }
    }

    /// Brings what a policy wants beside the page of a fault, as far as there is room for it.
    pub(crate) fn prefetch_to_device(&self, node: NodeId, prefetch: Option<Prefetch>, tally: &Tally) {
        let Some(prefetch) = prefetch else { return };
        let orders = self.node(node).orders();
        // What is in use will fault when it is wanted.
        let request = Request::new(Cause::Ahead).counted(tally).trying(FEW_TRIES);
        for_each_part(prefetch, |address, end| {
            let largest = Order::largest_fitting(((end - address) / PAGE) as u64).unwrap_or(Order::ZERO);
            let orders = self.node(node).possible(OrderRange { largest, ..orders });
            let (run, _) = self.bring_to(node, address, orders, Rights::READ, request).ok()?;
            Some(run.end)
        });
    }

    /// The same for system memory.
    pub(crate) fn prefetch_to_ram(&self, prefetch: Option<Prefetch>) {
        let Some(prefetch) = prefetch else { return };
        for_each_part(prefetch, |address, _| {
            let found = self.blocks.find(address)?;
            let page = found.page_of(address);
            let mut cell = found.try_lock()?;
            if cell.block.device().contains(page) {
                let request = Request::new(Cause::Ahead);
                let home = self.run(&found, &mut cell, Transaction::to_ram(page), request);
                let _: Result<Finished, Failure> = home;
            }
            Some(address + PAGE)
        });
    }
}

/// Asks a policy, which may heed advice or not.
fn decide(policy: &mut dyn Policy, fault: Fault, advice: Option<Advice>) -> Decision {
    let Some(advice) = advice else { return policy.decide(&fault) };
    let fault = Fault { advice, ..fault };
    policy.decide(&fault).advised(&fault, policy.orders())
}

/// Calls `bring` with the first address that is still missing and the end, for each part of a prefetch, until it has none
/// to go on with.
fn for_each_part(prefetch: Prefetch, mut bring: impl FnMut(usize, usize) -> Option<usize>) {
    for Range { start: mut at, end } in prefetch.parts() {
        while at < end {
            match bring(at, end) {
                Some(next) => at = next,
                None => return,
            }
        }
    }
}
