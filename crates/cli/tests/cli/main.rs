//! The command as a person uses it: what it prints, where, and how it exits.

mod bench;
mod browser;
mod call_sites;
mod check;
mod command;
mod corpus;
mod demo;
mod docs;
mod doctor;
mod libcachesim;
mod pages;
mod readme;
mod replay;
mod report;
mod stories;
mod top;
mod trace;
mod usage;
