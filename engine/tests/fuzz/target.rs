//! What reads texts, and what has to be true of what it makes of them.

use blkstay_engine::class::ClassSet;
use blkstay_engine::control::{Call, Command};
use blkstay_engine::diagnostic::{Diagnostics, Severity};
use blkstay_engine::engine::{Action, Engine, Input, Token};
use blkstay_engine::event::Gate;
use blkstay_engine::journal::chunk::{HEADER_BYTES, Header, PAGE};
use blkstay_engine::journal::{Line, Piece, Record, Source, codec, contents};
use blkstay_engine::policy::{Checked, Policy, Settings};
use blkstay_engine::replay::refeed;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is read: a text, those that it may include, and values of parameters.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub text: String,
    pub included: BTreeMap<String, String>,
    pub set: BTreeMap<String, String>,
}

/// Reads a case and panics if something is not as it has to be. Cases that are read alike give the same number.
pub type Target = fn(&Case) -> u64;

pub fn policy(case: &Case) -> u64 {
    let settings = Settings { set: case.set.clone(), seed: None };
    let mut include = |path: &str| case.included.get(path).cloned().ok_or_else(|| "there is none".to_owned());
    match Policy::read("corpus/it.toml", &case.text, &settings, &mut include) {
        Ok(Checked { policy, warnings, .. }) => {
            assert!(warnings.list.iter().all(|one| one.severity == Severity::Warning));
            assert_eq!(Policy::reread(&policy.written).as_ref(), Ok(&policy), "it reads otherwise again");
            serve(&policy);
            shape(&policy) ^ messages(&warnings)
        }
        Err(mistakes) => {
            assert!(mistakes.list.iter().any(|one| one.severity == Severity::Error), "nothing is wrong");
            messages(&mistakes)
        }
    }
}

/// Every diagnostic can be shown, and points at something.
fn messages(diagnostics: &Diagnostics) -> u64 {
    for one in &diagnostics.list {
        let spots = std::iter::once(&one.at).chain(one.also.iter().map(|(at, _)| at));
        for spot in spots {
            let file = diagnostics.files.get(spot.file).expect("a file of the policy");
            assert!(spot.span.start <= spot.span.end && spot.span.end <= file.text.len(), "{one:?}");
        }
        assert!(!one.message.is_empty());
    }
    // To show them takes far longer than to find them.
    if hash(&diagnostics.files.first().map(|file| &file.text)).is_multiple_of(4) {
        assert!(!diagnostics.render(false).is_empty() || diagnostics.list.is_empty());
    }
    let mut kinds: Vec<String> = diagnostics.list.iter().map(|one| kind(&one.message)).collect();
    // Two of them: else whatever goes together by chance would count as new.
    kinds.sort();
    kinds.dedup();
    kinds.truncate(2);
    hash(&kinds)
}

/// A message without what it quotes.
fn kind(message: &str) -> String {
    message.split('`').step_by(2).collect()
}

/// What a policy consists of, roughly.
fn shape(policy: &Policy) -> u64 {
    let rule = |rule: &blkstay_engine::policy::Rule| {
        let verdict = format!("{:?}", rule.verdict);
        let words = verdict.split(|c: char| !c.is_alphabetic()).collect::<String>();
        (rule.gate == Gate::Submit, rule.filter.range.is_some(), rule.filter.when.is_some(), words)
    };
    let counts = [policy.places.len(), policy.points.len(), policy.holds.len(), policy.signs.len()];
    hash(&(counts.map(|count| count.min(3)), policy.rules.iter().map(rule).collect::<Vec<_>>()))
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Lets an engine follow the policy for a while; its journal fed back gives the same decisions.
fn serve(policy: &Policy) {
    let mut engine = Engine::new();
    let mut journal = Vec::new();
    let mut note = |t, actions: Vec<Action>| {
        journal.extend(actions.into_iter().filter_map(|action| match action {
            Action::Record(record) => Some(Line { t, record }),
            _ => None,
        }));
    };
    note(0, engine.load(0, policy.clone(), true));
    let mut now = 0;
    for number in 1..=12 {
        let (id, op) = (RequestId(number), Op::ALL[number as usize % 6]);
        let range = ByteRange { offset: number % 3 * 4096, length: if op.has_range() { 4096 } else { 0 } };
        let probes = Probes(if op == Op::Write { number } else { 0 });
        let request = Request { id, queue: 0, op, range, class: ClassSet::NONE, probes };
        note(now, engine.step(now, Input::Arrived(request)));
        now += 400_000 * number;
        note(now, engine.step(now, Input::Tick));
        note(now, engine.step(now, Input::Done { id, status: Status::Ok, probes: Probes(number) }));
    }
    let call = |command| Input::Call { token: Token(1), source: Source::Control, during: None, command };
    let bad =
        engine.step(now, call(Command::Held)).into_iter().any(|action| matches!(action, Action::Record(_)));
    assert!(!bad, "to ask what is held is no event");
    note(u64::MAX, engine.step(u64::MAX, Input::Tick));
    note(u64::MAX, engine.step(u64::MAX, call(Command::Release { request: None, point: None })));
    if let Err(difference) = refeed(journal) {
        panic!("{difference}");
    }
}

/// A line of the control socket.
pub fn call(case: &Case) -> u64 {
    match Call::parse(case.text.as_bytes()) {
        Ok(call) => {
            let sent = serde_json::to_vec(&call).expect("JSON");
            assert_eq!(Call::parse(&sent).as_ref(), Ok(&call));
            for source in [Source::Guest, Source::Control] {
                let Call { during, command, .. } = call.clone();
                let input = Input::Call { token: Token(1), source, during, command };
                let answers = Engine::new().step(7, input);
                let later = matches!(call.command, Command::Await { .. } | Command::NextAttempt { .. });
                assert!(
                    later || answers.iter().any(|action| matches!(action, Action::Reply(..))),
                    "no answer"
                );
            }
            hash(&(call.command.verb(), sent.len().ilog2()))
        }
        Err(bad) => {
            assert!(!bad.why.is_empty());
            hash(&kind(&bad.why.replace(|c: char| c.is_ascii_digit(), "")))
        }
    }
}

/// A line of a journal.
pub fn line(case: &Case) -> u64 {
    match serde_json::from_str::<Line>(&case.text) {
        Ok(line) => {
            let written = serde_json::to_string(&line).expect("JSON");
            assert_eq!(serde_json::from_str::<Line>(&written).expect("what was written is read"), line);
            // It may agree or not, with nothing before it.
            let agrees = refeed([line.clone()]).is_ok();
            let policy = matches!(line.record, Record::Policy { .. });
            hash(&(agrees, policy, std::mem::discriminant(&line.record)))
        }
        Err(error) => hash(&kind(&error.to_string().replace(|c: char| c.is_ascii_digit(), ""))),
    }
}

/// A journal of the lines that are some. Each of the others damages the file: its hash says where and how.
pub fn journal(case: &Case) -> u64 {
    let read: Vec<Result<Line, &str>> =
        case.text.lines().map(|text| serde_json::from_str(text).map_err(|_| text)).collect();
    let mut words = vec![0; HEADER_BYTES / 8];
    let lines: Vec<Piece> = read.iter().flatten().cloned().map(Piece::Line).collect();
    for line in read.iter().flatten() {
        codec::encode(line.t, &line.record, &mut words).expect("a frame");
    }
    words.resize((words.len() + 1).next_multiple_of(PAGE as usize / 8), 0);
    let bytes = u32::try_from(words.len() * 8).expect("a small file");
    let header = Header { session: 0, offset: 0, lane: 0, number: 0, bytes };
    words[..HEADER_BYTES / 8].copy_from_slice(&header.words());
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(contents(&file), lines, "what was written is read");
    for text in read.iter().filter_map(|line| line.as_ref().err()) {
        let where_and_how = hash(text);
        let place = where_and_how as usize % file.len();
        match where_and_how >> 60 {
            0 => file.truncate(place),
            1 => {
                let tail = &mut file[place..];
                tail.rotate_left(1 % tail.len());
            }
            _ => file[place] ^= (where_and_how >> 40) as u8,
        }
        if file.is_empty() {
            break;
        }
    }
    let pieces = contents(&file);
    let bad = pieces.iter().filter_map(|piece| match piece {
        Piece::Trouble(trouble) => Some(std::mem::discriminant(&trouble.what)),
        Piece::Line(_) => None,
    });
    let mut bad: Vec<_> = bad.take(3).collect();
    bad.dedup();
    hash(&(bad, pieces.len().min(8)))
}
