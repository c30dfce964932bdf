//! A gate before a route lets a request pass or refuses it, at once or after an asynchronous question.

use std::rc::Rc;

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use futures_util::future::{Either, LocalBoxFuture, Ready, ready};

use crate::http::response::problem::Problem;

pub(in crate::http) trait RouteGate: 'static {
    /// A decision without waiting; `None`: [`RouteGate::decide_later`] must decide.
    fn decide_now(&self, request: &ServiceRequest) -> Option<Result<(), Problem>>;

    /// A decision that may wait for an answer.
    fn decide_later(&self, request: &ServiceRequest) -> impl Future<Output = Result<(), Problem>>;
}

pub(in crate::http) struct GateMiddleware<G>(pub(in crate::http) Rc<G>);

impl<G: RouteGate, S> Transform<S, ServiceRequest> for GateMiddleware<G>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type InitError = ();
    type Transform = GatedRoute<G, S>;
    type Future = Ready<Result<GatedRoute<G, S>, ()>>;

    fn new_transform(&self, route: S) -> Self::Future {
        ready(Ok(GatedRoute { gate: Rc::clone(&self.0), route: Rc::new(route) }))
    }
}

pub(in crate::http) struct GatedRoute<G, S> {
    gate: Rc<G>,
    route: Rc<S>,
}

type GatedResult = Result<ServiceResponse<BoxBody>, Error>;

impl<G: RouteGate, S> Service<ServiceRequest> for GatedRoute<G, S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    /// A decision without waiting costs no box.
    type Future = Either<S::Future, Either<Ready<GatedResult>, LocalBoxFuture<'static, GatedResult>>>;

    actix_web::dev::forward_ready!(route);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        match self.gate.decide_now(&request) {
            Some(Ok(())) => Either::Left(self.route.call(request)),
            Some(Err(problem)) => Either::Right(Either::Left(ready(Ok(request.error_response(problem))))),
            None => {
                let (gate, route) = (Rc::clone(&self.gate), Rc::clone(&self.route));
                Either::Right(Either::Right(Box::pin(async move {
                    match gate.decide_later(&request).await {
                        Ok(()) => route.call(request).await,
                        Err(problem) => Ok(request.error_response(problem)),
                    }
                })))
            }
        }
    }
}
