//! Buffer objects and shared memory in one device memory: each evicts the other, and no byte is lost.
#![expect(clippy::print_stdout, reason = "a test tells how much it tried")]

mod kernel;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::detach::{DetachError, StillPinned};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::Order;
use bifolio_host::{Buffer, BufferError, Counter, PoolName, Side, Space, SpaceConfig};
use bifolio_migrate::Failure;
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

const MIB: usize = 1 << 20;

fn space(size: usize, vram: usize, order: u8) -> Space {
    Space::new(config(size, vram, order)).expect("a space")
}

fn config(size: usize, vram: usize, order: u8) -> SpaceConfig {
    let largest = Order::new(order).expect("small");
    let policy = Box::new(FixedOrders { largest, smallest: Order::ZERO, populate: largest });
    let units = NonZeroUsize::MIN;
    SpaceConfig { checked: true, units, policy: Some(policy), ..SpaceConfig::new(size, vram) }
}

/// Adds `value` to one word of every page.
struct Add {
    address: usize,
    bytes: usize,
    value: u64,
}

impl Kernel for Add {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        for page in (self.address..self.address + self.bytes).step_by(PAGE) {
            memory.fetch_add(page, self.value)?;
        }
        Ok(())
    }
}

/// Bytes that differ by buffer, place and generation.
fn pattern(buffer: usize, generation: u64, len: usize) -> Vec<u8> {
    let word = |at: usize| {
        (at as u64 ^ (generation << 32) ^ (buffer as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    (0..len / 8).flat_map(|at| word(at).to_le_bytes()).collect()
}

fn contents(buffer: &Buffer<'_>) -> Vec<u8> {
    let mut bytes = vec![0; buffer.len()];
    buffer.read(0, &mut bytes).expect("inside");
    bytes
}

/// Shared memory whose pages hold their own numbers, brought to the device.
fn on_device(space: &Space, bytes: usize) -> AddressRange {
    let span = AddressRange::new(space.allocate(bytes).expect("room"), bytes).expect("pages");
    for page in 0..bytes / PAGE {
        space.window(span).store_u64(page * PAGE, page as u64).expect("inside");
    }
    space.prefetch(span, Side::DEVICE).expect("room there");
    span
}

fn check_pages(space: &Space, span: AddressRange, added: u64) {
    for page in 0..span.len() / PAGE {
        assert_eq!(space.window(span).load_u64(page * PAGE), Ok(page as u64 + added), "page {page}");
    }
}

fn all_is_well(space: &Space) {
    assert_eq!(space.audit(), [], "{:?}", space.statistics());
    assert_eq!(space.statistics().get(Counter::Violations), 0);
}

#[test]
fn buffer_holds_its_bytes_in_as_many_blocks_as_it_takes() {
    if !kernel::grants("buffer_holds_its_bytes_in_as_many_blocks_as_it_takes", kernel::SHARED) {
        return;
    }
    let space = space(16 * MIB, 8 * MIB, 9);
    let buffer = space.allocate_buffer(5 * MIB + 3 * PAGE - 1).expect("room");
    let pages = (5 * MIB / PAGE + 3) as u64;
    assert_eq!((buffer.len(), buffer.is_on_device()), (5 * MIB + 3 * PAGE, true));
    assert_eq!(contents(&buffer), vec![0; buffer.len()]);
    assert_eq!(space.engine().nodes()[0].pagemap().pool().usage().pages, pages, "no page more");
    let bytes = pattern(1, 0, buffer.len());
    buffer.write(0, &bytes).expect("inside");
    buffer.write(4090, b"across a border").expect("inside");
    let mut expected = bytes;
    expected[4090..4105].copy_from_slice(b"across a border");
    assert!(contents(&buffer) == expected);
    all_is_well(&space);
    drop(buffer);
    assert_eq!(space.engine().nodes()[0].pagemap().pool().free_pages(), 8 * MIB as u64 / 4096);
    all_is_well(&space);
}

#[test]
fn kernels_reach_an_buffer_while_it_is_pinned_and_not_otherwise() {
    if !kernel::grants("kernels_reach_an_buffer_while_it_is_pinned_and_not_otherwise", kernel::SHARED) {
        return;
    }
    let space = space(16 * MIB, 8 * MIB, 9);
    let buffer = space.allocate_buffer(MIB + PAGE).expect("room");
    let (first, second) = (buffer.pin().expect("room"), buffer.pin().expect("room"));
    let add = Add { address: first.address(), bytes: buffer.len(), value: 7 };
    drop(first);
    space.launch(&add).expect("it is pinned once more");
    drop(second);
    let mut word = [0; 8];
    buffer.read(MIB, &mut word).expect("inside");
    assert_eq!(u64::from_le_bytes(word), 7);
    assert_eq!(space.launch(&add), Err(DeviceFault::NotMapped { address: add.address }));
}

#[test]
fn bytes_outside_of_an_buffer_are_refused() {
    if !kernel::grants("bytes_outside_of_an_buffer_are_refused", kernel::SHARED) {
        return;
    }
    let space = space(4 * MIB, MIB, 9);
    let buffer = space.allocate_buffer(1).expect("room");
    let outside = |offset, len| Err(BufferError::Outside { offset, len, bytes: PAGE });
    assert_eq!(buffer.write(PAGE - 1, &[1, 2]), outside(PAGE - 1, 2));
    assert_eq!(buffer.read(usize::MAX, &mut [0]), outside(usize::MAX, 1));
    assert_eq!(contents(&buffer), vec![0; PAGE]);
}

#[test]
fn buffer_evicts_shared_memory_whose_bytes_stay() {
    if !kernel::grants("buffer_evicts_shared_memory_whose_bytes_stay", kernel::SHARED) {
        return;
    }
    for order in [0, 4, 9] {
        let space = space(32 * MIB, 8 * MIB, order);
        let span = on_device(&space, 8 * MIB);
        assert_eq!(space.engine().nodes()[0].pagemap().pool().free_pages(), 0, "it fills the device");
        let buffer = space.allocate_buffer(5 * MIB).expect("shared memory makes room");
        buffer.write(0, &pattern(1, 1, buffer.len())).expect("inside");
        assert!(space.statistics().get(Counter::Evictions) >= ((5 * MIB / PAGE) >> order) as u64);
        all_is_well(&space);
        check_pages(&space, span, 0);
        assert!(contents(&buffer) == pattern(1, 1, buffer.len()));
        all_is_well(&space);
    }
}

#[test]
fn device_faults_evict_buffers_whose_bytes_come_back() {
    if !kernel::grants("device_faults_evict_buffers_whose_bytes_come_back", kernel::SHARED) {
        return;
    }
    for order in [0, 4, 9] {
        let space = space(32 * MIB, 8 * MIB, order);
        let buffers: Vec<_> = (0..4).map(|_| space.allocate_buffer(2 * MIB).expect("room")).collect();
        for (number, buffer) in buffers.iter().enumerate() {
            buffer.write(0, &pattern(number, 2, buffer.len())).expect("inside");
        }
        let address = space.allocate(6 * MIB).expect("room");
        let add = Add { address, bytes: 6 * MIB, value: 3 };
        space.launch(&add).expect("buffers make room");
        assert_eq!(
            space.statistics().get(Counter::BufferEvictions),
            3,
            "order {order} {:?}",
            space.statistics()
        );
        let on_device: Vec<bool> = buffers.iter().map(Buffer::is_on_device).collect();
        assert_eq!(on_device, [false, false, false, true], "the least recently used went first");
        all_is_well(&space);
        for (number, buffer) in buffers.iter().enumerate() {
            buffer.validate().expect("shared memory makes room");
            assert!(contents(buffer) == pattern(number, 2, buffer.len()), "buffer {number} at order {order}");
        }
        // The last one was older than the shared memory, so it went for the first one that came back.
        assert_eq!(space.statistics().get(Counter::BufferReturns), 4);
        let span = AddressRange::new(address, 6 * MIB).expect("pages");
        (0..span.len()).step_by(PAGE).for_each(|at| assert_eq!(space.window(span).load_u64(at), Ok(3)));
        all_is_well(&space);
    }
}

#[test]
fn least_recently_used_goes_first_whatever_it_is() {
    if !kernel::grants("least_recently_used_goes_first_whatever_it_is", kernel::SHARED) {
        return;
    }
    let space = space(32 * MIB, 8 * MIB, 9);
    let old = space.allocate_buffer(2 * MIB).expect("room");
    let span = on_device(&space, 4 * MIB);
    let new = space.allocate_buffer(2 * MIB).expect("room");
    // A use makes it young again; the first half of the shared memory is now the oldest.
    old.validate().expect("it is there");
    let another = space.allocate_buffer(2 * MIB).expect("shared memory makes room");
    assert_eq!([&old, &new, &another].map(Buffer::is_on_device), [true; 3]);
    assert_eq!(space.statistics().get(Counter::Evictions), 1);
    // The device uses the other half, which is seen when its turn comes.
    let half = Add { address: span.start() + 2 * MIB, bytes: 2 * MIB, value: 0 };
    space.launch(&half).expect("it is there");
    let fifth = space.allocate_buffer(2 * MIB).expect("a buffer makes room");
    assert_eq!([&old, &new, &another, &fifth].map(Buffer::is_on_device), [true, false, true, true]);
    assert_eq!(space.statistics().get(Counter::Evictions), 1);
    check_pages(&space, span, 0);
    all_is_well(&space);
}

#[test]
fn when_all_is_pinned_shared_memory_is_used_where_it_is_and_nothing_waits() {
    if !kernel::grants(
        "when_all_is_pinned_shared_memory_is_used_where_it_is_and_nothing_waits",
        kernel::SHARED,
    ) {
        return;
    }
    let space = space(32 * MIB, 8 * MIB, 9);
    let buffers: Vec<_> = (0..4).map(|_| space.allocate_buffer(2 * MIB).expect("room")).collect();
    let pins: Vec<_> = buffers.iter().map(|buffer| buffer.pin().expect("room")).collect();
    let span = AddressRange::new(space.allocate(2 * MIB).expect("room"), 2 * MIB).expect("pages");
    space.window(span).store_u64(0, 5).expect("inside");
    let refused = space.allocate_buffer(PAGE).map(|buffer| buffer.len());
    assert_eq!(refused, Err(BufferError::NoDeviceMemory { pages: 1 }));
    space.launch(&Add { address: span.start(), bytes: PAGE, value: 1 }).expect("it is used where it is");
    assert_eq!(space.window(span).load_u64(0), Ok(6));
    assert!(space.statistics().get(Counter::BytesRemote) > 0);
    let retries = space.statistics().get(Counter::Busy);
    assert!(retries < 100, "what is pinned is not waited for: {retries} retries");
    let too_large = space.allocate_buffer(9 * MIB).map(|buffer| buffer.len());
    assert_eq!(too_large, Err(BufferError::NoDeviceMemory { pages: 2304 }));
    drop(pins);
    space.prefetch(span, Side::DEVICE).expect("a buffer makes room");
    space.launch(&Add { address: span.start(), bytes: PAGE, value: 1 }).expect("it is there");
    assert_eq!(space.window(span).load_u64(0), Ok(7));
    all_is_well(&space);
}

#[test]
fn buffers_count_against_a_limit_of_system_memory_wherever_they_are() {
    if !kernel::grants("buffers_count_against_a_limit_of_system_memory_wherever_they_are", kernel::SHARED) {
        return;
    }
    let config = SpaceConfig { ram: Some(8 * MIB), ..config(64 * MIB, 8 * MIB, 4) };
    let space = Space::new(config).expect("a space");
    let buffers: Vec<_> = (0..2).map(|_| space.allocate_buffer(2 * MIB).expect("room")).collect();
    buffers.iter().for_each(|buffer| buffer.write(0, &pattern(0, 0, buffer.len())).expect("inside"));
    let refused = space.allocate_buffer(5 * MIB).map(|buffer| buffer.len());
    assert_eq!(refused, Err(BufferError::NoRam { pages: 1280 }));
    // 8 MiB of shared memory and the buffers fit both memories together, and all of them move.
    let span = AddressRange::new(space.allocate(8 * MIB).expect("room"), 8 * MIB).expect("pages");
    for round in 1..3 {
        space.launch(&Add { address: span.start(), bytes: span.len(), value: 1 }).expect("all make room");
        for buffer in &buffers {
            buffer.validate().expect("shared memory makes room");
            assert!(contents(buffer) == pattern(0, 0, buffer.len()));
        }
        (0..span.len()).step_by(PAGE).for_each(|at| assert_eq!(space.window(span).load_u64(at), Ok(round)));
        assert!(space.engine().budget().used_pages() <= 2048);
    }
    assert!(space.statistics().get(Counter::BufferEvictions) > 0);
    all_is_well(&space);
    drop(buffers);
    all_is_well(&space);
}

#[test]
fn split_folios_of_one_buffer_go_together_and_leave_room_for_2_mib() {
    if !kernel::grants("split_folios_of_one_buffer_go_together_and_leave_room_for_2_mib", kernel::SHARED) {
        return;
    }
    let space = space(16 * MIB, 2 * MIB, 9);
    let span = on_device(&space, 2 * MIB);
    let border = span.part(MIB, MIB).expect("inside");
    // Unmapping splits folios; what stays is in many of them, on one buffer.
    let engine = space.engine();
    engine.unmap(border.start() + PAGE..border.end() - PAGE).expect("it is not in use");
    assert!(engine.nodes()[0].pagemap().pool().usage().references > 1);
    let buffer = space.allocate_buffer(2 * MIB).expect("the buffer goes as a whole");
    assert_eq!(engine.nodes()[0].pagemap().pool().usage().objects, 1);
    assert!(buffer.is_on_device());
    for page in (0..MIB / PAGE + 1).chain([511]) {
        assert_eq!(space.window(span).load_u64(page * PAGE), Ok(page as u64));
    }
    all_is_well(&space);
}

#[test]
fn closing_brings_buffers_home_and_waits_for_those_in_use() {
    if !kernel::grants("closing_brings_buffers_home_and_waits_for_those_in_use", kernel::SHARED) {
        return;
    }
    let space = space(16 * MIB, 8 * MIB, 9);
    let buffers = [MIB + PAGE, 2 * MIB].map(|bytes| space.allocate_buffer(bytes).expect("room"));
    for (number, buffer) in buffers.iter().enumerate() {
        buffer.write(0, &pattern(number, 4, buffer.len())).expect("inside");
    }
    let pinned = buffers[1].pin().expect("it is there");
    let still = space.engine().detach(Duration::from_millis(1));
    assert_eq!(still, Err(DetachError::StillPinned(StillPinned { pages: 512 })));
    assert_eq!([&buffers[0], &buffers[1]].map(Buffer::is_on_device), [false, true]);
    drop(pinned);
    space.close().expect("it is not in use any more");
    assert_eq!(space.engine().nodes()[0].pagemap().pool().free_pages(), 8 * MIB as u64 / 4096);
    for (number, buffer) in buffers.iter().enumerate() {
        assert_eq!(buffer.validate(), Err(BufferError::Detached));
        assert!(contents(buffer) == pattern(number, 4, buffer.len()));
    }
    drop(buffers);
    all_is_well(&space);
}

/// How long the stress waits for what it is to show, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
const STRESS: Duration = Duration::from_millis(1000);

struct Increments<'t> {
    span: AddressRange,
    stop: &'t AtomicBool,
    done: &'t AtomicU64,
}

impl Kernel for Increments<'_> {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        let mut page = 0;
        while !self.stop.load(Ordering::Relaxed) {
            page = (page + 37) % (self.span.len() / PAGE);
            memory.fetch_add(self.span.start() + page * PAGE, 1)?;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Uses its buffer again and again: pinned or not, it must hold what was written last.
fn use_buffer(buffer: &Buffer<'_>, number: usize, stop: &AtomicBool, generations: &AtomicU64) {
    let (bytes, mut generation) = (buffer.len(), 0);
    while !stop.load(Ordering::Relaxed) {
        let pin = generation % 3 > 0;
        let pinned = pin.then(|| buffer.pin().expect("room can be made"));
        let expected = if generation == 0 { vec![0; bytes] } else { pattern(number, generation, bytes) };
        assert!(contents(buffer) == expected, "buffer {number} in generation {generation}");
        generation += 1;
        generations.store(generation, Ordering::Relaxed);
        buffer.write(0, &pattern(number, generation, bytes)).expect("inside");
        drop(pinned);
    }
    assert!(contents(buffer) == pattern(number, generation, bytes));
}

/// Increments the pages of `span` in turn, on the CPU.
fn increment(space: &Space, span: AddressRange, stop: &AtomicBool, done: &AtomicU64) {
    let window = space.window(span);
    for at in (0..span.len()).step_by(PAGE).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        window.fetch_add_u64(at, 1).expect("inside");
        done.fetch_add(1, Ordering::Relaxed);
        // Else all pages would be here, and none on the device.
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// What a stress has done by now.
#[derive(Default)]
struct Done {
    by_cpu: AtomicU64,
    by_device: AtomicU64,
    /// How often each buffer was written.
    generations: [AtomicU64; 3],
}

impl Done {
    fn increments(&self) -> u64 {
        self.by_cpu.load(Ordering::Relaxed) + self.by_device.load(Ordering::Relaxed)
    }

    /// Tells whether there was enough to lose, and folios and buffers have made room for each other.
    fn is_enough(&self, space: &Space) -> bool {
        let statistics = space.statistics();
        let all = [Counter::BufferEvictions, Counter::BufferReturns, Counter::Evictions];
        self.increments() > 100
            && self.generations.iter().all(|count| count.load(Ordering::Relaxed) > 2)
            && all.into_iter().all(|counter| statistics.get(counter) > 0)
    }
}

fn nothing_is_lost_where_both_compete(order: u8, vram: usize, ram: Option<usize>) {
    let space = Space::new(SpaceConfig { ram, ..config(32 * MIB, vram, order) }).expect("a space");
    let span = AddressRange::new(space.allocate(4 * MIB).expect("room"), 4 * MIB).expect("pages");
    let (stop, done) = (AtomicBool::new(false), Done::default());
    // Made before the rest begins: no room for another one can be promised while two of these are pinned.
    let buffers =
        [MIB + 5 * PAGE, MIB / 2, PAGE].map(|bytes| space.allocate_buffer(bytes).expect("all is free"));
    std::thread::scope(|scope| {
        let (space, stop, done) = (&space, &stop, &done);
        for (number, buffer) in buffers.iter().enumerate() {
            scope.spawn(move || use_buffer(buffer, number, stop, &done.generations[number]));
        }
        scope.spawn(move || increment(space, span, stop, &done.by_cpu));
        let increments = Increments { span, stop, done: &done.by_device };
        let job = scope.spawn(move || space.launch(&increments));
        let start = Instant::now();
        while start.elapsed() < STRESS || (start.elapsed() < PATIENCE && !done.is_enough(space)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        job.join().expect("no panic").expect("every device fault is answered");
    });
    let counted: u64 =
        (0..span.len()).step_by(PAGE).map(|at| space.window(span).load_u64(at).expect("inside")).sum();
    let count = |counter| space.statistics().get(counter);
    let (out, back) = (count(Counter::BufferEvictions), count(Counter::BufferReturns));
    let (increments, generations) = (done.increments(), &done.generations);
    println!(
        "order {order}: {increments} increments, generations {generations:?}, buffers {out} out, {back} back"
    );
    assert_eq!(counted, increments, "lost or doubled writes");
    assert!(done.is_enough(&space), "the stress did happen");
    all_is_well(&space);
    assert_eq!(count(Counter::Failures), 0);
    drop(buffers);
    space.close().expect("all folios are gone");
}

#[test]
fn nothing_is_lost_where_both_compete_at_4_kib() {
    if !kernel::grants("nothing_is_lost_where_both_compete_at_4_kib", kernel::SHARED) {
        return;
    }
    nothing_is_lost_where_both_compete(0, 2 * MIB, None);
}

#[test]
fn nothing_is_lost_where_both_compete_at_2_mib_with_little_ram() {
    if !kernel::grants("nothing_is_lost_where_both_compete_at_2_mib_with_little_ram", kernel::SHARED) {
        return;
    }
    nothing_is_lost_where_both_compete(9, 4 * MIB, Some(6 * MIB));
}

#[test]
fn buffer_is_made_while_system_memory_is_on_the_move() {
    if !kernel::grants("buffer_is_made_while_system_memory_is_on_the_move", kernel::SHARED) {
        return;
    }
    let space =
        Space::new(SpaceConfig { ram: Some(6 * MIB), ..config(32 * MIB, 4 * MIB, 9) }).expect("a space");
    let span = AddressRange::new(space.allocate(4 * MIB).expect("room"), 4 * MIB).expect("pages");
    let (stop, by_cpu, by_device) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let made = std::thread::scope(|scope| {
        let (space, stop, by_cpu) = (&space, &stop, &by_cpu);
        scope.spawn(move || increment(space, span, stop, by_cpu));
        let increments = Increments { span, stop, done: &by_device };
        let job = scope.spawn(move || space.launch(&increments));
        let start = Instant::now();
        let mut count = 0;
        // One at a time, so that only what moves stands in the way.
        let made: Vec<_> = std::iter::from_fn(|| {
            let goes_on = start.elapsed() < STRESS || (start.elapsed() < PATIENCE && count < 12);
            count += 1;
            goes_on.then(|| space.allocate_buffer(MIB + 5 * PAGE).map(drop))
        })
        .collect();
        stop.store(true, Ordering::Relaxed);
        job.join().expect("no panic").expect("every device fault is answered");
        made
    });
    assert!(made.len() > 10 && made.iter().all(Result::is_ok), "{} made: {made:?}", made.len());
    all_is_well(&space);
}

#[test]
fn buffers_and_shared_memory_evict_each_other_on_every_pool() {
    if !kernel::grants("buffers_and_shared_memory_evict_each_other_on_every_pool", kernel::SHARED) {
        return;
    }
    for pool in PoolName::ALL.iter().copied() {
        let space = Space::new(SpaceConfig { pool, ..config(32 * MIB, 8 * MIB, 6) }).expect("a space");
        let span = on_device(&space, 8 * MIB);
        let buffers: Vec<_> = [5 * MIB, MIB + PAGE, PAGE]
            .map(|bytes| space.allocate_buffer(bytes).expect("shared memory makes room"))
            .into_iter()
            .collect();
        for (number, buffer) in buffers.iter().enumerate() {
            buffer.write(0, &pattern(number, 3, buffer.len())).expect("inside");
        }
        all_is_well(&space);
        space.launch(&Add { address: span.start(), bytes: span.len(), value: 1 }).expect("buffers make room");
        assert!(space.statistics().get(Counter::BufferEvictions) > 0, "{pool}");
        all_is_well(&space);
        for (number, buffer) in buffers.iter().enumerate() {
            buffer.validate().expect("shared memory makes room");
            assert!(contents(buffer) == pattern(number, 3, buffer.len()), "buffer {number} on {pool}");
        }
        check_pages(&space, span, 1);
        all_is_well(&space);
        drop(buffers);
        space.close().expect("all folios are gone");
    }
}

#[test]
fn audits_beside_buffers_that_come_and_go_raise_no_alarm() {
    if !kernel::grants("audits_beside_buffers_that_come_and_go_raise_no_alarm", kernel::SHARED) {
        return;
    }
    let space = space(32 * MIB, 2 * MIB, 4);
    let span = on_device(&space, MIB);
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 1..3 {
            let (space, stop, made) = (&space, &stop, &made);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Each evicts some of the shared memory, or the other's buffer.
                    drop(space.allocate_buffer(number * 700 * 1024));
                    made.fetch_add(1, Ordering::Relaxed);
                    let address = space.allocate(64 * PAGE).expect("room");
                    space.free(address).expect("it is in no use");
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _: Result<(), Failure> = space.prefetch(span, Side::DEVICE);
            }
        });
        let mut found = Vec::new();
        while found.is_empty() && made.load(Ordering::Relaxed) < 400 {
            found = space.audit();
            std::thread::sleep(Duration::from_micros(300));
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(found, []);
    });
    check_pages(&space, span, 0);
    all_is_well(&space);
}
