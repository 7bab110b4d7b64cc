//! The exact form: the fields that results are made of, as integers, without those derived from them. Names are those of the
//! arguments that the Python result classes take. The type of a result's exact form is in the same file as that of its public form.

/// What a request's `Accept` and an answer's `Content-Type` say for this form.
pub const MEDIA_TYPE: &str = "application/vnd.flint.exact+json";

/// Why an answer makes no sense although it is JSON.
pub type Malformed = &'static str;
