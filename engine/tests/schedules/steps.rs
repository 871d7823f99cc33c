//! What can happen next; numbers pick among what is possible then.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub enum Step {
    Arrive {
        op: usize,
        block: u64,
        length: u64,
        queue: u16,
        class: usize,
        probes: u64,
    },
    Finish {
        pick: usize,
        fails: bool,
        probes: u64,
    },
    Emit {
        guest: bool,
        event: usize,
    },
    Begin {
        forced: bool,
        watchdog_ns: Option<u64>,
    },
    End,
    Release {
        request: Option<usize>,
        point: Option<usize>,
    },
    /// The policy again, or none.
    Load {
        armed: bool,
        none: bool,
    },
    Arm(bool),
    Pause {
        queue: Option<u16>,
        watchdog_ns: Option<u64>,
    },
    Resume,
    Bind {
        block: u64,
    },
    Await(usize),
    Forget,
    Tell(usize),
    StopRing(u16),
    Wait(u64),
    WaitLate(u64),
    Connect,
    Disconnect,
    BadRequest,
}

pub fn step() -> impl Strategy<Value = Step> {
    let watchdog = || prop::option::of(500..2_000_u64);
    prop_oneof![
        10 => arrival(),
        8 => (any::<usize>(), prop::bool::weighted(0.1), 0..4_u64)
            .prop_map(|(pick, fails, probes)| Step::Finish { pick, fails, probes }),
        3 => (any::<bool>(), 0..3_usize).prop_map(|(guest, event)| Step::Emit { guest, event }),
        2 => (prop::bool::weighted(0.7), watchdog())
            .prop_map(|(forced, watchdog_ns)| Step::Begin { forced, watchdog_ns }),
        1 => Just(Step::End),
        1 => prop_oneof![
            Just((None, None)),
            any::<usize>().prop_map(|request| (Some(request), None)),
            (0..4_usize).prop_map(|point| (None, Some(point))),
        ].prop_map(|(request, point)| Step::Release { request, point }),
        1 => (any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(armed, none)| Step::Load { armed, none }),
        1 => any::<bool>().prop_map(Step::Arm),
        1 => (prop::option::of(0..2_u16), watchdog())
            .prop_map(|(queue, watchdog_ns)| Step::Pause { queue, watchdog_ns }),
        1 => Just(Step::Resume),
        1 => (0..4_u64).prop_map(|block| Step::Bind { block }),
        2 => any::<usize>().prop_map(Step::Await),
        1 => Just(Step::Forget),
        1 => any::<usize>().prop_map(Step::Tell),
        1 => (0..2_u16).prop_map(Step::StopRing),
        4 => (1..3_000_u64).prop_map(Step::Wait),
        1 => (1..5_000_u64).prop_map(Step::WaitLate),
        1 => prop_oneof![
            Just(Step::Connect),
            Just(Step::Disconnect),
            Just(Step::BadRequest),
        ],
    ]
}

fn arrival() -> impl Strategy<Value = Step> {
    (0..6_usize, 0..4_u64, 1..4_u64, 0..2_u16, 0..4_usize, 0..4_u64).prop_map(
        |(op, block, length, queue, class, probes)| Step::Arrive { op, block, length, queue, class, probes },
    )
}
