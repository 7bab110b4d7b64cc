//! Deaths at random points of random workloads, for the long run.

use super::points::Points;
use super::report::Report;
use super::run::Run;
use crate::random::Random;

/// About `points` deaths, half of them at system calls and one in four followed by another, at points chosen by `seed` in
/// workloads made from it. Needs strace.
///
/// # Panics
/// When something acknowledged is missing, or a store does not open or continue; the message says how to see it again.
pub fn run(points: usize, seed: u64) -> Report {
    let mut random = Random::new(seed);
    let runs = Run::all(random.next());
    let share = points.div_ceil(runs.len()).max(4);
    let mut report = Report::default();
    for run in &runs {
        let mut chosen = run.store_points().chosen(share * 2 / 5, &mut random);
        chosen.extend(run.call_points(usize::MAX).chosen(share * 2 / 5, &mut random));
        let again = share - (share * 4 / 5);
        report.add(&run.kill_all(&Points(chosen), &|index| (index % 4 == 0).then_some(again.div_ceil(4).max(2))));
    }
    report
}
