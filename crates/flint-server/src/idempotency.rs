//! `Idempotency-Key`: the id of a call that may be repeated.

use flint_core::engine::CallId;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

use crate::auth::Principal;
use crate::problem::{Code, Problem};

const MAX_LEN: usize = 128;

/// The id of a call: a digest of the client with its key, a part of the client's own, and a fingerprint of the request.
///
/// # Errors
/// `invalid_argument` for a header that is empty, too long, or not visible ASCII.
pub(crate) fn call_id(header: &HeaderValue, principal: &Principal, path: &str, body: &[u8]) -> Result<CallId, Problem> {
    let key = header.as_bytes();
    if key.is_empty() || key.len() > MAX_LEN || !key.iter().all(u8::is_ascii_graphic) {
        let detail = format!("Idempotency-Key is 1 to {MAX_LEN} visible ASCII characters");
        return Err(Problem::new(Code::InvalidArgument, detail));
    }
    let id = Sha256::new().chain_update(principal).chain_update(key).finalize();
    let fingerprint = Sha256::new().chain_update(path).chain_update([0]).chain_update(body).finalize();
    // Four bytes of its digest tell a token from the others of a file.
    let [a, b, c, d, ..] = *principal;
    let mut call = CallId { id: CallId::of(u32::from_le_bytes([a, b, c, d]), &id), fingerprint: [0; 8] };
    call.fingerprint.copy_from_slice(&fingerprint[..8]);
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_differs_by_client_key_and_request() {
        let name = |principal: u8, key: &str, path: &str, body: &str| {
            call_id(&HeaderValue::from_str(key).unwrap(), &[principal; 32], path, body.as_bytes()).unwrap()
        };
        let one = name(0, "k", "/p", "b");
        assert_eq!(one, name(0, "k", "/p", "b"));
        assert!(one.id != name(1, "k", "/p", "b").id && one.id != name(0, "l", "/p", "b").id);
        for other in [name(0, "k", "/p", "c"), name(0, "k", "/q", "b")] {
            assert!(one.id == other.id && one.fingerprint != other.fingerprint);
        }
        for bad in ["", "a b", &"k".repeat(129)] {
            let header = HeaderValue::from_str(bad).unwrap();
            assert!(call_id(&header, &[0; 32], "/p", b"").is_err(), "{bad:?}");
        }
    }
}
