//! Open connections. No connection has a timer of its own: a sweep every tenth of a second looks at all of them.
//!
//! `clock`: the time of the last sweep; `state`: one connection; `table`: all of them; `stream`: a stream that notes what it sees;
//! `head`: the headers of every response.

mod clock;
mod head;
mod state;
mod stream;
mod table;

pub(crate) use state::Connection;
pub(crate) use stream::TrackedStream;
pub(crate) use table::{Connections, SWEEP_EVERY};
