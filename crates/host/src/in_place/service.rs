//! The service: one process beside the program that answers its faults, keeps its limit and does what it asks.
//!
//! ```text
//!   read messages: events are applied at once, in their order; faults queue up
//!   requests of the control block
//!   a look at the memory, if it is time            watch    sample, scan, register
//!   else one fault                                 faults   fetch, or zeros
//!   else one slice of eviction, if room is short   evict    a block through the staging to the store
//!   else sleep until a message, a request, the end of the program, or the next look
//! ```
//!
//! It is alone: no lock here is ever contended. It must never touch memory of the program, since its own fault would
//! wait for itself; what it copies, it has moved away before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use bifolio_checker::Observed;
use bifolio_engine::clock::MachineClock;
use bifolio_engine::node::NodeParts;
use bifolio_engine::{Budget, Engine, Observer, Parts};
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn, Reset};
use bifolio_migrate::{AlignedRun, Moved, NodeId, PageSet};
use bifolio_policy::streams::Streams;
use bifolio_policy::{FixedOrders, PolicyName, Switch};
use bifolio_pool::PoolName;
use bifolio_sys::pagemap::Pagemap;
use bifolio_sys::{
    Access, AddressRange, Features, MapsFile, MemoryMeter, Message, MessageBuf, Modes, PAGE, ProgramMemory,
    Reads, SysError, Timer, USER_SPACE, Uffd, process, sibling,
};

use crate::gauges::Gauges;
use crate::in_place::advised::Advised;
use crate::in_place::child::Plan;
use crate::in_place::control::Control;
use crate::in_place::dropping::Dropping;
use crate::in_place::eligible::Exclusions;
use crate::in_place::hazards::CallInUse;
use crate::in_place::helper::Helper;
use crate::in_place::own_pages::OwnPages;
use crate::in_place::regions::Regions;
use crate::in_place::residents::Residents;
use crate::in_place::same_cpu::SameCpu;
use crate::in_place::sharing::Sharing;
use crate::in_place::store::Store;
use crate::in_place::view::InPlaceView;
use crate::setup::{SetupError, pages};

/// Keeps at home what a system call uses, by its number and arguments.
pub type HoldCall = fn(usize, [usize; 6], &mut CallInUse<'_>);

/// Starts the helper; returns its memory.
pub type StartHelper = fn() -> Option<[AddressRange; 2]>;

/// What the service is to be like, and where it stands.
pub struct ServiceConfig {
    /// Private memory that may be resident, in bytes; at least [`RAM_LEAST`](crate::in_place::RAM_LEAST).
    pub ram: usize,
    /// Bytes of the store.
    pub vram: usize,
    /// Who hands out memory of the store.
    pub pool: PoolName,
    /// What decides how much comes at a fault, and what leaves.
    pub policy: PolicyName,
    /// When the words of folios that ended are made clean.
    pub reset: Reset,
    /// Whether the rules are checked after every transaction.
    pub checked: bool,
    /// Where it is counted.
    pub gauges: Gauges,
    /// Process number of the program.
    pub program: u32,
    /// The right to its memory.
    pub memory: ProgramMemory,
    /// Memory that is no data of the program.
    pub own: Vec<AddressRange>,
    /// Where it is asked.
    pub control: &'static Control,
    /// Publishes what a system call uses, by its number and arguments.
    pub hold_call: HoldCall,
    /// Threads that are beginning, or let another program run in this memory: nothing is evicted or registered meanwhile.
    pub spawning: &'static AtomicU32,
    /// Its helper, and how to start it, which returns the helper's memory; called once at most.
    pub helper: (&'static Helper, StartHelper),
}

/// A fault that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// The very address that was touched, if the kernel tells.
    pub(super) address: usize,
    /// The thread that waits; 0 if the kernel does not tell.
    pub(super) thread: u32,
    pub(super) tries: u32,
}

/// See the module.
pub struct Service {
    pub(super) control: &'static Control,
    pub(super) memory: ProgramMemory,
    pub(super) own: Arc<OwnPages>,
    /// Serves the program's memory and the staging, with events.
    pub(super) uffd: Arc<Uffd>,
    /// Serves the wake page, without: what is dropped there raises nothing.
    pub(super) quiet: Uffd,
    pub(super) engine: Arc<Engine<InPlaceView>>,
    pub(super) store: Arc<Store>,
    pub(super) gauges: Gauges,
    pub(super) program: u32,
    pub(super) ended: OwnedFd,
    timer: Timer,
    pub(super) meter: MemoryMeter,
    pub(super) maps: MapsFile,
    pub(super) pagemap: Pagemap,
    pub(super) exclusions: Exclusions,
    pub(super) regions: Regions,
    /// Mappings that cannot be registered; tried again after a while.
    pub(super) refused: Regions,
    /// Mappings that are too small to be registered yet: their starts, with their ends and since when those are so.
    pub(super) growing: BTreeMap<usize, (usize, Instant)>,
    pub(super) advised: Advised,
    /// Starts of all mappings, as they were at the last scan.
    pub(super) borders: Vec<usize>,
    pub(super) dropping: Dropping,
    pub(super) faults: VecDeque<Fault>,
    /// Pages that came at the last faults, the newest last.
    pub(super) touched: VecDeque<usize>,
    /// By which the policy is exchanged for another.
    pub(super) switch: Switch,
    pub(super) residents: Residents,
    /// Walks through memory that was never touched.
    pub(super) first_touches: Streams,
    /// The most that a first touch fills.
    pub(super) largest: Order,
    pub(super) limits: Limits,
    pub(super) round: Round,
    pub(super) plans: Vec<Plan>,
    pub(super) hold_call: HoldCall,
    pub(super) spawning: &'static AtomicU32,
    pub(super) same_cpu: SameCpu,
    pub(super) sharing: Sharing,
    /// Pages that a living child kept from going, in the last round.
    pub(super) forked_pages: u64,
    /// Pages in the staging that are neither stored nor back yet, and the block they are of.
    pub(super) staged: Option<(usize, PageSet)>,
    /// Touches of the wake page do not fault: threads that touched it have not all woken.
    pub(super) shows_wake_page: bool,
    pub(super) engaged: bool,
    /// Nothing can be registered, although there is too much, since then.
    pub(super) unmanageable_since: Option<Instant>,
    /// Threads that were asked to let their calls come to us.
    pub(super) asked: BTreeSet<u32>,
    /// Since something is registered, all mappings were looked at.
    pub(super) first_scan_done: bool,
    messages: MessageBuf,
    /// What the fault that is answered just now has moved.
    pub(super) last_moved: Moved,
    pub(super) next_look: Instant,
    pub(super) next_scan: Instant,
    /// When all mappings were looked at, and how long that took.
    pub(super) last_scan: (Instant, Duration),
    pub(super) next_measure: Instant,
    pub(super) fits_since: Instant,
    pub(super) refused_since: Instant,
    /// Everything is kept at home.
    pub(super) held: bool,
    /// The program is about to end with a core dump: everything stays at home.
    pub(super) dying: bool,
    /// Room for one look at which pages are there.
    pub(super) presence: Vec<u8>,
}

/// Pages that may be resident, and that are.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) limit: u64,
    /// Room that is kept free while there is something to evict.
    pub(super) reserve: u64,
    /// As counted since the last sample.
    pub(super) resident: u64,
    /// Address space at the last scan, in pages.
    pub(super) mapped: u64,
}

/// A round of eviction, in which every range has its turn once.
#[derive(Debug)]
pub(super) struct Round {
    /// Ranges that have not had their turn yet.
    pub(super) left: usize,
    /// Whether any page went in this round, or none has begun yet.
    pub(super) went: bool,
    /// Nothing can go before this time.
    pub(super) stuck_until: Instant,
}

/// Room that is kept free: this share of the limit, within these bounds (in pages).
const RESERVE_SHARE: u64 = 128;
const RESERVE: std::ops::RangeInclusive<u64> = 32..=2048;
/// Above the limit by this share of it, the program is slowed down.
const EXCESS_SHARE: u64 = 40;
/// Requests are looked for so often while no fault tells of them.
const WAKE_LOOK: Duration = Duration::from_micros(200);
/// A child is looked after so often while faults wait for it.
const PLAN_LOOK: Duration = Duration::from_micros(200);
/// Folios of the largest order that either memory must have room for.
const FOLIOS_MIN: u64 = 16;

/// Opens the userfaultfd that tells of faults and of what the program does to its mappings, and one that tells of faults only;
/// registers the service's own pages.
fn open_userfaultfds(own: &OwnPages) -> Result<(Arc<Uffd>, Uffd), SetupError> {
    let events = Features::EVENT_REMAP | Features::EVENT_REMOVE | Features::EVENT_UNMAP;
    let wished = Features::POISON | Features::THREAD_ID | Features::EXACT_ADDRESS;
    let (uffd, _) = Uffd::open_ready(Reads::NonBlocking, Features::MOVE | events, wished)?;
    let (quiet, _) = Uffd::open_ready(Reads::NonBlocking, Features::empty(), Features::empty())?;
    uffd.register(own.staging(), Modes::MISSING)?;
    quiet.register(own.wake_page(), Modes::MISSING)?;
    Ok((Arc::new(uffd), quiet))
}

/// The stack and the thread-local variables of this process.
fn own_memory(maps: &mut MapsFile) -> Result<Vec<AddressRange>, SysError> {
    let here = 0_u8;
    let addresses = [(&raw const here).addr(), sibling::thread_pointer()];
    let holds = |range: &AddressRange| addresses.iter().any(|address| range.contains(*address));
    Ok(maps.read()?.map(|entry| entry.range).filter(holds).collect())
}

impl Service {
    /// Opens everything. To be called in the process that is to serve.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(config: ServiceConfig) -> Result<Service, SetupError> {
        let vram = pages("device memory", config.vram, PAGE)?;
        let ram = pages("system memory", config.ram, crate::in_place::RAM_LEAST)?;
        let own = Arc::new(OwnPages::new()?);
        let (uffd, quiet) = open_userfaultfds(&own)?;
        let largest =
            Order::largest_fitting(ram.min(vram) / FOLIOS_MIN).unwrap_or(Order::ZERO).min(Order::PMD);
        let store = Arc::new(Store::new(vram)?);
        let view = InPlaceView::new(Arc::clone(&uffd), Arc::clone(&own), Arc::clone(&store))?;
        let engine = engine(view, Arc::clone(&store), vram, largest, &config)?;
        let mut exclusions = Exclusions { own: config.own, addresses: Vec::new() };
        let mut maps = MapsFile::open_own()?;
        exclusions.own.push(own.range());
        exclusions.own.extend(own_memory(&mut maps)?);
        config.gauges.see_sizes(Some(config.ram as u64), [config.vram as u64]);
        config.gauges.see_policy(config.policy);
        let switch = Switch::new(config.policy);
        let now = Instant::now();
        let same_cpu = SameCpu::new(uffd.access(), config.control, config.helper.0, now);
        Ok(Service {
            control: config.control,
            memory: config.memory,
            own,
            uffd,
            quiet,
            engine,
            store,
            gauges: config.gauges,
            program: config.program,
            ended: process::watch_end(config.program)?,
            timer: Timer::new()?,
            meter: MemoryMeter::open_own()?,
            maps,
            pagemap: Pagemap::open()?,
            exclusions,
            regions: Regions::default(),
            refused: Regions::default(),
            growing: BTreeMap::new(),
            advised: Advised::default(),
            borders: Vec::new(),
            dropping: Dropping::new(now),
            faults: VecDeque::new(),
            touched: VecDeque::new(),
            residents: Residents::new(&switch, ram, ram.min(vram)),
            switch,
            first_touches: Streams::new(),
            largest,
            limits: Limits::new(ram),
            round: Round { left: 0, went: true, stuck_until: now },
            plans: Vec::new(),
            hold_call: config.hold_call,
            spawning: config.spawning,
            same_cpu,
            sharing: Sharing::new(config.helper),
            forked_pages: 0,
            staged: None,
            shows_wake_page: false,
            engaged: false,
            unmanageable_since: None,
            asked: BTreeSet::new(),
            first_scan_done: false,
            messages: MessageBuf::new(),
            last_moved: Moved::AlreadyThere(AlignedRun::around(0, Order::ZERO)),
            next_look: now,
            next_scan: now,
            last_scan: (now, Duration::ZERO),
            next_measure: now,
            fits_since: now,
            refused_since: now,
            held: false,
            dying: false,
            presence: Vec::new(),
        })
    }

    /// Which faults are caught.
    #[must_use]
    pub fn access(&self) -> Access {
        self.uffd.access()
    }

    /// Serves until the program has ended or runs another program.
    pub fn run(&mut self) {
        if self.is_user_mode() {
            self.control.set_user_mode();
        }
        self.gauges.set_userfaultfd(self.uffd.as_fd().as_raw_fd());
        self.control.say_ready(self.program, self.own.wake_page().address());
        while self.step() {}
        self.gauges.forget_userfaultfd();
        // While the helper is there.
        self.same_cpu.release();
        self.sharing.end();
        self.measure();
    }

    /// Does one thing; `false` once there is nothing to serve any more.
    fn step(&mut self) -> bool {
        if self.faults.is_empty() {
            self.read_messages();
        }
        self.same_cpu.go_on(self.faults.is_empty());
        self.serve_requests();
        let now = Instant::now();
        if now >= self.next_look {
            return self.look(now);
        }
        if self.must_wait_for_child() {
            return self.sleep(PLAN_LOOK);
        }
        if self.gauges.is_paused() {
            return self.sleep(self.next_look - now);
        }
        if let Some(fault) = self.faults.pop_front() {
            self.serve(fault, now);
            return true;
        }
        if self.is_short_of_room() {
            self.evict_some();
            return true;
        }
        self.sleep(self.next_look - now)
    }

    /// Tells whether faults wait: there is no room, and nothing can go before a child has its bytes.
    fn must_wait_for_child(&mut self) -> bool {
        if !self.plans.iter().any(Plan::is_forked) || self.limits.room() > 0 {
            return false;
        }
        self.drop_plans();
        self.plans.iter().any(Plan::is_forked)
    }

    /// Waits for something to do; `false` if the program has ended.
    fn sleep(&mut self, limit: Duration) -> bool {
        let now = Instant::now();
        let limit = if self.shows_wake_page { limit.min(WAKE_LOOK) } else { limit };
        if self.timer.set(now, now + limit).is_err() {
            std::thread::yield_now();
            return true;
        }
        let descriptors = [self.uffd.as_fd(), self.quiet.as_fd(), self.ended.as_fd(), self.timer.as_fd()];
        match process::wait_readable(descriptors, None) {
            Ok([_, _, ended, _]) => !ended,
            Err(_) => true,
        }
    }

    /// Reads all messages that wait: applies events, and queues faults.
    pub(super) fn read_messages(&mut self) {
        loop {
            let mut events: Vec<Message> = Vec::new();
            let mut count = 0;
            if let Ok(messages) = self.uffd.read(&mut self.messages) {
                for message in messages {
                    count += 1;
                    match message {
                        Message::Pagefault { address, thread, .. } => {
                            self.faults.push_back(Fault { address, thread, tries: 0 });
                        }
                        event => events.push(event),
                    }
                }
            }
            if count > 1 {
                self.engine.tell_messages_read(count);
            }
            events.into_iter().for_each(|event| self.apply(&event));
            if count < MessageBuf::ROOM {
                return;
            }
        }
    }
}

impl Limits {
    fn new(limit: u64) -> Limits {
        let reserve = (limit / RESERVE_SHARE).clamp(*RESERVE.start(), *RESERVE.end()).min(limit / 2);
        Limits { limit, reserve, resident: 0, mapped: 0 }
    }

    /// Tells whether so much is there above the limit that the program must be slowed down.
    pub(super) fn is_exceeded(&self) -> bool {
        self.resident > self.limit + self.limit / EXCESS_SHARE
    }

    /// Pages that can come without anything going.
    pub(super) fn room(&self) -> u64 {
        self.limit.saturating_sub(self.resident)
    }
}

/// The store's number among the devices of the engine.
pub(super) const STORE: NodeId = NodeId(0);

fn engine(
    view: InPlaceView,
    store: Arc<Store>,
    vram: u64,
    largest: Order,
    config: &ServiceConfig,
) -> Result<Arc<Engine<InPlaceView>>, SetupError> {
    let pool = config.pool.make(vram)?;
    let pagemap = PageMap::with_reset(config.reset, MemoryKind::Private, Pfn::ZERO, vram, pool)?;
    let (nodes, statistics) = (vec![NodeParts { device: store, pagemap }], config.gauges.statistics());
    let Observed { nodes, mut observers, .. } = Observed::new(nodes, statistics, config.checked);
    observers.push(Arc::new(config.gauges.heat().clone()));
    observers.extend(config.gauges.events().map(|events| Arc::new(events.clone()) as Arc<dyn Observer>));
    let engine = Engine::new(Parts {
        view,
        nodes,
        // What is resident is counted by the service, over all of the program's memory.
        budget: Budget::new(u64::MAX / 2, 0),
        policy: Box::new(FixedOrders { largest, smallest: Order::ZERO, populate: Order::ZERO }),
        clock: Arc::new(MachineClock::new()),
        observers,
    })?;
    engine.blocks().add_region(0..USER_SPACE)?;
    Ok(engine)
}
