//! Lookups and fills of one thread, sent together over a connection of that thread.
//!
//! The link's connection is driven on the main runtime, so that each lookup over it wakes two other threads on its way. A
//! lane lives on the thread that asks, as those of gathered reads do: while the answers to one round of commands are on
//! their way the next round gathers. Its connection must lead to the very server that the link leads to; until that is
//! known, and wherever a lane cannot be had, the link serves.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::background::BackgroundAction;
use super::commands::{FillCommand, FillLease, LOOKUP_LIMIT, LookupResult, put_fills, put_lookup};
use super::resp::{RespAnswer, RespConnection};
use super::service::Cache;
use super::shared_connection::ServerLink;
use super::single_flight::PendingLoad;

/// Orders of one thread that may wait.
const QUEUE: usize = 1024;
/// Orders in one round.
const BATCH: usize = 128;
/// Larger entries go over the link: here they would hold up the lookups behind them.
const LARGEST: usize = 16 << 10;
/// How long opening the connection may take.
const OPEN_LIMIT: Duration = Duration::from_secs(1);

/// What a lane is asked to do.
enum LaneCommand {
    /// Say what is kept under the key; where that is nothing, put the lease there.
    LookUp(LaneLookup),
    /// Put a value in the place of its lease.
    Fill(Box<(PendingLoad, FillCommand)>),
}

struct LaneLookup {
    key: Arc<str>,
    lease: FillLease,
    /// `None`: it took too long, and nobody waits any more.
    reply: Option<oneshot::Sender<LookupResult>>,
}

/// This thread's lane of one cache.
struct ThreadLane {
    link: Arc<ServerLink>,
    orders: mpsc::Sender<LaneCommand>,
    is_ready: Arc<AtomicBool>,
}

thread_local! {
    /// By the number of their cache.
    static LANES: RefCell<HashMap<usize, ThreadLane>> = RefCell::default();
}

impl Cache {
    /// As [`ServerLink::look_up`], over this thread's lane if it has one for the link.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        link: &Arc<ServerLink>,
        key: &Arc<str>,
        lease: FillLease,
    ) -> Option<LookupResult> {
        let (reply, seen) = oneshot::channel();
        let look = LaneLookup { key: Arc::clone(key), lease, reply: Some(reply) };
        // The lane keeps the time limit.
        match self.order(link, LaneCommand::LookUp(look)) {
            Ok(()) => seen.await.ok(),
            Err(_) => link.look_up(key, lease).await,
        }
    }

    /// Puts a value in the place of its lease, soon.
    pub(super) fn fill(self: &Arc<Self>, link: &Arc<ServerLink>, flight: PendingLoad, fill: FillCommand) {
        let is_small = fill.entry.len() <= LARGEST;
        let order = LaneCommand::Fill(Box::new((flight, fill)));
        let order = if is_small { self.order(link, order) } else { Err(order) };
        if let Err(LaneCommand::Fill(both)) = order {
            let (flight, fill) = *both;
            self.errands.send(link, BackgroundAction::Fill(flight, fill));
        }
    }

    /// Hands an order to this thread's lane; gives it back if there is none, or none that is ready.
    fn order(self: &Arc<Self>, link: &Arc<ServerLink>, order: LaneCommand) -> Result<(), LaneCommand> {
        LANES.with_borrow_mut(|lanes| {
            let Some(lane) = lanes.get(&self.number).filter(|lane| Arc::ptr_eq(&lane.link, link)) else {
                // The one for an earlier link ends as nobody can ask it any more.
                lanes.insert(self.number, self.start_lane(link));
                return Err(order);
            };
            // Acquire and release: who sees it ready may rely on the check of its server.
            if !lane.is_ready.load(Ordering::Acquire) {
                return Err(order);
            }
            lane.orders.try_send(order).map_err(|error| error.into_inner())
        })
    }

    fn start_lane(self: &Arc<Self>, link: &Arc<ServerLink>) -> ThreadLane {
        let (orders, queue) = mpsc::channel(QUEUE);
        let is_ready = Arc::new(AtomicBool::new(false));
        let worker =
            LaneWorker { cache: Arc::clone(self), link: Arc::clone(link), queue, is_ready: Arc::clone(&is_ready) };
        let end = self.end.clone();
        self.cluster.spawn_here(async move {
            end.run_until_cancelled(worker.run()).await;
        });
        ThreadLane { link: Arc::clone(link), orders, is_ready }
    }
}

/// The lane's task.
struct LaneWorker {
    cache: Arc<Cache>,
    link: Arc<ServerLink>,
    queue: mpsc::Receiver<LaneCommand>,
    is_ready: Arc<AtomicBool>,
}

impl LaneWorker {
    async fn run(mut self) {
        let Some(url) = self.cache.url.as_ref() else { return };
        let wire = match tokio::time::timeout(OPEN_LIMIT, RespConnection::open(url)).await {
            Ok(Ok((wire, server))) if self.cache.connector.name_in_fence(&server) == self.link.server => wire,
            Ok(Ok(_)) => return log::debug!("the cache at {} is another server by now", url.place()),
            Ok(Err(error)) => return log::debug!("the cache at {}: {error}", url.place()),
            Err(_) => return log::debug!("the cache at {}: no answer in time", url.place()),
        };
        self.is_ready.store(true, Ordering::Release);
        let link = Arc::clone(&self.link);
        let broken = link.broken().clone();
        if let Some(Err(error)) = broken.run_until_cancelled(self.serve(wire)).await {
            link.give_up(&error.to_string());
        }
    }

    /// Returns when nobody can ask any more.
    async fn serve(&mut self, mut wire: RespConnection) -> io::Result<()> {
        let mut orders = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut orders, BATCH).await > 0 {
            let mut round = RoundTrip::default();
            for order in orders.drain(..) {
                match order {
                    LaneCommand::LookUp(look) => {
                        // Who went away does not want to know, and left no lease.
                        if look.reply.as_ref().is_some_and(|reply| !reply.is_closed()) {
                            put_lookup(wire.output(), &look.key, look.lease);
                            round.looks.push_back(look);
                        }
                    }
                    LaneCommand::Fill(both) => {
                        let (mut flight, fill) = *both;
                        flight.seal();
                        round.flights.push(flight);
                        round.fills.push(fill);
                    }
                }
            }
            // Behind the lookups, which somebody waits for.
            if !round.fills.is_empty() {
                put_fills(wire.output(), &round.fills);
            }
            self.run_round(&mut wire, round).await?;
        }
        Ok(())
    }

    /// Sends a round, and hands out the answers. Whoever has waited for too long is told that there is none; the round
    /// still goes on to its end, as the answers to the next one come after it.
    async fn run_round(&mut self, wire: &mut RespConnection, mut round: RoundTrip) -> io::Result<()> {
        let mut until = Instant::now() + LOOKUP_LIMIT;
        while !round.is_done() {
            if let Some(answer) = wire.next()? {
                self.hand_out(&mut round, answer);
                continue;
            }
            match tokio::time::timeout_at(until, wire.advance()).await {
                Ok(done) => done?,
                Err(_) => {
                    self.link.note_late();
                    round.looks.iter_mut().for_each(|look| look.reply = None);
                    while self.queue.try_recv().is_ok() {}
                    until = Instant::now() + LOOKUP_LIMIT;
                }
            }
        }
        self.link.note_answer();
        Ok(())
    }

    fn hand_out(&self, round: &mut RoundTrip, answer: RespAnswer) {
        if let RespAnswer::Refused(code) = &answer
            && code != "OOM"
        {
            // A full server refuses new values, and still forgets old ones: nothing is wrong with it.
            self.link.give_up(&format!("it refused a command ({code})"));
        }
        let Some(look) = round.looks.pop_front() else {
            let RespAnswer::Bulk(kept) = answer else { return round.forget_fills() };
            return round.land(&kept);
        };
        let seen = match answer {
            RespAnswer::Bulk(entry) => LookupResult::of(Some(entry)),
            RespAnswer::Nothing => LookupResult::Nothing,
            RespAnswer::Done | RespAnswer::Refused(_) => return,
        };
        let unread = match look.reply {
            Some(reply) => reply.send(seen).err(),
            None => Some(seen),
        };
        // Nobody is left who would put a value there.
        if unread == Some(LookupResult::Nothing) {
            self.cache.errands.send(&self.link, BackgroundAction::Release(look.key, look.lease));
        }
    }
}

/// What is on its way, in the order of the answers: those of lookups, then one for all fills.
#[derive(Default)]
struct RoundTrip {
    looks: VecDeque<LaneLookup>,
    flights: Vec<PendingLoad>,
    fills: Vec<FillCommand>,
}

impl RoundTrip {
    fn is_done(&self) -> bool {
        self.looks.is_empty() && self.fills.is_empty()
    }

    fn forget_fills(&mut self) {
        self.fills.clear();
        self.flights.clear();
    }

    /// `kept`: for each fill, `1` if its lease was still there.
    fn land(&mut self, kept: &[u8]) {
        for ((flight, fill), kept) in self.flights.drain(..).zip(self.fills.drain(..)).zip(kept) {
            if *kept == b'1' {
                flight.land(fill.entry);
            }
        }
    }
}
