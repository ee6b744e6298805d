//! Accesses to a mapping, compared with plain arrays.

use super::*;
use crate::{PAGE, Placement, Protection};

fn pages(count: usize) -> Mapping {
    Mapping::anonymous(count * PAGE, Protection::ReadWrite, Placement::Anywhere).expect("memory is left")
}

#[test]
fn values_come_back_at_any_alignment() {
    let mapping = pages(1);
    let bytes = mapping.all();
    for offset in 0..16 {
        bytes.write(offset, 0x0102_0304_0506_0708_u64).expect("inside");
        assert_eq!(bytes.read::<u64>(offset), Ok(0x0102_0304_0506_0708));
        bytes.write(offset, -2.5_f32).expect("inside");
        assert_eq!(bytes.read::<f32>(offset), Ok(-2.5));
    }
}

#[test]
fn access_past_the_end_is_refused() {
    let mapping = pages(1);
    let bytes = mapping.all();
    let refused = Err(AccessError::OutOfBounds { offset: PAGE - 7, len: 8, window: PAGE });
    assert_eq!(bytes.read::<u64>(PAGE - 7), refused);
    assert!(bytes.write(usize::MAX, 1_u8).is_err());
    assert!(bytes.part(1, PAGE).is_err());
    assert!(mapping.bytes(PAGE, 0).is_ok_and(SharedBytes::is_empty));
}

#[test]
fn span_below_or_above_the_mapping_is_refused() {
    let mapping = pages(3);
    let inner = mapping.span().part(PAGE, PAGE).expect("inside");
    // SAFETY: the middle page of a mapping that outlives this view and has no references into it.
    let adopted = unsafe { Mapping::adopt(inner) };
    let below = mapping.span().part(0, PAGE).expect("inside");
    let across = mapping.span().part(PAGE, 2 * PAGE).expect("inside");
    assert!(adopted.at(inner).is_ok());
    assert!(adopted.at(below).is_err());
    assert!(adopted.at(across).is_err());
}

#[test]
fn unaligned_atomic_is_refused() {
    let mapping = pages(1);
    let address = mapping.span().start() + 4;
    assert_eq!(mapping.all().load_u64(4), Err(AccessError::Unaligned { address }));
    assert_eq!(mapping.all().load_u32(4), Ok(0));
}

#[test]
fn copies_move_every_byte_and_no_other() {
    let (from, to) = (pages(2), pages(2));
    let pattern: Vec<u8> = (0..=255).cycle().take(2 * PAGE).collect();
    from.all().write_from(&pattern).expect("fits");
    let (offset, len) = (3, PAGE + 77);
    let target = to.bytes(5, len).expect("inside");
    target.copy_from(from.bytes(offset, len).expect("inside")).expect("fits");
    let mut seen = vec![9; 2 * PAGE];
    to.all().read_into(&mut seen).expect("fits");
    assert_eq!(seen[5..5 + len], pattern[offset..offset + len]);
    assert!(seen[..5].iter().chain(&seen[5 + len..]).all(|&byte| byte == 0));
}

#[test]
fn one_set_byte_is_not_zero_wherever_it_is() {
    let mapping = pages(1);
    let window = mapping.bytes(3, 200).expect("inside");
    assert!(window.is_zero());
    for offset in 0..200 {
        window.write(offset, 1_u8).expect("inside");
        assert!(!window.is_zero(), "offset {offset}");
        window.write(offset, 0_u8).expect("inside");
    }
    mapping.all().write(2, 1_u8).expect("inside");
    mapping.all().write(203, 1_u8).expect("inside");
    assert!(window.is_zero(), "neighbours do not count");
}

#[test]
fn filling_zero_stays_inside() {
    let mapping = pages(1);
    mapping.all().write_from(&[7; PAGE]).expect("fits");
    mapping.bytes(1, 100).expect("inside").fill_zero();
    assert_eq!(mapping.all().read::<u8>(0), Ok(7));
    assert_eq!(mapping.all().read::<u8>(101), Ok(7));
    assert!(mapping.bytes(1, 100).expect("inside").is_zero());
}

#[test]
fn float_sums_lose_nothing_between_threads() {
    let mapping = pages(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    mapping.all().fetch_add_f64(8, 0.5).expect("inside");
                }
            });
        }
    });
    assert_eq!(mapping.all().read::<f64>(8), Ok(10_000.0));
}

#[test]
fn exchange_tells_what_was_there() {
    let mapping = pages(1);
    let bytes = mapping.all();
    assert_eq!(bytes.compare_exchange_u64(0, 0, 5), Ok(Ok(0)));
    assert_eq!(bytes.compare_exchange_u64(0, 0, 6), Ok(Err(5)));
    assert_eq!(bytes.swap_u32(0, 7), Ok(5));
    assert_eq!(bytes.fetch_add_u32(0, 1), Ok(7));
}

#[test]
fn updates_of_every_width_change_their_own_bytes_only() {
    let mapping = pages(1);
    let bytes = mapping.all();
    bytes.store_u64(0, u64::MAX).expect("inside");
    assert_eq!(bytes.update(1, |old: u8| Some(old.wrapping_add(3))), Ok(0xff));
    assert_eq!(bytes.update(2, |old: u16| Some(old & 0xf0)), Ok(0xffff));
    assert_eq!(bytes.update(4, |_: u32| None), Ok(0xffff_ffff));
    assert_eq!(bytes.load_u64(0).map(u64::to_le_bytes), Ok([0xff, 2, 0xf0, 0, 0xff, 0xff, 0xff, 0xff]));
    let unaligned = bytes.update(3, |old: u16| Some(old));
    assert_eq!(unaligned, Err(AccessError::Unaligned { address: bytes.address() + 3 }));
}

#[test]
fn updates_by_two_threads_lose_nothing() {
    let mapping = pages(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    mapping.all().update(2, |old: u16| Some(old + 1)).expect("inside");
                }
            });
        }
    });
    assert_eq!(mapping.all().read::<u16>(2), Ok(20_000));
}

#[test]
fn large_copies_move_the_odd_ends_too() {
    const LEN: usize = (256 << 10) + 3 * 16 + 5;
    let (from, to) = (pages(66), pages(66));
    let pattern: Vec<u8> = (0..=250).cycle().take(LEN).collect();
    from.all().write_from(&pattern).expect("fits");
    for (target, source) in [(0, 0), (16, 0), (1, 0), (64, 7)] {
        to.all().fill_zero();
        let window = to.bytes(target, LEN - source).expect("inside");
        window.copy_from(from.bytes(source, LEN - source).expect("inside")).expect("fits");
        let mut seen = vec![0; LEN - source];
        window.read_into(&mut seen).expect("fits");
        assert!(seen == pattern[source..], "from {source} to {target}");
        assert_eq!(to.all().read::<u8>(target + LEN - source), Ok(0));
    }
}
