//! The sign-in gate: verifies the caller's token before every route but the open ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;
use ipnet::IpNet;

use super::access::{Caller, RouteAccess};
use super::audit_gate::record_refused_attempt;
use super::gate::RouteGate;
use super::rate_limit::{address_key, refusal};
use crate::auth::{AuthError, TokenVerifier, VerifiedToken, VerifiedTokens, unix_now};
use crate::http::guards::bearer::bearer;
use crate::http::response::problem::Problem;
use crate::limits::{RateLimiter, TakeOutcome};
use crate::telemetry::record_caller;

/// Remembered tokens of a worker; at most twice as many, of about 120 bytes each.
const REMEMBERED: usize = 16_384;

pub(in crate::http) struct SignInState {
    verifier: Arc<TokenVerifier>,
    remembered: RefCell<VerifiedTokens>,
    limiter: Option<Arc<RateLimiter>>,
    proxies: Rc<[IpNet]>,
}

impl SignInState {
    pub(in crate::http) fn new(
        verifier: Arc<TokenVerifier>,
        limiter: Option<Arc<RateLimiter>>,
        proxies: Rc<[IpNet]>,
    ) -> Self {
        Self { verifier, remembered: RefCell::new(VerifiedTokens::new(REMEMBERED)), limiter, proxies }
    }

    fn remembered(&self, token: &str) -> Option<VerifiedToken> {
        self.remembered.borrow_mut().find_verified(token, unix_now(), self.verifier.keys_epoch())
    }

    async fn verify(&self, token: &str) -> Result<VerifiedToken, AuthError> {
        let verified = self.verifier.verify(token).await?;
        self.remembered.borrow_mut().remember(token, verified);
        Ok(verified)
    }

    /// The answer to a wrong token. The rate limit counts wrong tokens by address, so that nobody can try many.
    fn refuse(&self, request: &ServiceRequest, error: AuthError) -> Problem {
        if let Some(limiter) = &self.limiter
            && let TakeOutcome::Refused(_, wait) = limiter.take_local(address_key(request.request(), &self.proxies), 1)
        {
            return refusal(wait);
        }
        error.into()
    }
}

pub(in crate::http) struct SignInGate {
    sign_in: Rc<SignInState>,
    access: RouteAccess,
}

impl SignInGate {
    pub(in crate::http) fn new(sign_in: Rc<SignInState>, access: RouteAccess) -> Self {
        Self { sign_in, access }
    }

    fn admit(&self, verified: VerifiedToken, request: &ServiceRequest) -> Result<(), Problem> {
        let admitted = self.access.admit(verified.principal, request.request());
        let caller = Caller::new(verified);
        if let Some(key) = caller.key() {
            record_caller(key.number());
        }
        request.extensions_mut().insert(caller);
        admitted
    }
}

impl RouteGate for SignInGate {
    fn decide_now(&self, request: &ServiceRequest) -> Option<Result<(), Problem>> {
        let token = match bearer(request.headers()) {
            Ok(token) => token,
            Err(error) => return Some(Err(self.sign_in.refuse(request, error))),
        };
        let admitted = self.admit(self.sign_in.remembered(token)?, request);
        // A refused attempt at an operator action must wait for the audit log.
        Some(admitted).filter(|admitted| admitted.is_ok() || self.access.operator_action(request.request()).is_none())
    }

    async fn decide_later(&self, request: &ServiceRequest) -> Result<(), Problem> {
        let verified = match bearer(request.headers()) {
            Ok(token) => match self.sign_in.remembered(token) {
                Some(verified) => Ok(verified),
                None => self.sign_in.verify(token).await,
            },
            Err(error) => Err(error),
        };
        let admitted = self.admit(verified.map_err(|error| self.sign_in.refuse(request, error))?, request);
        if let (Err(problem), Some(action)) = (&admitted, self.access.operator_action(request.request())) {
            record_refused_attempt(action, request.request(), problem.code()).await;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn only_one_bearer_token_is_one() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of(&[b"Bearer a.b-c_d.e"]), Ok("a.b-c_d.e".to_owned()));
        assert_eq!(of(&[b"bEARER  a.b.c "]), Ok("a.b.c".to_owned()));
        assert_eq!(of(&[]), Err(AuthError::Missing));
        assert_eq!(of(&[b"Basic YTpi"]), Err(AuthError::Missing));
        assert_eq!(of(&[b""]), Err(AuthError::Missing));
        for bad in
            [&b"Bearer"[..], b"Bearer ", b"Bearer a b", b"Bearer a,b", b"Bearer \xff", b"Bearer a\tb", b"Bearer \"a\""]
        {
            assert_eq!(of(&[bad]), Err(AuthError::Malformed), "{bad:?}");
        }
        assert_eq!(of(&[b"Bearer a.b.c", b"Bearer a.b.c"]), Err(AuthError::Malformed));
    }
}
