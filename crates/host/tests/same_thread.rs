//! One thread that runs a model or a kernel and also uses the memory as the host: it never waits for itself.

mod kernel;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_engine::query::Residence;
use bifolio_host::fault_loop::Readers;
use bifolio_host::{Side, Space, SpaceConfig};
use bifolio_migrate::Rights;
use bifolio_sys::{AddressRange, PAGE, SharedBytes};

/// Far longer than any of these tests takes.
const LIMIT: Duration = Duration::from_secs(60);
const BYTES: usize = 64 * PAGE;

/// Does `work` on a space of one unit, whoever answers its faults, and panics if it does not come to an end.
fn in_time(test: &str, work: impl Fn(&Space, AddressRange) + Send + Copy + 'static) {
    for readers in [Readers::Separate, Readers::Toucher] {
        in_time_with(test, readers, work);
    }
}

fn in_time_with(test: &str, readers: Readers, work: impl Fn(&Space, AddressRange) + Send + 'static) {
    if !kernel::grants(test, kernel::SHARED) {
        return;
    }
    let (done, wait) = channel();
    std::thread::spawn(move || {
        let config = SpaceConfig {
            units: NonZeroUsize::MIN,
            checked: true,
            readers: Some(readers),
            ..SpaceConfig::new(4 << 20, 1 << 20)
        };
        let space = Space::new(config).expect("a space");
        let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
        work(&space, span);
        assert_eq!(space.audit(), []);
        done.send(()).expect("the test waits");
    });
    match wait.recv_timeout(LIMIT) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => panic!("hangs with {readers:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("fails with {readers:?}: see above"),
    }
}

/// A kernel that is a closure, for one unit.
struct Job<F>(F);

impl<F: Fn(&mut Unit<'_>) -> Result<(), DeviceFault> + Sync> Kernel for Job<F> {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        (self.0)(memory)
    }
}

fn add_one_everywhere(memory: &mut Unit<'_>, span: AddressRange) -> Result<(), DeviceFault> {
    for at in (span.start()..span.end()).step_by(PAGE) {
        memory.fetch_add(at, 1)?;
    }
    Ok(())
}

fn assert_everywhere(window: SharedBytes<'_>, value: u64) {
    for offset in (0..BYTES).step_by(PAGE) {
        assert_eq!(window.load_u64(offset), Ok(value), "at {offset:#x}");
    }
}

#[test]
fn kernel_reads_by_host_pointer_what_it_wrote() {
    in_time("kernel_reads_by_host_pointer_what_it_wrote", |space, span| {
        let window = space.window(span);
        let job = Job(|memory: &mut Unit<'_>| {
            for round in 1..4 {
                add_one_everywhere(memory, span)?;
                assert_everywhere(window, round);
            }
            Ok(())
        });
        space.launch(&job).expect("every fault is answered");
    });
}

#[test]
fn kernel_launches_another() {
    in_time("kernel_launches_another", |space, span| {
        let inner = Job(|memory: &mut Unit<'_>| add_one_everywhere(memory, span));
        let outer = Job(|memory: &mut Unit<'_>| {
            add_one_everywhere(memory, span)?;
            space.launch(&inner)?;
            add_one_everywhere(memory, span)
        });
        space.launch(&outer).expect("every fault is answered");
        assert_everywhere(space.window(span), 3);
    });
}

#[test]
fn kernel_has_pages_moved_and_freed() {
    in_time("kernel_has_pages_moved_and_freed", |space, span| {
        let job = Job(|memory: &mut Unit<'_>| {
            add_one_everywhere(memory, span)?;
            space.prefetch(span, Side::Ram).expect("room at home");
            add_one_everywhere(memory, span)?;
            space.prefetch(span, Side::DEVICE).expect("room there");
            let other = space.allocate(PAGE).expect("room");
            memory.store(other, 1)?;
            space.free(other).expect("nothing holds it");
            assert!(memory.load(other).is_err(), "freed");
            drop(space.pin(span).expect("comes home"));
            Ok(())
        });
        space.launch(&job).expect("every fault is answered");
        assert_everywhere(space.window(span), 2);
    });
}

#[test]
fn kernel_waits_for_a_thread_that_faults() {
    in_time("kernel_waits_for_a_thread_that_faults", |space, span| {
        let window = space.window(span);
        let (there, seen) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !there.load(Acquire) {
                    std::thread::yield_now();
                }
                assert_everywhere(window, 1);
                seen.store(true, Release);
            });
            let job = Job(|memory: &mut Unit<'_>| {
                add_one_everywhere(memory, span)?;
                there.store(true, Release);
                while !seen.load(Acquire) {
                    std::thread::yield_now();
                }
                Ok(())
            });
            space.launch(&job).expect("every fault is answered");
        });
    });
}

/// The thread holds a translation of the very page that it touches: it sleeps, so it is not waited for.
#[test]
fn holder_of_a_translation_touches_the_page_as_the_host() {
    in_time("holder_of_a_translation_touches_the_page_as_the_host", |space, span| {
        let window = space.window(span);
        let mut port = space.device().hosted().open_port(0);
        let start = std::time::Instant::now();
        for round in 1..10 {
            port.resolving(|port| port.try_store(span.start(), round)).expect("there");
            port.resolving(|port| port.translate(span.start(), Rights::READ)).expect("there");
            assert_eq!(window.load_u64(0), Ok(round));
            assert_eq!(space.engine().residence(span.start()), Residence::Ram);
        }
        assert!(!space.device().hosted().is_lost());
        assert!(
            start.elapsed() < Duration::from_secs(9),
            "a wait of the device's patience: {:?}",
            start.elapsed()
        );
    });
}

/// Another thread's fault waits for a translation until its holder goes on, no longer.
#[test]
fn fault_of_another_thread_waits_for_the_holder_of_a_translation() {
    in_time("fault_of_another_thread_waits_for_the_holder_of_a_translation", |space, span| {
        let window = space.window(span);
        let mut port = space.device().hosted().open_port(0);
        port.resolving(|port| port.try_store(span.start(), 7_u64)).expect("there");
        port.resolving(|port| port.translate(span.start(), Rights::READ)).expect("there");
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| window.load_u64(0));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!reader.is_finished(), "the page left while it was held");
            port.release();
            assert_eq!(reader.join().expect("no panic"), Ok(7));
        });
        assert!(!space.device().hosted().is_lost());
    });
}

/// As many threads as there are handlers wait for the holder, and then the holder itself sleeps.
#[test]
fn holder_sleeps_while_all_handlers_wait_for_it() {
    in_time("holder_sleeps_while_all_handlers_wait_for_it", |space, span| {
        let window = space.window(span);
        let mut ports: Vec<_> = (0..4).map(|unit| space.device().hosted().open_port(unit)).collect();
        for (page, port) in (0..).zip(&mut ports) {
            let address = span.start() + page * 16 * PAGE;
            port.resolving(|port| port.try_store(address, 7_u64)).expect("there");
            port.resolving(|port| port.translate(address, Rights::READ)).expect("there");
        }
        std::thread::scope(|scope| {
            for page in 0..3 {
                scope.spawn(move || assert_eq!(window.load_u64(page * 16 * PAGE), Ok(7)));
            }
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(window.load_u64(3 * 16 * PAGE), Ok(7));
        });
        assert!(!space.device().hosted().is_lost());
    });
}
