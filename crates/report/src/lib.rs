//! Pictures of a trace, in one HTML file that needs no network and runs no script.
//!
//! ```text
//!   Trace --Extent--> addresses, device pages, time --Analysis--> counts by cell --picture::*--> SVG --page--> HTML
//! ```
#![forbid(unsafe_code)]

mod advice;
mod analysis;
mod extent;
mod page;
mod picture;
mod ranges;
mod sites;
mod svg;
mod units;
mod what_if;

pub use picture::miss_ratio::Curve;
pub use picture::oversubscription::Panel;

use bifolio_trace::Trace;

/// Draws a trace; returns the whole HTML file.
#[must_use]
pub fn html(trace: &Trace) -> String {
    let analysis = analysis::Analysis::of(trace);
    page::page(trace, &analysis).into_string()
}

/// Draws the first picture of the page: how often what moved, over addresses and time; returns an SVG file, for light and dark.
#[must_use]
pub fn address_space_svg(trace: &Trace) -> String {
    let analysis = analysis::Analysis::of(trace);
    svg::alone(&picture::address_space::heat(&analysis).picture, page::STYLE)
}

/// Draws curves of misses by the size of the memory; returns an SVG file, for light and dark.
#[must_use]
pub fn miss_ratio_svg(curves: &[Curve]) -> String {
    svg::alone(&picture::miss_ratio::draw(curves, &[]), page::STYLE)
}

/// Draws the times of policies, by the size of the data over that of the memory; returns an SVG file, for light and dark.
#[must_use]
pub fn oversubscription_svg(sizes: &[f64], panels: &[Panel]) -> String {
    svg::alone(&picture::oversubscription::draw(sizes, panels), page::STYLE)
}
