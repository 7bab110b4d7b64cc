//! The search for a sequential explanation: Wing and Gong, "Testing and verifying concurrent objects" (1993), with the
//! configurations that led nowhere remembered, as in Lowe, "Testing for linearizability" (2017).

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use super::recorder::Call;

/// An object that is used by one caller at a time.
pub trait Specification: Clone + Eq + Hash {
    /// What can be asked of it.
    type Op;
    /// What it can say.
    type Answer;

    /// The state of the object after it gave this answer; none if it would not give it.
    fn step(&self, op: &Self::Op, answer: &Self::Answer) -> Option<Self>;

    /// Whether the call may have been lost without an effect, since its caller got no answer.
    fn may_be_lost(answer: &Self::Answer) -> bool;
}

/// Most calls of one history.
pub const MAX_CALLS: usize = 128;
/// Configurations after which the search gives up. A short history of a deterministic object needs a few hundred.
const MAX_CONFIGURATIONS: usize = 2_000_000;

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Every order was tried.
    NotLinearizable {
        /// The longest sequence of calls that could be explained, as indices.
        explained: Vec<usize>,
    },
    /// The search became too long; make the history shorter.
    Undecided,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLinearizable { explained } => {
                write!(f, "no order explains the answers; the longest that does, by index, is {explained:?}")
            }
            Self::Undecided => write!(f, "undecided after {MAX_CONFIGURATIONS} configurations"),
        }
    }
}

/// One choice: after the calls in `done` (bit n for call n) the object is in `state`.
struct Frame<S> {
    done: u128,
    state: S,
    /// What can come next, best first, and how far this was tried.
    next: Vec<(usize, S)>,
    tried: usize,
}

/// Gives an order of the calls, as indices, that explains all answers. Calls without an answer are in it if they took effect.
///
/// # Errors
/// [`Violation::NotLinearizable`] when there is none, [`Violation::Undecided`] when the search became too long.
///
/// # Panics
/// When there are more than [`MAX_CALLS`] calls.
pub fn check<S: Specification>(initial: &S, calls: &[Call<S::Op, S::Answer>]) -> Result<Vec<usize>, Violation> {
    assert!(calls.len() <= MAX_CALLS, "{} calls; split the history", calls.len());
    let answered = |call: &Call<S::Op, S::Answer>| !S::may_be_lost(&call.answer);
    let required = (0..calls.len()).filter(|&call| answered(&calls[call])).fold(0, |all, call| all | 1_u128 << call);
    // What returned first was most likely decided first.
    let mut by_return: Vec<usize> = (0..calls.len()).collect();
    by_return.sort_by_key(|&call| calls[call].returned);
    let open = |done: u128, state: S| {
        let next = successors(calls, &by_return, done, &state);
        Frame { done, state, next, tried: 0 }
    };
    let mut seen: HashSet<(u128, S)> = HashSet::new();
    let mut order: Vec<usize> = Vec::new();
    let mut longest: Vec<usize> = Vec::new();
    let mut stack = vec![open(0, initial.clone())];
    while let Some(frame) = stack.last_mut() {
        if frame.done & required == required {
            return Ok(order);
        }
        let Some((call, state)) = frame.next.get(frame.tried).cloned() else {
            let Frame { done, state, .. } = stack.pop().expect("it was just looked at");
            seen.insert((done, state));
            order.pop();
            continue;
        };
        frame.tried += 1;
        let done = frame.done | 1 << call | too_late::<S>(calls, calls[call].invoked);
        let configuration = (done, state);
        if seen.contains(&configuration) {
            continue;
        }
        if seen.len() + stack.len() > MAX_CONFIGURATIONS {
            return Err(Violation::Undecided);
        }
        order.push(call);
        if order.len() > longest.len() {
            longest.clone_from(&order);
        }
        stack.push(open(done, configuration.1));
    }
    Err(Violation::NotLinearizable { explained: longest })
}

/// The lost calls that ended before this moment. Once a call that began at it is placed, those not placed before it had no
/// effect. They count as done, so that equal states are found equal whichever calls had no effect.
fn too_late<S: Specification>(calls: &[Call<S::Op, S::Answer>], invoked: u64) -> u128 {
    let late = |call: &Call<S::Op, S::Answer>| S::may_be_lost(&call.answer) && call.returned < invoked;
    (0..calls.len()).filter(|&call| late(&calls[call])).fold(0, |late, call| late | 1 << call)
}

/// The calls that may come next (none that is left and has an answer ended before they began), with the states that they lead to.
fn successors<S: Specification>(
    calls: &[Call<S::Op, S::Answer>],
    by_return: &[usize],
    done: u128,
    state: &S,
) -> Vec<(usize, S)> {
    let left = || by_return.iter().copied().filter(|call| done & 1 << call == 0);
    let Some(first) = left().find(|&call| !S::may_be_lost(&calls[call].answer)) else { return Vec::new() };
    let deadline = calls[first].returned;
    left()
        .filter(|&call| calls[call].invoked < deadline)
        .filter_map(|call| Some((call, state.step(&calls[call].op, &calls[call].answer)?)))
        // A lost call that changes nothing is one without an effect.
        .filter(|(call, next)| !S::may_be_lost(&calls[*call].answer) || next != state)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register that answers with what it holds.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct Register(u32);

    /// The answer of a call whose caller got none.
    const LOST: u32 = u32::MAX;

    #[derive(Debug, Clone, Copy)]
    enum Op {
        Write(u32),
        Read,
    }

    impl Specification for Register {
        type Op = Op;
        type Answer = u32;

        fn step(&self, op: &Op, answer: &u32) -> Option<Self> {
            match *op {
                Op::Write(value) => Some(Self(value)),
                Op::Read => (*answer == self.0).then(|| self.clone()),
            }
        }

        fn may_be_lost(answer: &u32) -> bool {
            *answer == LOST
        }
    }

    fn call(invoked: u64, returned: u64, op: Op, answer: u32) -> Call<Op, u32> {
        Call { op, invoked, returned, answer }
    }

    fn write(invoked: u64, returned: u64, value: u32) -> Call<Op, u32> {
        call(invoked, returned, Op::Write(value), 0)
    }

    fn read(invoked: u64, returned: u64, value: u32) -> Call<Op, u32> {
        call(invoked, returned, Op::Read, value)
    }

    #[test]
    fn an_empty_history_is_explained_by_nothing() {
        assert_eq!(check(&Register(0), &[]), Ok(vec![]));
    }

    #[test]
    fn overlapping_calls_may_come_in_either_order() {
        assert_eq!(check(&Register(0), &[write(0, 3, 7), read(1, 2, 0)]), Ok(vec![1, 0]));
        assert_eq!(check(&Register(0), &[write(0, 3, 7), read(1, 2, 7)]), Ok(vec![0, 1]));
    }

    #[test]
    fn a_read_after_a_write_that_ended_must_see_it() {
        let stale = [write(0, 1, 7), read(2, 3, 0)];
        assert_eq!(check(&Register(0), &stale), Err(Violation::NotLinearizable { explained: vec![0] }));
    }

    #[test]
    fn two_readers_may_not_see_two_writes_in_different_orders() {
        let writes = [write(0, 10, 1), write(1, 11, 2)];
        let reads = |a: [u32; 2], b: [u32; 2]| {
            let reads = [read(2, 3, a[0]), read(4, 5, a[1]), read(6, 7, b[0]), read(8, 9, b[1])];
            check(&Register(0), &[&writes[..], &reads[..]].concat())
        };
        assert!(reads([1, 2], [2, 2]).is_ok());
        assert!(reads([0, 1], [1, 2]).is_ok());
        assert!(reads([1, 2], [1, 2]).is_err(), "the first reader saw both before the second began");
        assert!(reads([1, 0], [1, 2]).is_err(), "a value that was overwritten came back");
    }

    #[test]
    fn a_wrong_turn_is_taken_back() {
        // Only 2, 1 leaves a 1 for the last read, although 1 returned first.
        let calls = [write(0, 4, 1), write(1, 5, 2), read(6, 7, 1)];
        assert_eq!(check(&Register(0), &calls), Ok(vec![1, 0, 2]));
    }

    fn lost(invoked: u64, returned: u64, value: u32) -> Call<Op, u32> {
        call(invoked, returned, Op::Write(value), LOST)
    }

    #[test]
    fn a_lost_call_took_effect_before_it_ended_or_never() {
        assert_eq!(check(&Register(0), &[lost(0, 3, 7), read(4, 5, 0), read(6, 7, 0)]), Ok(vec![1, 2]));
        assert_eq!(check(&Register(0), &[lost(0, 3, 7), read(4, 5, 7), read(6, 7, 7)]), Ok(vec![0, 1, 2]));
        assert!(check(&Register(0), &[lost(0, 3, 7), read(4, 5, 0), read(6, 7, 7)]).is_err(), "it came back later");
        assert!(check(&Register(0), &[read(0, 1, 7), lost(2, 3, 7)]).is_err(), "it was seen before it began");
        assert_eq!(check(&Register(0), &[lost(0, 9, 7), read(1, 2, 0), read(3, 4, 7)]), Ok(vec![1, 0, 2]));
    }

    #[test]
    fn many_lost_calls_are_decided() {
        // 60 writes that all lost their answers: which of them took effect, and when, does not matter one by one.
        let mut calls: Vec<_> = (0..60).map(|n| lost(n, 100, u32::try_from(n % 4).unwrap())).collect();
        calls.extend([read(101, 102, 3), read(103, 104, 3)]);
        assert!(check(&Register(0), &calls).is_ok());
    }

    #[test]
    fn dead_ends_are_remembered() {
        // 14 writes have 14! orders, but only 2^14 sets, after each of which the value is the same.
        let mut calls: Vec<_> = (0..14).map(|n| write(n, 100 + n, 5)).collect();
        calls.push(read(200, 201, 6));
        assert!(matches!(check(&Register(0), &calls), Err(Violation::NotLinearizable { .. })));
    }
}
