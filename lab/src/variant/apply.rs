//! Changes put into a module's source, each exactly where it says, or a message that shows why not.

use super::diff::{self, FileDiff, Hunk};
use super::file::{Change, Kind};
use super::mistake;
use super::place::{self, Refused};
use super::semantic;
use super::tree::Tree;
use anyhow::Result;
use blkstay_engine::diagnostic::{Diagnostic, File, Spot};
use std::ops::Range;

/// What is changed, for messages.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The module's directory in the kernel's source.
    pub module: &'a str,
    /// The kernel's package and version.
    pub kernel: &'a str,
}

/// Applies every change in order.
///
/// # Errors
/// The first change that does not apply, applies in other places than it says, or has been applied already.
pub fn apply(changes: &[Change], tree: &mut Tree, source: &Source<'_>) -> Result<()> {
    let stock = tree.clone();
    for change in changes {
        let shown = Shown::new(change, source, &stock);
        match change.kind {
            Kind::Diff => apply_diff(change, tree, shown)?,
            Kind::Semantic => apply_semantic(change, tree, shown)?,
        }
    }
    Ok(())
}

/// A change and the files of the source that are shown beside it.
struct Shown<'a> {
    source: &'a Source<'a>,
    /// The source before the first change.
    stock: &'a Tree,
    files: Vec<File>,
    found: Vec<Diagnostic>,
}

impl<'a> Shown<'a> {
    fn new(change: &Change, source: &'a Source<'a>, stock: &'a Tree) -> Shown<'a> {
        let file = File { origin: change.origin.clone(), text: change.text.clone() };
        Shown { source, stock, files: vec![file], found: Vec::new() }
    }

    fn error(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(Spot { file: 0, span }, message)
    }

    /// The place of a line (from 0) in a file of the source.
    fn line(&mut self, name: &str, text: &str, line: usize) -> Spot {
        let is_stock = self.stock.0.get(name).is_none_or(|stock| stock == text);
        let changed = if is_stock { "" } else { ", with the changes before this one" };
        let origin = format!("{}/{name} ({}{changed})", self.source.module, self.source.kernel);
        let file = match self.files.iter().position(|file| file.origin == origin) {
            Some(file) => file,
            None => {
                self.files.push(File { origin, text: text.to_owned() });
                self.files.len() - 1
            }
        };
        Spot { file, span: span_of_line(text, line) }
    }

    fn failed(self) -> anyhow::Error {
        mistake(self.files, self.found)
    }
}

/// A line's bytes without the blanks that it begins with.
fn span_of_line(text: &str, line: usize) -> Range<usize> {
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let words = text[start..].lines().next().unwrap_or("");
    let indent = words.len() - words.trim_start().len();
    start + indent..start + words.len()
}

fn apply_diff(change: &Change, tree: &mut Tree, mut shown: Shown<'_>) -> Result<()> {
    let files = match diff::parse(&change.text) {
        Ok(files) => files,
        Err(wrong) => {
            let error = shown.error(wrong.at, wrong.message);
            shown.found.push(error.help("write it with `diff -u` or `git diff`"));
            return Err(shown.failed());
        }
    };
    for file in &files {
        put(file, tree, &mut shown);
    }
    if shown.found.is_empty() { Ok(()) } else { Err(shown.failed()) }
}

fn put(file: &FileDiff, tree: &mut Tree, shown: &mut Shown<'_>) {
    let module = shown.source.module;
    let Some(name) = within(file, module) else {
        let error = shown.error(file.at.clone(), format!("this file is not in {module}"));
        shown
            .found
            .push(error.help("a variant changes one module; everything else stays the stock kernel's"));
        return;
    };
    if file.new == "/dev/null" {
        shown.found.push(shown.error(file.at.clone(), "a variant changes and adds files, it removes none"));
        return;
    }
    let made = file.old == "/dev/null";
    let Some(text) = tree.0.get(&name).cloned().or_else(|| made.then(String::new)) else {
        let message = format!("{} has no {module}/{name}", shown.source.kernel);
        shown.found.push(shown.error(file.at.clone(), message));
        return;
    };
    match place::apply(&file.hunks, &text) {
        Ok(text) => {
            tree.0.insert(name, text);
        }
        Err(refused) => {
            for (index, why) in refused {
                let Some(hunk) = file.hunks.get(index) else { continue };
                let diagnostic = refusal(hunk, &why, &name, &text, shown);
                shown.found.push(diagnostic);
            }
        }
    }
}

/// The file's path from the module's directory, with or without the `a/` and `b/` of `git diff`.
fn within(file: &FileDiff, module: &str) -> Option<String> {
    let written = if file.old == "/dev/null" { &file.new } else { &file.old };
    let bare = |path: &str| Some(path.strip_prefix(module)?.strip_prefix('/')?.to_owned());
    let name = bare(written).or_else(|| bare(written.split_once('/')?.1))?;
    let plain = name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    plain.then_some(name)
}

fn refusal(hunk: &Hunk, why: &Refused, name: &str, text: &str, shown: &mut Shown<'_>) -> Diagnostic {
    let whose = match place::has(hunk, shown.stock.0.get(name).map_or("", String::as_str)) {
        true => shown.source.kernel,
        false => "a change of this variant before this one",
    };
    let hunk = hunk.at.clone();
    match why {
        Refused::Nowhere(line) => {
            let at = shown.line(name, text, *line);
            let error = shown.error(hunk, format!("this hunk does not apply to {}", shown.source.kernel));
            error.also(at, "here the source goes on differently")
        }
        Refused::Already(line) => {
            let at = shown.line(name, text, *line);
            let error = shown.error(hunk, format!("{whose} has this hunk already"));
            error.also(at, "its new lines are here")
        }
        Refused::Several(lines) => {
            let spots: Vec<Spot> = lines.iter().map(|line| shown.line(name, text, *line)).collect();
            let error =
                shown.error(hunk, format!("this hunk fits {} places, none of them its own", lines.len()));
            let error = spots.into_iter().fold(error, |error, at| error.also(at, "it fits here"));
            error.help("make it anew against this kernel's source, with more lines of context")
        }
        Refused::Blind(line) => {
            let at = shown.line(name, text, *line);
            let error = shown.error(hunk, "this hunk has no lines by which its place could be known");
            let error = error.also(at, "whether this is the place cannot be told");
            error.help("make it with lines of context: `git diff`, not `git diff -U0`")
        }
    }
}

fn apply_semantic(change: &Change, tree: &mut Tree, mut shown: Shown<'_>) -> Result<()> {
    let changed = semantic::transform(change, tree)?;
    let places: usize = changed.iter().map(|file| file.hunks.len()).sum();
    if places == 0 {
        let error = matches_nowhere(tree, &mut shown);
        shown.found.push(error);
        return Err(shown.failed());
    }
    if places != change.places {
        let error = wrong_number(change, &changed, tree, &mut shown);
        shown.found.push(error);
        return Err(shown.failed());
    }
    let before = tree.clone();
    for file in &changed {
        let text = tree.0.get(&file.old).map_or("", String::as_str);
        let text = place::apply_own(&file.hunks, text).map_err(|refused| {
            anyhow::anyhow!("{}: spatch's own diff is refused: {refused:?}", change.origin)
        })?;
        tree.0.insert(file.old.clone(), text);
    }
    let again = semantic::transform(change, tree)?;
    if again.is_empty() {
        return Ok(());
    }
    let message =
        "this would apply a second time to what it has made: it cannot tell whether a kernel has it already";
    let error = shown.error(semantic::first_rule(&change.text), message);
    let error = mark(&changed, &before, error, "here", &mut shown);
    shown.found.push(error.help("say when it is not to apply, as in `... when != f(x)`"));
    Err(shown.failed())
}

/// Shows the functions that a semantic patch names and the source has.
fn matches_nowhere(tree: &Tree, shown: &mut Shown<'_>) -> Diagnostic {
    let text = shown.files.first().map_or(String::new(), |file| file.text.clone());
    let kernel = shown.source.kernel;
    let message = format!("this matches nowhere in {} of {kernel}", shown.source.module);
    let names = semantic::functions(&text);
    let mut error =
        shown.error(names.first().map_or(semantic::first_rule(&text), |(at, _)| at.clone()), message);
    for (_, function) in &names {
        let defined =
            tree.0.iter().find_map(|(name, text)| Some((name, text, semantic::definition(text, function)?)));
        if let Some((name, text, line)) = defined {
            let at = shown.line(name, text, line);
            error = error.also(at, "the source has it, in another form");
        }
    }
    error.help("the source may have this change already, or its code may be another")
}

fn wrong_number(change: &Change, changed: &[FileDiff], tree: &Tree, shown: &mut Shown<'_>) -> Diagnostic {
    let found: usize = changed.iter().map(|file| file.hunks.len()).sum();
    let places = |count| if count == 1 { "1 place".to_owned() } else { format!("{count} places") };
    let message = format!("this changes {} in {}, not {}", places(found), shown.source.module, change.places);
    let error = shown.error(semantic::first_rule(&change.text), message);
    let error = mark(changed, tree, error, "it changes this", shown);
    error.help(format!("if all of them are meant, write `places = {found}` below its `file`"))
}

/// Marks where each hunk begins in the text before it.
fn mark(
    changed: &[FileDiff],
    tree: &Tree,
    mut error: Diagnostic,
    label: &str,
    shown: &mut Shown<'_>,
) -> Diagnostic {
    for file in changed {
        let text = tree.0.get(&file.old).cloned().unwrap_or_default();
        for hunk in &file.hunks {
            let line = if hunk.old.is_empty() { hunk.start.saturating_sub(1) } else { hunk.start };
            let at = shown.line(&file.old, &text, line);
            error = error.also(at, label);
        }
    }
    error
}
