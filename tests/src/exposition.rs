//! Prometheus' text format (version 0.0.4), read as strictly as its documentation describes it.

use std::collections::BTreeSet;

/// A sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its whole name.
    pub name: String,
    /// Names and values, in the order in which they are written.
    pub labels: Vec<(String, String)>,
    /// What it is.
    pub value: f64,
}

/// What is being read.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    samples: Vec<Sample>,
}

/// Reads a page: each family has its help and its type before its samples, once; names say what they are; histograms
/// add up.
///
/// # Panics
/// Something about it is wrong.
#[track_caller]
pub fn check(page: &str) -> Vec<Sample> {
    assert!(page.ends_with('\n'), "the last line has no end");
    let mut families: Vec<Family> = Vec::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(is_name(name) && help.ends_with('.'), "{line}");
            families.push(Family { name: name.to_owned(), ..Family::default() });
            continue;
        }
        let family = families.last_mut().unwrap_or_else(|| panic!("nothing said before: {line}"));
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert!(name == family.name && family.kind.is_empty() && family.samples.is_empty(), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            kind.clone_into(&mut family.kind);
        } else {
            let sample = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
            family.samples.push(sample);
        }
    }
    let names: BTreeSet<&str> = families.iter().map(|family| family.name.as_str()).collect();
    assert_eq!(names.len(), families.len(), "a family comes twice");
    families.iter().for_each(check_family);
    families.into_iter().flat_map(|family| family.samples).collect()
}

#[track_caller]
fn check_family(family: &Family) {
    let Family { name, kind, samples } = family;
    assert!(name.starts_with("blkstay_"), "{name}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
    let distinct: BTreeSet<String> =
        samples.iter().map(|one| format!("{} {:?}", one.name, one.labels)).collect();
    assert_eq!(distinct.len(), samples.len(), "{name} has a sample twice");
    match kind.as_str() {
        "histogram" => check_histograms(name, samples),
        "counter" | "gauge" => assert!(samples.iter().all(|sample| sample.name == *name), "{name}"),
        _ => panic!("{name} has no type"),
    }
}

/// Groups of samples that differ in `le` alone: buckets that ascend, up to infinity, then the sum and the count.
#[track_caller]
fn check_histograms(name: &str, samples: &[Sample]) {
    let bucket = format!("{name}_bucket");
    let mut rest = samples;
    while !rest.is_empty() {
        let buckets: Vec<&Sample> = rest.iter().take_while(|sample| sample.name == bucket).collect();
        let [sum, count, ..] = &rest[buckets.len()..] else { panic!("{name} has no sum and count") };
        assert_eq!((&sum.name, &count.name), (&format!("{name}_sum"), &format!("{name}_count")));
        let bounds: Vec<f64> = buckets.iter().map(|bucket| bound(bucket)).collect();
        assert!(bounds.is_sorted_by(|one, next| one < next), "{name}: {bounds:?}");
        assert!(buckets.is_sorted_by(|one, next| one.value <= next.value), "{name} is not cumulative");
        let last = buckets.last().unwrap_or_else(|| panic!("{name} has no buckets"));
        assert_eq!((bound(last), last.value), (f64::INFINITY, count.value), "{name}");
        for bucket in &buckets {
            assert_eq!(bucket.labels[..bucket.labels.len() - 1], count.labels, "{name}");
        }
        assert_eq!(sum.labels, count.labels, "{name}");
        rest = &rest[buckets.len() + 2..];
    }
}

#[track_caller]
fn bound(bucket: &Sample) -> f64 {
    match bucket.labels.last() {
        Some((le, bound)) if le == "le" => bound.replace("+Inf", "inf").parse().expect("a bound"),
        _ => panic!("a bucket without a bound: {bucket:?}"),
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_at(line.find([' ', '{'])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        None => (Vec::new(), rest),
        Some(rest) => labels(rest)?,
    };
    let value = rest.strip_prefix(' ')?;
    (is_name(name) && !value.contains(' ')).then_some(())?;
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        let (name, value) = rest.split_once("=\"")?;
        is_name(name).then_some(())?;
        let mut text = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => text.push(match characters.next()?.1 {
                    'n' => '\n',
                    other @ ('"' | '\\') => other,
                    _ => return None,
                }),
                (_, other) => text.push(other),
            }
        };
        labels.push((name.to_owned(), text));
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Some((labels, rest.strip_prefix('}')?)),
        }
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(fits)
}
