//! Lookups and fills of one thread, sent together over a connection of that thread.
//!
//! The main runtime drives the link's connection, so that each lookup over the link wakes two other threads on its way.
//! A lane lives on the thread that asks, as the lanes of batched reads do: while the answers to one round of commands
//! are on their way the next round gathers. A lane's connection must lead to the very server of the link. Until that is
//! known, and wherever a thread can have no lane, the link serves.

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
/// Larger entries go over the link: on a lane they would hold up the lookups behind them.
const LARGEST: usize = 16 << 10;
/// How long opening the connection may take.
const OPEN_LIMIT: Duration = Duration::from_secs(1);

/// An order to a lane.
enum LaneCommand {
    /// Give the entry under the key; where there is none, put the lease there.
    LookUp(LaneLookup),
    /// Put a value in the place of its lease.
    Fill(Box<(PendingLoad, FillCommand)>),
}

struct LaneLookup {
    key: Arc<str>,
    lease: FillLease,
    /// `None`: the answer is late, and the caller has gone to the database.
    reply: Option<oneshot::Sender<LookupResult>>,
}

/// This thread's lane of one cache.
struct ThreadLane {
    link: Arc<ServerLink>,
    commands: mpsc::Sender<LaneCommand>,
    is_ready: Arc<AtomicBool>,
}

thread_local! {
    /// The lanes by the numbers of their caches.
    static LANES: RefCell<HashMap<usize, ThreadLane>> = RefCell::default();
}

impl Cache {
    /// As [`ServerLink::look_up`], over this thread's lane if the thread has a lane for the link.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        link: &Arc<ServerLink>,
        key: &Arc<str>,
        lease: FillLease,
    ) -> Option<LookupResult> {
        let (reply, found) = oneshot::channel();
        let lookup = LaneLookup { key: Arc::clone(key), lease, reply: Some(reply) };
        // The lane keeps the time limit.
        match self.hand_in(link, LaneCommand::LookUp(lookup)) {
            Ok(()) => found.await.ok(),
            Err(_) => link.look_up(key, lease).await,
        }
    }

    /// Puts a value in the place of its lease, soon.
    pub(super) fn fill(self: &Arc<Self>, link: &Arc<ServerLink>, pending: PendingLoad, fill: FillCommand) {
        let is_small = fill.entry.len() <= LARGEST;
        let command = LaneCommand::Fill(Box::new((pending, fill)));
        let command = if is_small { self.hand_in(link, command) } else { Err(command) };
        if let Err(LaneCommand::Fill(both)) = command {
            let (pending, fill) = *both;
            self.background.send(link, BackgroundAction::Fill(pending, fill));
        }
    }

    /// Hands an order to this thread's lane; gives the order back if the thread has no lane that is ready.
    fn hand_in(self: &Arc<Self>, link: &Arc<ServerLink>, command: LaneCommand) -> Result<(), LaneCommand> {
        LANES.with_borrow_mut(|lanes| {
            let Some(lane) = lanes.get(&self.number).filter(|lane| Arc::ptr_eq(&lane.link, link)) else {
                // The lane of an earlier link ends, as nobody can send it an order any more.
                lanes.insert(self.number, self.start_lane(link));
                return Err(command);
            };
            // Acquire and release: a reader of `true` may rely on the check of the lane's server.
            if !lane.is_ready.load(Ordering::Acquire) {
                return Err(command);
            }
            lane.commands.try_send(command).map_err(|error| error.into_inner())
        })
    }

    fn start_lane(self: &Arc<Self>, link: &Arc<ServerLink>) -> ThreadLane {
        let (commands, queue) = mpsc::channel(QUEUE);
        let is_ready = Arc::new(AtomicBool::new(false));
        let worker =
            LaneWorker { cache: Arc::clone(self), link: Arc::clone(link), queue, is_ready: Arc::clone(&is_ready) };
        let end = self.end.clone();
        self.cluster.spawn_on_current_runtime(async move {
            end.run_until_cancelled(worker.run()).await;
        });
        ThreadLane { link: Arc::clone(link), commands, is_ready }
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

    /// Returns when nobody can send an order any more.
    async fn serve(&mut self, mut wire: RespConnection) -> io::Result<()> {
        let mut commands = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut commands, BATCH).await > 0 {
            let mut round = RoundTrip::default();
            for command in commands.drain(..) {
                match command {
                    LaneCommand::LookUp(lookup) => {
                        // The caller has gone away, and left no lease.
                        if lookup.reply.as_ref().is_some_and(|reply| !reply.is_closed()) {
                            put_lookup(wire.output(), &lookup.key, lookup.lease);
                            round.lookups.push_back(lookup);
                        }
                    }
                    LaneCommand::Fill(both) => {
                        let (mut pending, fill) = *both;
                        pending.close();
                        round.pending_loads.push(pending);
                        round.fills.push(fill);
                    }
                }
            }
            // Behind the lookups, for which somebody waits.
            if !round.fills.is_empty() {
                put_fills(wire.output(), &round.fills);
            }
            self.run_round(&mut wire, round).await?;
        }
        Ok(())
    }

    /// Sends a round, and hands out the answers. Callers who have waited too long get no answer; the round still goes
    /// on to its end, as the answers to the next round come after it.
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
                    round.lookups.iter_mut().for_each(|lookup| lookup.reply = None);
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
            // A full server refuses new values, and still forgets old ones: the server works.
            self.link.give_up(&format!("it refused a command ({code})"));
        }
        let Some(lookup) = round.lookups.pop_front() else {
            let RespAnswer::Bulk(kept) = answer else { return round.forget_fills() };
            return round.publish_fills(&kept);
        };
        let found = match answer {
            RespAnswer::Bulk(entry) => LookupResult::of(Some(entry)),
            RespAnswer::Nothing => LookupResult::Nothing,
            RespAnswer::Done | RespAnswer::Refused(_) => return,
        };
        let unread = match lookup.reply {
            Some(reply) => reply.send(found).err(),
            None => Some(found),
        };
        // Nobody is left who would put a value there.
        if unread == Some(LookupResult::Nothing) {
            self.cache.background.send(&self.link, BackgroundAction::Release(lookup.key, lookup.lease));
        }
    }
}

/// The commands on their way, in the order of the answers: lookups, then one answer for all fills.
#[derive(Default)]
struct RoundTrip {
    lookups: VecDeque<LaneLookup>,
    pending_loads: Vec<PendingLoad>,
    fills: Vec<FillCommand>,
}

impl RoundTrip {
    fn is_done(&self) -> bool {
        self.lookups.is_empty() && self.fills.is_empty()
    }

    fn forget_fills(&mut self) {
        self.fills.clear();
        self.pending_loads.clear();
    }

    /// `kept`: for each fill, `1` if its lease was still there.
    fn publish_fills(&mut self, kept: &[u8]) {
        for ((pending, fill), kept) in self.pending_loads.drain(..).zip(self.fills.drain(..)).zip(kept) {
            if *kept == b'1' {
                pending.publish(fill.entry);
            }
        }
    }
}
