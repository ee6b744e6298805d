//! How far a measurement is, for a display that is drawn between rounds and so disturbs none.

/// How far a measurement is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress<'a> {
    /// What is being measured.
    pub name: &'a str,
    /// Rounds that are done.
    pub done: u64,
    /// Rounds in all.
    pub total: u64,
}

/// Is told of progress.
pub type Watch<'w> = dyn FnMut(Progress<'_>) + 'w;

/// Tells `watch` that a measurement is being prepared.
pub(crate) fn prepare(name: &str, rounds: usize, watch: &mut Watch<'_>) {
    watch(Progress { name, done: 0, total: rounds as u64 });
}

/// Runs `round` as often as `rounds` says, and tells `watch` before each.
///
/// # Errors
/// The first error of a round.
pub(crate) fn repeat<E>(
    name: &str,
    rounds: usize,
    watch: &mut Watch<'_>,
    mut round: impl FnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    (0..rounds).try_for_each(|number| {
        watch(Progress { name, done: number as u64, total: rounds as u64 });
        round(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_told_of_before_it_begins() {
        let (mut told, mut rounds) = (Vec::new(), 0);
        let mut watch = |progress: Progress<'_>| told.push((progress.done, progress.total));
        let done = repeat("name", 3, &mut watch, |number| {
            rounds += 1;
            if number == 1 { Err(number) } else { Ok(()) }
        });
        assert_eq!((done, rounds, told), (Err(1), 2, vec![(0, 3), (1, 3)]));
    }
}
