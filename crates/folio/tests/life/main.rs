//! The life of folios through the public interface: rule by rule, against a model, and by many threads.

mod model;
mod pool;
mod refusals;
mod rules;
mod threads;
