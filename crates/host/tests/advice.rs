//! What a program says of its memory changes what a fault brings.

mod kernel;

use bifolio_host::{
    AddressRange, Advice, Counter, DeviceFault, Failure, Kernel, NodeId, PAGE, Pattern, PolicyName,
    Preferred, Residence, Space, SpaceConfig, Unit,
};

const MIB: usize = 1 << 20;
const DEVICE: NodeId = NodeId(0);

/// Reads one word.
struct Touch(usize);

impl Kernel for Touch {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, _: usize) -> Result<(), DeviceFault> {
        if unit == 0 {
            memory.load(self.0)?;
        }
        Ok(())
    }
}

/// A space with a written allocation of 1 MiB.
fn written(policy: Option<&str>) -> Option<(Space, AddressRange)> {
    if !kernel::grants("advice", kernel::SHARED) {
        return None;
    }
    let config = SpaceConfig::new(8 * MIB, 4 * MIB);
    let config = match policy {
        Some(name) => config.with_policy(name.parse::<PolicyName>().expect("a policy")),
        None => config,
    };
    let space = Space::new(SpaceConfig { checked: true, ..config }).expect("a space");
    let span = AddressRange::new(space.allocate(MIB).expect("room"), MIB).expect("pages");
    for page in 0..span.pages() {
        space.window(span).store_u64(page * PAGE, page as u64).expect("inside");
    }
    Some((space, span))
}

/// How many pages are on the device.
fn away(space: &Space, span: AddressRange) -> usize {
    let is_away = |address: &usize| matches!(space.engine().residence(*address), Residence::Device { .. });
    (span.start()..span.end()).step_by(PAGE).filter(is_away).count()
}

fn touch(space: &Space, address: usize) {
    space.launch(&Touch(address)).expect("it is allocated");
}

#[test]
fn memory_that_stays_at_home_is_used_there() {
    let Some((space, span)) = written(None) else { return };
    let stays = Advice { prefer: Some(Preferred::Home), stay: true, ..Advice::default() };
    space.advise(span, stays).expect("allocated");
    touch(&space, span.start());
    assert_eq!(away(&space, span), 0);
    assert!(space.statistics().get(Counter::BytesRemote) > 0);
    space.advise(span, Advice::default()).expect("allocated");
    touch(&space, span.start() + MIB / 2);
    assert!(away(&space, span) > 0, "there is room for it");
    assert_eq!(space.statistics().get(Counter::Violations), 0);
}

#[test]
fn advice_changes_what_a_policy_brings_that_heeds_none() {
    let Some((space, span)) = written(Some("fixed")) else { return };
    let pattern = |pattern| Advice { pattern, ..Advice::default() };
    space.advise(span.part(0, MIB / 2).expect("inside"), pattern(Pattern::Random)).expect("allocated");
    touch(&space, span.start());
    assert_eq!(away(&space, span), 1);
    let half = span.part(MIB / 2, MIB / 2).expect("inside");
    touch(&space, half.start());
    let usual = away(&space, half);
    assert!(usual > 1, "{usual}");
    space.prefetch(span, bifolio_host::Side::Ram).expect("it comes home");
    space.advise(half, pattern(Pattern::Sequential)).expect("allocated");
    touch(&space, half.start());
    assert_eq!(away(&space, half), 2 * usual);
    let elsewhere = Advice { prefer: Some(Preferred::Node(DEVICE)), ..Advice::default() };
    space.advise(span, elsewhere).expect("allocated");
    space.window(span).load_u64(half.start() - span.start()).expect("inside");
    assert_eq!(away(&space, half), 2 * usual - 1, "the CPU takes the page alone");
}

#[test]
fn advice_outlives_a_partial_unmapping_and_not_the_allocation() {
    let Some((space, span)) = written(Some("fixed")) else { return };
    let random = Advice { pattern: Pattern::Random, ..Advice::default() };
    space.advise(span, random).expect("allocated");
    space.unmap(span.part(MIB / 4, MIB / 4).expect("inside")).expect("nothing holds it");
    let advice_at = |at: usize| space.engine().advice_of(span.start() + at);
    assert_eq!([0, MIB / 4, MIB / 2].map(advice_at), [random, Advice::default(), random]);
    assert_eq!(space.advise(span, random), Err(Failure::NotMapped));
    touch(&space, span.start() + MIB / 2);
    assert_eq!(away(&space, span), 1);
    space.free(span.start()).expect("nothing holds it");
    assert_eq!([0, MIB / 4, MIB / 2].map(advice_at), [Advice::default(); 3]);
}
