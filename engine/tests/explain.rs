//! What `blkstay check --explain` says: whole texts.

use blkstay_engine::policy::{Policy, Settings};

/// Asserts on the whole explanation of a policy.
#[track_caller]
fn assert_explained(text: &str, expected: &str) {
    let policy = Policy::parse("my.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let (seen, expected) = (policy.explain(), expected.trim_start());
    assert!(seen == expected, "expected:\n{expected}\nseen:\n{seen}");
}

#[test]
fn a_case_that_forces_an_order() {
    assert_explained(
        r#"
watchdog = "5s"
[case]
about   = "A meets R"
guest   = "a.sh"
witness = true
limit   = "90s"
[case.image]
size       = "64M"
filesystem = "ext4"
options    = ["-b", "4096"]
[case.device]
queue-size = 8
num-queues = 2
[place]
victim = "guest"
table  = { offset = "1M", length = "64k" }
[event]
reaped = "guest"
go     = "control"
[point]
A = { op = "write", place = "victim" }
R = { op = "read", place = "table", after = "A.arrived", nth = 2 }
[[hold]]
gate  = "A.complete"
until = "R.arrived"
[[hold]]
gate     = "R.complete"
until    = { any = ["guest.reaped", { all = ["control.go", "held < 3"] }] }
watchdog = "500ms"
[[hold]]
gate  = "R.complete"
until = { not = "A.done" }
[sign]
log  = { kernel-log = "BUG", per-boot-max = 10 }
oops = { kernel-log = "Oops" }
lost = { report = "fsync", is = "error EIO" }
"#,
        r#"
This is a case: A meets R.
- A guest with `a.sh` runs on a disk of 64 MiB, made by `mkfs.ext4 -b 4096`.
- It has 2 rings, with room for 8 requests each.
- An attempt that takes longer than 90 s is lost.

What has a name:
- Place `victim` is where the guest says, in each attempt; no request touches it before.
- Place `table` is 64 KiB from 1 MiB on.
- Event `guest.reaped` happens when the guest says so.
- Event `control.go` happens when somebody says so on the control socket.

When a request arrives, it is the first of these points whose turn it is, if any:
- A is the first write in an attempt that touches `victim`.
- R is the 2nd read in an attempt that touches `table` and comes when A has arrived.

At the submit gate, before the drive has it:
- Everything goes to the drive at once.

At the complete gate, when the drive has done it and the guest has not been told:
- A is held until R has arrived, for at most 5 s.
- R is held until `guest.reaped` has happened or (`control.go` has happened and fewer than 3
  requests are standing at a gate) and until A has not been done by the drive, for at most 500 ms.
- Of all else the guest is told at once.

What else counts:
- What waits for something to happen goes on at the latest after the time given with it. The journal
  says so then, and nothing else waits for anything to happen in that attempt.
- Whoever has the control socket can release what waits, or all of it, at any time.
- In the control arm of `blkstay run` points are looked for and rules note what they note, but
  nothing waits or fails.
- How long holds may stand in the forced arm is measured there: it counts instead of the times given
  here.
- When something has stood for half of its time, `attempt.stalled` happens. The script waits for
  that to say where the guest stands; until it has, it may stand eight times as long.

The symptom is there if any of these signs is:
- log: the guest's kernel log has "BUG", which it says at most 10 times in a boot.
- oops: the guest's kernel log has "Oops".
- lost: the guest reports `fsync` as "error EIO".
"#,
    );
}

#[test]
fn every_way_to_wait() {
    assert_explained(
        r#"
seed = 42
[event]
go = "control"
[point]
A = { op = "write" }
[[rule]]
name  = "held"
gate  = "submit"
op    = "flush"
until = "control.go"
[[rule]]
gate  = "submit"
queue = 1
delay = "5ms"
[[rule]]
gate  = "submit"
queue = 2
delay = { uniform = ["1ms", "5ms"] }
[[rule]]
gate  = "submit"
queue = 3
delay = { normal = { mean = "5ms", deviation = "1ms" }, min = "2ms", max = "8ms" }
[[rule]]
gate  = "submit"
queue = 4
delay = { lognormal = { median = "100us", p99 = "5ms" } }
[[rule]]
gate  = "submit"
queue = 5
delay = { pareto = { least = "100us", shape = 1.5 }, max = "1s" }
[[rule]]
gate  = "submit"
queue = 6
delay = { table = [["80us", 2], ["5ms", 1]] }
[[rule]]
gate    = "complete"
queue   = 0
reorder = "last-first"
window  = 8
[[rule]]
gate    = "complete"
queue   = 1
reorder = "random"
window  = 4
within  = "10ms"
[[rule]]
gate    = "complete"
queue   = 2
reorder = [3, 1, 2]
[[rule]]
gate    = "complete"
queue   = 3
reorder = "by-sector"
until   = "A.submitted"
[[rule]]
gate  = "complete"
queue = 4
limit = { iops = 500 }
[[rule]]
gate  = "complete"
queue = 5
limit = { iops = 500, burst = 10 }
[[rule]]
gate  = "complete"
queue = 6
limit = { bandwidth = "10M" }
[[rule]]
gate     = "complete"
queue    = 7
limit    = { bandwidth = "10M", burst = "1M" }
watchdog = "2s"
[[rule]]
gate  = "complete"
queue = 8
stall = { every = "1s", for = "50ms" }
[[rule]]
gate  = "complete"
queue = 9
pause = "disk"
until = "A.completed"
[[rule]]
gate  = "complete"
queue = 10
pause = "disk"
[[rule]]
gate     = "complete"
queue    = 11
pause    = "ring"
watchdog = "1s"
"#,
        r#"
What has a name:
- Event `control.go` happens when somebody says so on the control socket.

When a request arrives, it may be a point:
- A is the first write in an attempt.

At the submit gate, before the drive has it:
- Each request is decided on by the first of these rules that decides:
  1. `held`: each flush is held until `control.go` has happened, for at most 10 s.
  2. `rule-2`: each request that comes through queue 1 is delayed by 5 ms.
  3. `rule-3`: each request that comes through queue 2 is delayed by 1 ms to 5 ms, any of it as
     likely.
  4. `rule-4`: each request that comes through queue 3 is delayed by a normal time (mean 5 ms,
     standard deviation 1 ms), but not less than 2 ms and not more than 8 ms.
  5. `rule-5`: each request that comes through queue 4 is delayed by a lognormal time (half are
     under 100 µs, of 100 one is over 5 ms), but not more than 10 s.
  6. `rule-6`: each request that comes through queue 5 is delayed by a Pareto time (100 µs or more,
     shape 1.5), but not more than 1 s.
  7. `rule-7`: each request that comes through queue 6 is delayed by 80 µs in 66.7 % and 5 ms in
     33.3 %.
- All else goes to the drive at once.

At the complete gate, when the drive has done it and the guest has not been told:
- Each request is decided on by the first of these rules that decides:
  1. `rule-8`: each request that comes through queue 0 is collected; when 8 are there, they go on
     the last first; each waits for at most 10 s.
  2. `rule-9`: each request that comes through queue 1 is collected; when 4 are there, or the first
     has waited for 10 ms, they go on in an order drawn by chance; each waits for at most 10 s.
  3. `rule-10`: each request that comes through queue 2 is collected; when 3 are there, they go on
     in the order 3, 1, 2; each waits for at most 10 s.
  4. `rule-11`: each request that comes through queue 3 is collected until A has gone to the drive;
     then they go on in the order of their places on the disk; each waits for at most 10 s.
  5. `rule-12`: each request that comes through queue 4 waits for its share of 500 requests a
     second, for at most 10 s.
  6. `rule-13`: each request that comes through queue 5 waits for its share of 500 requests a
     second, 10 at once after idling, for at most 10 s.
  7. `rule-14`: each request that comes through queue 6 waits for its share of 10 MiB a second, for
     at most 10 s.
  8. `rule-15`: each request that comes through queue 7 waits for its share of 10 MiB a second, 1
     MiB at once after idling, for at most 2 s.
  9. `rule-16`: each request that comes through queue 8 waits while the disk stalls, which it does
     for 50 ms every 1 s, counted from when the attempt began, for at most 10 s.
  10. `rule-17`: each request that comes through queue 9 stands, and everything on the disk stands
      at whatever gate it comes to, until A has completed, for at most 10 s.
  11. `rule-18`: each request that comes through queue 10 stands, and everything on the disk stands
      at whatever gate it comes to, until somebody resumes, for at most 10 s.
  12. `rule-19`: each request that comes through queue 11 stands, and everything of its ring stands
      at whatever gate it comes to, until somebody resumes or the guest resets the ring, for at most
      1 s.
- Of all else the guest is told at once.

What else counts:
- What waits for something to happen goes on at the latest after the time given with it. The journal
  says so then, and nothing else waits for anything to happen in that attempt.
- Whoever has the control socket can release what waits, or all of it, at any time.
- Chance is drawn from the seed 42: with the same seed, the same attempt of the same requests goes
  the same way.
"#,
    );
}

#[test]
fn which_requests() {
    assert_explained(
        r#"
[place]
table = { sector = 2048, sectors = 128 }
[point]
W = { op = "write", length = { min = "4k" }, every = 5, from = 3, count = 4, probability = 0.5 }
F = { op = "write", flush-follows = true, class = "journal" }
Z = { op = "write", payload = "zero", from = 2 }
[[rule]]
gate   = "complete"
op     = ["read", "write"]
length = "4k"
class  = ["journal-commit", "bitmap"]
delay  = "1ms"
[[rule]]
gate   = "complete"
op     = "any"
length = { max = "64k" }
place  = { offset = 0, length = 1000 }
delay  = "1ms"
[[rule]]
gate    = "complete"
op      = "write"
length  = { min = 512, max = "64k" }
place   = "table"
payload = { offset = 8, text = "LOG" }
delay   = "1ms"
[[rule]]
gate    = "complete"
point   = "W"
payload = { offset = 0, bytes = "c03b3998" }
every   = 2
delay   = "1ms"
[[rule]]
gate        = "complete"
op          = "discard"
class       = "metadata"
after       = "W.arrived >= 3"
before      = "F.done"
when        = { not = { any = ["in-flight >= 8", "W.completed < 2"] } }
probability = 0.25
delay       = "1ms"
"#,
        r#"
What has a name:
- Place `table` is 64 KiB from 1 MiB on.

When a request arrives, it is the first of these points whose turn it is, if any:
- W is every 5th write of 4 KiB or more, beginning with the 3rd, with a probability of 0.5, at most
  4 in an attempt; each of them is this point.
- F is the first write in an attempt that touches journal blocks and is followed by a flush; that is
  known when the flush arrives, and only what is in flight then can be held.
- Z is each write that has nothing but zeros as data, from the 2nd on; each of them is this point.

At the submit gate, before the drive has it:
- Everything goes to the drive at once.

At the complete gate, when the drive has done it and the guest has not been told:
- Each request is decided on by the first of these rules that decides; a rule counts those that come
  to it and match:
  1. `rule-1`: each read or write of 4 KiB that touches bitmap or journal-commit blocks is delayed
     by 1 ms.
  2. `rule-2`: each request of at most 64 KiB that touches any of 1000 bytes from the disk's first
     byte on is delayed by 1 ms.
  3. `rule-3`: each write of 512 bytes to 64 KiB that touches `table` and has "LOG" at byte 8 of its
     data is delayed by 1 ms.
  4. `rule-4`: every 2nd request that is W and has c0 3b 39 98 at byte 0 of its data, beginning with
     the first, is delayed by 1 ms.
  5. `rule-5`: each discard that touches metadata blocks and comes when `W.arrived` has happened 3
     times, F has not been done by the drive and it is not so that (8 or more requests are in flight
     or `W.completed` has happened fewer than 2 times), with a probability of 0.25, is delayed by 1
     ms.
- Of all else the guest is told at once.

What else counts:
- Chance is drawn from the seed 0: with the same seed, the same attempt of the same requests goes
  the same way.
"#,
    );
}

#[test]
fn failures_passes_and_notes() {
    assert_explained(
        r#"
[event]
slow  = "policy"
never = "policy"
[state]
degraded = false
busy     = true
calm     = true
[[rule]]
name = "wears-out"
gate = "submit"
op   = "write"
from = 100
set  = "degraded"
emit = "slow"
[[rule]]
name  = "recovers"
gate  = "submit"
op    = "flush"
clear = ["degraded", "busy"]
[[rule]]
name = "let-reads-be"
gate = "submit"
op   = "read"
pass = true
emit = "slow"
[[rule]]
name = "no-write"
gate = "submit"
op   = "write"
when = "state.degraded"
fail = "write-fault"
[[rule]]
name  = "lies"
gate  = "complete"
op    = "write"
when  = { not = "state.calm" }
delay = "5ms"
fail  = "io-error"
[[rule]]
name = "forgets"
gate = "complete"
nth  = 3
fail = "internal"
"#,
        r#"
What has a name:
- Event `policy.slow` happens when rule `wears-out` or `let-reads-be` has its turn.
- Event `policy.never` never happens: no rule emits it.
- State `degraded` is off when an attempt begins; it is turned on by `wears-out` and off by
  `recovers`.
- State `busy` is on when an attempt begins; it is turned off by `recovers`.
- State `calm` is on when an attempt begins; no rule changes it.

At the submit gate, before the drive has it:
- Each request is decided on by the first of these rules that decides; a rule counts those that come
  to it and match:
  1. `wears-out`: each write, from the 100th on, is only noted, and later rules decide. It turns
     `degraded` on and makes `policy.slow` happen.
  2. `recovers`: each flush is only noted, and later rules decide. It turns `degraded` off and
     `busy` off.
  3. `let-reads-be`: each read goes on at once. It makes `policy.slow` happen.
  4. `no-write`: each write that comes when `degraded` is on ends with write-fault; the drive never
     sees it.
- All else goes to the drive at once.

At the complete gate, when the drive has done it and the guest has not been told:
- Each request is decided on by the first of these rules that decides; a rule counts those that come
  to it and match:
  1. `lies`: each write that comes when `calm` is off is delayed by 5 ms; then it ends with
     io-error, and the drive has done it all the same.
  2. `forgets`: the 3rd request in an attempt ends with internal; the drive has done it all the
     same.
- Of all else the guest is told at once.
"#,
    );
}

#[test]
fn a_policy_that_says_nothing() {
    assert_explained(
        "",
        r#"
At the submit gate, before the drive has it:
- Everything goes to the drive at once.

At the complete gate, when the drive has done it and the guest has not been told:
- The guest is told at once.
"#,
    );
}

#[test]
fn parameters_have_the_values_that_were_given() {
    let text = r#"
[parameter]
slow  = "5ms"
nth   = { about = "which flush", default = 2 }
share = { about = "how many" }
ratio = 0.5
off   = false
[[rule]]
gate        = "complete"
op          = "flush"
from        = "$nth"
count       = "$share"
probability = "$ratio"
delay       = "$slow"
"#;
    let given = [("slow", "7ms"), ("share", "3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings { set: given.into(), seed: Some(7) };
    let mut include = |_: &str| Err("nothing to include".to_owned());
    let checked = Policy::read("my.toml", text, &settings, &mut include);
    let explained = checked.unwrap_or_else(|mistakes| panic!("{mistakes}")).policy.explain();
    let expected = r#"
At the submit gate, before the drive has it:
- Everything goes to the drive at once.

At the complete gate, when the drive has done it and the guest has not been told:
- Each request is decided on by one rule; a rule counts those that come to it and match:
  1. `rule-1`: each flush, from the 2nd on, with a probability of 0.5, at most 3 in an attempt, is
     delayed by 7 ms.
- Of all else the guest is told at once.

What else counts:
- Chance is drawn from the seed 7: with the same seed, the same attempt of the same requests goes
  the same way.

Parameters:
- `slow` is "7ms", instead of "5ms".
- `nth` is 2: which flush.
- `share` is "3": how many.
- `ratio` is 0.5.
- `off` is false.
"#;
    assert!(explained == expected.trim_start(), "seen:\n{explained}");
}

#[test]
fn points_that_take_what_is_left() {
    let text = "[point]\nA = { op = \"write\" }\nB = { op = \"write\" }\nC = { op = \"write\", nth = 3 }\n";
    let said = Policy::parse("my.toml", text).expect("a policy").explain();
    let said: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("- A")).take(4).collect();
    let expected = [
        "- A is the first write in an attempt.",
        "- B is the first write in an attempt; if an earlier point takes that, it is the next that none",
        "  takes.",
        "- C is the 3rd write in an attempt.",
    ];
    assert_eq!(said, expected);
}
