//! Spaces whose touching threads answer their own faults: what a space promises holds in this mode too, and what it asks of
//! the program is as the documentation says.
#![allow(unsafe_code, reason = "makes system calls on memory of a space, as a program would")]
#![expect(clippy::print_stdout, reason = "a test tells how much it found")]

mod kernel;
mod random;

use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order};
use bifolio_host::fault_loop::Readers;
use bifolio_host::touchers::STACK;
use bifolio_host::{
    Counter, Detail, Direction, Event, EventKind, Observer, PolicyName, SetupError, Side, Space, SpaceConfig,
};
use bifolio_policy::FixedOrders;
use bifolio_sys::{
    AddressRange, Features, Mapping, Memfd, PAGE, Placement, ProgramMemory, Protection, SharedBytes, process,
};

use random::random;

const PAGES: usize = 512;
const BYTES: usize = PAGES * PAGE;

/// What this mode needs.
const NEEDED: Features = kernel::SHARED.union(Features::SIGBUS);

fn config(order: u8, vram: usize, ram: Option<usize>) -> SpaceConfig {
    let order = Order::new(order).expect("small");
    SpaceConfig {
        ram,
        checked: true,
        units: NonZeroUsize::MIN,
        readers: Some(Readers::Toucher),
        policy: Some(Box::new(FixedOrders { largest: order, smallest: Order::ZERO, populate: order })),
        ..SpaceConfig::new(2 * BYTES, vram)
    }
}

fn space(config: SpaceConfig) -> (Space, AddressRange) {
    let space = Space::new(config).expect("memory for a small space");
    let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
    (space, span)
}

/// Adds one to the first word of every page, `rounds` times.
struct AddOne(AddressRange, usize);

impl Kernel for AddOne {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        for _ in 0..self.1 {
            for at in (self.0.start()..self.0.end()).step_by(PAGE).skip(unit).step_by(units) {
                memory.fetch_add(at, 1)?;
            }
        }
        Ok(())
    }
}

#[test]
fn bytes_are_right_to_the_device_and_back() {
    if !kernel::grants("bytes_are_right_to_the_device_and_back", NEEDED) {
        return;
    }
    let coherent = SpaceConfig { kind: MemoryKind::Coherent, policy: None, ..config(0, BYTES, None) };
    for config in [config(0, BYTES, None), config(4, BYTES, Some(BYTES / 2)), coherent] {
        let (space, span) = space(config);
        for page in 0..PAGES {
            space.window(span).store_u64(page * PAGE, page as u64).expect("inside");
        }
        for round in 1..4 {
            space.launch(&AddOne(span, 1)).expect("every fault is answered");
            for page in (0..PAGES).rev() {
                assert_eq!(space.window(span).load_u64(page * PAGE), Ok(page as u64 + round), "page {page}");
            }
        }
        let statistics = space.statistics();
        assert!(statistics.get(Counter::CpuFaults) > 0, "{statistics:?}");
        assert_eq!((space.audit(), statistics.get(Counter::Failures)), (vec![], 0));
        space.close().expect("all folios are gone");
    }
}

#[test]
fn handlers_of_other_spaces_and_touchers_live_side_by_side() {
    if !kernel::grants("handlers_of_other_spaces_and_touchers_live_side_by_side", NEEDED) {
        return;
    }
    let spaces: Vec<_> = (0..4).map(|_| space(config(0, BYTES, None))).collect();
    let plain = space(SpaceConfig { readers: None, ..config(0, BYTES, None) });
    for round in 0..2 {
        for (number, (space, span)) in spaces.iter().chain([&plain]).enumerate() {
            space.window(*span).store_u64(8, number as u64).expect("inside");
            space.prefetch(*span, Side::DEVICE).expect("there is room");
        }
        for (number, (space, span)) in spaces.iter().chain([&plain]).enumerate() {
            assert_eq!(space.window(*span).load_u64(8), Ok(number as u64), "in round {round}");
        }
    }
}

/// Notes which threads the engine tells of faults of the CPU.
#[derive(Default)]
struct Threads(Mutex<Vec<std::thread::ThreadId>>);

impl Observer for Threads {
    fn detail(&self) -> Detail {
        Detail::Results
    }

    fn observe(&self, event: &Event<'_>) {
        if matches!(event.kind, EventKind::CpuFault { .. }) {
            self.0.lock().expect("no panic").push(std::thread::current().id());
        }
    }
}

#[test]
fn only_threads_that_touch_answer() {
    if !kernel::grants("only_threads_that_touch_answer", NEEDED) {
        return;
    }
    let threads = Arc::new(Threads::default());
    let observers = vec![Arc::clone(&threads) as Arc<dyn Observer>];
    let (space, span) = space(SpaceConfig { observers, ..config(0, BYTES, None) });
    let touch = |page: usize| space.window(span).store_u64(page * PAGE, 1).expect("inside");
    let touched = std::thread::scope(|scope| {
        let toucher = scope.spawn(|| (0..4).for_each(touch));
        let id = toucher.thread().id();
        toucher.join().expect("no panic");
        id
    });
    touch(4);
    let found = threads.0.lock().expect("no panic").clone();
    assert_eq!(found, [[touched; 4].as_slice(), &[std::thread::current().id()]].concat());
}

/// How long each stress runs, on a machine that is not busy.
const TIME: Duration = Duration::from_millis(700);
/// How long it waits for what it is to show, on one that is.
const PATIENCE: Duration = Duration::from_secs(120);

/// A device that adds to random pages until told to stop.
struct Pull<'a>(AddressRange, &'a AtomicBool, &'a AtomicU64);

impl Kernel for Pull<'_> {
    fn run(&self, memory: &mut Unit<'_>, _: usize, _: usize) -> Result<(), DeviceFault> {
        let mut random = random(77);
        while !self.1.load(Relaxed) {
            memory.fetch_add(self.0.start() + random() % PAGES * PAGE + 2048, 1)?;
            self.2.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}

fn no_write_is_lost(touchers: u64, config: SpaceConfig) {
    let (space, span) = space(config);
    let (stop, by_cpu, by_device) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let faults = || space.statistics().get(Counter::CpuFaults);
    std::thread::scope(|scope| {
        for seed in 1..=touchers {
            let (space, stop, by_cpu) = (&space, &stop, &by_cpu);
            scope.spawn(move || {
                let mut random = random(seed);
                while !stop.load(Relaxed) {
                    let word = random() % PAGES * PAGE + 8;
                    space.window(span).fetch_add_u64(word, 1).expect("inside");
                    by_cpu.fetch_add(1, Relaxed);
                }
            });
        }
        let (space, pull) = (&space, Pull(span, &stop, &by_device));
        let job = scope.spawn(move || space.launch(&pull));
        let start = Instant::now();
        let happened = || faults() > 1000 && by_device.load(Relaxed) > 1000;
        while start.elapsed() < TIME || (start.elapsed() < PATIENCE && !happened()) {
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(space.audit(), []);
        }
        stop.store(true, Relaxed);
        job.join().expect("no panic").expect("every device fault is answered");
    });
    let sum = |word: usize| -> u64 {
        (0..PAGES).map(|page| space.window(span).load_u64(page * PAGE + word).expect("inside")).sum()
    };
    assert_eq!((sum(8), sum(2048)), (by_cpu.into_inner(), by_device.into_inner()), "lost or doubled writes");
    let statistics = space.statistics();
    assert!(statistics.get(Counter::CpuFaults) > 1000, "the stress did happen");
    assert!(statistics.folios(Direction::ToDevice).iter().sum::<u64>() > 10);
    assert_eq!((statistics.get(Counter::Violations), statistics.get(Counter::Failures)), (0, 0));
    assert_eq!(space.audit(), []);
    space.close().expect("all folios are gone");
}

#[test]
fn no_write_is_lost_while_two_threads_answer_and_the_device_pulls() {
    if !kernel::grants("no_write_is_lost_while_two_threads_answer_and_the_device_pulls", NEEDED) {
        return;
    }
    no_write_is_lost(2, config(0, BYTES / 4, None));
    no_write_is_lost(2, config(9, BYTES, None));
}

#[test]
fn no_write_is_lost_while_four_threads_answer_and_memory_is_short() {
    if !kernel::grants("no_write_is_lost_while_four_threads_answer_and_memory_is_short", NEEDED) {
        return;
    }
    no_write_is_lost(4, config(0, BYTES, Some(BYTES / 4)));
    no_write_is_lost(4, config(4, BYTES, Some(BYTES / 2)));
}

#[test]
fn no_write_is_lost_on_coherent_memory_that_touchers_answer_for() {
    if !kernel::grants("no_write_is_lost_on_coherent_memory_that_touchers_answer_for", NEEDED) {
        return;
    }
    let coherent = SpaceConfig { kind: MemoryKind::Coherent, policy: None, ..config(0, BYTES / 2, None) };
    no_write_is_lost(4, coherent);
}

/// Reads 8 bytes of a pipe to an address.
fn read_to(address: usize, value: u64) -> std::io::Result<()> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: 8 readable bytes.
    assert_eq!(unsafe { libc::write(ends[1], (&raw const value).cast(), 8) }, 8);
    // SAFETY: the memory of a space, which no Rust reference points to.
    let read = unsafe { libc::read(ends[0], address as *mut libc::c_void, 8) };
    let result = if read == 8 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    for end in ends {
        // SAFETY: opened here, and used no more.
        unsafe { libc::close(end) };
    }
    result
}

#[test]
fn system_call_on_a_page_that_is_away_fails_until_it_is_pinned_and_in_view() {
    let name = "system_call_on_a_page_that_is_away_fails_until_it_is_pinned_and_in_view";
    if !kernel::grants(name, NEEDED) {
        return;
    }
    // System memory for half: what was evicted comes home without being in view.
    let (space, span) = space(config(0, BYTES, Some(BYTES / 2)));
    let all = || (0..PAGES).map(|page| span.start() + page * PAGE);
    for page in 0..PAGES {
        space.window(span).store_u64(page * PAGE + 8, page as u64 + 1).expect("inside");
    }
    let first = span.part(0, BYTES / 8).expect("inside");
    space.prefetch(first, Side::DEVICE).expect("there is room");
    let refused = read_to(first.start(), 5).expect_err("no handler answers");
    assert_eq!(refused.raw_os_error(), Some(libc::EFAULT));
    let failed = all().filter(|address| read_to(*address, 5).is_err()).count();
    assert!(failed >= BYTES / 8 / PAGE, "{failed}");
    // A touch answers, once.
    assert_eq!(space.window(first).load_u64(8), Ok(1));
    read_to(first.start(), 6).expect("the page is there");
    let pinned = space.pin(first).expect("there is room");
    space.prefetch(first, Side::Ram).expect("they are home");
    for page in 0..BYTES / 8 / PAGE {
        read_to(first.start() + page * PAGE, 100 + page as u64).expect("in view");
        assert_eq!(space.window(first).load_u64(page * PAGE), Ok(100 + page as u64));
        assert_eq!(space.window(first).load_u64(page * PAGE + 8), Ok(page as u64 + 1));
    }
    drop(pinned);
}

#[test]
fn program_memory_joins_no_such_space() {
    let own = Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere).expect("a page");
    let program = Some(ProgramMemory::of(own));
    let refused = Space::new(SpaceConfig { program, ..config(0, BYTES, None) }).err().expect("refused");
    assert!(matches!(refused, SetupError::ToucherAdopts), "{refused}");
}

/// What a byte of a stack holds before it is used.
const UNUSED: u8 = 0xA5;

/// Touches all pages of memory, on a stack that is looked at afterwards.
extern "C" fn touch_all(window: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: the test's own window, which outlives the thread.
    let window = unsafe { &*window.cast::<SharedBytes<'_>>() };
    for page in 0..PAGES {
        window.store_u64(page * PAGE, 1).expect("inside");
    }
    std::ptr::null_mut()
}

/// Bytes of stack that a thread uses to touch all pages.
fn stack_of(window: SharedBytes<'_>) -> usize {
    let mut stack = vec![UNUSED; 1 << 20];
    let (mut attributes, mut thread) = (std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit(), 0);
    // SAFETY: room for attributes.
    assert_eq!(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) }, 0);
    let (start, len) = (stack.as_mut_ptr().cast(), stack.len());
    // SAFETY: initialised, and a stack that outlives the thread.
    assert_eq!(unsafe { libc::pthread_attr_setstack(attributes.as_mut_ptr(), start, len) }, 0);
    let argument = (&raw const window).cast_mut().cast();
    // SAFETY: all of it outlives the thread, which is waited for.
    let made = unsafe { libc::pthread_create(&raw mut thread, attributes.as_ptr(), touch_all, argument) };
    assert_eq!(made, 0);
    // SAFETY: a thread that nobody else waits for.
    assert_eq!(unsafe { libc::pthread_join(thread, std::ptr::null_mut()) }, 0);
    stack.len() - stack.iter().take_while(|byte| **byte == UNUSED).count()
}

#[test]
fn touch_needs_no_more_stack_than_the_program_is_told() {
    if !kernel::grants("touch_needs_no_more_stack_than_the_program_is_told", NEEDED) {
        return;
    }
    let short = config(0, BYTES, Some(BYTES / 2));
    let unchecked = SpaceConfig { checked: false, ..config(9, BYTES, None) };
    let named = SpaceConfig { ram: Some(BYTES / 2), ..SpaceConfig::new(2 * BYTES, BYTES) };
    let named = SpaceConfig { readers: Some(Readers::Toucher), ..named.with_policy(PolicyName::default()) };
    for config in [short, unchecked, named] {
        let (space, span) = space(config);
        for _ in 0..2 {
            // The thread itself has about 4 KiB, its thread-local memory included.
            let used = stack_of(space.window(span));
            println!("{used} bytes of stack");
            assert!(used <= STACK, "{used}");
            let _: Result<(), _> = space.prefetch(span, Side::DEVICE);
        }
    }
}

/// Set in the child that is to die, to the case that it does.
const CASE: &str = "BIFOLIO_TEST_TOUCHERS";

#[test]
fn what_is_no_fault_of_the_space_ends_the_process() {
    let name = "what_is_no_fault_of_the_space_ends_the_process";
    if !kernel::grants(name, NEEDED) {
        return;
    }
    if let Ok(case) = std::env::var(CASE) {
        die(&case);
    }
    for case in ["freed", "beyond a file", "signal blocked"] {
        let test = std::env::current_exe().expect("this test");
        let child = Command::new(test).args(["--exact", name, "--nocapture"]).env(CASE, case).output();
        let child = child.expect("the child runs");
        let told = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(libc::SIGBUS), "{case}: {:?} {told}", child.status);
    }
}

fn die(case: &str) -> ! {
    process::no_core_dump();
    let (space, span) = space(config(0, BYTES, None));
    space.window(span).store_u64(0, 1).expect("inside");
    match case {
        "freed" => {
            space.free(span.start()).expect("nothing holds it");
            let _ = space.window(span).load_u64(0);
        }
        "beyond a file" => {
            let file = Memfd::create("cut", PAGE).expect("a file");
            let mapped = Mapping::shared(&file, 0, PAGE, Protection::Read, Placement::Anywhere);
            let mapped = mapped.expect("a mapping");
            file.set_len(0).expect("open");
            let _ = mapped.all().load_u64(0);
        }
        "signal blocked" => {
            space.prefetch(span, Side::DEVICE).expect("there is room");
            process::block_all_signals_in_this_thread().expect("64 signals");
            let _ = space.window(span).load_u64(0);
        }
        other => panic!("no case {other}"),
    }
    panic!("{case}: no signal");
}
