//! Which threads get the CPU first.

use bifolio_sys::process;

#[test]
fn raised_priority_is_that_of_one_thread() {
    let nice = || rustix::process::getpriority_process(None).expect("it is there");
    let before = nice();
    let raised = std::thread::spawn(move || (process::raise_priority().is_ok(), nice()));
    match raised.join().expect("no panic") {
        (true, raised) => assert_eq!(raised, before.min(-10)),
        // An ordinary user.
        (false, left) => assert_eq!(left, before),
    }
    assert_eq!(nice(), before);
}
