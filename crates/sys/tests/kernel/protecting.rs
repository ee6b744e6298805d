//! Write protection: by messages, and by the kernel alone with a scan afterwards.

use std::sync::Arc;
use std::sync::mpsc::channel;

use bifolio_sys::pagemap::{PageKinds, Pagemap, Then};
use bifolio_sys::{Features, Message, Modes, Outcome, PAGE, Protect, Wake};

use crate::limits::{limited, uffd};
use crate::serving::{Server, numbered};

#[test]
fn write_to_a_protected_page_waits_for_leave() {
    limited("write_to_a_protected_page_waits_for_leave", || {
        let uffd = Arc::new(uffd(Features::WRITE_PROTECT)?);
        let page = numbered(PAGE);
        let span = page.span();
        uffd.register(page.all(), Modes::WRITE_PROTECT).expect("private memory");
        assert_eq!(uffd.write_protect(span, Protect::On), Outcome::Done(PAGE));
        let (told, faults) = channel();
        let _server = Server::start(Arc::clone(&uffd), move |uffd, message| {
            told.send(format!("{message:?}")).expect("the test listens");
            assert!(uffd.write_protect(span, Protect::Off(Wake::Now)).is_done());
        });
        assert_eq!(page.all().load_u64(0), Ok(1), "reads pass");
        page.all().store_u64(0, 2).expect("inside");
        let fault = faults.recv().expect("one fault");
        assert!(fault.contains("write: true, minor: false, wp: true"), "{fault}");
        assert_eq!(page.all().load_u64(0), Ok(2));
        Ok(())
    });
}

#[test]
fn protection_of_unmapped_memory_tells_missing() {
    limited("protection_of_unmapped_memory_tells_missing", || {
        let uffd = uffd(Features::WRITE_PROTECT)?;
        let page = numbered(PAGE);
        assert_eq!(uffd.write_protect(page.span(), Protect::On), Outcome::Missing);
        Ok(())
    });
}

#[test]
fn scan_finds_exactly_the_written_pages_and_arms_them_again() {
    limited("scan_finds_exactly_the_written_pages_and_arms_them_again", || {
        let features = Features::WRITE_PROTECT_ASYNC | Features::WRITE_PROTECT_UNPOPULATED;
        let uffd = uffd(features | Features::WRITE_PROTECT)?;
        let memory = numbered(200 * PAGE);
        uffd.register(memory.all(), Modes::WRITE_PROTECT).expect("private memory");
        assert!(uffd.write_protect(memory.span(), Protect::On).is_done());
        let pages = Pagemap::open().expect("proc is mounted");
        // More ranges than the kernel hands out at once.
        for page in (0..200).step_by(2) {
            memory.all().store_u64(page * PAGE, 0).expect("inside");
        }
        let written = || pages.scan(memory.span(), PageKinds::WRITTEN, Then::WriteProtect);
        let found = written().expect("registered for it");
        let starts = found.iter().map(|region| (region.span.start() - memory.span().start()) / PAGE);
        assert!(starts.eq((0..200).step_by(2)));
        assert!(found.iter().all(|region| region.span.len() == PAGE));
        assert_eq!(written().expect("registered for it"), []);
        Ok(())
    });
}

#[test]
fn message_of_another_kind_never_comes_from_protection() {
    limited("message_of_another_kind_never_comes_from_protection", || {
        let uffd = uffd(Features::WRITE_PROTECT)?;
        let page = numbered(PAGE);
        uffd.register(page.all(), Modes::WRITE_PROTECT).expect("private memory");
        assert!(uffd.write_protect(page.span(), Protect::On).is_done());
        assert!(uffd.write_protect(page.span(), Protect::Off(Wake::Later)).is_done());
        page.all().store_u64(0, 3).expect("inside");
        let mut buf = bifolio_sys::MessageBuf::new();
        let messages: Vec<Message> = uffd.read(&mut buf).expect("ready").collect();
        assert!(messages.is_empty(), "{messages:?}");
        Ok(())
    });
}
