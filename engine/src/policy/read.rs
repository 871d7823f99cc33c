//! From the text of a policy file to a [`Policy`], or to all of its mistakes.

use super::circle::Circle;
use super::expr::{self, Names, check_name, one_of};
use super::quantity::{parse_bytes, parse_some_time};
use super::table::{Mistakes, Table, Value, quantity, string};
use super::{
    Case, Hold, ImageRecipe, LIMIT_NS_DEFAULT, NamedEvent, Place, Point, Policy, Sign, SignTest,
    WATCHDOG_NS_DEFAULT, circle,
};
use crate::diagnostic::{Diagnostic, Diagnostics, suggest};
use crate::event::{Event, Gate, PointIndex};
use crate::journal::Source;
use crate::request::{ByteRange, Nanos, Op};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Smallest and largest disk that a recipe can ask for, in bytes.
const IMAGE_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 40;

pub fn read(origin: &str, text: &str) -> Result<Policy, Diagnostics> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Mistakes = errors.iter().map(syntax).collect();
    let policy = mistakes.is_empty().then(|| {
        let (policy, spans) = read_root(origin, text, &root, &mut mistakes);
        check_circles(&policy, &spans, &mut mistakes);
        policy
    });
    mistakes.sort_by_key(|mistake| mistake.span.start);
    match policy {
        Some(policy) if mistakes.is_empty() => Ok(policy),
        _ => Err(Diagnostics { origin: origin.to_owned(), text: text.to_owned(), list: mistakes }),
    }
}

fn syntax(error: &toml::de::Error) -> Diagnostic {
    Diagnostic::error(error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()))
}

/// Where the parts of a policy stand.
struct Spans {
    points: Vec<Range<usize>>,
    holds: Vec<Range<usize>>,
}

/// Where the names of a table stand, in file order.
fn named_spans(value: Option<Value<'_>>) -> Vec<Range<usize>> {
    let table = value.and_then(|value| value.get_ref().as_table());
    table
        .map(|table| Table::new("", table, 0..0).entries().map(|(_, span, _)| span).collect())
        .unwrap_or_default()
}

type Root<'t> = toml::Spanned<DeTable<'t>>;

fn read_root(origin: &str, text: &str, root: &Root<'_>, mistakes: &mut Mistakes) -> (Policy, Spans) {
    let mut table = Table::new("a policy", root.get_ref(), 0..0);
    let watchdog_ns =
        table.take_quantity("watchdog", parse_some_time, mistakes).unwrap_or(WATCHDOG_NS_DEFAULT);
    let case = table.take("case").and_then(|value| read_case(value, mistakes));
    let places = read_named("place", table.take("place"), mistakes, read_place);
    let events = read_named("event", table.take("event"), mistakes, read_event);
    let points = table.take("point");
    let point_spans = named_spans(points);
    let holds = table.take("hold");
    let signs = read_named("sign", table.take("sign"), mistakes, read_sign);
    table.finish(mistakes);

    let mut policy = Policy {
        origin: origin.to_owned(),
        text: text.to_owned(),
        case,
        places,
        events,
        points: Vec::new(),
        holds: Vec::new(),
        signs,
    };
    policy.points = read_points(&policy, points, mistakes);
    let (holds, spans) = read_holds(&policy, holds, watchdog_ns, mistakes);
    policy.holds = holds;
    (policy, Spans { points: point_spans, holds: spans })
}

fn read_case(value: Value<'_>, mistakes: &mut Mistakes) -> Option<Case> {
    let mut table = Table::of("[case]", value, mistakes)?;
    let about = table.need_str("about", mistakes);
    let guest = table.need_str("guest", mistakes);
    let witness = table.take_bool("witness", mistakes).unwrap_or(false);
    let limit_ns = table.take_quantity("limit", parse_some_time, mistakes).unwrap_or(LIMIT_NS_DEFAULT);
    let image = table.need("image", mistakes);
    table.finish(mistakes);
    if let Some((name, span)) = &guest
        && name.contains('/')
    {
        let message = format!("`{name}` is a path, but a guest script is named by its file name");
        mistakes.push(
            Diagnostic::error(span.clone(), message)
                .help("scripts are in guest-scripts/, or beside the policy"),
        );
    }
    let image = read_image(image?, mistakes)?;
    Some(Case { about: about?.0.to_owned(), guest: guest?.0.to_owned(), witness, limit_ns, image })
}

fn read_image(value: Value<'_>, mistakes: &mut Mistakes) -> Option<ImageRecipe> {
    let mut table = Table::of("[case.image]", value, mistakes)?;
    let size = table.need("size", mistakes);
    let filesystem = table.need("filesystem", mistakes);
    let options = table.take("options");
    table.finish(mistakes);
    let known = ["ext4", "xfs"];
    let filesystem = one_of("filesystem", filesystem?, &known, mistakes).map(|index| known[index].to_owned());
    let size_bytes = quantity(size?, parse_bytes, mistakes)?;
    if !IMAGE_BYTES.contains(&size_bytes) || size_bytes % 4096 != 0 {
        let message = "an image is 1M to 1T, a multiple of 4096 bytes";
        mistakes.push(Diagnostic::error(size?.span(), message));
    }
    let options = options.map_or(Some(Vec::new()), |value| read_strings("options", value, mistakes))?;
    Some(ImageRecipe { size_bytes, filesystem: filesystem?, options })
}

fn read_strings(what: &str, value: Value<'_>, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let Some(array) = value.get_ref().as_array() else {
        mistakes.push(Diagnostic::error(value.span(), format!("`{what}` must be a list of strings")));
        return None;
    };
    array
        .iter()
        .map(|item| string(&format!("each of `{what}`"), item, mistakes).map(|(text, _)| text.to_owned()))
        .collect()
}

type Entry<'t> = (&'t str, Range<usize>, Value<'t>);

/// Reads a table of names, `[place]` say.
fn read_named<'t, T>(
    kind: &str,
    value: Option<Value<'t>>,
    mistakes: &mut Mistakes,
    mut read: impl FnMut(Entry<'t>, &mut Mistakes) -> Option<T>,
) -> Vec<T> {
    let Some(table) = value.and_then(|value| Table::of(format!("[{kind}]"), value, mistakes)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in table.entries() {
        if check_name(entry.0, entry.1.clone(), mistakes) {
            found.extend(read(entry, mistakes));
        }
    }
    found
}

fn read_place((name, _, value): Entry<'_>, mistakes: &mut Mistakes) -> Option<Place> {
    // A place that is wrong still counts as known, so that only its own mistake is reported.
    Some(Place { name: name.to_owned(), range: read_range(name, value, mistakes) })
}

/// `None` for a place that the guest binds.
fn read_range(name: &str, value: Value<'_>, mistakes: &mut Mistakes) -> Option<ByteRange> {
    if let DeValue::String(_) = value.get_ref() {
        one_of("place", value, &["guest"], mistakes)?;
        return None;
    }
    let mut table = Table::of(format!("place `{name}`"), value, mistakes)?;
    let offset = table.need("offset", mistakes);
    let length = table.need("length", mistakes);
    table.finish(mistakes);
    let offset = quantity(offset?, parse_bytes, mistakes)?;
    let length_value = length?;
    let length = quantity(length_value, parse_bytes, mistakes)?;
    if length == 0 || offset.checked_add(length).is_none() {
        mistakes
            .push(Diagnostic::error(length_value.span(), format!("place `{name}` has no bytes on any disk")));
    }
    Some(ByteRange { offset, length })
}

fn read_event((name, _, value): Entry<'_>, mistakes: &mut Mistakes) -> Option<NamedEvent> {
    let sources = [Source::Guest, Source::Control];
    let source = one_of("source of an event", value, &["guest", "control"], mistakes)?;
    Some(NamedEvent { source: sources[source], name: name.to_owned() })
}

fn read_sign((name, span, value): Entry<'_>, mistakes: &mut Mistakes) -> Option<Sign> {
    let mut table = Table::of(format!("sign `{name}`"), value, mistakes)?;
    let kernel_log = table.take_str("kernel-log", mistakes);
    let per_boot_max = table.take_number("per-boot-max", 1, u64::MAX, mistakes);
    let report = table.take_str("report", mistakes);
    let is = table.take_str("is", mistakes);
    table.finish(mistakes);
    let test = match (kernel_log, report, is) {
        (Some((text, _)), None, None) if !text.is_empty() => {
            SignTest::KernelLog { text: text.to_owned(), per_boot_max }
        }
        (None, Some((report, _)), Some((is, _))) if per_boot_max.is_none() => {
            SignTest::Report { name: report.to_owned(), is: is.to_owned() }
        }
        _ => {
            let message = format!("sign `{name}` must be {{ kernel-log = … }} or {{ report = …, is = … }}");
            mistakes.push(Diagnostic::error(span, message));
            return None;
        }
    };
    Some(Sign { name: name.to_owned(), test })
}

fn read_points(policy: &Policy, value: Option<Value<'_>>, mistakes: &mut Mistakes) -> Vec<Point> {
    let names: Vec<String> = value
        .and_then(|value| value.get_ref().as_table())
        .map(|table| Table::new("[point]", table, 0..0).entries().map(|(name, ..)| name.to_owned()).collect())
        .unwrap_or_default();
    let names = Names { points: names.iter().map(String::as_str).collect(), events: &policy.events };
    read_named("point", value, mistakes, |entry, mistakes| read_point(policy, &names, entry, mistakes))
}

fn read_point(
    policy: &Policy,
    names: &Names<'_>,
    entry: Entry<'_>,
    mistakes: &mut Mistakes,
) -> Option<Point> {
    let (name, _, value) = entry;
    let mut table = Table::of(format!("point `{name}`"), value, mistakes)?;
    let op = table.need("op", mistakes);
    let place = table.take_str("place", mistakes);
    let after = table.take("after");
    let queue = table.take_number("queue", 0, u64::from(u16::MAX), mistakes);
    let nth = table.take_number("nth", 1, u64::MAX, mistakes).unwrap_or(1);
    table.finish(mistakes);
    let place_span = place.as_ref().map(|(_, span)| span.clone());
    let place = place.map(|(place, span)| {
        let index = policy.place(place);
        if index.is_none() {
            let known = policy.places.iter().map(|place| place.name.as_str());
            mistakes.push(
                Diagnostic::error(span, format!("unknown place `{place}`")).help(suggest(place, known)),
            );
        }
        index
    });
    let after = after.map(|value| expr::read(names, value, mistakes));
    let op = op.and_then(|value| one_of("operation", value, &Op::ALL.map(Op::name), mistakes));
    if let (Some(op), Some(span)) = (op.map(|index| Op::ALL[index]), place_span)
        && !matches!(op, Op::Read | Op::Write)
    {
        let message = format!("a {op} has no place: it addresses no bytes");
        mistakes.push(Diagnostic::error(span, message).help("leave `place` out"));
    }
    // A point that is wrong in part still counts as known, so that only its own mistake is reported.
    Some(Point {
        name: name.to_owned(),
        op: Op::ALL[op.unwrap_or(0)],
        place: place.flatten(),
        queue: queue.and_then(|queue| u16::try_from(queue).ok()),
        after: after.flatten(),
        nth,
    })
}

fn read_holds(
    policy: &Policy,
    value: Option<Value<'_>>,
    watchdog_ns: Nanos,
    mistakes: &mut Mistakes,
) -> (Vec<Hold>, Vec<Range<usize>>) {
    let Some(value) = value else { return (Vec::new(), Vec::new()) };
    let Some(array) = value.get_ref().as_array() else {
        mistakes
            .push(Diagnostic::error(value.span(), "`hold` must be a list").help("write [[hold]] above each"));
        return (Vec::new(), Vec::new());
    };
    let mut found = Vec::new();
    for item in array.iter() {
        if let Some(hold) = read_hold(policy, item, watchdog_ns, mistakes) {
            found.push((hold, item.span()));
        }
    }
    found.into_iter().unzip()
}

fn read_hold(policy: &Policy, value: Value<'_>, watchdog_ns: Nanos, mistakes: &mut Mistakes) -> Option<Hold> {
    let mut table = Table::of("[[hold]]", value, mistakes)?;
    let gate = table.need_str("gate", mistakes);
    let until = table.need("until", mistakes);
    let watchdog_ns = table.take_quantity("watchdog", parse_some_time, mistakes).unwrap_or(watchdog_ns);
    table.finish(mistakes);
    let until = until.and_then(|value| {
        let until = expr::read(&policy.names(), value, mistakes)?;
        if until.events().contains(&&Event::Stalled) {
            let message = "`attempt.stalled` cannot end a hold: it tells that one has stood for long";
            mistakes
                .push(Diagnostic::error(value.span(), message).help("a hold ends when something happened"));
        }
        Some(until)
    });
    let (point, gate) = gate.and_then(|(written, span)| read_gate(policy, written, span, mistakes))?;
    Some(Hold { point, gate, until: until?, watchdog_ns })
}

fn read_gate(
    policy: &Policy,
    written: &str,
    span: Range<usize>,
    mistakes: &mut Mistakes,
) -> Option<(PointIndex, Gate)> {
    let Some((point, gate)) = written.split_once('.') else {
        let message = format!("`{written}` is not a gate");
        mistakes.push(Diagnostic::error(span, message).help("a gate is `POINT.submit` or `POINT.complete`"));
        return None;
    };
    let found_point = policy.point(point);
    let found_gate = Gate::ALL.into_iter().find(|known| known.name() == gate);
    if found_point.is_none() {
        let known = policy.points.iter().map(|point| point.name.as_str());
        mistakes
            .push(Diagnostic::error(span, format!("unknown point `{point}`")).help(suggest(point, known)));
    } else if found_gate.is_none() {
        let help = suggest(gate, Gate::ALL.map(Gate::name));
        mistakes.push(Diagnostic::error(span, format!("unknown gate `{gate}`")).help(help));
    }
    Some((found_point?, found_gate?))
}

fn check_circles(policy: &Policy, spans: &Spans, mistakes: &mut Mistakes) {
    if !mistakes.is_empty() {
        return;
    }
    match circle::find(policy) {
        Some(Circle::Points(point)) => {
            let point = point.0;
            let message = format!("point `{}` can never arrive: what it comes after waits for it", policy.points[point].name);
            let mistake = Diagnostic::error(spans.points[point].clone(), message).label("in a circle");
            mistakes.push(mistake.help("let one of the points come after nothing, or after an event of the guest"));
        }
        Some(Circle::Holds { hold, words }) => mistakes.push(
            Diagnostic::error(spans.holds[hold].clone(), format!("holds wait in a circle: {words}"))
                .label("this hold can never end but by its watchdog")
                .help("let one of them wait for something that comes before its own release, or for a guest event"),
        ),
        None => {}
    }
}
