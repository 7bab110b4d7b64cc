//! Authentication and authorization. `scope`: what a token may allow; `token`: accepted tokens; `admission`: the decision on a
//! request.

mod admission;
mod scope;
mod token;

pub(crate) use admission::Admission;
pub(crate) use scope::Scope;
pub use token::TokenSource;
pub(crate) use token::{Principal, STRONG, is_strong};
