//! Unified diffs, read with every line's place.

use std::ops::Range;

/// What a diff does to one file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileDiff {
    /// The file before, as written; `/dev/null` for one that is made.
    pub old: String,
    /// The file after, as written.
    pub new: String,
    /// Where in the diff its name is.
    pub at: Range<usize>,
    /// Its hunks, in order.
    pub hunks: Vec<Hunk>,
}

/// A run of lines that are replaced by others.
#[derive(Clone, Debug, PartialEq)]
pub struct Hunk {
    /// Where in the diff its head is.
    pub at: Range<usize>,
    /// Number of the first of the old lines, from 0.
    pub start: usize,
    /// The lines as they are, with context.
    pub old: Vec<String>,
    /// The lines as they shall be, with context.
    pub new: Vec<String>,
}

/// A text that is no diff: what is wrong, and where.
#[derive(Debug, PartialEq)]
pub struct NoDiff {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub at: Range<usize>,
}

/// Reads a diff of any number of files.
///
/// # Errors
/// It has no hunks, or one is cut short.
pub fn parse(text: &str) -> Result<Vec<FileDiff>, NoDiff> {
    let mut reader = Reader { lines: places(text), next: 0, files: Vec::new() };
    while let Some((line, at)) = reader.take() {
        if line.starts_with("--- ") && reader.peek().is_some_and(|next| next.starts_with("+++ ")) {
            reader.file(line, at);
        } else if line.starts_with("@@ ") {
            reader.hunk(line, at)?;
        }
    }
    match reader.files.iter().find(|file| file.hunks.is_empty()) {
        Some(file) => Err(NoDiff { message: "no hunks for this file".into(), at: file.at.clone() }),
        None if reader.files.is_empty() => {
            Err(NoDiff { message: "not a unified diff: no `--- FILE` and `+++ FILE`".into(), at: 0..0 })
        }
        None => Ok(reader.files),
    }
}

/// The lines of a text with the place of each.
fn places(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut end = 0;
    let line = |line: &'_ str| {
        let start = end;
        end = start + line.len();
        start..start + line.trim_end_matches(['\n', '\r']).len()
    };
    let ranges: Vec<Range<usize>> = text.split_inclusive('\n').map(line).collect();
    ranges.into_iter().map(|range| (&text[range.clone()], range)).collect()
}

struct Reader<'a> {
    lines: Vec<(&'a str, Range<usize>)>,
    next: usize,
    files: Vec<FileDiff>,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<(&'a str, Range<usize>)> {
        let line = self.lines.get(self.next).cloned();
        self.next += 1;
        line
    }

    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.next).map(|(line, _)| *line)
    }

    fn file(&mut self, old: &str, at: Range<usize>) {
        let new = self.take().map_or("", |(line, _)| line);
        let name = |line: &str| line[4..].split('\t').next().unwrap_or_default().trim().to_owned();
        self.files.push(FileDiff { old: name(old), new: name(new), at, hunks: Vec::new() });
    }

    fn hunk(&mut self, head: &str, at: Range<usize>) -> Result<(), NoDiff> {
        let wrong = |message: &str| NoDiff { message: message.to_owned(), at: at.clone() };
        let ((start, mut olds), mut news) =
            ranges(head).ok_or_else(|| wrong("not the head of a hunk: `@@ -LINE,COUNT +LINE,COUNT @@`"))?;
        // A hunk without old lines names the line that it comes after.
        let start = if olds == 0 { start } else { start.saturating_sub(1) };
        let mut hunk = Hunk { at: at.clone(), start, old: Vec::new(), new: Vec::new() };
        while olds > 0 || news > 0 {
            let (line, _) =
                self.take().ok_or_else(|| wrong("the hunk has fewer lines than its head says"))?;
            // Mail programs strip blanks, and with them the mark of an empty line of context.
            let (mark, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
            let (is_old, is_new) = match mark {
                " " => (true, true),
                "-" => (true, false),
                "+" => (false, true),
                "\\" => continue,
                _ => return Err(wrong("the hunk has fewer lines than its head says")),
            };
            if (is_old && olds == 0) || (is_new && news == 0) {
                return Err(wrong("the hunk has other lines than its head says"));
            }
            if is_old {
                olds -= 1;
                hunk.old.push(rest.to_owned());
            }
            if is_new {
                news -= 1;
                hunk.new.push(rest.to_owned());
            }
        }
        let file = self.files.last_mut().ok_or_else(|| wrong("a hunk before any `--- FILE`"))?;
        file.hunks.push(hunk);
        Ok(())
    }
}

/// `@@ -OLD,COUNT +NEW,COUNT @@ …` as ((old, count), new count); a count that is left out is 1.
fn ranges(head: &str) -> Option<((usize, usize), usize)> {
    let mut words = head.split(' ');
    let (Some("@@"), old, new, Some("@@")) = (words.next(), words.next()?, words.next()?, words.next())
    else {
        return None;
    };
    let range = |word: &str| match word.split_once(',') {
        Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        None => Some((word.parse().ok()?, 1)),
    };
    let (old, (_, news)): ((usize, usize), (usize, usize)) =
        (range(old.strip_prefix('-')?)?, range(new.strip_prefix('+')?)?);
    Some((old, news))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_and_the_words_around_them_are_read() {
        let mail = "Subject: a fix\n\n---\n x | 1 +\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+new\n\
                    --- /dev/null\n+++ b/y\n@@ -0,0 +1 @@\n+new\n\\ No newline at end of file\n-- \n2.47\n";
        let files = parse(mail).unwrap();
        let names: Vec<_> = files.iter().map(|file| (file.old.as_str(), file.new.as_str())).collect();
        assert_eq!(names, [("a/x", "b/x"), ("/dev/null", "b/y")]);
    }

    #[test]
    fn broken_diffs_are_shown_where_they_break() {
        let error = |text: &str| parse(text).map_err(|wrong| (wrong.message, text[wrong.at].to_owned()));
        let head = "--- a/x\n+++ b/x\n";
        assert!(error("hello\n").unwrap_err().0.starts_with("not a unified diff"));
        assert_eq!(error(head).unwrap_err(), ("no hunks for this file".into(), "--- a/x".into()));
        for hunk in ["@@ -1,2 +1 @@\n one\n", "@@ -1 +1 @@\n one\n--- a/y\n+++ b/y\n", "@@ one @@\n"] {
            assert!(error(&format!("{head}{hunk}")).is_err(), "{hunk}");
        }
    }
}
