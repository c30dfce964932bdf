//! A steady load that remembers what it was answered: requests begin at their times, whether or not those before them
//! have been answered (open loop), and beside them a few writers keep at one user each (closed loop).
//!
//! Each connection is a thread that sleeps, writes and reads: a runtime would cost an unoptimised build more than the
//! service costs. The kinds have connections of their own, so that one that has to wait does not make others late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memchr::memmem;
use uuid::Uuid;

use crate::Result;
use crate::http::{Connection, get, post};

/// Slots of a cluster.
pub const SLOTS: u64 = 5040;
/// How the file names of all written rows begin.
pub const NAME: &str = "steady-";
/// Between an acknowledgement and the next write of a probe.
const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// Kept texts of failures, of each connection.
const KEPT: usize = 3;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    WriteMoving,
    WriteOther,
    ReadMoving,
    ReadOther,
    Stats,
    /// A closed loop of writes to one user of this slot.
    Probe(u64),
}

/// The open loop: each kind with its share of the requests, in per cent, and its connections.
pub const MIX: [(Kind, u32, u32); 5] = [
    (Kind::WriteOther, 48, 12),
    (Kind::WriteMoving, 2, 6),
    (Kind::ReadOther, 40, 12),
    (Kind::ReadMoving, 6, 6),
    (Kind::Stats, 4, 3),
];

/// What one request met, in microseconds since the load began.
#[derive(Clone, Copy)]
pub struct Sample {
    /// When it should have begun.
    pub due: u32,
    /// From then to the last byte of its answer.
    pub took: u32,
    /// By how much the generator itself was late, if its connection was free in time.
    pub late: Option<u16>,
}

/// What one kind met.
pub struct Seen {
    pub kind: Kind,
    pub samples: Vec<Sample>,
    /// The files that were acknowledged.
    pub ids: Vec<u128>,
    pub failed: u64,
    /// Some of the failures' texts.
    pub failures: Vec<String>,
}

/// Whom the load asks, and for whom.
#[derive(Clone)]
pub struct Plan {
    /// The processes.
    pub bases: Vec<String>,
    /// Slots that will move, in order.
    pub moving: Vec<u64>,
    /// Users with files: from 0 to this; more than there are slots.
    pub users: u64,
}

/// A running load. Dropping it ends it as well.
pub struct Load {
    pub begun: Instant,
    stop: Arc<AtomicBool>,
    connections: Vec<JoinHandle<Seen>>,
}

impl Load {
    /// Starts the open loop at `rate` requests a second, and a probe for each of `probes`, which are slots.
    pub fn start(plan: &Plan, rate: f64, probes: &[u64]) -> Result<Self> {
        let mut load = Self::idle();
        let soon = load.begun + Duration::from_millis(50);
        for (kind, share, connections) in MIX {
            let every = Duration::from_secs_f64(f64::from(connections) / (rate * f64::from(share) / 100.0));
            for number in 0..connections {
                let first = soon + every * number / connections;
                load.spawn(plan, kind, move |client| client.steadily(first, every))?;
            }
        }
        for slot in probes {
            load.spawn(plan, Kind::Probe(*slot), Client::probe)?;
        }
        Ok(load)
    }

    /// How many requests of the same mix are answered in a second if each of `connections` asks as soon as it was
    /// answered; and what was stored meanwhile, without the times.
    pub fn closed(plan: &Plan, connections: u64, time: Duration) -> Result<(f64, Vec<Seen>)> {
        let mut load = Self::idle();
        for _ in 0..connections {
            load.spawn(plan, Kind::WriteOther, Client::mixed)?;
        }
        std::thread::sleep(time);
        let mut seen = load.stop()?;
        let answered: usize = seen.iter_mut().map(|seen| std::mem::take(&mut seen.samples).len()).sum();
        Ok((answered as f64 / time.as_secs_f64(), seen))
    }

    fn idle() -> Self {
        Self { begun: Instant::now(), stop: Arc::default(), connections: Vec::new() }
    }

    fn spawn(&mut self, plan: &Plan, kind: Kind, run: impl FnOnce(&mut Client) + Send + 'static) -> Result<()> {
        let number = self.connections.len();
        let base = plan.bases.get(number % plan.bases.len()).ok_or("no process to ask")?.clone();
        let seen = Seen { kind, samples: Vec::new(), ids: Vec::new(), failed: 0, failures: Vec::new() };
        let mut client = Client {
            connection: Some(Connection::open(&base)?),
            plan: plan.clone(),
            base,
            stop: Arc::clone(&self.stop),
            begun: self.begun,
            random: number as u64 + 1,
            seen,
        };
        let thread = std::thread::Builder::new().stack_size(1 << 18);
        self.connections.push(thread.spawn(move || {
            run(&mut client);
            client.seen
        })?);
        Ok(())
    }

    /// Ends it; gives what each connection saw.
    pub fn stop(mut self) -> Result<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        let ended =
            self.connections.drain(..).map(|thread| thread.join().map_err(|_| "a connection's thread panicked"));
        Ok(ended.collect::<std::result::Result<_, _>>()?)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One connection, and what it has seen.
struct Client {
    connection: Option<Connection>,
    base: String,
    plan: Plan,
    stop: Arc<AtomicBool>,
    begun: Instant,
    random: u64,
    seen: Seen,
}

impl Client {
    fn steadily(&mut self, first: Instant, every: Duration) {
        for turn in 0.. {
            let due = first + every * turn;
            let free = due.checked_duration_since(Instant::now());
            if let Some(pause) = free {
                std::thread::sleep(pause);
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let late = free.map(|_| u16::try_from(due.elapsed().as_micros()).unwrap_or(u16::MAX));
            self.send(self.seen.kind, due, late);
        }
    }

    fn probe(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.send(self.seen.kind, Instant::now(), None);
            std::thread::sleep(PROBE_PAUSE);
        }
    }

    fn mixed(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut place = self.below(100);
            let kind = MIX.iter().find(|(_, share, _)| match place.checked_sub(u64::from(*share)) {
                Some(left) => {
                    place = left;
                    false
                }
                None => true,
            });
            self.send(kind.map_or(Kind::Stats, |(kind, _, _)| *kind), Instant::now(), None);
        }
    }

    fn send(&mut self, kind: Kind, due: Instant, late: Option<u16>) {
        let request = self.request(kind);
        let failure = match self.ask(&request) {
            Ok(Ok(id)) => {
                let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
                self.seen.samples.push(Sample { due: micros(due - self.begun), took: micros(due.elapsed()), late });
                self.seen.ids.extend(id);
                return;
            }
            Ok(Err(refusal)) => refusal,
            Err(error) => {
                self.connection = None;
                error.to_string()
            }
        };
        self.seen.failed += 1;
        if self.seen.failures.len() < KEPT {
            self.seen.failures.push(format!("{kind:?}: {failure}"));
        }
    }

    /// The id of the file, if one was stored; within `Ok`, what was answered instead of a success.
    fn ask(&mut self, request: &[u8]) -> Result<std::result::Result<Option<u128>, String>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.base)?),
        };
        let (status, body) = connection.ask(request)?;
        if !(200..300).contains(&status) {
            return Ok(Err(format!("{status} {}", String::from_utf8_lossy(body))));
        }
        if !request.starts_with(b"POST") {
            return Ok(Ok(None));
        }
        const FIELD: &[u8] = b"\"file_id\":\"";
        let start = memmem::find(body, FIELD).ok_or("an answer without an id")? + FIELD.len();
        let id = Uuid::try_parse_ascii(body.get(start..start + 36).ok_or("an answer that ends within an id")?)?;
        Ok(Ok(Some(id.as_u128())))
    }

    fn request(&mut self, kind: Kind) -> Vec<u8> {
        let user = self.user(kind);
        match kind {
            Kind::WriteMoving | Kind::WriteOther | Kind::Probe(_) => {
                let number = 100_000_000 + self.below(900_000_000);
                let body = format!(
                    "{{\"user_id\":{user},\"file_name\":\"{NAME}{number}.pdf\",\
                     \"mime_type\":\"application/pdf\",\"size_bytes\":{number},\"modified_at\":\"2025-03-04T05:06:07Z\"}}"
                );
                post("/ingest", &body)
            }
            Kind::ReadMoving | Kind::ReadOther => get(&format!("/query/{user}?limit=20")),
            Kind::Stats => get("/stats"),
        }
    }

    fn user(&mut self, kind: Kind) -> u64 {
        match kind {
            Kind::Probe(slot) => slot,
            Kind::WriteMoving | Kind::ReadMoving => {
                let place = self.below(self.plan.moving.len() as u64) as usize;
                let slot = self.plan.moving.get(place).copied().unwrap_or_default();
                slot + SLOTS * self.below(self.plan.users / SLOTS)
            }
            _ => loop {
                let user = self.below(self.plan.users);
                if self.plan.moving.binary_search(&(user % SLOTS)).is_err() {
                    break user;
                }
            },
        }
    }

    /// A number below this one.
    fn below(&mut self, end: u64) -> u64 {
        // SplitMix64: a few operations, and good enough to pick users.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}
