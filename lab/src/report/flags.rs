//! Labels above a line of marks, like flags on poles: none lies on another, nor does a pole cross one.

/// Height of a row of labels, in pixels.
pub const ROW: f64 = 14.0;

/// Pixels that a character of a label takes at most, on average: labels are set at 11 pixels, many of them bold.
const CHARACTER: f64 = 6.9;

/// Free pixels between two labels, and from a pole to its label.
const SPACE: f64 = 5.0;
const FROM_POLE: f64 = 5.0;

/// A label that is to be placed.
#[derive(Clone, Debug, Default)]
pub struct Flag {
    /// Where its pole stands.
    pub x: f64,
    /// The row it got, 0 being the lowest.
    pub row: usize,
    /// What it says.
    pub text: String,
    /// All that it stands for, where the label is an abridgement.
    pub title: String,
    /// Its style.
    pub class: &'static str,
}

impl Flag {
    /// One that is not placed yet.
    pub fn new(x: f64, text: String, class: &'static str) -> Flag {
        Flag { x, row: 0, title: text.clone(), text, class }
    }

    /// Where its text begins.
    pub fn left(&self) -> f64 {
        self.x + FROM_POLE
    }

    /// Where its text ends.
    pub fn right(&self) -> f64 {
        self.left() + width(&self.text)
    }
}

/// How wide a text is at most.
pub fn width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// Gives each flag a row, and says how many rows there are. The rightmost is lowest: a pole has only labels of poles
/// to its right beside it. Of flags on one pole, the first is at the top.
pub fn place(flags: &mut [Flag]) -> usize {
    flags.reverse();
    flags.sort_by(|one, other| other.x.total_cmp(&one.x));
    for index in 0..flags.len() {
        let (placed, rest) = flags.split_at_mut(index);
        let Some(flag) = rest.first_mut() else { continue };
        let reach = flag.right() + SPACE;
        let in_the_way = placed.iter().filter(|other| other.x < reach).map(|other| other.row + 1);
        flag.row = in_the_way.max().unwrap_or(0);
    }
    flags.iter().map(|flag| flag.row + 1).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(one: &Flag, other: &Flag) -> bool {
        one.row == other.row && one.left() < other.right() && other.left() < one.right()
    }

    /// Whether the pole of one goes through the text of the other.
    fn crosses(pole: &Flag, text: &Flag) -> bool {
        text.row < pole.row && text.left() < pole.x && pole.x < text.right()
    }

    #[test]
    fn no_label_lies_on_another_and_no_pole_crosses_one() {
        let texts =
            ["arrived", "held 92 ms until R.arrived", "ok", "a rather long line of the kernel's log", "!"];
        for step in [0.0, 3.0, 11.0, 40.0, 170.0] {
            let flag = |(index, text): (usize, &&str)| Flag::new(index as f64 * step, (*text).to_owned(), "");
            let mut flags: Vec<Flag> = texts.iter().cycle().take(12).enumerate().map(flag).collect();
            place(&mut flags);
            for (index, one) in flags.iter().enumerate() {
                for other in &flags[index + 1..] {
                    assert!(!overlap(one, other), "{one:?} on {other:?}, step {step}");
                    assert!(
                        !crosses(one, other) && !crosses(other, one),
                        "{one:?} through {other:?}, step {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn labels_with_room_share_the_lowest_row() {
        let mut flags = [0.0, 100.0, 200.0].map(|x| Flag::new(x, "arrived".to_owned(), ""));
        assert_eq!(place(&mut flags), 1);
        assert_eq!(place(&mut []), 0);
    }
}
