//! Unified diffs: read with every line's place, and applied to the letter.
//!
//! A hunk goes where its old lines stand, and nowhere else: no fuzz, since a fix that was put into the wrong place
//! would be judged as if it were the right one.

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

/// Why a hunk does not go into a file.
#[derive(Debug, PartialEq)]
pub enum Refused {
    /// Its old lines are nowhere; the line from which on they begin to differ at the place it says, from 0.
    Nowhere(usize),
    /// Its new lines are there already, from this line on.
    Already(usize),
    /// Its old lines are at each of these lines, none of which is the one it says.
    Several(Vec<usize>),
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

/// Puts every hunk into a text, each after the one before.
///
/// # Errors
/// Every hunk that does not go in, by its index, and why.
pub fn apply(hunks: &[Hunk], text: &str) -> Result<String, Vec<(usize, Refused)>> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut out, mut done, mut refused) = (Vec::new(), 0, Vec::new());
    for (index, hunk) in hunks.iter().enumerate() {
        match place(hunk, &lines, done) {
            Ok(at) => {
                out.extend(&lines[done..at]);
                out.extend(hunk.new.iter().map(String::as_str));
                done = at + hunk.old.len();
            }
            Err(why) => refused.push((index, why)),
        }
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    out.extend(&lines[done..]);
    Ok(out.iter().map(|line| format!("{line}\n")).collect())
}

/// The line from which on the hunk's old lines stand.
fn place(hunk: &Hunk, lines: &[&str], floor: usize) -> Result<usize, Refused> {
    let adds = hunk.new.len() > hunk.old.len();
    let there = |wanted: &[String], at: usize| {
        let found = lines.get(at..at + wanted.len());
        found.is_some_and(|found| found.iter().zip(wanted).all(|(line, wanted)| *line == wanted.as_str()))
    };
    let all = |wanted: &[String]| (floor..=lines.len()).filter(|at| there(wanted, *at)).collect::<Vec<_>>();
    if hunk.old.is_empty() {
        return match hunk.start {
            at if there(&hunk.new, at) => Err(Refused::Already(at)),
            at if at < floor || at > lines.len() => Err(Refused::Nowhere(at.min(lines.len()))),
            at => Ok(at),
        };
    }
    match all(&hunk.old).as_slice() {
        [] => match all(&hunk.new).as_slice() {
            [at, ..] if !hunk.new.is_empty() => Err(Refused::Already(*at)),
            _ => Err(Refused::Nowhere(parting(hunk, lines))),
        },
        [at] if adds && there(&hunk.new, *at) => Err(Refused::Already(*at)),
        [at] => Ok(*at),
        several if several.contains(&hunk.start) => Ok(hunk.start),
        several => Err(Refused::Several(several.to_vec())),
    }
}

/// At the place where the most of the hunk's first lines stand, the first line that is another: of equally
/// good places the one nearest to where the hunk says.
fn parting(hunk: &Hunk, lines: &[&str]) -> usize {
    let same = |at: usize| hunk.old.iter().zip(&lines[at..]).take_while(|(old, line)| old == *line).count();
    let best = (0..lines.len()).max_by_key(|at| (same(*at), std::cmp::Reverse(at.abs_diff(hunk.start))));
    best.map_or(0, |at| (at + same(at)).min(lines.len().saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "one\ntwo\nthree\nfour\n\ntwo\nthree\nfive\n";

    fn hunks(diff: &str) -> Vec<Hunk> {
        parse(&format!("--- a/x\t2026\n+++ b/x\n{diff}")).unwrap().remove(0).hunks
    }

    #[test]
    fn a_hunk_goes_where_its_lines_are() {
        let added = apply(&hunks("@@ -40,2 +40,3 @@ f()\n one\n+and\n two\n"), TEXT).unwrap();
        assert_eq!(added, TEXT.replacen("one\n", "one\nand\n", 1));
        let removed = apply(&hunks("@@ -4,2 +4 @@\n four\n-\n"), TEXT).unwrap();
        assert_eq!(removed, TEXT.replacen("four\n\n", "four\n", 1));
    }

    #[test]
    fn of_several_places_only_the_one_it_says_will_do() {
        let second = apply(&hunks("@@ -6,2 +6,2 @@\n-two\n+TWO\n three\n"), TEXT).unwrap();
        assert_eq!(second, "one\ntwo\nthree\nfour\n\nTWO\nthree\nfive\n");
        let neither = hunks("@@ -3,2 +3,2 @@\n-two\n+TWO\n three\n");
        assert_eq!(apply(&neither, TEXT), Err(vec![(0, Refused::Several(vec![1, 5]))]));
    }

    #[test]
    fn what_is_there_already_is_not_applied_again() {
        for hunk in
            ["@@ -1,2 +1,3 @@\n one\n+and\n two\n", "@@ -1 +1,2 @@\n one\n+and\n", "@@ -1,0 +2 @@\n+and\n"]
        {
            let hunks = hunks(hunk);
            let once = apply(&hunks, TEXT).unwrap();
            assert!(matches!(apply(&hunks, &once).unwrap_err()[..], [(0, Refused::Already(_))]), "{hunk}");
        }
    }

    #[test]
    fn a_hunk_that_is_nowhere_says_where_it_parts_from_the_text() {
        let hunk = hunks("@@ -1,3 +1,2 @@\n one\n-two\n tree\n");
        assert_eq!(apply(&hunk, TEXT), Err(vec![(0, Refused::Nowhere(2))]));
    }

    #[test]
    fn hunks_come_in_order_and_every_refusal_is_told() {
        let twice = hunks("@@ -8 +8 @@\n-five\n+FIVE\n@@ -1 +1 @@\n-one\n+ONE\n@@ -2 +2 @@\n-six\n+SIX\n");
        let refused = apply(&twice, TEXT).unwrap_err();
        assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
    }

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
