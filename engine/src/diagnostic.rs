//! What is wrong with a text, where, and what to write instead.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// Most mistakes that are shown at once.
const SHOWN_MAX: usize = 100;

/// Longest message, in bytes: what is longer loses its middle.
const TEXT_BYTES_MAX: usize = 2000;

/// Most words that are listed to choose from.
const LISTED_MAX: usize = 24;

/// Most words that one is compared with.
const COMPARED_MAX: usize = 500;

/// Whether a diagnostic stops the policy from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is not loaded.
    Error,
    /// It is loaded, but probably does not say what was meant.
    Warning,
}

/// A place in one of several texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spot {
    /// Index of the text in [`Diagnostics::files`]; 0 is the policy itself.
    pub file: usize,
    /// Bytes of it.
    pub span: Range<usize>,
}

/// One mistake in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub at: Spot,
    /// Words beside the caret; may be empty.
    pub label: String,
    /// Other places that it is about, each with words beside its caret.
    pub also: Vec<(Spot, String)>,
    /// What to do instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at that place.
    pub fn error(at: Spot, message: impl Into<String>) -> Self {
        let message = shortened(message.into());
        Diagnostic {
            severity: Severity::Error,
            message,
            at,
            label: String::new(),
            also: Vec::new(),
            help: None,
        }
    }

    /// Something doubtful at that place.
    pub fn warning(at: Spot, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(at, message) }
    }

    /// The same with words beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with another place that it is about.
    pub fn also(mut self, at: Spot, label: impl Into<String>) -> Self {
        self.also.push((at, label.into()));
        self
    }

    /// The same with advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(shortened(help.into()));
        self
    }
}

/// A text that a policy is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where the text came from.
    pub origin: String,
    /// The text.
    pub text: String,
}

/// Every mistake of a policy, in order of file and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// The texts: first the policy's own, then those that it includes.
    pub files: Vec<File>,
    /// The mistakes.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// As a person reads it: path, line, caret and advice for each; with ANSI colours or plain.
    pub fn render(&self, colour: bool) -> String {
        self.render_each(colour).join("\n\n")
    }

    /// The same, each a text of its own.
    pub fn render_each(&self, colour: bool) -> Vec<String> {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut shown: Vec<String> =
            self.list.iter().take(SHOWN_MAX).map(|one| self.render_one(one, &renderer)).collect();
        if self.list.len() > SHOWN_MAX {
            let more = self.list.len() - SHOWN_MAX;
            shown.push(format!("… and {more} more; what is shown here is the first {SHOWN_MAX}"));
        }
        shown
    }

    fn render_one(&self, one: &Diagnostic, renderer: &Renderer) -> String {
        let level = match one.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let primary = (AnnotationKind::Primary, &one.at, one.label.as_str());
        let also = one.also.iter().map(|(at, label)| (AnnotationKind::Context, at, label.as_str()));
        let marks: Vec<_> = std::iter::once(primary).chain(also).collect();
        let mut files: Vec<usize> = marks.iter().map(|(_, at, _)| at.file).collect();
        files.dedup();
        let group = level.primary_title(one.message.as_str());
        let mut group = files.iter().fold(Group::with_title(group), |group, file| {
            let marks = marks.iter().filter(|(_, at, _)| at.file == *file);
            self.files.get(*file).into_iter().fold(group, |group, file| {
                let marks = marks.clone().map(|(kind, at, label)| {
                    kind.span(on_char_boundaries(&file.text, &at.span)).label(*label)
                });
                let snippet = Snippet::source(file.text.as_str()).path(file.origin.as_str());
                group.element(snippet.annotations(marks))
            })
        });
        if let Some(help) = &one.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group]).to_string()
    }
}

/// A text that may quote what somebody wrote, which may be long.
fn shortened(text: String) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let kept = on_char_boundaries(&text, &(TEXT_BYTES_MAX / 2..text.len() - TEXT_BYTES_MAX / 2));
    format!("{} … {}", &text[..kept.start], &text[kept.end..])
}

fn on_char_boundaries(text: &str, span: &Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// "did you mean …?" for a word that is not among the known ones, or the list of them.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let lower = word.to_lowercase();
    let near = known
        .iter()
        .take(COMPARED_MAX)
        .filter(|candidate| lower.len() <= 2 * candidate.len())
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .min()
        .filter(|(_, candidate)| is_near(&lower, &candidate.to_lowercase()));
    match near {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "there is none to choose from".to_owned(),
        None if known.len() > LISTED_MAX => format!("it can be {}, …", list(&known[..LISTED_MAX])),
        None => format!("it can be {}", list(&known)),
    }
}

/// Whether one word may be meant where another is written.
pub fn is_near(word: &str, meant: &str) -> bool {
    word.len().abs_diff(meant.len()) * 3 <= meant.len()
        && strsim::damerau_levenshtein(word, meant) * 3 <= meant.len()
}

/// Words in back quotes, with commas.
pub fn list<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    quoted.join(", ")
}
