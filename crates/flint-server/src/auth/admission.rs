//! The decision on whether a request is served, before anything else of it is read: token, `Origin`, `Host`.

use std::sync::{PoisonError, RwLock};

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};

use super::scope::Scopes;
use super::token::{DIGEST_LEN, Principal, TokenSource, Tokens};
use crate::error::StartError;
use crate::problem::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The accepted tokens and hosts.
#[derive(Debug)]
pub(crate) struct Admission {
    source: TokenSource,
    tokens: RwLock<Tokens>,
    allowed_hosts: Vec<String>,
}

impl Admission {
    /// With the tokens as they are now.
    ///
    /// # Errors
    /// What is wrong with them, or with a host.
    pub(crate) fn new(source: TokenSource, allowed_hosts: &[String]) -> Result<Self, StartError> {
        if let Some(other) = allowed_hosts.iter().find(|host| !is_host(host)) {
            return Err(StartError::new(format!(
                "--allowed-host {other:?} is no host: give a name or an address as in URLs, without scheme, port and path"
            )));
        }
        let tokens = RwLock::new(source.load()?);
        let allowed_hosts = allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { source, tokens, allowed_hosts })
    }

    /// Whether a token is set.
    pub(crate) fn needs_token(&self) -> bool {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).are_needed()
    }

    /// Whether clients have different tokens.
    pub(crate) fn has_several_tokens(&self) -> bool {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).are_several()
    }

    /// Reads the token file again. The old tokens stay where it cannot be read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn reload(&self) -> Result<(), StartError> {
        let tokens = self.source.load()?;
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(())
    }

    /// The client and its scopes. `authority` is that of a request line with a whole URL, `local` is true for a Unix socket,
    /// which no web page reaches.
    ///
    /// # Errors
    /// `unauthorized`, `origin_refused`, `host_refused`.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        authority: Option<&str>,
        local: bool,
    ) -> Result<(Principal, Scopes), Problem> {
        if headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return Err(Problem::new(Code::Unauthorized, "the request has two Authorization headers; send one"));
        }
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let needs_token = tokens.are_needed();
        let admitted = if needs_token {
            let presented = headers.get(AUTHORIZATION).and_then(bearer);
            presented
                .and_then(|token| tokens.find(token))
                .ok_or_else(|| Problem::new(Code::Unauthorized, "send a valid token: Authorization: Bearer TOKEN"))?
        } else {
            ([0; DIGEST_LEN], Scopes::ALL)
        };
        drop(tokens);
        if headers.contains_key(ORIGIN) || headers.get_all(&SEC_FETCH_SITE).iter().any(is_of_a_page) {
            let detail = "requests with an Origin header, or with Sec-Fetch-Site: cross-site, come from web pages, which are not served";
            return Err(Problem::new(Code::OriginRefused, detail));
        }
        if !needs_token && !local && !self.is_own_host(headers, authority) {
            let detail = "the Host header, or the URL, names none of this server's hosts: use 127.0.0.1 or localhost, start the server with \
                          --allowed-host, or set a token";
            return Err(Problem::new(Code::HostRefused, detail));
        }
        Ok(admitted)
    }

    /// A page that was loaded from a name which now leads to this machine still sends that name.
    fn is_own_host(&self, headers: &HeaderMap, authority: Option<&str>) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        self.is_own(host) && authority.is_none_or(|authority| self.is_own(authority))
    }

    fn is_own(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        matches!(name, "localhost" | "[::1]") || is_loopback(name) || self.allowed_hosts.iter().any(|own| own == name)
    }
}

/// Whether `text` may be a whole host: a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Whether `Sec-Fetch-Site` says that the page of another origin made the request. A browser sends no `Origin` for an image or a script.
fn is_of_a_page(site: &HeaderValue) -> bool {
    let site = site.as_bytes().trim_ascii();
    // "same-site" is another port of this machine.
    site.eq_ignore_ascii_case(b"cross-site") || site.eq_ignore_ascii_case(b"same-site")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

fn is_loopback(name: &str) -> bool {
    name.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

fn bearer(header: &HeaderValue) -> Option<&[u8]> {
    let header = header.as_bytes();
    let space = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = header.split_at(space);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(token: Option<&str>) -> Admission {
        let source =
            token.map_or(TokenSource::None, |token| TokenSource::Single { token: token.to_owned(), visible: false });
        Admission::new(source, &["Flint.internal".to_owned()]).unwrap()
    }

    fn refusal(admission: &Admission, headers: &[(&'static str, &str)]) -> Option<Code> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        admission.admit(&headers, None, false).err().map(|problem| problem.code())
    }

    #[test]
    fn a_token_is_needed_where_one_is_set() {
        let admission = admission(Some("dev-secret"));
        for good in ["Bearer dev-secret", "bearer dev-secret", "BEARER  dev-secret "] {
            assert_eq!(refusal(&admission, &[("authorization", good)]), None, "{good}");
        }
        for bad in ["Bearer", "Bearer ", "Bearer dev-secre", "Bearer dev-secrets", "Basic dev-secret", "dev-secret", ""]
        {
            assert_eq!(refusal(&admission, &[("authorization", bad)]), Some(Code::Unauthorized), "{bad}");
        }
        assert_eq!(refusal(&admission, &[("host", "localhost")]), Some(Code::Unauthorized));
        assert_eq!(refusal(&admission, &[("origin", "http://x")]), Some(Code::Unauthorized), "the token comes first");
        let from_page = [("authorization", "Bearer dev-secret"), ("origin", "http://localhost")];
        assert_eq!(refusal(&admission, &from_page), Some(Code::OriginRefused));
        for (site, refused) in [("cross-site", true), ("Same-Site", true), ("same-origin", false), ("none", false)] {
            let sent = [("authorization", "Bearer dev-secret"), ("sec-fetch-site", site)];
            assert_eq!(refusal(&admission, &sent), refused.then_some(Code::OriginRefused), "{site}");
        }
    }

    #[test]
    fn a_second_authorization_is_refused_whatever_it_says() {
        for admission in [admission(Some("dev-secret")), admission(None)] {
            let twice =
                [("authorization", "Bearer dev-secret"), ("host", "localhost"), ("authorization", "Bearer dev-secret")];
            assert_eq!(refusal(&admission, &twice), Some(Code::Unauthorized));
            assert_eq!(refusal(&admission, &twice[..2]), None);
        }
    }

    #[test]
    fn without_a_token_the_host_has_to_be_ours() {
        let admission = admission(None);
        for good in
            ["localhost", "LOCALHOST:1", "127.0.0.1:7878", "127.8.8.8", "[::1]:7878", "[::1]", "flint.internal:80"]
        {
            assert_eq!(refusal(&admission, &[("host", good)]), None, "{good}");
        }
        for bad in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "", "localhost:80:80"]
        {
            assert_eq!(refusal(&admission, &[("host", bad)]), Some(Code::HostRefused), "{bad}");
        }
        assert_eq!(refusal(&admission, &[]), Some(Code::HostRefused));
        assert_eq!(refusal(&admission, &[("host", "localhost"), ("host", "evil.example")]), Some(Code::HostRefused));
        assert!(admission.admit(&HeaderMap::new(), None, true).is_ok(), "a Unix socket");
    }

    #[test]
    fn the_host_of_a_whole_url_has_to_be_ours_too() {
        let admission = admission(None);
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        assert!(admission.admit(&headers, Some("127.0.0.1:7878"), false).is_ok());
        let refused = admission.admit(&headers, Some("evil.example"), false).unwrap_err();
        assert_eq!(refused.code(), Code::HostRefused);
        assert!(admission.admit(&headers, Some("evil.example"), true).is_ok(), "a Unix socket");
    }

    #[test]
    fn what_can_be_no_host_is_not_allowed_as_one() {
        let with = |host: &str| Admission::new(TokenSource::None, &[host.to_owned()]);
        for good in ["flint.internal", "flint", "192.0.2.1", "[2001:db8::1]", "Flint_1"] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in ["", "*", "http://flint", "flint:80", "flint/", "2001:db8::1", "[flint]", "a b", "*.example"] {
            let error = with(bad).unwrap_err().to_string();
            assert!(error.contains("--allowed-host") && error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
