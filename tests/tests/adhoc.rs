//! x
use blkstay_tests::client::Setup;
use blkstay_tests::daemon::Recipe;
use blkstay_tests::request::{OK, Pending, Request};
use std::time::Instant;
#[test]
fn stop() {
    let policy = "event = { go = \"control\" }\nrule = [{ gate = \"submit\", until = \"control.go\", watchdog=\"60s\" }]";
    let daemon = Recipe::new().policy(policy).start();
    let setup = Setup { queues: 3, queue_size: 32768, memory_bytes: 128 << 20, ..Setup::default() };
    let mut client = daemon.connect_with(setup);
    let t = Instant::now();
    let start = |n: u64| client.start_on(n as usize % 3, &Request::read(n % 64, 512).indirect());
    let reads: Vec<Pending> = (0..3 * 32768).map(start).collect();
    eprintln!("offered {:?}", t.elapsed());
    daemon.control().tell(blkstay_engine::control::Command::Ping);
    eprintln!("ping {:?}", t.elapsed());
    for q in 0..3 { client.stop_queue(q); eprintln!("stopped {q} {:?}", t.elapsed()); }
    for read in &reads { assert_eq!(client.wait(read).status, OK); }
    eprintln!("all {:?}", t.elapsed());
}
