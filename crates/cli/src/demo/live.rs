//! What other commands see of a job while it runs, and ask of it: `bifolio stats`, `bifolio top`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bifolio_engine::Observer;
use bifolio_folio::PAGE_SIZE;
use bifolio_host::gauges::{GaugeError, Gauges, Queues};
use bifolio_host::{Space, SpaceConfig, Switch};
use bifolio_sys::Memfd;

use crate::demo::plan::Plan;

/// Measured, and wishes looked for, so often.
const LOOK: Duration = Duration::from_millis(50);

/// The gauges of a job.
pub struct Live {
    /// Kept open: there others find it.
    _file: Memfd,
    gauges: Gauges,
    switch: Switch,
}

impl Live {
    /// Makes the file in memory that others find.
    ///
    /// # Errors
    ///
    /// Without descriptors or memory.
    pub fn begin(plan: &Plan) -> Result<Live, GaugeError> {
        let (file, gauges) = Gauges::create(0, Queues::None)?;
        gauges.see_job();
        gauges.see_policy(plan.policy);
        gauges.see_sizes(plan.space().ram.map(|ram| ram as u64), (0..plan.devices.get()).map(|_| plan.vram));
        Ok(Live { _file: file, gauges, switch: Switch::new(plan.policy) })
    }

    /// The space of a plan, with counters and policies that others can reach.
    pub fn space(&self, plan: &Plan, mut observers: Vec<Arc<dyn Observer>>) -> SpaceConfig {
        observers.push(Arc::new(self.gauges.heat().clone()));
        let statistics = Some(self.gauges.statistics().clone());
        SpaceConfig { observers, statistics, ..plan.space() }.with_switch(self.switch.clone())
    }

    /// Does work while the gauges are kept up to date and wishes are fulfilled.
    pub fn during<T>(&self, space: &Space, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let keeper = scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    self.look(space);
                    thread::park_timeout(LOOK);
                }
            });
            let end = End { done: &done, keeper: keeper.thread() };
            let result = work();
            drop(end);
            result
        })
    }

    fn look(&self, space: &Space) {
        let engine = space.engine();
        let used: Vec<u64> =
            engine.nodes().iter().map(|node| node.pagemap().live_pages() * PAGE_SIZE).collect();
        self.gauges.see_managed(engine.budget().used_pages() * PAGE_SIZE, used.iter().sum());
        self.gauges.see_used(used);
        if let Some(name) = self.gauges.take_policy_wish() {
            self.switch.set(name);
            self.gauges.see_policy(name);
        }
    }

    /// Waits while a pause is wished. Called between two rounds.
    pub fn wait_while_paused(&self) {
        while self.gauges.is_paused() {
            thread::sleep(LOOK);
        }
    }
}

/// Ends the thread that keeps the gauges, also if the work panics.
struct End<'a> {
    done: &'a AtomicBool,
    keeper: &'a thread::Thread,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        self.keeper.unpark();
    }
}
