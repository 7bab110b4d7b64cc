//! Changing an input: what every target shares.

use super::random::Random;

/// Numbers at which something tends to change.
pub(super) const EDGES: [u64; 28] = [
    0,
    1,
    2,
    7,
    8,
    9,
    31,
    32,
    63,
    64,
    127,
    128,
    255,
    256,
    4095,
    4096,
    65_535,
    65_536,
    (1 << 24) - 1,
    1 << 24,
    u32::MAX as u64,
    1 << 32,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX / 1_000_000,
    u64::MAX - 1,
    u64::MAX,
];

/// An edge, now and then a neighbour of one.
pub(super) fn edge(random: &mut Random) -> u64 {
    let edge = EDGES[random.below(EDGES.len())];
    match random.below(4) {
        0 => edge.wrapping_add(1),
        1 => edge.wrapping_sub(1),
        _ => edge,
    }
}

/// Changes `input` in one to six ways. `other` is another input, to take parts from; `words` are bytes that mean something to
/// the target. The result has at most `max_len` bytes.
pub(super) fn mutate(input: &[u8], other: &[u8], words: &[&[u8]], max_len: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.short(6) {
        once(&mut bytes, other, words, random);
        bytes.truncate(max_len);
    }
    bytes
}

fn once(bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    if bytes.is_empty() {
        bytes.extend_from_slice(if other.is_empty() { &[0] } else { other });
        return;
    }
    let len = bytes.len();
    let at = random.below(len);
    match random.below(14) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.byte(),
        2 => bytes[at] = bytes[at].wrapping_add(if random.one_in(2) { 1 } else { 255 }),
        3 => put_integer(bytes, at, random),
        4 => add_to_integer(bytes, at, random),
        5 => {
            let end = (at + random.short(64)).min(len);
            bytes.drain(at..end);
        }
        6 => {
            let run = vec![if random.one_in(2) { 0 } else { random.byte() }; random.short(32)];
            insert(bytes, at, &run);
        }
        7 => {
            let end = (at + random.short(128)).min(len);
            let part = bytes[at..end].to_vec();
            let to = random.below(len + 1);
            insert(bytes, to, &part);
        }
        8 => {
            let end = (at + random.short(64)).min(len);
            let part = bytes[at..end].to_vec();
            let to = random.below(len - part.len() + 1);
            bytes[to..to + part.len()].copy_from_slice(&part);
        }
        9 if !other.is_empty() => {
            let from = random.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        10 if !other.is_empty() => {
            let from = random.below(other.len());
            let to = (from + random.short(128)).min(other.len());
            insert(bytes, at, &other[from..to]);
        }
        11 if !words.is_empty() => {
            let word = words[random.below(words.len())];
            insert(bytes, at, word);
        }
        12 => put_decimal(bytes, at, random),
        13 => bytes.truncate(at + 1),
        _ => bytes.swap(at, len - 1),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    bytes.splice(at..at, part.iter().copied());
}

/// One, two, four or eight bytes, little-endian, half of the time at a multiple of their number.
fn integer_at(len: usize, at: usize, random: &mut Random) -> (usize, usize) {
    let size = 1 << random.below(4);
    let at = if random.one_in(2) { at / size * size } else { at };
    (at, size.min(len - at))
}

fn put_integer(bytes: &mut [u8], at: usize, random: &mut Random) {
    let (at, size) = integer_at(bytes.len(), at, random);
    bytes[at..at + size].copy_from_slice(&edge(random).to_le_bytes()[..size]);
}

fn add_to_integer(bytes: &mut [u8], at: usize, random: &mut Random) {
    let (at, size) = integer_at(bytes.len(), at, random);
    let mut word = [0; 8];
    word[..size].copy_from_slice(&bytes[at..at + size]);
    let delta = random.short(35) as u64;
    let value = u64::from_le_bytes(word);
    let value = if random.one_in(2) { value.wrapping_add(delta) } else { value.wrapping_sub(delta) };
    bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
}

/// The decimal numbers in a text, as ranges of bytes.
pub(super) fn decimals(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let len = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len > 0 {
            found.push(at..at + len);
        }
        at += len + 1;
    }
    found
}

/// Another number in place of the first one behind `at`, or of the first.
fn put_decimal(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let all = decimals(bytes);
    let Some(range) = all.iter().find(|range| range.start >= at).or(all.first()).cloned() else { return };
    let old = std::str::from_utf8(&bytes[range.clone()]).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let new = match random.below(3) {
        0 => old.wrapping_add(random.short(3) as u64),
        1 => old.wrapping_sub(random.short(3) as u64),
        _ => edge(random),
    };
    bytes.splice(range, new.to_string().into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_no_input_is_too_long() {
        let run = |seed| {
            let mut random = Random::new(seed);
            let mut input = b"the 1st of 20 inputs".to_vec();
            let all: Vec<_> = (0..2_000)
                .map(|_| {
                    input = mutate(&input, b"another one", &[b"word"], 100, &mut random);
                    assert!(input.len() <= 100);
                    input.clone()
                })
                .collect();
            all
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn numbers_are_found() {
        assert_eq!(decimals(b"12,ab3x"), [0..2, 5..6]);
        assert_eq!(decimals(b""), []);
    }
}
