//! The threads that serve a guest's rings: ring `i` is served by thread `i` modulo their number.

use crate::core::Core;
use crate::passage::Passage;
use crate::patience::{Patience, Polling, WaitsFor};
use crate::rehearsal::Rehearsal;
use crate::ring::Ring;
use crate::timer::Keeping;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// What wakes a worker beside kicks, whose data is the index of their ring.
const WAKE: u64 = u64::MAX;
const DRIVE: u64 = u64::MAX - 1;

/// How often a worker looks for work before it looks at the clock, which takes as long as some of these looks.
const TURNS_A_CLOCK: u32 = 4;

/// How long workers that are to end may take: a watchdog.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The workers of one guest.
pub struct Crew {
    posts: Vec<Post>,
    leaving: AtomicBool,
    /// How many are at work.
    at_work: Mutex<usize>,
    ended: Condvar,
}

/// How a worker is woken up.
struct Post {
    epoll: Epoll,
    wake: EventFd,
}

impl Post {
    fn new() -> io::Result<Post> {
        let (epoll, wake) = (Epoll::new()?, EventFd::new(EFD_NONBLOCK)?);
        epoll.ctl(ControlOperation::Add, wake.as_raw_fd(), EpollEvent::new(EventSet::IN, WAKE))?;
        Ok(Post { epoll, wake })
    }

    fn wake(&self) {
        // It can only be full, and then the worker has not slept since.
        let _ = self.wake.write(1);
    }
}

impl Crew {
    /// Puts the core's workers to work on these rings.
    ///
    /// # Errors
    /// No descriptors or threads are left.
    pub fn start(core: &Arc<Core>, rings: &[Arc<Ring>], polling: Polling) -> io::Result<Arc<Crew>> {
        let lanes = core.lanes();
        let posts = (0..lanes).map(|_| Post::new()).collect::<io::Result<Vec<_>>>()?;
        let crew = Arc::new(Crew {
            posts,
            leaving: AtomicBool::new(false),
            at_work: Mutex::new(0),
            ended: Condvar::new(),
        });
        for lane in 0..lanes {
            let mine: Vec<_> = rings.iter().skip(lane).step_by(lanes).cloned().collect();
            let (crew, core) = (crew.clone(), core.clone());
            *crew.at_work() += 1;
            let work = {
                let crew = crew.clone();
                move || {
                    crew.work(&core, lane, mine, polling);
                    *crew.at_work() -= 1;
                    crew.ended.notify_all();
                }
            };
            let started = std::thread::Builder::new().name(format!("worker-{lane}")).spawn(work);
            if let Err(error) = started {
                *crew.at_work() -= 1;
                crew.leave();
                return Err(error);
            }
        }
        Ok(crew)
    }

    fn at_work(&self) -> std::sync::MutexGuard<'_, usize> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, ring: u16) -> &Post {
        &self.posts[usize::from(ring) % self.posts.len()]
    }

    /// Kicks of a ring come through this descriptor.
    ///
    /// # Errors
    /// Nobody can wait for it.
    pub fn watch(&self, ring: u16, kick: RawFd) -> io::Result<()> {
        // By edges: nobody has to read a kick for the next one to be noticed.
        let events = EventSet::IN | EventSet::EDGE_TRIGGERED;
        let post = self.post(ring);
        post.epoll.ctl(ControlOperation::Add, kick, EpollEvent::new(events, u64::from(ring)))?;
        post.wake();
        Ok(())
    }

    /// They do not any more.
    pub fn unwatch(&self, ring: u16, kick: RawFd) {
        // One that was never watched, or was closed, is gone already.
        let _ = self.post(ring).epoll.ctl(ControlOperation::Delete, kick, EpollEvent::default());
    }

    /// Something about a ring has changed: there may be work.
    pub fn wake(&self, ring: u16) {
        self.post(ring).wake();
    }

    /// Lets the workers end, when nothing is on its way, and waits for that; says whether they all have.
    pub fn leave(&self) -> bool {
        self.leaving.store(true, Ordering::Release);
        self.posts.iter().for_each(Post::wake);
        let waiting = self.ended.wait_timeout_while(self.at_work(), END_LIMIT, |at_work| *at_work > 0);
        !waiting.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn work(self: &Arc<Crew>, core: &Arc<Core>, lane: usize, rings: Vec<Arc<Ring>>, polling: Polling) {
        let mut passage = Passage::new(core.clone(), lane, rings);
        let mut patience = Patience::new(polling);
        let mut rehearsal = Rehearsal::new();
        let post = &self.posts[lane];
        let drive = core.drive().ready(lane).map(|fd| fd.as_raw_fd());
        if let Some(fd) = drive
            && let Err(error) =
                post.epoll.ctl(ControlOperation::Add, fd, EpollEvent::new(EventSet::IN, DRIVE))
        {
            tracing::error!(%error, "the drive cannot wake its worker; no ring is served");
            return;
        }
        core.drive().adopt(lane, post.epoll.as_raw_fd());
        core.drive().notify(lane, false);
        let crew = self.clone();
        let keeping = if lane == 0 { core.timer().keep(move || crew.posts[lane].wake()) } else { None };
        loop {
            if work_for_a_while(core, &mut passage) {
                patience.worked();
                rehearsal.worked();
                continue;
            }
            if self.leaving.load(Ordering::Acquire) && passage.is_empty() {
                break;
            }
            let now = core.now();
            let waits_for = WaitsFor::when(passage.in_flight());
            let due_soon = keeping.as_ref().filter(|keeping| keeping.is_near(now));
            rehearsal.idles(core, now, due_soon.map(Keeping::deadline));
            if due_soon.is_some() || patience.has_some(now, waits_for) {
                continue;
            }
            let mut sleep = || sleep(core, post, lane, &mut passage);
            match &keeping {
                Some(keeping) => keeping.leave_to_thread(now, sleep),
                None => sleep(),
            }
            patience.slept(core.now(), waits_for);
        }
        core.drive().leave(lane);
        core.drive().notify(lane, true);
    }
}

/// Looks for work some times, and at the clock; says whether there was anything to do.
fn work_for_a_while(core: &Core, passage: &mut Passage) -> bool {
    for _ in 0..TURNS_A_CLOCK {
        if passage.turn() {
            core.tick_if_time();
            return true;
        }
        std::hint::spin_loop();
    }
    core.tick_if_time()
}

/// Sleeps until there may be work.
fn sleep(core: &Core, post: &Post, lane: usize, passage: &mut Passage) {
    // First of all: what comes from now on ends the sleep, what came before is seen by these looks.
    core.drive().notify(lane, true);
    let is_closing = core.is_closing();
    let mut kicked = false;
    for ring in passage.rings().iter().filter(|_| !is_closing) {
        kicked |= ring.wants_kicks();
    }
    if !passage.collect() && !kicked && !core.drive().sleep(lane) {
        let mut events = [EpollEvent::default(); 8];
        // Interrupted or not: whoever is awake looks everywhere.
        let count = post.epoll.wait(-1, &mut events).unwrap_or(0);
        for event in &events[..count] {
            match event.data() {
                WAKE => drop(post.wake.read()),
                DRIVE => core.drive().woken(lane),
                _ => {}
            }
        }
    }
    core.drive().notify(lane, false);
    passage.rings().iter().for_each(|ring| ring.needs_no_kicks());
}
