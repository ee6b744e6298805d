//! Waiting and stopping: by poll with a stop event, and by a touch for blocking readers.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bifolio_sys::{
    AddressRange, Errno, EventFd, Features, Message, MessageBuf, Modes, PAGE, ReaderStopper, Reads,
    StopError, StopResult, Uffd, Wake, Woken,
};

use crate::limits::{LIMIT, Skip, eventually, limited, uffd};
use crate::serving::private;

/// Opens a userfaultfd whose reads wait, or skips.
fn blocking() -> Result<Arc<Uffd>, Skip> {
    let none = Features::empty();
    let opened = Uffd::open_ready(Reads::Blocking, none, none);
    opened.map(|(uffd, _)| Arc::new(uffd)).map_err(Skip::because)
}

/// Serves missing pages by zero until it is stopped; returns how many.
fn serve(uffd: &Uffd, stopper: &ReaderStopper) -> u32 {
    let mut buf = MessageBuf::new();
    let mut served = 0;
    loop {
        for message in uffd.read(&mut buf).expect("ready") {
            let Message::Pagefault { address, .. } = message else { panic!("{message:?}") };
            if stopper.answer(uffd, address) {
                return served;
            }
            let page = AddressRange::new(address & !(PAGE - 1), PAGE).expect("aligned");
            assert!(uffd.zeropage(page, Wake::Now).is_done());
            served += 1;
        }
    }
}

#[test]
fn wait_tells_why_it_returned() {
    limited("wait_tells_why_it_returned", || {
        let uffd = uffd(Features::empty())?;
        let stop = EventFd::new().expect("descriptors are left");
        let soon = Duration::from_millis(5);
        assert_eq!(uffd.wait_at_most(&stop, soon), Ok(Woken::TimedOut));
        let page = private(PAGE);
        uffd.register(page.all(), Modes::MISSING).expect("private memory");
        thread::scope(|scope| {
            scope.spawn(|| page.all().load_u64(0));
            assert_eq!(uffd.wait(&stop), Ok(Woken::Readable));
            stop.raise().expect("open");
            assert_eq!(uffd.wait(&stop), Ok(Woken::Stopped), "stop comes first");
            assert!(uffd.zeropage(page.span(), Wake::Now).is_done());
        });
        Ok(())
    });
}

#[test]
fn waiting_on_a_blocking_descriptor_is_refused() {
    limited("waiting_on_a_blocking_descriptor_is_refused", || {
        let uffd = blocking()?;
        let stop = EventFd::new().expect("descriptors are left");
        let refused = uffd.wait(&stop).expect_err("poll does not work");
        assert_eq!(refused.errno, Errno::INVAL);
        Ok(())
    });
}

#[test]
fn reading_before_the_handshake_is_refused() {
    limited("reading_before_the_handshake_is_refused", || {
        let uffd = Uffd::open_best(Reads::NonBlocking).map_err(Skip::because)?;
        let mut buf = MessageBuf::new();
        assert_eq!(uffd.read(&mut buf).expect_err("not ready").errno, Errno::INVAL);
        Ok(())
    });
}

#[test]
fn each_stop_ends_one_blocking_reader() {
    limited("each_stop_ends_one_blocking_reader", || {
        let uffd = blocking()?;
        let stopper = Arc::new(ReaderStopper::new(&uffd, 2).expect("memory is left"));
        let memory = private(64 * PAGE);
        uffd.register(memory.all(), Modes::MISSING).expect("private memory");
        let start = || {
            let (uffd, stopper) = (Arc::clone(&uffd), Arc::clone(&stopper));
            thread::spawn(move || serve(&uffd, &stopper))
        };
        let handlers = [start(), start()];
        assert!(memory.bytes(0, 32 * PAGE).expect("inside").is_zero());
        assert_eq!(stopper.stop(&uffd, 0, LIMIT), Ok(StopResult::Stopped));
        eventually(|| handlers.iter().filter(|handler| handler.is_finished()).count() == 1);
        assert!(memory.all().is_zero(), "the other still serves");
        assert_eq!(stopper.stop(&uffd, 1, LIMIT), Ok(StopResult::Stopped));
        let served: u32 = handlers.into_iter().map(|handler| handler.join().expect("no panic")).sum();
        assert_eq!(served, 64);
        Ok(())
    });
}

#[test]
fn stop_without_a_reader_is_taken_back() {
    limited("stop_without_a_reader_is_taken_back", || {
        let uffd = blocking()?;
        let stopper = ReaderStopper::new(&uffd, 1).expect("memory is left");
        assert_eq!(stopper.stop(&uffd, 0, Duration::from_millis(20)), Ok(StopResult::NoReader));
        assert_eq!(stopper.stop(&uffd, 1, Duration::from_millis(20)), Err(StopError::NoSuchReader(1)));
        assert!(!stopper.answer(&uffd, 0));
        Ok(())
    });
}
