//! Hunks put into a text, to the letter.
//!
//! A hunk goes where its old lines stand, and nowhere else: no fuzz, since a fix that was put into the wrong place
//! would be judged as if it were the right one.

use super::diff::Hunk;

/// Why a hunk does not go into a file.
#[derive(Debug, PartialEq)]
pub enum Refused {
    /// Its old lines are nowhere; the line from which on they begin to differ at the place it says, from 0.
    Nowhere(usize),
    /// Its new lines are there already, from this line on.
    Already(usize),
    /// Its old lines are at each of these lines, none of which is the one it says.
    Several(Vec<usize>),
    /// It has no lines by which the place it says, this line, could be known.
    Blind(usize),
}

/// Puts every hunk of a diff that was made elsewhere into a text, each after the one before.
///
/// # Errors
/// Every hunk that does not go in, by its index, and why.
pub fn apply(hunks: &[Hunk], text: &str) -> Result<String, Vec<(usize, Refused)>> {
    put(hunks, text, |hunk, text, floor| text.place(hunk, floor))
}

/// Whether a hunk's new lines are in a text.
pub fn has(hunk: &Hunk, text: &str) -> bool {
    !Text(text.lines().collect()).all(&hunk.new).is_empty()
}

/// Puts every hunk of a diff that was made of this very text into it, each at the line it says.
///
/// # Errors
/// Every hunk whose old lines are not there, by its index.
pub fn apply_own(hunks: &[Hunk], text: &str) -> Result<String, Vec<(usize, Refused)>> {
    put(hunks, text, |hunk, text, floor| match hunk.start {
        at if at >= floor && text.has(&hunk.old, at) => Ok(at),
        at => Err(Refused::Nowhere(at)),
    })
}

type Place = fn(&Hunk, &Text, usize) -> Result<usize, Refused>;

fn put(hunks: &[Hunk], text: &str, place: Place) -> Result<String, Vec<(usize, Refused)>> {
    let text = Text(text.lines().collect());
    let (mut out, mut done, mut refused) = (Vec::new(), 0, Vec::new());
    for (index, hunk) in hunks.iter().enumerate() {
        match place(hunk, &text, done) {
            Ok(at) => {
                out.extend(&text.0[done..at]);
                out.extend(hunk.new.iter().map(String::as_str));
                done = at + hunk.old.len();
            }
            Err(why) => refused.push((index, why)),
        }
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    out.extend(&text.0[done..]);
    Ok(out.iter().map(|line| format!("{line}\n")).collect())
}

/// A text's lines.
struct Text<'a>(Vec<&'a str>);

impl Text<'_> {
    /// Whether these lines stand from this one on.
    fn has(&self, wanted: &[String], at: usize) -> bool {
        let found = self.0.get(at..at + wanted.len());
        found.is_some_and(|found| found.iter().zip(wanted).all(|(line, wanted)| *line == wanted.as_str()))
    }

    /// From where on these lines stand.
    fn all(&self, wanted: &[String]) -> Vec<usize> {
        (0..=self.0.len()).filter(|at| self.has(wanted, *at)).collect()
    }

    /// The line, no earlier than `floor`, from which on the hunk's old lines stand, where its new ones do not.
    fn place(&self, hunk: &Hunk, floor: usize) -> Result<usize, Refused> {
        let news = if hunk.new.is_empty() { Vec::new() } else { self.all(&hunk.new) };
        if hunk.old.is_empty() {
            return match news[..] {
                [at, ..] => Err(Refused::Already(at)),
                [] if self.0.is_empty() => Ok(0),
                [] => Err(Refused::Blind(hunk.start.min(self.0.len() - 1))),
            };
        }
        let mut olds = self.all(&hunk.old);
        olds.retain(|at| *at >= floor);
        if olds.is_empty() {
            let nowhere = || Refused::Nowhere(self.parting(hunk));
            return Err(news.first().map_or_else(nowhere, |at| Refused::Already(*at)));
        }
        if olds.contains(&hunk.start) {
            olds = vec![hunk.start];
        }
        if let Some(new) = news.iter().find(|new| olds.iter().all(|old| shows_it_done(hunk, **new, *old))) {
            return Err(Refused::Already(*new));
        }
        match olds[..] {
            // All that it does is to take these lines away, and they may be others than those that it is about.
            [at] if at != hunk.start && hunk.new.is_empty() => Err(Refused::Blind(at)),
            [at] => Ok(at),
            _ => Err(Refused::Several(olds)),
        }
    }

    /// At the place where the most of the hunk's first lines stand, the first line that is another: of equally
    /// good places the one nearest to where the hunk says.
    fn parting(&self, hunk: &Hunk) -> usize {
        let same =
            |at: usize| hunk.old.iter().zip(&self.0[at..]).take_while(|(old, line)| old == *line).count();
        let best = (0..self.0.len()).max_by_key(|at| (same(*at), std::cmp::Reverse(at.abs_diff(hunk.start))));
        best.map_or(0, |at| (at + same(at)).min(self.0.len().saturating_sub(1)))
    }
}

/// Whether new lines that stand here say that the hunk is in already, though there are old ones: they have these
/// among them, or it would go elsewhere than it says, where the old ones may be others.
fn shows_it_done(hunk: &Hunk, new: usize, old: usize) -> bool {
    let (new_end, old_end) = (new + hunk.new.len(), old + hunk.old.len());
    let around = new <= old && old_end <= new_end;
    let within = old <= new && new_end <= old_end;
    around || (old != hunk.start && !within)
}

#[cfg(test)]
mod tests {
    use super::super::diff;
    use super::*;

    const TEXT: &str = "one\ntwo\nthree\nfour\n\ntwo\nthree\nfive\n";

    fn hunks(diff: &str) -> Vec<Hunk> {
        diff::parse(&format!("--- a/x\t2026\n+++ b/x\n{diff}")).unwrap().remove(0).hunks
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
        for hunk in [
            "@@ -1,2 +1,3 @@\n one\n+and\n two\n",
            "@@ -1 +1,2 @@\n one\n+and\n",
            "@@ -4 +4,2 @@\n+and\n four\n",
            // What it goes to stands in two places.
            "@@ -2 +2,2 @@\n two\n+and\n",
            "@@ -6 +6,2 @@\n two\n+and\n",
            "@@ -6 +6,2 @@\n+and\n two\n",
            "@@ -2 +2 @@\n-two\n+TWO\n",
            "@@ -6,2 +6 @@\n two\n-three\n",
        ] {
            let hunks = hunks(hunk);
            let once = apply(&hunks, TEXT).unwrap_or_else(|why| panic!("{hunk}: {why:?}"));
            assert!(matches!(apply(&hunks, &once).unwrap_err()[..], [(0, Refused::Already(_))]), "{hunk}");
        }
    }

    #[test]
    fn a_hunk_by_which_its_place_cannot_be_known_goes_nowhere() {
        let added = hunks("@@ -1,0 +2 @@\n+and\n");
        assert_eq!(apply(&added, TEXT), Err(vec![(0, Refused::Blind(1))]));
        assert_eq!(apply(&added, ""), Ok("and\n".to_owned()), "a file that is made");
        let once = apply_own(&added, TEXT).unwrap();
        assert_eq!(once, TEXT.replacen("one\n", "one\nand\n", 1), "a diff of this very text");
        assert_eq!(apply(&added, &once), Err(vec![(0, Refused::Already(1))]));
        let removed = hunks("@@ -2 +1,0 @@\n-two\n");
        let once = apply(&removed, TEXT).unwrap();
        assert_eq!(once, TEXT.replacen("two\n", "", 1));
        assert_eq!(apply(&removed, &once), Err(vec![(0, Refused::Blind(4))]));
    }

    #[test]
    fn a_diff_of_this_very_text_goes_where_it_says_or_nowhere() {
        let second = apply_own(&hunks("@@ -6 +6,2 @@\n two\n+and\n"), TEXT).unwrap();
        assert_eq!(second, "one\ntwo\nthree\nfour\n\ntwo\nand\nthree\nfive\n");
        let moved = hunks("@@ -2 +2 @@\n-one\n+ONE\n");
        assert_eq!(apply_own(&moved, TEXT), Err(vec![(0, Refused::Nowhere(1))]));
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
}
