//! Every policy drives the shipped engine on a simulated machine through every sequence of a few touches, by a device and by the
//! CPU, where both memories are full: no rule breaks, and each touch finds what was written last.
//!
//! A policy is deterministic, so the touches are the choices: what it decides about each of them (victim, order, prefetch, use
//! in place) follows. It cannot be copied, so a state is the touches that led to it, and a step begins with a machine of its own.

use std::fmt::Write;
use std::sync::Arc;

use bifolio_checker::{Checker, Observed};
use bifolio_engine::device::Device;
use bifolio_engine::{Budget, Engine, NodeParts, Parts, Statistics};
use bifolio_explore::design::{Applied, Description, Design};
use bifolio_explore::explore::{End, Explored, Limits, explore};
use bifolio_explore::rules::RuleSet;
use bifolio_folio::{MemoryKind, PageMap, Pfn};
use bifolio_migrate::Rights;
use bifolio_policy::{Policies, PolicyName};
use bifolio_pool::PoolName;
use bifolio_sim::{SimDevice, SimView, Touch, VirtualClock};
use bifolio_sys::SharedBytes;

/// Pages of data, and of each memory: neither holds all.
const PAGES: usize = 128;
const DEVICE_PAGES: u64 = 64;
const RAM_PAGES: u64 = 80;
/// Pages that are touched: neighbours, steps of one stride, and one far away.
const TOUCHED: [usize; 5] = [8, 9, 16, 24, 100];
/// Touches of a sequence.
const DEPTH: usize = 3;

/// The touches so far, as places in [`TOUCHED`]; those of the device come after those of the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Touches {
    count: usize,
    touches: [u8; DEPTH],
}

impl Touches {
    fn all(&self) -> &[u8] {
        &self.touches[..self.count]
    }
}

/// The page of a touch, and whether the device touches it.
fn decode(touch: u8) -> (usize, bool) {
    let touch = usize::from(touch);
    (TOUCHED[touch % TOUCHED.len()], touch >= TOUCHED.len())
}

struct Machine {
    engine: Arc<Engine<SimView>>,
    device: Arc<SimDevice>,
    checker: Arc<Checker>,
}

impl Machine {
    /// With every page written by the CPU, so that some had to leave for the device.
    fn new(policies: Box<dyn Policies>) -> Machine {
        let clock = VirtualClock::default();
        let device = Arc::new(SimDevice::new(MemoryKind::Private, Pfn::ZERO, DEVICE_PAGES));
        let view = SimView::of_blocks(1, &[device.reachable()]);
        device.reach_system(view.memory());
        let pool = PoolName::Buddy.make(DEVICE_PAGES).expect("a pool");
        let pagemap = PageMap::new(MemoryKind::Private, Pfn::ZERO, DEVICE_PAGES, pool).expect("a pagemap");
        let node = NodeParts { device: Arc::clone(&device) as Arc<dyn Device>, pagemap };
        let statistics = Statistics::new().expect("a page");
        let Observed { nodes, observers, checker } = Observed::new(vec![node], &statistics, true);
        let block = view.addresses().start()..view.addresses().end();
        let data = view.address(0)..view.address(PAGES);
        let (budget, clock) = (Budget::new(RAM_PAGES, 8), Arc::new(clock));
        let parts = Parts { view, nodes, budget, policy: policies, clock, observers };
        let engine = Engine::new(parts).expect("one device");
        engine.blocks().add_region(block).expect("a block");
        engine.map(data).expect("a part of it");
        let machine = Machine { engine, device, checker: checker.expect("asked for") };
        for page in 0..PAGES {
            machine.write_by_cpu(page, 1);
        }
        machine
    }

    fn address(&self, page: usize) -> usize {
        self.engine.view().address(page)
    }

    /// Writes a page; returns what it held before.
    fn write_by_cpu(&self, page: usize, value: u64) -> u64 {
        loop {
            match self
                .engine
                .view()
                .try_touch(self.address(page), |bytes| swap(bytes, value))
                .expect("no SIGBUS")
            {
                Touch::Done(before) => return before,
                Touch::Asleep(_) => {
                    let fault = self.engine.view().take_fault().expect("its own");
                    self.engine.cpu_fault(fault).expect("there is memory");
                }
            }
        }
    }

    fn write_by_device(&self, page: usize, value: u64) -> u64 {
        let rights = Rights::READ | Rights::WRITE;
        let touched = self.device.access(self.address(page), rights, |bytes| swap(bytes, value));
        touched.expect("its fault is answered")
    }

    /// Does touches, each of which writes a value of its own. Returns the rules that broke.
    fn run(&self, touches: &[u8]) -> RuleSet {
        let (mut expected, mut broken) = ([1; PAGES], RuleSet::NONE);
        for (touch, value) in touches.iter().zip(2..) {
            let (page, by_device) = decode(*touch);
            let found =
                if by_device { self.write_by_device(page, value) } else { self.write_by_cpu(page, value) };
            broken.require(std::mem::replace(&mut expected[page], value) == found, 27);
        }
        let violations = self.checker.violations_and(self.engine.audit());
        violations.iter().for_each(|violation| broken.require(false, violation.rule.number()));
        broken
    }
}

/// Sets the first word of a page; returns what it was.
fn swap(bytes: SharedBytes<'_>, value: u64) -> u64 {
    let before = bytes.load_u64(0).expect("a word");
    bytes.store_u64(0, value).expect("a word");
    before
}

/// The world of one policy.
struct Driven<P>(P);

impl<P: Fn() -> Box<dyn Policies> + Sync> Design for Driven<P> {
    type State = Touches;
    type Encoded = Touches;
    type Action = u8;
    type Scratch = ();

    fn scratch(&self) {}

    fn initial(&self) -> Touches {
        Touches::default()
    }

    fn actions(&self, state: &Touches, out: &mut Vec<u8>) {
        if state.count < DEPTH {
            out.extend(0..2 * u8::try_from(TOUCHED.len()).expect("few"));
        }
    }

    fn apply(&self, (): &mut (), before: &Touches, touch: u8) -> Applied<Touches> {
        let mut state = *before;
        state.touches[state.count] = touch;
        state.count += 1;
        let broken = Machine::new((self.0)()).run(state.all());
        Applied { state, broken, fatal: false }
    }

    fn encode(&self, state: &Touches) -> Touches {
        *state
    }

    fn decode(&self, encoded: &Touches) -> Touches {
        *encoded
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[27])
    }

    fn describe(&self, _: &Touches, touch: u8, _: &Touches) -> Description {
        let (page, by_device) = decode(touch);
        Description {
            actor: if by_device { "device" } else { "CPU" }.into(),
            text: format!("writes page {page}"),
        }
    }

    fn view(&self, state: &Touches) -> Vec<String> {
        let mut text = "touched:".to_owned();
        state
            .all()
            .iter()
            .for_each(|touch| write!(text, " {}", decode(*touch).0).expect("a string takes all"));
        vec![text]
    }

    fn scale(&self) -> String {
        format!("{DEPTH} touches of {PAGES} pages, of which a device holds {DEVICE_PAGES}")
    }
}

fn explored(policies: impl Fn() -> Box<dyn Policies> + Sync) -> Explored<Touches, u8> {
    explore(&Driven(policies), &Limits { threads: 2, ..Limits::default() }, &mut |_| ())
}

#[test]
fn no_policy_breaks_a_rule_or_loses_a_write_in_any_sequence_of_touches() {
    let choices = 2 * TOUCHED.len() as u64;
    let sequences = 1 + choices + choices * choices + choices.pow(3);
    let names = ["auto", "fixed", "stride", "density"].into_iter();
    let orders = ["lru", "fifo", "clock", "s3fifo", "sieve", "refault", "clockpro"];
    let orders = orders.map(|order| format!("auto+{order}+throttle"));
    for name in names.map(str::to_owned).chain(orders) {
        let name: PolicyName = name.parse().expect("a name");
        let Explored { states, end, broken, .. } = explored(|| Box::new(name));
        assert_eq!((states, end), (sequences, End::Complete), "{name}");
        assert!(broken.is_empty(), "{name}: {broken:?}");
    }
}
