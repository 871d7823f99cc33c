//! Keeps a queue busy: so many requests under way, and each that is through is offered again.

use blkstay_tests::polled::{Polled, monotonic_ns};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest that nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// When requests were seen to be through, in the order in which they were offered; the clock is the host's monotonic.
pub struct Seen(pub Vec<u64>);

/// Runs `total` requests, `depth` at a time.
pub fn run(queue: &mut Polled, depth: u16, total: usize) -> Seen {
    let mut seen = vec![0; total];
    let mut under_way: Vec<VecDeque<usize>> = vec![VecDeque::new(); usize::from(depth)];
    let mut offered = 0;
    let mut offer = |queue: &mut Polled, under_way: &mut Vec<VecDeque<usize>>, slot: u16| {
        if offered < total {
            under_way[usize::from(slot)].push_back(offered);
            offered += 1;
            queue.offer(slot);
        }
    };
    for slot in 0..depth {
        offer(queue, &mut under_way, slot);
    }
    queue.kick();
    let (mut done, mut last) = (0, Instant::now());
    while done < total {
        let ready = queue.ready();
        if ready == 0 {
            assert!(last.elapsed() < PATIENCE, "{done} of {total} requests are through, and no other is");
            std::hint::spin_loop();
            continue;
        }
        // What is used by now, and not what comes while these are taken.
        let now = monotonic_ns();
        for slot in (0..ready).map_while(|_| queue.take()).collect::<Vec<u16>>() {
            let number = under_way[usize::from(slot)].pop_front().expect("what is used was offered");
            seen[number] = now;
            done += 1;
            offer(queue, &mut under_way, slot);
        }
        queue.kick();
        last = Instant::now();
    }
    Seen(seen)
}
