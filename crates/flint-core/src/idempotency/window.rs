//! The newest answers, oldest first, and where each call's is. What is in a window follows from what was put into it and in
//! which order, so that replaying the log fills it as the calls did.
//!
//! Each caller has a lane. Where there is no room for an answer, the lane that takes most of it loses its oldest: one caller's calls
//! never displace the answers of another that has fewer. A call that adds an answer drops those that it displaces, and a few expired
//! ones; other expired ones are skipped until they are dropped.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::lane::Lane;
use super::{CallId, IdempotencyRecord, MAX_DENIED, MAX_DENIED_BYTES, MAX_IDEMPOTENCY_BYTES, MAX_IDEMPOTENCY_RECORDS};

/// How many answers of a lane that are too old one call drops at most.
const EXPIRED_EACH: usize = 8;
/// Most lanes. Further callers share one.
const MAX_LANES: usize = 1 << 10;
const SHARED: u32 = u32::MAX;

/// The remembered answers of one store.
#[derive(Debug)]
pub struct IdempotencyWindow {
    allowed: Window,
    denied: Window,
}

impl Default for IdempotencyWindow {
    fn default() -> Self {
        Self {
            allowed: Window::new(MAX_IDEMPOTENCY_RECORDS, MAX_IDEMPOTENCY_BYTES),
            denied: Window::new(MAX_DENIED, MAX_DENIED_BYTES),
        }
    }
}

impl IdempotencyWindow {
    /// The answer to the call with this id, if it is remembered at `now_ns`.
    pub fn find(&self, id: &[u8; 16], now_ns: u64) -> Option<IdempotencyRecord<'_>> {
        [&self.allowed, &self.denied]
            .into_iter()
            .flat_map(|window| window.found(id))
            .find(|found| !found.is_expired(now_ns))
    }

    /// Remembers the answer of an allowed call, whose record is newer than those before.
    pub fn remember(&mut self, record: &IdempotencyRecord<'_>) {
        self.allowed.push(record);
    }

    /// Remembers a denial, which no record holds.
    pub fn remember_denied(&mut self, record: &IdempotencyRecord<'_>) {
        self.denied.push(record);
    }

    /// Calls `each` with at most `most` answers of allowed calls that are not too old at `now_ns`, in order, from number `from` on; the
    /// first has number 0 or a later one. Returns the number of the next; `None` at the end. Answers of one record have several.
    pub fn slice(
        &self,
        from: u64,
        most: usize,
        now_ns: u64,
        each: &mut dyn FnMut(&IdempotencyRecord<'_>),
    ) -> Option<u64> {
        self.allowed.slice(from, most, &mut |record| {
            if !record.is_expired(now_ns) {
                each(record);
            }
        })
    }

    /// Calls `each` with every answer of an allowed call that is not too old at `now_ns`, in order.
    pub fn for_each(&self, now_ns: u64, each: &mut dyn FnMut(&IdempotencyRecord<'_>)) {
        self.slice(0, usize::MAX, now_ns, each);
    }
}

/// Answers of all callers.
#[derive(Debug)]
struct Window {
    max_count: usize,
    max_bytes: usize,
    count: usize,
    bytes: usize,
    /// By [`CallId::caller`]. None is empty.
    lanes: BTreeMap<u32, Lane>,
    /// The lane of which expired answers are dropped next.
    turn: u32,
    /// The number of the next answer: the order over all lanes.
    next: u64,
}

impl Window {
    const fn new(max_count: usize, max_bytes: usize) -> Self {
        Self { max_count, max_bytes, count: 0, bytes: 0, lanes: BTreeMap::new(), turn: 0, next: 0 }
    }

    /// What is remembered of the call with this id: the newest answer of each lane where it may be.
    fn found(&self, id: &[u8; 16]) -> impl Iterator<Item = IdempotencyRecord<'_>> {
        let lanes = [CallId::caller(id), SHARED].map(|caller| self.lanes.get(&caller));
        let found = lanes.map(|lane| lane.and_then(|lane| lane.find(id)));
        found.into_iter().flatten()
    }

    fn push(&mut self, record: &IdempotencyRecord<'_>) {
        let mut caller = CallId::caller(&record.call.id);
        if self.lanes.len() >= MAX_LANES && !self.lanes.contains_key(&caller) {
            caller = SHARED;
        }
        self.drop_expired(caller, record.at_ns);
        if self.lanes.len() > 1 {
            // A lane of calls that come no more becomes empty, too.
            let next = self.lanes.range(self.turn.wrapping_add(1)..).next().or_else(|| self.lanes.iter().next());
            self.turn = next.map_or(0, |(&next, _)| next);
            self.drop_expired(self.turn, record.at_ns);
        }
        let len = record.answer.len();
        while self.count >= self.max_count || self.bytes + len > self.max_bytes {
            let Some(largest) = self.largest(caller, len) else { break };
            self.drop_oldest(largest);
        }
        self.lanes.entry(caller).or_insert_with(Lane::new).push(self.next, record);
        self.next += 1;
        (self.count, self.bytes) = (self.count + 1, self.bytes + len);
    }

    /// The caller whose answers take most of the room, if another of `len` bytes comes from `newest`; that caller comes first among equals.
    fn largest(&self, newest: u32, len: usize) -> Option<u32> {
        let each = self.max_bytes / self.max_count.max(1);
        let room = |(&caller, lane): (&u32, &Lane)| {
            let (count, bytes) = if caller == newest { (1, len) } else { (0, 0) };
            (lane.bytes() + bytes).saturating_add((lane.count() + count).saturating_mul(each))
        };
        let largest = self.lanes.iter().max_by_key(|&(caller, lane)| (room((caller, lane)), *caller == newest));
        largest.map(|(&caller, _)| caller)
    }

    fn drop_expired(&mut self, caller: u32, now_ns: u64) {
        for _ in 0..EXPIRED_EACH {
            let oldest = self.lanes.get(&caller).and_then(Lane::oldest);
            if !oldest.is_some_and(|oldest| oldest.is_expired(now_ns)) {
                break;
            }
            self.drop_oldest(caller);
        }
    }

    fn drop_oldest(&mut self, caller: u32) {
        let Some(lane) = self.lanes.get_mut(&caller) else { return };
        let before = lane.bytes();
        lane.drop_oldest();
        (self.count, self.bytes) = (self.count - 1, self.bytes - (before - lane.bytes()));
        if lane.count() == 0 {
            self.lanes.remove(&caller);
        }
    }

    fn slice(&self, from: u64, most: usize, each: &mut dyn FnMut(&IdempotencyRecord<'_>)) -> Option<u64> {
        let mut lanes: Vec<_> = self.lanes.values().map(|lane| lane.from(from).peekable()).collect();
        let next = |lanes: &mut Vec<_>, index: usize| {
            let lane: &mut std::iter::Peekable<_> = &mut lanes[index];
            lane.peek().map(|&(order, _): &(u64, IdempotencyRecord<'_>)| Reverse((order, index)))
        };
        let mut order: BinaryHeap<_> = (0..lanes.len()).filter_map(|index| next(&mut lanes, index)).collect();
        let mut left = most;
        while let Some(Reverse((number, index))) = order.pop() {
            if left == 0 {
                return Some(number);
            }
            if let Some((_, record)) = lanes[index].next() {
                each(&record);
            }
            left -= 1;
            order.extend(next(&mut lanes, index));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IDEMPOTENCY_AGE_NS, IdempotencyRecord};
    use super::*;

    fn id(number: u64) -> [u8; 16] {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        id
    }

    fn indexed(window: &Window) -> usize {
        window.lanes.values().map(Lane::indexed).sum()
    }

    fn chunks(window: &Window) -> usize {
        window.lanes.values().map(Lane::chunks).sum()
    }

    /// Answers of two callers, each with its numbers.
    fn push_of(window: &mut Window, caller: u32, number: u64, at_ns: u64, len: usize) {
        let call = CallId { id: CallId::of(caller, &number.to_le_bytes()), fingerprint: [0; 8] };
        window.push(&IdempotencyRecord { call, seq: number, at_ns, answer: &vec![0; len] });
    }

    fn count_of(window: &Window, caller: u32) -> usize {
        window.lanes.get(&caller).map_or(0, Lane::count)
    }

    #[test]
    fn no_caller_displaces_the_answers_of_another_that_has_fewer() {
        let mut window = Window::new(1_000, 100_000);
        for number in 0..300 {
            push_of(&mut window, 1, number, 0, 50);
        }
        for number in 300..20_000 {
            push_of(&mut window, 2, number, 0, 10);
        }
        assert_eq!((count_of(&window, 1), window.count), (300, 1_000));
        for number in 20_000..30_000 {
            // Also not with large answers.
            push_of(&mut window, 2 + u32::try_from(number % 2).unwrap(), number, 0, 5_000);
        }
        assert_eq!(count_of(&window, 1), 300);
        assert!(window.bytes <= 100_000 && count_of(&window, 2) > 5 && count_of(&window, 3) > 5);
        for number in 30_000..40_000 {
            push_of(&mut window, 1, number, 0, 50);
        }
        assert!(count_of(&window, 2) > 5 && count_of(&window, 3) > 5, "nor does that one displace theirs");
        let (all, _) = numbers(&window, 0, usize::MAX);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]) && all.len() == window.count, "in order over all lanes");
        let (mut parts, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let (some, then) = numbers(&window, from, 7);
            parts.extend(some);
            next = then;
        }
        assert_eq!(parts, all);
    }

    #[test]
    fn answers_of_one_record_have_an_order() {
        let mut window = Window::new(1_000, usize::MAX);
        for number in 0..200_u32 {
            let call = CallId { id: CallId::of(number % 3, &number.to_le_bytes()), fingerprint: [0; 8] };
            window.push(&IdempotencyRecord { call, seq: 7, at_ns: u64::from(number), answer: &[] });
        }
        let (mut times, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            next = window.slice(from, 64, &mut |record| times.push(record.at_ns));
        }
        assert_eq!(times, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_caller_that_is_alone_has_all_the_room_and_leaves_it() {
        let mut window = Window::new(1_000, usize::MAX);
        for number in 0..2_000 {
            push_of(&mut window, 1, number, 0, 1);
        }
        assert_eq!(count_of(&window, 1), 1_000);
        for number in 2_000..4_000 {
            push_of(&mut window, 2, number, 0, 1);
        }
        assert_eq!((count_of(&window, 1), count_of(&window, 2)), (500, 500));
        for number in 4_000..4_200 {
            push_of(&mut window, 2, number, IDEMPOTENCY_AGE_NS + 1, 1);
        }
        assert_eq!(window.lanes.keys().collect::<Vec<_>>(), [&2], "what is too old takes no room for long");
    }

    #[test]
    fn lanes_are_bounded() {
        let mut window = Window::new(10_000, usize::MAX);
        for number in 0..5_000_u32 {
            push_of(&mut window, number, u64::from(number), 0, 1);
        }
        assert_eq!(window.lanes.len(), MAX_LANES + 1);
        assert_eq!(count_of(&window, SHARED), 5_000 - MAX_LANES);
        for number in [0, 1_023, 1_024, 4_999_u32] {
            let id = CallId::of(number, &u64::from(number).to_le_bytes());
            assert_eq!(window.found(&id).map(|record| record.seq).collect::<Vec<_>>(), [u64::from(number)]);
        }
    }

    fn push(window: &mut Window, number: u64, at_ns: u64, len: usize) {
        let call = CallId { id: id(number), fingerprint: number.to_le_bytes() };
        let byte = number.to_le_bytes()[0];
        window.push(&IdempotencyRecord { call, seq: number, at_ns, answer: &vec![byte; len] });
    }

    fn found(window: &Window, number: u64) -> Option<usize> {
        window.found(&id(number)).next().map(|record| {
            assert_eq!((record.seq, record.call.fingerprint), (number, number.to_le_bytes()));
            let byte = number.to_le_bytes()[0];
            assert!(record.answer.iter().all(|&other| other == byte), "the answer of another call");
            record.answer.len()
        })
    }

    fn numbers(window: &Window, from: u64, most: usize) -> (Vec<u64>, Option<u64>) {
        let mut all = Vec::new();
        let next = window.slice(from, most, &mut |record| all.push(record.seq));
        (all, next)
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut window = Window::new(3_000, usize::MAX);
        for number in 0..10_000 {
            push(&mut window, number, number, 5 + usize::try_from(number % 50).unwrap());
            let gone = number.checked_sub(3_000);
            assert!(gone.is_none_or(|gone| found(&window, gone).is_none()));
            let oldest = (number + 1).saturating_sub(3_000);
            assert_eq!(found(&window, oldest), Some(5 + usize::try_from(oldest % 50).unwrap()));
        }
        assert_eq!(numbers(&window, 0, usize::MAX), ((7_000..10_000).collect(), None));
        assert_eq!(indexed(&window), 3_000, "nothing is left behind");
        assert!(chunks(&window) <= 4, "{} chunks", chunks(&window));
    }

    #[test]
    fn the_oldest_go_when_they_take_too_much_room() {
        let mut window = Window::new(usize::MAX, 1_000_000);
        let len = |number: u64| usize::try_from(number % 7).unwrap() * 30_000 + 1;
        for number in 0..500 {
            push(&mut window, number, 0, len(number));
            let (left, _) = numbers(&window, 0, usize::MAX);
            let bytes = |from: u64| (from..=number).map(len).sum::<usize>();
            assert!(bytes(left[0]) <= 1_000_000 && (left[0] == 0 || bytes(left[0] - 1) > 1_000_000));
            assert_eq!((window.bytes, window.count), (bytes(left[0]), left.len()));
            assert_eq!(left, (left[0]..=number).collect::<Vec<_>>());
        }
        push(&mut window, 999, 0, 1_000_001);
        assert_eq!(numbers(&window, 0, usize::MAX).0, [999], "the newest stays, whatever its size");
    }

    #[test]
    fn what_is_too_old_goes_a_few_at_a_time() {
        let mut window = Window::new(usize::MAX, usize::MAX);
        for number in 0..5_000 {
            push(&mut window, number, number, 30);
        }
        let late = IDEMPOTENCY_AGE_NS + 5_000;
        for number in 5_000..5_700 {
            let before = window.count;
            push(&mut window, number, late, 30);
            assert!(before + 1 - window.count <= EXPIRED_EACH, "no call drops more");
        }
        assert_eq!(window.count, 700);
        for number in 5_700..6_000 {
            push(&mut window, number, late, 30);
        }
        assert_eq!(numbers(&window, 0, usize::MAX).0, (5_000..6_000).collect::<Vec<_>>());
        push(&mut window, 6_000, late + IDEMPOTENCY_AGE_NS, 30);
        assert_eq!(window.count, 1_001, "at the last moment they are still there");
        for number in 6_001..6_200 {
            push(&mut window, number, late + IDEMPOTENCY_AGE_NS + 1, 30);
        }
        assert_eq!(window.count, 200);
        // Also when nothing is left at all.
        push(&mut window, 7_000, u64::MAX, 30);
        for _ in 0..40 {
            push(&mut window, 7_000, u64::MAX, 30);
        }
        assert_eq!((found(&window, 7_000), window.count), (Some(30), 41));
        assert_eq!(indexed(&window), 1);
    }

    #[test]
    fn slices_go_through_all_of_them() {
        let mut window = Window::new(5_000, usize::MAX);
        assert_eq!(numbers(&window, 0, 10), (Vec::new(), None));
        for number in 0..7_777 {
            push(&mut window, number, number, 20);
        }
        let (mut all, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let (some, then) = numbers(&window, from, 64);
            assert!(some.len() <= 64);
            all.extend(some);
            // During a scan old ones go and new ones come.
            push(&mut window, 7_777 + all.len() as u64, 8_000, 20);
            next = then.filter(|_| all.len() < 4_000);
        }
        assert_eq!(all.first(), Some(&2_777));
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    }

    #[test]
    fn an_old_answer_makes_room_for_the_new_one_of_the_same_call() {
        let mut window = IdempotencyWindow::default();
        let record = |seq, at_ns| IdempotencyRecord {
            call: CallId { id: [1; 16], fingerprint: [2; 8] },
            seq,
            at_ns,
            answer: &[9],
        };
        window.remember(&record(1, 0));
        assert_eq!(window.find(&[1; 16], IDEMPOTENCY_AGE_NS).map(|found| found.seq), Some(1));
        assert_eq!(window.find(&[1; 16], IDEMPOTENCY_AGE_NS + 1), None);
        // It is denied then, and that is what counts although the old answer is still there.
        window.remember_denied(&record(0, IDEMPOTENCY_AGE_NS + 1));
        assert_eq!(window.find(&[1; 16], IDEMPOTENCY_AGE_NS + 1).map(|found| found.seq), Some(0));
        window.remember(&record(7, 3 * IDEMPOTENCY_AGE_NS));
        assert_eq!(window.find(&[1; 16], 3 * IDEMPOTENCY_AGE_NS).map(|found| found.seq), Some(7));
        let mut all = Vec::new();
        window.for_each(3 * IDEMPOTENCY_AGE_NS, &mut |found| all.push(found.seq));
        assert_eq!(all, [7]);
    }
}
