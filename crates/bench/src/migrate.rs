//! How fast memory moves in 2 MiB folios, against a copy of the same bytes. What comes back was written by the device.

use bifolio_folio::Order;
use bifolio_host::Side;

use crate::device_write::write_all;
use crate::fault::{byte_len, move_all, space_of};
use crate::floor::CopyFloor;
use crate::progress::{Watch, prepare, repeat};
use crate::row::{BenchError, Effort, Row};
use crate::samples::{Samples, rate};

/// Measures all rows of migration.
///
/// # Errors
/// If there is no userfaultfd or no memory.
pub fn rows(effort: Effort, watch: &mut Watch<'_>) -> Result<Vec<Row>, BenchError> {
    let (folios, rounds) = match effort {
        Effort::Quick => (64, 3),
        Effort::Full => (512, 7),
    };
    prepare("migrate", rounds, watch);
    let (space, span) = space_of(Order::PMD, folios)?;
    let floor = CopyFloor::new(span.len())?;
    let (mut out, mut back, mut copy) = (Samples::default(), Samples::default(), Samples::default());
    repeat("migrate", rounds, watch, |_| {
        out.time(|| move_all(&space, span, Side::DEVICE))?;
        copy.time(|| (0..folios).for_each(|_| floor.copy(byte_len(Order::PMD))));
        write_all(&space, span)?;
        back.time(|| move_all(&space, span, Side::Ram))
    })?;
    let as_rate = |samples: &Samples| rate(span.len(), samples.median_us());
    Ok(vec![
        Row::rate("migrate.out.2m", as_rate(&out), as_rate(&copy), 0.85),
        Row::rate("migrate.back.2m", as_rate(&back), as_rate(&copy), 0.85),
    ])
}
