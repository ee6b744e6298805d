//! The contract between a space and its device, kept by the built-in device, by a hosted device that is used through a port,
//! and by a device of a program (`examples/own_device.rs`) alike.

mod kernel;
#[path = "../examples/own_device.rs"]
#[expect(dead_code, reason = "the example's own main")]
mod own_device;

use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bifolio_host::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, FaultHandler, Point, TableUpdate,
};
use bifolio_host::fault_loop::Readers;
use bifolio_host::{
    AddressRange, Builtin, Counter, DeviceSlot, Event, EventKind, Failure, FixedOrders, Hosted, Kernel,
    Memory, NodeId, Observer, Order, PAGE, Port, Rights, SetupError, Side, Space, SpaceConfig, Unit,
};
use own_device::Walker;

const SPACE: usize = 8 << 20;
const VRAM: usize = 1 << 20;
const BYTES: usize = 4 << 20;
/// Far longer than any of these tests takes.
const LIMIT: Duration = Duration::from_secs(120);

/// A device, as these tests use it.
trait Subject: Device + Sized + 'static {
    fn space(config: SpaceConfig) -> Space<Self>;
    fn load(space: &Space<Self>, address: usize) -> Result<u64, DeviceFault>;
    fn store(space: &Space<Self>, address: usize, value: u64) -> Result<(), DeviceFault>;
    /// Whether it tells reads from writes.
    const TELLS_WRITES: bool;
}

struct Load(usize, Mutex<u64>);
struct Store(usize, u64);

impl Kernel for Load {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        *self.1.lock().expect("no panic") = memory.load(self.0)?;
        Ok(())
    }
}

impl Kernel for Store {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        memory.store(self.0, self.1)
    }
}

impl Subject for Builtin {
    fn space(config: SpaceConfig) -> Space<Builtin> {
        Space::new(SpaceConfig { units: NonZeroUsize::MIN, ..config }).expect("a space")
    }

    fn load(space: &Space<Builtin>, address: usize) -> Result<u64, DeviceFault> {
        let load = Load(address, Mutex::new(0));
        space.launch(&load)?;
        Ok(load.1.into_inner().expect("no panic"))
    }

    fn store(space: &Space<Builtin>, address: usize, value: u64) -> Result<(), DeviceFault> {
        space.launch(&Store(address, value))
    }

    const TELLS_WRITES: bool = true;
}

/// A hosted device and the port of its model.
struct Modelled {
    hosted: Arc<Hosted>,
    port: Mutex<Port>,
}

impl Modelled {
    fn new(slot: DeviceSlot) -> Arc<Modelled> {
        let memory = Memory::new(slot.first, slot.pages).expect("memory");
        let hosted = Arc::new(Hosted::new(memory, slot.addresses));
        let port = Mutex::new(hosted.open_port(0));
        Arc::new(Modelled { hosted, port })
    }
}

impl Subject for Modelled {
    fn space(config: SpaceConfig) -> Space<Modelled> {
        Space::with_device(config, Modelled::new).expect("a space")
    }

    fn load(space: &Space<Modelled>, address: usize) -> Result<u64, DeviceFault> {
        space.device().port.lock().expect("no panic").resolving(|port| port.try_load(address))
    }

    fn store(space: &Space<Modelled>, address: usize, value: u64) -> Result<(), DeviceFault> {
        space.device().port.lock().expect("no panic").resolving(|port| port.try_store(address, value))
    }

    const TELLS_WRITES: bool = true;
}

impl Subject for Walker {
    fn space(config: SpaceConfig) -> Space<Walker> {
        Space::with_device(config, Walker::new).expect("a space")
    }

    fn load(space: &Space<Walker>, address: usize) -> Result<u64, DeviceFault> {
        space.device().load(address)
    }

    fn store(space: &Space<Walker>, address: usize, value: u64) -> Result<(), DeviceFault> {
        let write = |bytes: &mut [u8]| bytes.copy_from_slice(&value.to_ne_bytes());
        space.device().use_word(address, Rights::READ | Rights::WRITE, write)
    }

    const TELLS_WRITES: bool = false;
}

/// Passes everything on to another device.
macro_rules! delegate_device {
    ($device:ty, $inner:ident) => {
        impl Device for $device {
            fn capabilities(&self) -> Capabilities {
                self.$inner.capabilities()
            }

            fn attach(&self, handler: Arc<dyn FaultHandler>) {
                self.$inner.attach(handler);
            }

            fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
                self.before_copy()?;
                self.$inner.copy(batch)
            }

            fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
                self.$inner.update(batch)
            }

            fn wait(&self, point: Point) -> Result<(), DeviceError> {
                self.$inner.wait(point)
            }

            fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
                self.$inner.test_and_clear_accessed(address, order)
            }

            fn used_pages(&self, address: usize, order: Order) -> bifolio_host::device::UsedPages {
                self.$inner.used_pages(address, order)
            }

            fn thread_sleeps(&self, sleeper: bifolio_host::sleep::Sleeper) -> bifolio_host::sleep::Seen {
                self.$inner.thread_sleeps(sleeper)
            }
        }
    };
}

impl Modelled {
    fn before_copy(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

delegate_device!(Modelled, hosted);

/// A checked space whose policy moves what a device uses, and never has it used where it is.
fn checked() -> SpaceConfig {
    let policy = FixedOrders::for_memory((VRAM / PAGE) as u64, (SPACE / PAGE) as u64);
    SpaceConfig {
        checked: true,
        readers: Some(Readers::Separate),
        policy: Some(Box::new(policy)),
        ..SpaceConfig::new(SPACE, VRAM)
    }
}

/// Does `work` on a checked space of a device and an allocation four times its memory; fails if it does not come to an end.
fn in_time<D: Subject>(test: &str, work: impl FnOnce(&Space<D>, AddressRange) + Send + 'static) {
    if !kernel::grants(test, kernel::SHARED) {
        return;
    }
    let (done, wait) = channel();
    std::thread::spawn(move || {
        let space = D::space(checked());
        let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
        work(&space, span);
        assert_eq!(space.audit(), []);
        assert_eq!(space.statistics().get(Counter::Violations), 0);
        done.send(()).expect("the test waits");
    });
    match wait.recv_timeout(LIMIT) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => panic!("hangs"),
        Err(RecvTimeoutError::Disconnected) => panic!("fails: see above"),
    }
}

fn pages(span: AddressRange) -> impl Iterator<Item = usize> {
    (span.start()..span.end()).step_by(PAGE)
}

fn more_than_fits_keeps_every_word<D: Subject>(space: &Space<D>, span: AddressRange) {
    let window = space.window(span);
    for at in pages(span) {
        window.store_u64(at - span.start(), at as u64).expect("inside");
    }
    for at in pages(span) {
        assert_eq!(D::load(space, at), Ok(at as u64));
        D::store(space, at + 8, at as u64 + 1).expect("answered");
    }
    for at in pages(span) {
        assert_eq!(window.load_u64(at - span.start()), Ok(at as u64));
        assert_eq!(window.load_u64(at - span.start() + 8), Ok(at as u64 + 1));
    }
    assert!(space.statistics().get(Counter::Evictions) > 0);
}

fn what_was_only_read_goes_home_uncopied<D: Subject>(space: &Space<D>, span: AddressRange) {
    let window = space.window(span);
    pages(span).for_each(|at| window.store_u64(at - span.start(), at as u64).expect("inside"));
    for at in pages(span) {
        assert_eq!(D::load(space, at), Ok(at as u64));
    }
    let home = space.statistics().get(Counter::BytesToRam);
    if D::TELLS_WRITES {
        assert_eq!(home, 0, "nothing was written on the device");
        D::store(space, span.start() + 8, 7).expect("answered");
        space.prefetch(span, Side::Ram).expect("room at home");
        assert_eq!(space.statistics().get(Counter::BytesToRam), PAGE as u64, "one page was written");
    } else {
        assert_eq!(home, (BYTES - VRAM) as u64, "any page may have been written");
        D::store(space, span.start() + 8, 7).expect("answered");
    }
    assert_eq!(window.load_u64(8), Ok(7));
    pages(span).for_each(|at| assert_eq!(window.load_u64(at - span.start()), Ok(at as u64)));
}

fn rights_hold_for_the_device<D: Subject>(space: &Space<D>, span: AddressRange) {
    D::store(space, span.start(), 5).expect("answered");
    space.protect(span, Rights::READ).expect("allocated");
    assert_eq!(D::load(space, span.start()), Ok(5));
    let refused = D::store(space, span.start(), 6);
    assert!(matches!(refused, Err(DeviceFault::Denied { .. })), "{refused:?}");
    assert_eq!(space.window(span).load_u64(0), Ok(5));
}

fn addresses_of_no_allocation_are_refused<D: Subject>(space: &Space<D>, span: AddressRange) {
    let outside = space.addresses().end() + PAGE;
    assert_eq!(D::load(space, outside), Err(DeviceFault::NotMapped { address: outside }));
    D::store(space, span.start(), 5).expect("answered");
    space.free(span.start()).expect("no folio is held elsewhere");
    let freed = D::load(space, span.start());
    assert_eq!(freed, Err(DeviceFault::NotMapped { address: span.start() }));
}

fn one_thread_is_model_and_host<D: Subject>(space: &Space<D>, span: AddressRange) {
    let window = space.window(span);
    for at in pages(span).take(64) {
        for round in 0..4 {
            D::store(space, at, round).expect("answered");
            assert_eq!(window.load_u64(at - span.start()), Ok(round));
            window.store_u64(at - span.start(), round + 10).expect("inside");
            assert_eq!(D::load(space, at), Ok(round + 10));
        }
    }
}

fn host_and_device_race_for_the_same_pages<D: Subject>(space: &Space<D>, span: AddressRange) {
    let (window, done) = (space.window(span), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8 {
                for at in (0..64 * PAGE).step_by(PAGE) {
                    window.store_u64(at, window.load_u64(at).expect("inside") + 1).expect("inside");
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut rounds = 0;
        while rounds < 8 || !done.load(Ordering::Acquire) {
            for at in pages(span).take(64) {
                D::store(space, at + 8, rounds).expect("answered");
            }
            rounds += 1;
        }
        let last = rounds - 1;
        pages(span).take(64).for_each(|at| assert_eq!(D::load(space, at + 8), Ok(last)));
    });
    (0..64).for_each(|page| assert_eq!(window.load_u64(page * PAGE), Ok(8)));
}

fn after_the_end_bytes_are_home_and_faults_refused<D: Subject>(space: &Space<D>, span: AddressRange) {
    D::store(space, span.start(), 9).expect("answered");
    space.close().expect("nothing is held");
    assert_eq!(space.window(span).load_u64(0), Ok(9));
    let refused = D::load(space, span.start() + PAGE);
    assert!(matches!(refused, Err(DeviceFault::Detached { .. })), "{refused:?}");
}

macro_rules! kept_by_each_device {
    ($($test:ident),* $(,)?) => {
        mod builtin { $(#[test] fn $test() { super::in_time::<super::Builtin>(stringify!($test), super::$test); })* }
        mod hosted { $(#[test] fn $test() { super::in_time::<super::Modelled>(stringify!($test), super::$test); })* }
        mod foreign { $(#[test] fn $test() { super::in_time::<super::Walker>(stringify!($test), super::$test); })* }
    };
}

kept_by_each_device!(
    more_than_fits_keeps_every_word,
    what_was_only_read_goes_home_uncopied,
    rights_hold_for_the_device,
    addresses_of_no_allocation_are_refused,
    one_thread_is_model_and_host,
    host_and_device_race_for_the_same_pages,
    after_the_end_bytes_are_home_and_faults_refused,
);

#[test]
fn own_device_walks_the_pointers_of_the_program() {
    if kernel::grants("own_device_walks_the_pointers_of_the_program", kernel::SHARED) {
        let told = own_device::walk(1024, 1 << 20).expect("it runs");
        assert!(told.starts_with("sum 523776, ") && !told.contains(", 0 folios"), "{told}");
    }
}

#[test]
fn device_without_faults_is_prepared_before_it_runs() {
    if !kernel::grants("device_without_faults_is_prepared_before_it_runs", kernel::SHARED) {
        return;
    }
    let space = Space::with_device(checked(), |slot| {
        let capabilities = Capabilities::new(slot.pages).without_faults();
        let memory = Memory::new(slot.first, slot.pages).expect("memory");
        Arc::new(Hosted::with_capabilities(memory, slot.addresses, capabilities, LIMIT))
    })
    .expect("a space");
    let span = AddressRange::new(space.allocate(VRAM / 2).expect("room"), VRAM / 2).expect("pages");
    space.window(span).store_u64(0, 3).expect("inside");
    space.prepare(span, NodeId(0)).expect("it fits");
    let mut port = space.device().open_port(0);
    assert_eq!(port.try_load(span.start()), Ok(3_u64));
    for at in pages(span) {
        port.try_load::<u64>(at).expect("all of it is there");
    }
}

#[test]
fn devices_join_a_space_that_runs() {
    if !kernel::grants("devices_join_a_space_that_runs", kernel::SHARED) {
        return;
    }
    let config = SpaceConfig { readers: Some(Readers::Separate), ..SpaceConfig::new(SPACE, VRAM) };
    let space = Space::without_devices(config).expect("a space");
    let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
    let window = space.window(span);
    window.store_u64(0, 1).expect("inside");
    let mut ports = Vec::new();
    for number in 0..2 {
        let hosted = Mutex::new(None);
        let make = |slot: DeviceSlot| {
            let memory = Memory::new(slot.first, slot.pages).expect("memory");
            let device = Arc::new(Hosted::new(memory, slot.addresses));
            hosted.lock().expect("no panic").replace(Arc::clone(&device));
            Ok::<_, SetupError>(device as Arc<dyn Device>)
        };
        assert_eq!(space.attach(VRAM, make).expect("fits"), NodeId(number));
        let hosted = hosted.into_inner().expect("no panic").expect("made");
        ports.push(hosted.open_port(0));
    }
    for round in 0..4_u64 {
        for port in &mut ports {
            for at in pages(span) {
                port.resolving(|port| port.try_store(at + 8, round)).expect("answered");
            }
        }
    }
    pages(span).for_each(|at| assert_eq!(window.load_u64(at - span.start() + 8), Ok(3)));
    assert_eq!(window.load_u64(0), Ok(1));
    space.engine().detach_node(NodeId(0), LIMIT).expect("nothing is held");
    assert_eq!(ports[1].resolving(|port| port.try_load::<u64>(span.start())), Ok(1));
    assert_eq!(space.audit(), []);
    space.close().expect("nothing is held");
}

#[test]
fn program_without_handlers_serves_faults_itself() {
    if !kernel::grants("program_without_handlers_serves_faults_itself", kernel::SHARED) {
        return;
    }
    let config = SpaceConfig { readers: Some(Readers::Caller), ..SpaceConfig::new(SPACE, VRAM) };
    let space = Space::with_device(config, Modelled::new).expect("a space");
    let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
    assert_eq!(space.serve(Duration::from_millis(1), 1).expect("nothing waits"), 0);
    Modelled::store(&space, span.start(), 4).expect("answered on this thread");
    let window = space.window(span);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| window.load_u64(0));
        while !reader.is_finished() {
            space.serve(Duration::from_millis(1), 16).expect("faults can be read");
        }
        assert_eq!(reader.join().expect("no panic"), Ok(4));
    });
}

/// A device whose memory is gone once it is told so.
struct Losing {
    inner: Arc<Walker>,
    lost: AtomicBool,
}

impl Losing {
    fn before_copy(&self) -> Result<(), DeviceError> {
        if self.lost.load(Ordering::Relaxed) { Err(DeviceError::Lost) } else { Ok(()) }
    }
}

delegate_device!(Losing, inner);

/// Prints what is told of lost memory.
struct Teller(Mutex<Vec<String>>);

impl Observer for Teller {
    fn observe(&self, event: &Event<'_>) {
        let text = match event.kind {
            EventKind::DeviceLost { node, .. } => format!("device {} is lost", node.0),
            EventKind::Poisoned { why: Failure::CopyFailed, .. } => "page is poisoned".to_owned(),
            _ => return,
        };
        kernel::skip("no test, an event", &text);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

const CHILD: &str = "BIFOLIO_TEST_LOST";

#[test]
fn lost_device_is_told_before_the_signal() {
    let name = "lost_device_is_told_before_the_signal";
    if !kernel::grants(name, kernel::SHARED) {
        return;
    }
    if std::env::var_os(CHILD).is_none() {
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("the child runs");
        let told = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(7), "SIGBUS: {told}");
        assert!(told.contains("device 0 is lost") && told.contains("page is poisoned"), "{told}");
        return;
    }
    let teller = Arc::new(Teller(Mutex::default()));
    let config = SpaceConfig { observers: vec![teller], ..SpaceConfig::new(SPACE, VRAM) };
    let make = |slot| Arc::new(Losing { inner: Walker::new(slot), lost: AtomicBool::new(false) });
    let space = Space::with_device(config, make).expect("a space");
    let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
    space
        .device()
        .inner
        .use_word(span.start(), Rights::READ | Rights::WRITE, |bytes| bytes.fill(1))
        .expect("answered");
    space.device().lost.store(true, Ordering::Relaxed);
    let touched = space.window(span).load_u64(0);
    panic!("read {touched:?} from a lost device");
}
