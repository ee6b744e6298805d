//! The pictures, each with its title, what it shows in words, a legend and its numbers.

pub(crate) mod address_space;
pub(crate) mod bytes;
pub(crate) mod device_memory;
pub(crate) mod faults;
pub(crate) mod latency;
pub(crate) mod miss_ratio;
pub(crate) mod oversubscription;

use maud::{Markup, html};

use crate::analysis::ORDERS;
use crate::units;

/// Classes of orders, from small to large.
pub(crate) const ORDER_CLASSES: [&str; ORDERS] = ["o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9"];

/// A picture and what belongs to it.
pub(crate) struct Figure {
    pub(crate) title: &'static str,
    /// What is to be seen, in a sentence or two.
    pub(crate) says: String,
    pub(crate) picture: Markup,
    pub(crate) legend: Markup,
    /// Column heads and rows of its numbers.
    pub(crate) numbers: (Vec<&'static str>, Vec<Vec<String>>),
}

impl Figure {
    pub(crate) fn markup(&self) -> Markup {
        let (heads, rows) = &self.numbers;
        html! {
            section {
                h2 { (self.title) }
                p { (self.says) }
                figure { (self.picture) (self.legend) }
                @if !rows.is_empty() {
                    details {
                        summary { "Numbers" }
                        (table(heads, rows))
                    }
                }
            }
        }
    }
}

/// A table: names to the left, figures to the right.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// The legend entries of those orders that occur.
pub(crate) fn orders_legend(counts: &[u64; ORDERS]) -> Vec<(&'static str, String)> {
    let used = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    used.map(|(order, _)| (ORDER_CLASSES[order], format!("folios of {}", units::folio(order)))).collect()
}

/// The order with most, if there is any.
pub(crate) fn most(counts: &[u64; ORDERS]) -> Option<usize> {
    (0..ORDERS).filter(|order| counts[*order] > 0).max_by_key(|order| counts[*order])
}

/// Adds up counts of several places.
pub(crate) fn sum<'c>(all: impl IntoIterator<Item = &'c [u64; ORDERS]>) -> [u64; ORDERS] {
    all.into_iter().fold([0; ORDERS], |sum, counts| std::array::from_fn(|order| sum[order] + counts[order]))
}
