//! The journal's lines and the control socket's: what is written is what is read, whatever it is.

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::control::{Answer, Call, Command, ExprText, Reply};
use blkstay_engine::event::Gate;
use blkstay_engine::journal::codec;
use blkstay_engine::journal::frame::Head;
use blkstay_engine::journal::{Abandon, Arm, Cause, Does, Line, Outcome, Record, Source, Stage};
use blkstay_engine::policy::{Included, Written};
use blkstay_engine::report::HeldRequest;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn id() -> impl Strategy<Value = RequestId> {
    prop_oneof![any::<u64>(), 0..1_u64 << 56].prop_map(RequestId)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z.]{0,8}", ".{0,12}"]
}

fn range() -> impl Strategy<Value = ByteRange> {
    (any::<u64>(), prop_oneof![any::<u64>(), any::<u32>().prop_map(u64::from)])
        .prop_map(|(offset, length)| ByteRange { offset, length })
}

fn gate() -> impl Strategy<Value = Gate> {
    select(&Gate::ALL[..])
}

fn status() -> impl Strategy<Value = Status> {
    select(&Status::ALL[..])
}

fn arm() -> impl Strategy<Value = Arm> {
    select(&[Arm::Control, Arm::Forced, Arm::Natural][..])
}

fn outcome() -> impl Strategy<Value = Outcome> {
    use Outcome::*;
    select(&[Open, Closed, Survived, Missed, Lost, Reached][..])
}

fn does() -> impl Strategy<Value = Does> {
    use Does::*;
    select(&[Pass, Fail, Hold, Delay, Reorder, Limit, Stall, Pause][..])
}

fn probes() -> impl Strategy<Value = Probes> {
    prop_oneof![Just(0), any::<u64>()].prop_map(Probes)
}

fn request() -> impl Strategy<Value = Request> {
    let class = subsequence(&Class::ALL[..], 0..=Class::ALL.len()).prop_map(|some| ClassSet::of(&some));
    (id(), any::<u16>(), select(&Op::ALL[..]), range(), class, probes())
        .prop_map(|(id, queue, op, range, class, probes)| Request { id, queue, op, range, class, probes })
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        text().prop_map(|event| Cause::Until { event }),
        (any::<u64>(), any::<bool>()).prop_map(|(limit_ns, unheard)| Cause::Watchdog { limit_ns, unheard }),
        text().prop_map(|gate| Cause::WatchdogOf { gate }),
        any::<u64>().prop_map(|requests| Cause::Window { requests }),
        select(
            &[
                Cause::Delay,
                Cause::Limit,
                Cause::Stall,
                Cause::Resumed,
                Cause::Hand,
                Cause::Disarmed,
                Cause::AttemptEnd,
                Cause::PolicyReplaced,
                Cause::RingStop,
            ][..]
        ),
    ]
}

fn written() -> impl Strategy<Value = Written> {
    let included = (text(), text()).prop_map(|(path, text)| Included { path, text });
    let rest = (btree_map(text(), text(), 0..3), option::of(any::<u64>()));
    (text(), text(), vec(included, 0..3), rest).prop_map(|(origin, text, included, (set, seed))| Written {
        origin,
        text,
        included,
        set,
        seed,
    })
}

fn expression() -> impl Strategy<Value = ExprText> {
    text().prop_map(ExprText::Event).prop_recursive(3, 12, 3, |part| {
        prop_oneof![
            vec(part.clone(), 0..3).prop_map(|any| ExprText::Any { any }),
            vec(part.clone(), 0..3).prop_map(|all| ExprText::All { all }),
            part.prop_map(|not| ExprText::Not { not: Box::new(not) }),
        ]
    })
}

/// What is recorded of requests.
fn of_request() -> impl Strategy<Value = Record> {
    let rule = || option::of(text());
    let stage = select(&[Stage::HeldAtSubmit, Stage::Submitted, Stage::HeldAtComplete][..]);
    let why = select(&[Abandon::Disconnect, Abandon::Shutdown][..]);
    prop_oneof![
        (request(), rule(), any::<bool>(), any::<bool>()).prop_map(
            |(request, point, passed, resubmitted)| {
                Record::Arrived { request, point, passed, resubmitted }
            }
        ),
        id().prop_map(|id| Record::Submitted { id }),
        (id(), status(), probes(), rule()).prop_map(|(id, status, probes, error)| Record::Done {
            id,
            status,
            probes,
            error
        }),
        (id(), gate(), text(), does(), option::of(any::<u64>()), option::of(status())).prop_map(
            |(id, gate, rule, does, wait_ns, status)| Record::Decided {
                id,
                gate,
                rule,
                does,
                wait_ns,
                status
            }
        ),
        (id(), status(), any::<bool>(), rule()).prop_map(|(id, status, passed, error)| Record::Completed {
            id,
            status,
            passed,
            error
        }),
        (id(), stage, why, any::<bool>()).prop_map(|(id, stage, why, passed)| Record::Abandoned {
            id,
            stage,
            why,
            passed
        }),
        (id(), text(), rule(), gate(), text(), any::<u64>()).prop_map(
            |(id, point, rule, gate, until, deadline_ns)| Record::Held {
                id,
                point,
                rule,
                gate,
                until,
                deadline_ns
            }
        ),
        (id(), text(), rule(), gate()).prop_map(|(id, point, rule, gate)| Record::Stalled {
            id,
            point,
            rule,
            gate
        }),
        (id(), text(), rule(), gate(), cause()).prop_map(|(id, point, rule, gate, cause)| Record::Released {
            id,
            point,
            rule,
            gate,
            cause
        }),
    ]
}

/// What is recorded of everything else.
fn of_others() -> impl Strategy<Value = Record> {
    let queue = || option::of(any::<u16>());
    let source = select(&[Source::Guest, Source::Control, Source::Policy][..]);
    prop_oneof![
        (any::<u32>(), text(), any::<u64>(), any::<u64>()).prop_map(
            |(version, image, image_bytes, monotonic_ns)| Record::Journal {
                version,
                image,
                image_bytes,
                monotonic_ns
            }
        ),
        (written(), any::<bool>()).prop_map(|(written, armed)| Record::Policy { written, armed }),
        select(&[Record::Connected, Record::Disconnected, Record::Resume, Record::Stopped][..]),
        (any::<u64>(), arm(), option::of(any::<u64>()))
            .prop_map(|(attempt, arm, watchdog_ns)| Record::AttemptBegan { attempt, arm, watchdog_ns }),
        any::<u64>().prop_map(|attempt| Record::AttemptEnded { attempt }),
        (any::<u64>(), outcome(), text()).prop_map(|(attempt, outcome, why)| Record::Verdict {
            attempt,
            outcome,
            why
        }),
        (text(), any::<bool>()).prop_map(|(state, on)| Record::State { state, on }),
        (queue(), option::of(text()), any::<u64>()).prop_map(|(queue, rule, deadline_ns)| Record::Paused {
            queue,
            rule,
            deadline_ns
        }),
        (queue(), option::of(text()), cause()).prop_map(|(queue, rule, cause)| Record::Resumed {
            queue,
            rule,
            cause
        }),
        any::<bool>().prop_map(|armed| Record::Armed { armed }),
        (option::of(id()), option::of(text()))
            .prop_map(|(request, point)| Record::Release { request, point }),
        (any::<u64>(), expression()).prop_map(|(token, until)| Record::Awaiting { token, until }),
        any::<u64>().prop_map(|token| Record::Forgotten { token }),
        any::<u16>().prop_map(|queue| Record::RingStopped { queue }),
        (text(), range()).prop_map(|(place, range)| Record::Bound { place, range }),
        (source, text(), option::of(text())).prop_map(|(source, event, detail)| Record::Event {
            source,
            event,
            detail
        }),
        (text(), text()).prop_map(|(name, value)| Record::Report { name, value }),
        text().prop_map(|line| Record::Log { line }),
        any::<i32>().prop_map(|exit| Record::Finished { exit }),
        any::<u64>().prop_map(|bytes| Record::Resized { bytes }),
        (any::<u16>(), text()).prop_map(|(queue, why)| Record::BadRequest { queue, why }),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    (any::<u64>(), prop_oneof![of_request(), of_others()]).prop_map(|(t, record)| Line { t, record })
}

fn command() -> impl Strategy<Value = Command> {
    let number = || option::of(any::<u64>());
    let plain = [
        Command::Ping,
        Command::Arm,
        Command::Disarm,
        Command::Resume,
        Command::End,
        Command::Status,
        Command::Held,
    ];
    prop_oneof![
        prop::sample::select(plain.to_vec()),
        (written(), any::<bool>()).prop_map(|(written, armed)| Command::load_written(written, armed)),
        (option::of(any::<u16>()), number())
            .prop_map(|(queue, watchdog_ns)| Command::Pause { queue, watchdog_ns }),
        (any::<u64>(), arm(), number()).prop_map(|(attempt, arm, watchdog_ns)| Command::Begin {
            attempt,
            arm,
            watchdog_ns
        }),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(place, offset, length)| Command::Bind {
            place,
            offset,
            length
        }),
        (text(), option::of(text())).prop_map(|(event, detail)| Command::Emit { event, detail }),
        expression().prop_map(|until| Command::Await { until }),
        any::<u64>().prop_map(|after| Command::NextAttempt { after }),
        (text(), text()).prop_map(|(name, value)| Command::Report { name, value }),
        vec(text(), 0..3).prop_map(|lines| Command::Log { lines }),
        any::<i32>().prop_map(|exit| Command::Finish { exit }),
        (option::of(id()), option::of(text()))
            .prop_map(|(request, point)| Command::Release { request, point }),
        (any::<u64>(), outcome(), text()).prop_map(|(attempt, outcome, why)| Command::Verdict {
            attempt,
            outcome,
            why
        }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let held = (id(), select(&Op::ALL[..]), range(), text(), option::of(text()), gate(), any::<u64>());
    let held = held.prop_map(|(id, op, range, point, rule, gate, time)| {
        let (ByteRange { offset, length }, until) = (range, point.clone());
        HeldRequest { id, op, offset, length, point, rule, gate, until, since_ns: time, deadline_ns: time }
    });
    prop_oneof![
        Just(Answer::Done),
        text().prop_map(|message| Answer::Error { message }),
        (any::<u64>(), arm()).prop_map(|(attempt, arm)| Answer::Attempt { attempt, arm }),
        vec(held, 0..3).prop_map(|requests| Answer::Held { requests }),
        any::<usize>().prop_map(|count| Answer::Released { count }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_line_that_was_written_is_read(line in line()) {
        let written = serde_json::to_string(&line).expect("JSON");
        prop_assert!(!written.contains('\n'));
        let read: Line = serde_json::from_str(&written).map_err(|error| TestCaseError::fail(format!("{written}: {error}")))?;
        prop_assert_eq!(read, line);
    }

    #[test]
    fn a_frame_that_was_written_is_read(line in line()) {
        let mut words = vec![7];
        codec::encode(line.t, &line.record, &mut words).expect("a frame");
        let head = Head::read(words[1]).expect("a head");
        prop_assert_eq!(head.check, head.check_of(words[2..].iter().copied()));
        prop_assert_eq!(head.body_words(), words.len() - 2);
        let body: Vec<u8> = words[2..].iter().flat_map(|word| word.to_le_bytes()).collect();
        prop_assert_eq!(codec::decode(head, &body[..head.bytes as usize]), Some(line));
    }

    #[test]
    fn a_call_that_was_sent_is_understood(id in any::<u64>(), during in option::of(any::<u64>()), command in command()) {
        let call = Call { id, during, command };
        let sent = serde_json::to_vec(&call).expect("JSON");
        prop_assert_eq!(Call::parse(&sent), Ok(call));
    }

    #[test]
    fn a_reply_that_was_sent_is_understood(id in any::<u64>(), answer in answer()) {
        let reply = Reply::new(id, answer);
        let sent = serde_json::to_vec(&reply).expect("JSON");
        prop_assert_eq!(serde_json::from_slice::<Reply>(&sent).expect("a reply"), reply);
    }
}
