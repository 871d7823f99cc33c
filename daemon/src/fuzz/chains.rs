//! Chains by the million: each is answered once and exactly as the specification says, and nothing else changes in the
//! guest's memory or on the disk. Where chains get into each other's way, or into their ring's, only what belongs to them
//! may have changed.

use super::compose::Composer;
use super::expected::{self, Change, Expected, IO_ERROR, OK, State, UNSUPPORTED};
use super::world::{DISK, Layout, REGION, REGIONS, World};
use super::{Random, Watch, number};
use blkstay_drives::{Drive, ImageSpec};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Chains of each kind of world when nobody asks for more.
const CHAINS: u64 = 60_000;

/// Turns after which a ring that feeds itself is stopped.
const TURNS_MAX: usize = 200;

/// The device wants no kicks, in the flags of the used ring.
const VIRTQ_USED_F_NO_NOTIFY: u16 = 1;

/// Writes fail before the drive sees them: everything that may is decided on by the engine.
const WRITES_FAIL: &str = "[[rule]]\nop = \"write\"\ngate = \"submit\"\nfail = \"write-fault\"\n";

/// What happened.
#[derive(Debug, Default)]
struct Counts {
    ok: u64,
    failed: u64,
    unsupported: u64,
    broken: u64,
    /// Rounds that were checked byte by byte, and those with chains in each other's way.
    exact: u64,
    entangled: u64,
    held: u64,
}

struct Chains {
    world: World,
    random: Random,
    layout: Layout,
    /// The next index of the available ring and of the used ring.
    index: u16,
    writes_fail: bool,
    counts: Counts,
    through: Arc<AtomicU64>,
}

type Span = Range<u64>;

fn meet(one: &Span, other: &Span) -> bool {
    one.start < other.end && other.start < one.end
}

fn spans(writes: &[(u64, Vec<u8>)]) -> impl Iterator<Item = Span> + '_ {
    writes.iter().map(|(at, bytes)| *at..at + bytes.len() as u64)
}

/// Whether what one of them does can be seen by another.
fn are_entangled(all: &[Expected]) -> bool {
    all.iter().enumerate().any(|(number, one)| {
        all.iter().enumerate().filter(|(other, _)| *other != number).any(|(_, other)| {
            let (of_one, of_other) = (&one.disk, &other.disk);
            let on_disk = one.change.is_some() && of_one.start < of_other.end && of_other.start < of_one.end;
            let mut theirs = spans(&other.writes).chain(other.reads.iter().cloned());
            on_disk || theirs.any(|theirs| spans(&one.writes).any(|span| meet(&span, &theirs)))
        })
    })
}

impl Chains {
    fn new(image: ImageSpec, policy: &'static str, seed: u64) -> Chains {
        let mut random = Random(seed);
        let layout = Layout::any(&mut random);
        let (world, through) = (World::new(image, policy), Arc::default());
        let writes_fail = !policy.is_empty();
        let mut chains =
            Chains { world, random, layout, index: 0, writes_fail, counts: Counts::default(), through };
        chains.set_up();
        chains
    }

    fn set_up(&mut self) {
        self.layout = Layout::any(&mut self.random);
        self.index = self.world.set_up(self.layout, &mut self.random);
    }

    fn state(&self) -> State {
        let mut state = State { memory: [vec![0; REGION], vec![0; REGION]], disk: vec![0; DISK] };
        for (at, bytes) in REGIONS.iter().zip(&mut state.memory) {
            self.world.memory.read_slice(bytes, GuestAddress(*at)).expect("its memory");
        }
        self.world.drive.read_at(0, &mut state.disk).expect("its disk");
        state
    }

    /// The parts of the ring; the device changes the last only.
    fn parts(&self) -> [Span; 3] {
        let Layout { table, available, used, size, .. } = self.layout;
        let size = u64::from(size);
        [table..table + 16 * size, available..available + 6 + 2 * size, used..used + 6 + 8 * size]
    }

    /// Offers some chains, has them served, and looks at what has become of everything.
    fn round(&mut self) {
        let mut composer = Composer::new(&mut self.random, &self.world.memory, self.layout);
        let index = composer.offer(self.index);
        let mut before = self.state();
        if !self.layout.event_idx {
            // It asks for no kicks before it looks at what it takes, which may lie there (virtio 1.3, section 2.7.10).
            before.write(self.layout.used, &VIRTQ_USED_F_NO_NOTIFY.to_le_bytes());
        }
        let (all, is_broken) = self.expected(&before, index);
        let holds = self.random.one_in(2);
        self.world.drive.holding.store(holds, Ordering::Relaxed);
        self.world.settle();
        let mut scribbled = Vec::new();
        if holds {
            scribbled = Composer::new(&mut self.random, &self.world.memory, self.layout).scribble();
            self.world.drive.holding.store(false, Ordering::Relaxed);
            self.world.settle();
        }
        let after = self.state();
        let parts = self.parts();
        let in_ring = all
            .iter()
            .flat_map(|one| spans(&one.writes))
            .any(|span| parts.iter().any(|part| meet(&span, part)));
        // What is sent to the disk out of the used ring is what happens to be there then.
        let [.., used] = &parts;
        let is_alone = |span: &Span| {
            let mut others = scribbled.iter().map(|(at, word)| *at..at + word.len() as u64);
            !meet(span, used) && !others.any(|other| meet(span, &other))
        };
        let apart = all
            .iter()
            .flat_map(|one| spans(&one.writes).chain(one.reads.iter().cloned()))
            .all(|span| is_alone(&span));
        self.count(&all, is_broken, holds);
        if !in_ring {
            self.check_used(&before, &after, &all, is_broken);
        }
        if in_ring || !apart || are_entangled(&all) {
            self.counts.entangled += 1;
            self.check_rest(&before, &after, &all, &scribbled, in_ring);
        } else {
            self.counts.exact += 1;
            self.check_exactly(before, &after, &all, &scribbled);
        }
        // Small rings hold little, so they soon make room for others.
        let lasts = if self.layout.size < 16 { 2 } else { 20 };
        if is_broken || in_ring || self.random.one_in(lasts) {
            self.set_up();
        } else {
            self.index = index;
            self.world.ring.wants_kicks();
        }
    }

    /// What has to become of each chain, up to one that stops the ring, if there is one.
    fn expected(&self, before: &State, index: u16) -> (Vec<Expected>, bool) {
        let Layout { size, available, .. } = self.layout;
        let offered = index.wrapping_sub(self.index);
        if offered > size {
            return (Vec::new(), true);
        }
        let mut all = Vec::new();
        for number in 0..offered {
            let entry = u64::from(self.index.wrapping_add(number) % size);
            let head = before.u16(available + 4 + 2 * entry).expect("the ring is in memory");
            match expected::expected(before, &self.layout, head, self.writes_fail) {
                Some(expected) => all.push(expected),
                None => return (all, true),
            }
        }
        (all, false)
    }

    fn count(&mut self, all: &[Expected], is_broken: bool, holds: bool) {
        let of = |status| all.iter().filter(|expected| expected.status == status).count() as u64;
        self.counts.ok += of(OK);
        self.counts.failed += of(IO_ERROR);
        self.counts.unsupported += of(UNSUPPORTED);
        self.counts.broken += u64::from(is_broken);
        self.counts.held += u64::from(holds);
        self.through.fetch_add(all.len() as u64 + u64::from(is_broken), Ordering::Relaxed);
    }

    /// Each is used once; of a ring that was stopped at most once.
    fn check_used(&self, before: &State, after: &State, all: &[Expected], is_broken: bool) {
        let Layout { used, size, .. } = self.layout;
        let index = |state: &State| state.u16(used + 2).expect("the ring is in memory");
        let (from, count) = (index(before), index(after).wrapping_sub(index(before)));
        let mut wanted: Vec<(u64, u64)> =
            all.iter().map(|one| (one.head.into(), one.written.into())).collect();
        for number in 0..count {
            let entry = used + 4 + 8 * u64::from(from.wrapping_add(number) % size);
            let number = |at| after.number(at, 4).expect("the ring is in memory");
            let found = (number(entry), number(entry + 4));
            let place = wanted.iter().position(|wanted| *wanted == found);
            wanted.swap_remove(place.unwrap_or_else(|| panic!("{found:?} was used, of {all:?}")));
        }
        assert!(is_broken || wanted.is_empty(), "{wanted:?} were not used, of {all:?}");
        assert_eq!(self.world.ring.is_running(), !is_broken, "whether the ring is stopped, by {all:?}");
    }

    /// Nothing gets in another's way: every byte is known.
    fn check_exactly(&self, mut state: State, after: &State, all: &[Expected], scribbled: &[(u64, [u8; 8])]) {
        scribbled.iter().for_each(|(at, word)| state.write(*at, word));
        for one in all {
            one.writes.iter().for_each(|(at, bytes)| state.write(*at, bytes));
            let place = &mut state.disk[one.disk.clone()];
            match &one.change {
                Some(Change::Write(bytes)) => place.copy_from_slice(bytes),
                Some(Change::Zero) => place.fill(0),
                Some(Change::Discard) => {
                    let found = &after.disk[one.disk.clone()];
                    place
                        .iter_mut()
                        .zip(found)
                        .filter(|(_, found)| **found == 0)
                        .for_each(|(byte, _)| *byte = 0);
                }
                None => {}
            }
        }
        let [.., used] = self.parts();
        let found = after.bytes(used.start, used.end - used.start).expect("the ring is in memory");
        state.write(used.start, found);
        let differ = |wanted: &[u8], found: &[u8]| {
            // The whole first: it is fast where they are the same.
            (wanted != found).then(|| wanted.iter().zip(found).position(|(wanted, found)| wanted != found))
        };
        for (number, (wanted, found)) in state.memory.iter().zip(&after.memory).enumerate() {
            assert_eq!(differ(wanted, found), None, "in region {number} of memory, after {all:?}");
        }
        assert_eq!(differ(&state.disk, &after.disk), None, "on the disk, after {all:?}");
    }

    /// Only what the chains are about has changed.
    fn check_rest(
        &self,
        before: &State,
        after: &State,
        all: &[Expected],
        scribbled: &[(u64, [u8; 8])],
        in_ring: bool,
    ) {
        if in_ring {
            // The ring has been told something else meanwhile.
            return;
        }
        let [.., used] = self.parts();
        let mut mine: Vec<Span> = all.iter().flat_map(|one| spans(&one.writes)).collect();
        mine.extend(scribbled.iter().map(|(at, word)| *at..at + word.len() as u64).chain([used]));
        for ((start, before), after) in REGIONS.iter().zip(&before.memory).zip(&after.memory) {
            let changed =
                (*start..).zip(before.iter().zip(after)).filter(|(_, (before, after))| before != after);
            for (at, _) in changed {
                assert!(mine.iter().any(|span| span.contains(&at)), "{at:#x} has changed, after {all:?}");
            }
        }
        let changed =
            before.disk.iter().zip(&after.disk).enumerate().filter(|(_, (before, after))| before != after);
        for (at, _) in changed {
            let is_theirs = all.iter().any(|one| one.change.is_some() && one.disk.contains(&at));
            assert!(is_theirs, "byte {at} of the disk has changed, after {all:?}");
        }
    }

    /// A ring that is anywhere, made of anything: whatever comes of it, it ends.
    fn wild_round(&mut self) {
        let ends = REGIONS.map(|start| start + REGION as u64);
        let anywhere = |random: &mut Random| match random.below(8) {
            0 => random.pick(&[
                0,
                REGIONS[0] - 2,
                ends[0] - 4,
                ends[0],
                ends[1] - 100,
                ends[1] - 2,
                u64::MAX - 15,
            ]),
            1 => random.next(),
            _ => REGIONS[0] + random.below(REGION as u64),
        };
        let right = Layout::any(&mut self.random);
        let mut odd = |right| if self.random.one_in(4) { anywhere(&mut self.random) } else { right };
        self.layout = Layout {
            table: odd(right.table),
            available: odd(right.available),
            used: odd(right.used),
            ..right
        };
        self.index = self.world.set_up(self.layout, &mut self.random);
        let size = self.layout.size;
        Composer::new(&mut self.random, &self.world.memory, Layout { size, ..self.layout }).offer(self.index);
        for _ in 0..TURNS_MAX {
            if !self.world.passage.turn() {
                break;
            }
        }
        self.through.fetch_add(1, Ordering::Relaxed);
        self.world.stop();
    }
}

/// Somebody else's processor: changes the ring and its chains while the device looks at them.
fn scribble(memory: &GuestMemoryMmap, over: &AtomicBool, seed: u64) {
    let mut random = Random(seed);
    while !over.load(Ordering::Relaxed) {
        let at = GuestAddress(REGIONS[0] + 2 * random.below(7 << 10));
        let anything = random.0 as u16;
        let word = random.pick(&[0, 1, 2, 3, 4, 16, 512, anything]);
        let _ = memory.write_obj(word, at);
    }
}

fn run(name: &'static str, image: ImageSpec, policy: &'static str, share: u64) {
    let (runs, seed) = (number("FUZZ_RUNS", CHAINS) / share, number("FUZZ_SEED", 1));
    println!("{name}: FUZZ_SEED={seed}");
    let mut chains = Chains::new(image, policy, seed << 8 | share);
    let _watch = Watch::new(name, &chains.through);
    let started = Instant::now();
    while chains.through.load(Ordering::Relaxed) < runs {
        chains.round();
    }
    let (counts, through) = (&chains.counts, chains.through.load(Ordering::Relaxed));
    println!("RESULT {name}: {through} in {:.1} s, {counts:?}", started.elapsed().as_secs_f64());
    let Counts { ok, failed, unsupported, broken, exact, entangled, held } = *counts;
    let kinds = [ok, failed, unsupported, broken, exact, entangled, held];
    assert!(kinds.iter().all(|kind| *kind > runs / 1000), "too few of a kind to prove anything");
}

#[test]
fn any_chain_is_answered_as_the_specification_says_and_touches_nothing_else() {
    run("chains", ImageSpec::Memory(DISK as u64), "", 1);
}

#[test]
fn any_chain_is_answered_as_a_policy_says_and_touches_nothing_else() {
    run("chains with a policy", ImageSpec::Memory(DISK as u64), WRITES_FAIL, 2);
}

#[test]
fn any_chain_on_a_file_is_answered_as_the_specification_says_and_touches_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("image");
    std::fs::write(&path, vec![0; DISK]).expect("an image");
    run("chains on a file", ImageSpec::File(path), "", 10);
}

#[test]
fn any_ring_that_changes_under_the_device_comes_to_an_end() {
    let (runs, seed) = (number("FUZZ_RUNS", CHAINS) / 4, number("FUZZ_SEED", 1));
    println!("rings: FUZZ_SEED={seed}");
    let mut chains = Chains::new(ImageSpec::Memory(DISK as u64), "", seed);
    let _watch = Watch::new("rings", &chains.through);
    let (memory, over, started) = (chains.world.memory.clone(), AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| scribble(&memory, &over, seed));
        while chains.through.load(Ordering::Relaxed) < runs {
            chains.wild_round();
        }
        over.store(true, Ordering::Relaxed);
    });
    let through = chains.through.load(Ordering::Relaxed);
    println!("RESULT rings: {through} in {:.1} s", started.elapsed().as_secs_f64());
}
