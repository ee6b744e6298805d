//! What was seen at one transition, and for each rule a small function that judges it.
//!
//! A function is named for its rule: `i7` judges I7, and [`Rule::known(7).info()`](crate::Rule::info) has its sentence
//! and source. Where a rule speaks of two moments it has a function for each: [`i11_born`] and [`i11_freed`].
//! `true`: the rule was kept.
//!
//! The facts are those of any world. Explored worlds are small: their pages are bits of a [`Pages`]. The shipped
//! runtime has millions of pages, and speaks of [`Stretch`]es of them. Both are a [`PageSet`].

mod bytes;
mod counts;
mod life;
mod pages;
mod transaction;

pub use bytes::{HandedOut, i22, i27};
pub use counts::{Counted, Ended, i7, i8, i13, i16_ended, i18};
pub use life::{
    Asked, Formed, Freed, Looked, Put, Touched, i1, i2, i3, i4, i5, i6, i9, i10, i11_born, i11_freed, i15,
    i16_formed, i17,
};
pub use pages::{PageSet, Pages, Stretch};
pub use transaction::{
    Finalized, GaveUp, Removed, Used, i12, i14, i19, i20, i21, i23, i24, i24_holding, i25, i26, i28,
};
