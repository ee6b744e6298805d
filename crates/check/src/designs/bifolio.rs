//! `bifolio`: the shipped folios, split on free, the order handed to the pool.

use bifolio_folio::MemoryKind;

use crate::bifolio::Folios;
use crate::design::Bounds;
use crate::explore::{Limits, Progress};
use crate::report::{Report, judge};
use crate::svm::{Size, Transactions};

/// Name of the design.
pub const NAME: &str = "bifolio";
/// What it is.
pub const ABOUT: &str =
    "the shipped code: a folio is one word at its head, undone before the pool gets range and order";
/// The world of folios unless told otherwise; those of transactions have their own size.
pub const BOUNDS: Bounds = Bounds::of(8, 2, 3);

/// One block of two pages: folios of order 1 that are split, and pages that move one by one.
const ONE_BLOCK: Size = Size { blocks: 1, block_pages: 2, device: 2, ram: 2, actors: 1 };
/// Two blocks of one page whose transactions compete for two device pages and one page of system memory.
const TWO_BLOCKS: Size = Size { blocks: 2, block_pages: 1, device: 2, ram: 1, actors: 2 };

/// Explores all models of the design.
pub fn run(bounds: Bounds, limits: &Limits, progress: &mut dyn FnMut(Progress)) -> Report {
    let folios = judge(NAME, "folios", bounds, &Folios::new(bounds), limits, progress);
    let one_by_one = Limits { threads: 1, ..*limits };
    let kinds = [("private", MemoryKind::Private), ("coherent", MemoryKind::Coherent)];
    let worlds =
        kinds.into_iter().flat_map(|(name, kind)| [(name, kind, ONE_BLOCK), (name, kind, TWO_BLOCKS)]);
    worlds.fold(folios, |report, (name, kind, size)| {
        let world = Transactions::new(size, kind);
        report.join(judge(NAME, name, world.bounds(), &world, &one_by_one, progress))
    })
}
