//! The checker says no where it must: histories that no limiter can have produced.

use flint_core::engine::{OnChange, Outcome, SyncMode};
use flint_core::limit::Algorithm;
use flint_torture::linearizability::checker::{Violation, check};
use flint_torture::linearizability::limiter::{Answer, Ask, Limiter, Op};
use flint_torture::linearizability::recorder::Recorder;

use crate::store::{MS, Medium, START_NS, Store, limit, perform};
use crate::{Call, Tally};

fn ask(cost: u64) -> Ask {
    Ask { key: 0, cost, limit: None }
}

/// Runs the calls one after the other.
fn sequential(ops: &[Op]) -> Vec<Call> {
    let store = Store::new(Medium::sim(), SyncMode::Always);
    let engine = store.open();
    let recorder = Recorder::default();
    let name = |key: u8| format!("{key}");
    ops.iter().map(|op| recorder.record(op.clone(), |op| perform(&engine, &store.clock, &name, op))).collect()
}

fn five_a_second(algorithm: Algorithm) -> Op {
    Op::Limit(0, limit("5/s", algorithm), OnChange::Keep)
}

fn is_refused(calls: &[Call]) -> bool {
    match check(&Limiter::new(START_NS), calls) {
        Ok(_) => false,
        Err(Violation::NotLinearizable { .. }) => true,
        Err(Violation::Undecided) => panic!("a handful of calls is decided"),
    }
}

/// Makes an answer wrong.
type Wrong = fn(&mut Outcome);

fn outcome(call: &mut Call) -> &mut Outcome {
    match &mut call.answer {
        Answer::Outcome(outcome) => outcome,
        answer => panic!("{answer:?} is no outcome"),
    }
}

/// Lets all calls overlap, so that every order is tried.
fn at_once(mut calls: Vec<Call>) -> Vec<Call> {
    let count = calls.len() as u64;
    for (call, number) in calls.iter_mut().zip(0..) {
        (call.invoked, call.returned) = (number, count + number);
    }
    calls
}

#[test]
fn what_really_happened_is_accepted() {
    for algorithm in Algorithm::ALL {
        let calls = sequential(&[
            Op::Status(0),
            five_a_second(algorithm),
            Op::Check(ask(3)),
            Op::Check(ask(3)),
            Op::Peek(ask(2)),
            Op::Status(0),
            Op::Advance(450 * MS),
            Op::Check(ask(2)),
            Op::Reset(0),
            Op::Check(ask(5)),
            Op::Check(ask(6)),
            Op::Delete(0),
            Op::Delete(0),
            Op::Close,
            Op::Check(ask(1)),
        ]);
        Tally::default().check(START_NS, &calls, "in turn");
        Tally::default().check(START_NS, &at_once(calls), "at once");
    }
}

/// Every figure of every answer counts: a wrong one is refused even if the calls may have come in any order.
#[test]
fn one_wrong_figure_is_refused() {
    for algorithm in Algorithm::ALL {
        let calls = sequential(&[five_a_second(algorithm), Op::Check(ask(3)), Op::Check(ask(4)), Op::Status(0)]);
        assert!(!is_refused(&calls));
        let wrongs: [(usize, Wrong); 10] = [
            (1, |o| o.remaining += 1),
            (1, |o| o.remaining -= 1),
            (1, |o| o.reset_after_ns += 1),
            (1, |o| o.retry_after_ns += 1),
            (1, |o| o.allowed = false),
            (1, |o| o.limit += 1),
            (1, |o| o.seq = 0),
            (2, |o| o.retry_after_ns -= 1),
            (2, |o| o.retry_after_ns += 1),
            (2, |o| o.remaining = 0),
        ];
        for (number, (index, wrong)) in wrongs.into_iter().enumerate() {
            for mut calls in [calls.clone(), at_once(calls.clone())] {
                wrong(outcome(&mut calls[index]));
                assert!(is_refused(&calls), "{algorithm:?}, wrong figure {number}");
            }
        }
        for wrong in [|o: &mut u64| *o += 1, |o: &mut u64| *o -= 1] {
            let mut calls = calls.clone();
            let Answer::Status(Some(status)) = &mut calls[3].answer else { panic!("the key is there") };
            wrong(&mut status.whole.total_denied);
            assert!(is_refused(&calls));
        }
    }
}

/// Two callers that both got the last tokens: what an engine would answer that decides outside of its lock.
#[test]
fn the_same_token_given_twice_is_refused() {
    let mut calls = sequential(&[five_a_second(Algorithm::TokenBucket), Op::Check(ask(3))]);
    let mut copy = calls[1].clone();
    outcome(&mut copy).seq += 1;
    calls.push(copy);
    assert!(is_refused(&at_once(calls)));
}

#[test]
fn a_look_that_misses_what_was_acknowledged_is_refused() {
    let fresh = sequential(&[five_a_second(Algorithm::TokenBucket), Op::Peek(ask(1)), Op::Check(ask(3))]);
    let mut stale = fresh.clone();
    stale.swap(1, 2);
    for (call, moment) in stale.iter_mut().zip((0..).step_by(2)) {
        (call.invoked, call.returned) = (moment, moment + 1);
    }
    assert!(is_refused(&stale));
    // While the check was under way, no caller could know.
    stale[1].returned = 10;
    assert!(!is_refused(&stale));
}

#[test]
fn records_in_another_order_than_decisions_are_refused() {
    let calls = sequential(&[five_a_second(Algorithm::TokenBucket), Op::Check(ask(1)), Op::Check(ask(1))]);
    let mut swapped = at_once(calls);
    let first = outcome(&mut swapped[1]).seq;
    let second = std::mem::replace(&mut outcome(&mut swapped[2]).seq, first);
    outcome(&mut swapped[1]).seq = second;
    assert!(is_refused(&swapped), "4 tokens are left after the earlier record");
}

#[test]
fn half_of_a_multi_key_check_is_refused() {
    let both = vec![Ask { key: 0, cost: 2, limit: None }, Ask { key: 1, cost: 2, limit: None }];
    let make = |key| Op::Limit(key, limit("5/s", Algorithm::TokenBucket), OnChange::Keep);
    let calls = sequential(&[make(0), make(1), Op::CheckAll(both), Op::Status(0), Op::Status(1)]);
    let half = |index: usize| {
        let mut calls = calls.clone();
        let Answer::Status(Some(status)) = &mut calls[index].answer else { panic!("the key is there") };
        (status.whole.remaining, status.whole.total_allowed, status.whole.total_allowed_cost) = (5, 0, 0);
        (status.whole.retry_after_ns, status.whole.binding) = (0, 0);
        // Both looks overlap with the check: each may come before or after it, but the second not before the first.
        calls[2].returned = 100;
        calls
    };
    assert!(!is_refused(&half(3)), "the first look came before the check");
    assert!(is_refused(&half(4)), "the first look saw the check, the second did not");
}

#[test]
fn what_was_acknowledged_before_the_end_must_be_there_after_it() {
    let look = |at, remaining| {
        let mut calls = sequential(&[five_a_second(Algorithm::TokenBucket), Op::Check(ask(2)), Op::Peek(ask(1))]);
        outcome(&mut calls[2]).remaining = remaining;
        outcome(&mut calls[2]).reset_after_ns = (5 - remaining) * 200 * MS;
        (calls[2].invoked, calls[2].returned) = (8, 9);
        let crash = Call { op: Op::Crash(START_NS), invoked: 6, returned: 7, answer: Answer::Done };
        calls.insert(2, crash);
        calls[1].returned = at;
        calls
    };
    assert!(!is_refused(&look(3, 2)));
    assert!(is_refused(&look(3, 4)), "lost although acknowledged");
    for remaining in [2, 4] {
        let mut unheard = look(5, remaining);
        unheard[1].answer = Answer::Lost;
        assert!(!is_refused(&unheard), "a caller without an answer cannot know");
    }
    let mut half = look(5, 3);
    half[1].answer = Answer::Lost;
    assert!(is_refused(&half));
}
