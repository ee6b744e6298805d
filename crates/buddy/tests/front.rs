//! The layer for many threads. With `--cfg loom` all interleavings of two threads are tried:
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p bifolio-buddy --features front --test front`.

#![cfg(feature = "front")]

#[cfg(loom)]
use bifolio_buddy::Buddy;
#[cfg(loom)]
use bifolio_buddy::front::Shared;

/// A page has one owner at a time, whoever allocates and frees, and all come back in the end.
#[cfg(loom)]
#[test]
fn two_threads_never_own_the_same_page() {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    loom::model(|| {
        // 18 pages: one batch of 16 fits, the other thread must do with single pages.
        let shared = Arc::new(Shared::new(Buddy::new(18).expect("valid size")));
        let owners = Arc::new((0..18).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
        let work = |me: usize| {
            let (shared, owners) = (shared.clone(), owners.clone());
            move || {
                let mut front = shared.front();
                for _ in 0..2 {
                    let Ok(block) = front.allocate(0) else { continue };
                    let page = usize::try_from(block.block().page).expect("a small pool");
                    // Relaxed: the numbers are only compared, nothing else is published by them.
                    assert_eq!(owners[page].swap(me, Ordering::Relaxed), 0, "page {page} has two owners");
                    owners[page].store(0, Ordering::Relaxed);
                    front.free(block).expect("its own block");
                }
            }
        };
        let other = loom::thread::spawn(work(1));
        work(2)();
        other.join().expect("the other thread ends");
        assert_eq!(shared.with(|buddy| (buddy.free_pages(), buddy.check_consistency())), (18, Ok(())));
    });
}

#[cfg(not(loom))]
mod threads {
    use bifolio_buddy::front::{Owned, Shared};
    use bifolio_buddy::{AllocateError, Buddy};

    const PAGES: u64 = 1 << 14;

    fn shared() -> Shared {
        Shared::new(Buddy::new(PAGES).expect("valid size"))
    }

    #[test]
    fn blocks_of_several_threads_never_overlap() {
        let shared = shared();
        let mut blocks = std::thread::scope(|scope| {
            let work = |seed: u32| {
                let mut front = shared.front();
                let mut live: Vec<Owned> = Vec::new();
                for step in 0..2000 {
                    let dice = (seed + step).wrapping_mul(2_654_435_761) >> 16;
                    live.extend(front.allocate(dice % 6).ok());
                    if live.len() > 40 {
                        let freed = live.swap_remove(dice as usize % live.len());
                        front.free(freed).expect("its own block");
                    }
                }
                live.into_iter().map(Owned::into_block).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || work(seed * 977))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a thread ends")).collect::<Vec<_>>()
        });
        blocks.sort();
        assert!(blocks.windows(2).all(|pair| pair[0].end() <= pair[1].page));
        assert!(shared.with(|buddy| buddy.used_blocks().eq(blocks.iter().copied())));
        assert_eq!(shared.with(|buddy| buddy.check_consistency()), Ok(()));
    }

    #[test]
    fn a_front_gives_back_what_it_keeps_before_a_request_fails() {
        let shared = shared();
        let mut front = shared.front();
        let small = front.allocate(0).expect("space is left");
        front.free(small).expect("its own block");
        assert!(front.allocate(14).is_ok());
        assert!(matches!(front.allocate(0), Err(AllocateError::NoSpace { .. })));
    }

    #[test]
    fn a_block_of_another_allocator_is_handed_back() {
        let (one, other) = (shared(), shared());
        let block = one.front().allocate(3).expect("space is left");
        let block = other.front().free(block).expect_err("a foreign block");
        assert_eq!(one.front().free(block), Ok(()));
        assert_eq!(one.with(|buddy| buddy.free_pages()), PAGES);
    }
}
