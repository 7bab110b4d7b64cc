//! Many limits set by one call: a slice at a time under the lock, each in a record of its own, so that other calls never wait for all of
//! them. The room in the log is set aside for the whole call before it changes anything.

use crate::error::Result;
#[cfg(feature = "test-hooks")]
use crate::hooks;
use crate::limit::MAX_RATES;

use super::configure::Spec;
use super::shared::Shared;

/// Rates in one slice: about a millisecond under the lock.
pub const SLICE_RATES: usize = 1_000;
/// Room for what may be written during the call, out of the room that is kept for closing: anchors, denial totals, marks.
const MARGIN: usize = 16 << 10;

/// Whether all limits are set at once, in one record.
pub(crate) fn is_one_slice(specs: &[Spec<'_>]) -> bool {
    specs.len() <= SLICE_RATES / MAX_RATES || slices(specs).nth(1).is_none()
}

/// The specs in slices of at most [`SLICE_RATES`] rates.
fn slices<'s, 'a>(mut specs: &'s [Spec<'a>]) -> impl Iterator<Item = &'s [Spec<'a>]> {
    std::iter::from_fn(move || {
        let mut rates = 0;
        let fits = specs.iter().take_while(|(_, limit, _)| {
            rates += limit.rates().len();
            rates <= SLICE_RATES
        });
        let (slice, rest) = specs.split_at(fits.count());
        specs = rest;
        (!slice.is_empty()).then_some(slice)
    })
}

/// Room in the log that other calls leave for this one. Given back when it is dropped.
struct HeldRoom<'a> {
    shared: &'a Shared,
    bytes: usize,
}

impl<'a> HeldRoom<'a> {
    fn new(shared: &'a Shared, bytes: usize) -> Result<Self> {
        shared.perform(|core| core.hold_room(bytes))?;
        Ok(Self { shared, bytes })
    }

    /// Sets the limits of a slice for which `bytes` were counted. Gives the record after which they are durable.
    fn set(&mut self, slice: &[Spec<'_>], bytes: usize) -> Result<u64> {
        let bytes = bytes.min(self.bytes);
        let held = self.bytes;
        let seq = self.shared.perform(|core| {
            // The margin too is for this call.
            let others = core.held_room - held;
            core.held_room = others + held.saturating_sub(bytes + MARGIN);
            let configured = core.configure(slice, true);
            core.held_room = others + if configured.is_ok() { held - bytes } else { held };
            #[cfg(feature = "testing")]
            core.view.scanned.add_work(slice.iter().map(|(_, limit, _)| limit.rates().len() as u64).sum());
            configured
        })?;
        self.bytes -= bytes;
        Ok(seq)
    }
}

impl Drop for HeldRoom<'_> {
    fn drop(&mut self) {
        if !self.shared.is_forked() {
            self.shared.core.lock().held_room -= self.bytes;
        }
    }
}

impl Shared {
    /// Sets limits. Gives the record after which all of them are durable. After an error of the disk in the middle, or where the store is
    /// closed meanwhile, those before it are set; a lack of room is found before the first.
    pub(crate) fn set_limits(&self, specs: &[Spec<'_>]) -> Result<u64> {
        if is_one_slice(specs) {
            return self.perform(|core| core.configure(specs, true));
        }
        let mut sizes = Vec::new();
        for slice in slices(specs) {
            sizes.push(self.perform(|core| Ok(core.configure_bytes(slice)))?);
            self.give_way();
        }
        let bytes: usize = sizes.iter().sum();
        let mut room = HeldRoom::new(self, if bytes == 0 { 0 } else { bytes + MARGIN })?;
        let mut seq = 0;
        for (slice, bytes) in slices(specs).zip(sizes) {
            seq = seq.max(room.set(slice, bytes)?);
            self.give_way();
            #[cfg(feature = "test-hooks")]
            hooks::between_slices();
        }
        Ok(seq)
    }
}
