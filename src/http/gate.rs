//! What stands before a route and lets a request pass or refuses it: at once, or after asking somebody.

use std::rc::Rc;

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use futures_util::future::{Either, LocalBoxFuture, Ready, ready};

use super::Problem;

/// Decides about requests to one route.
pub(super) trait Gate: 'static {
    /// What can be told at once; `None` if [`Gate::ask`] must tell.
    fn look(&self, request: &ServiceRequest) -> Option<Result<(), Problem>>;

    /// Takes its time.
    fn ask(&self, request: &ServiceRequest) -> impl Future<Output = Result<(), Problem>>;
}

/// Puts a gate before a route.
pub(super) struct Before<G>(pub(super) Rc<G>);

impl<G: Gate, S> Transform<S, ServiceRequest> for Before<G>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type InitError = ();
    type Transform = Gated<G, S>;
    type Future = Ready<Result<Gated<G, S>, ()>>;

    fn new_transform(&self, route: S) -> Self::Future {
        ready(Ok(Gated { gate: Rc::clone(&self.0), route: Rc::new(route) }))
    }
}

/// A route behind its gate.
pub(super) struct Gated<G, S> {
    gate: Rc<G>,
    route: Rc<S>,
}

type Answered = Result<ServiceResponse<BoxBody>, Error>;

impl<G: Gate, S> Service<ServiceRequest> for Gated<G, S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    /// What can be told at once costs no box.
    type Future = Either<S::Future, Either<Ready<Answered>, LocalBoxFuture<'static, Answered>>>;

    actix_web::dev::forward_ready!(route);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        match self.gate.look(&request) {
            Some(Ok(())) => Either::Left(self.route.call(request)),
            Some(Err(problem)) => Either::Right(Either::Left(ready(Ok(request.error_response(problem))))),
            None => {
                let (gate, route) = (Rc::clone(&self.gate), Rc::clone(&self.route));
                Either::Right(Either::Right(Box::pin(async move {
                    match gate.ask(&request).await {
                        Ok(()) => route.call(request).await,
                        Err(problem) => Ok(request.error_response(problem)),
                    }
                })))
            }
        }
    }
}
