//! What a page fault costs, by folio size: on the CPU for a folio that is on the device, and on the device.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::Order;
use bifolio_host::fault_loop::Readers;
use bifolio_host::{Side, Space, SpaceConfig};
use bifolio_policy::FixedOrders;
use bifolio_sys::process::{allowed_cpus, pin_this_thread};
use bifolio_sys::{AddressRange, SysError};
use bifolio_trace::{Options, Recorder};
use tempfile::NamedTempFile;

use crate::device_write::write_all;
use crate::floor::{Answered, CopyFloor, FaultFloor, Who};
use crate::progress::{Watch, prepare, repeat};
use crate::row::{BenchError, Effort, Row};
use crate::samples::Samples;

/// Most that a fault may cost, in floors.
const FAULT: f64 = 1.15;
/// Most that a checked fault may cost, in unchecked ones.
const CHECKED: f64 = 10.0;
/// Most that a recorded fault may cost, in faults that are not recorded.
const TRACED: f64 = 1.05;
/// Least that two threads should do of what one does.
const TWO: f64 = 1.7;
/// Handler threads, as a space has.
const HANDLERS: usize = 2;

/// Measures all rows of faults.
///
/// # Errors
/// If there is no userfaultfd or no memory.
pub fn rows(effort: Effort, watch: &mut Watch<'_>) -> Result<Vec<Row>, BenchError> {
    let rounds = match effort {
        Effort::Quick => 4,
        Effort::Full => 40,
    };
    let faults = |name, order, folios| Faults { name, order, folios, rounds };
    Ok(vec![
        cpu(&faults("fault.cpu.4k", Order::ZERO, 256), None, watch)?,
        cpu(&faults("fault.cpu.64k", Order::K64, 64), None, watch)?,
        cpu(&faults("fault.cpu.2m", Order::PMD, 16), None, watch)?,
        cpu(&faults("fault.toucher.4k", Order::ZERO, 256), Some(Readers::Toucher), watch)?,
        two_touchers(&faults("fault.toucher.4k.two", Order::ZERO, 1024), watch)?,
        device(&faults("fault.device.2m", Order::PMD, 16), watch)?,
        checked(&faults("checked.fault.2m", Order::PMD, 16), watch)?,
        traced(&faults("traced.fault.4k", Order::ZERO, 256), watch)?,
    ])
}

/// Faults to measure.
struct Faults {
    name: &'static str,
    /// Order of all folios.
    order: Order,
    folios: usize,
    rounds: usize,
}

/// A space of `folios` folios of one order, all written once, and their addresses.
pub(crate) fn space_of(order: Order, folios: usize) -> Result<(Space, AddressRange), BenchError> {
    let bytes = folios * byte_len(order);
    space_from(SpaceConfig::new(bytes, bytes), order)
}

/// The same by a configuration with device memory for all of the space.
fn space_from(mut config: SpaceConfig, order: Order) -> Result<(Space, AddressRange), BenchError> {
    let bytes = config.size;
    config.units = NonZeroUsize::MIN;
    config.policy = Some(Box::new(FixedOrders { largest: order, smallest: order, populate: order }));
    let space = Space::new(config)?;
    let address = space.allocate(bytes).map_err(|error| BenchError::Failed(error.to_string()))?;
    let span = AddressRange::new(address, bytes).expect("whole folios");
    space.window(span).fill_zero();
    // The first trip makes huge pages, which later ones find.
    move_all(&space, span, Side::DEVICE)?;
    move_all(&space, span, Side::Ram)?;
    Ok((space, span))
}

pub(crate) fn move_all(space: &Space, span: AddressRange, side: Side) -> Result<(), BenchError> {
    space.prefetch(span, side).map_err(|why| BenchError::Failed(format!("folios do not move: {why:?}")))
}

pub(crate) fn byte_len(order: Order) -> usize {
    usize::try_from(order.bytes()).expect("a folio fits memory")
}

/// Faults of the CPU on folios that the device has written, against a bare fault. The smaller folios' floor is
/// `UFFDIO_COPY`; that of 2 MiB is a plain copy, since `UFFDIO_COPY` of so much is far from the floor.
fn cpu(faults: &Faults, readers: Option<Readers>, watch: &mut Watch<'_>) -> Result<Row, BenchError> {
    let &Faults { name, order, folios, rounds } = faults;
    prepare(name, rounds, watch);
    let bytes = byte_len(order);
    let config = SpaceConfig { readers, ..SpaceConfig::new(folios * bytes, folios * bytes) };
    let (space, span) = space_from(config, order)?;
    let answered = if order == Order::PMD { Answered::CopyAside(bytes) } else { Answered::Copy(bytes) };
    let who = if readers == Some(Readers::Toucher) { Who::Toucher } else { Who::Threads(HANDLERS) };
    let floor = FaultFloor::new(folios, who, answered)?;
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    repeat(name, rounds, watch, |_| {
        move_all(&space, span, Side::DEVICE)?;
        write_all(&space, span)?;
        floor.reset()?;
        for folio in 0..folios {
            let touch = || space.window(span).read::<u8>(folio * bytes).expect("inside the allocation");
            ours.time(touch);
            bare.time(|| floor.touch(folio));
        }
        Ok::<(), BenchError>(())
    })?;
    Ok(Row::time(name, ours.median_us(), bare.median_us(), FAULT))
}

/// What two threads that answer their own faults do in a time, against what one does. Each touches the half of the memory that
/// the other leaves, which lie in different blocks.
fn two_touchers(faults: &Faults, watch: &mut Watch<'_>) -> Result<Row, BenchError> {
    let &Faults { name, order, folios, rounds } = faults;
    prepare(name, rounds, watch);
    let bytes = byte_len(order);
    let readers = Some(Readers::Toucher);
    let config = SpaceConfig { readers, ..SpaceConfig::new(folios * bytes, folios * bytes) };
    let (space, span) = space_from(config, order)?;
    let touch = |numbers: Range<usize>| {
        for folio in numbers {
            let _: u8 = space.window(span).read(folio * bytes).expect("inside the allocation");
        }
    };
    let half = folios / 2;
    let (mut alone, mut both) = (Samples::default(), Samples::default());
    repeat(name, rounds, watch, |_| {
        move_all(&space, span, Side::DEVICE)?;
        write_all(&space, span)?;
        alone.push(at_once(&[&|| touch(0..half)]));
        move_all(&space, span, Side::DEVICE)?;
        write_all(&space, span)?;
        both.push(at_once(&[&|| touch(0..half), &|| touch(half..folios)]));
        Ok::<(), BenchError>(())
    })?;
    let per_ms = |faults: usize, time: &Samples| faults as f64 * 1000.0 / time.median_us();
    Ok(Row::gain(name, "/ms", per_ms(folios, &both), per_ms(half, &alone), TWO))
}

/// Does several things at once, each on a thread and a processor of its own, and tells the time from the start of the first to the end of the
/// last.
fn at_once(work: &[&(dyn Fn() + Sync)]) -> Duration {
    let ready = AtomicUsize::new(0);
    let processors = allowed_cpus().unwrap_or_default();
    let timed = |number: usize| {
        // Where there are fewer, or none may be chosen, the kernel's choice has to do: it puts new threads together for
        // milliseconds, which is as long as all of this takes.
        if let Some(processor) = processors.get(number) {
            let _: Result<(), SysError> = pin_this_thread(*processor);
        }
        ready.fetch_add(1, Ordering::SeqCst);
        // Threads that sleep until all are there would not begin at once.
        while ready.load(Ordering::SeqCst) < work.len() {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        work[number]();
        (start, Instant::now())
    };
    let times: Vec<_> = std::thread::scope(|scope| {
        let timed = &timed;
        let threads: Vec<_> = (0..work.len()).map(|number| scope.spawn(move || timed(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("touching does not panic")).collect()
    });
    let first = times.iter().map(|(start, _)| *start).min().expect("some work");
    times.iter().map(|(_, end)| *end - first).max().expect("some work")
}

/// Faults of the CPU where every rule is judged at every transition, against the same faults unchecked.
fn checked(faults: &Faults, watch: &mut Watch<'_>) -> Result<Row, BenchError> {
    let bytes = faults.folios * byte_len(faults.order);
    let config = SpaceConfig { checked: true, ..SpaceConfig::new(bytes, bytes) };
    compared(faults, config, CHECKED, watch)
}

/// Faults of the CPU that are recorded in a trace, against the same faults that are not.
fn traced(faults: &Faults, watch: &mut Watch<'_>) -> Result<Row, BenchError> {
    let failed = |why: std::io::Error| BenchError::Failed(format!("no trace can be written: {why}"));
    let file = NamedTempFile::with_prefix("bifolio-bench-").map_err(failed)?;
    let options = Options::new([("command", "bifolio bench fault")]);
    let recorder = Recorder::create(file.path(), &options).map_err(failed)?;
    let bytes = faults.folios * byte_len(faults.order);
    let config = SpaceConfig { observers: vec![recorder.observer()], ..SpaceConfig::new(bytes, bytes) };
    let row = compared(faults, config, TRACED, watch)?;
    let written = recorder.finish::<&str, &str>([]).map_err(failed)?;
    if written.lost > 0 {
        let why = format!("{} of {} events were lost", written.lost, written.lost + written.events);
        return Err(BenchError::Failed(why));
    }
    Ok(row)
}

/// Faults of the CPU in a space that is configured so, against those of a plain space, in turns.
fn compared(
    faults: &Faults,
    config: SpaceConfig,
    goal: f64,
    watch: &mut Watch<'_>,
) -> Result<Row, BenchError> {
    let &Faults { name, order, folios, rounds } = faults;
    prepare(name, rounds, watch);
    let bytes = byte_len(order);
    let plain = space_of(order, folios)?;
    let special = space_from(config, order)?;
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    repeat(name, rounds, watch, |_| {
        for ((space, span), samples) in [(&special, &mut ours), (&plain, &mut floor)] {
            move_all(space, *span, Side::DEVICE)?;
            write_all(space, *span)?;
            for folio in 0..folios {
                let touch = || space.window(*span).read::<u8>(folio * bytes).expect("inside the allocation");
                samples.time(touch);
            }
        }
        Ok::<(), BenchError>(())
    })?;
    Ok(Row::time(name, ours.median_us(), floor.median_us(), goal))
}

/// Touches each folio once from the device and notes how long each took.
struct Touch {
    span: AddressRange,
    stride: usize,
    samples: Mutex<Samples>,
}

impl Kernel for Touch {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        for address in (self.span.start()..self.span.end()).step_by(self.stride) {
            let start = Instant::now();
            memory.load(address)?;
            self.samples.lock().expect("no thread panics with it").push(start.elapsed());
        }
        Ok(())
    }
}

/// Faults of the device on folios in system memory, against a copy of the same bytes.
fn device(faults: &Faults, watch: &mut Watch<'_>) -> Result<Row, BenchError> {
    let &Faults { name, order, folios, rounds } = faults;
    prepare(name, rounds, watch);
    let (space, span) = space_of(order, folios)?;
    let bytes = byte_len(order);
    let touch = Touch { span, stride: bytes, samples: Mutex::default() };
    let floor = CopyFloor::new(folios * bytes)?;
    let mut bare = Samples::default();
    repeat(name, rounds, watch, |_| {
        move_all(&space, span, Side::Ram)?;
        space.launch(&touch).map_err(|fault| BenchError::Failed(fault.to_string()))?;
        (0..folios).for_each(|_| bare.time(|| floor.copy(bytes)));
        Ok::<(), BenchError>(())
    })?;
    let ours = touch.samples.into_inner().expect("no thread panicked with it");
    Ok(Row::time(name, ours.median_us(), bare.median_us(), FAULT))
}
