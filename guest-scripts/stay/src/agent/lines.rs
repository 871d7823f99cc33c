//! Cuts a stream of bytes into lines, of which none may be endless.

/// Bytes that came in and are no whole line yet.
#[derive(Debug)]
pub struct Lines {
    partial: Vec<u8>,
    bytes_max: usize,
    is_overlong: bool,
}

/// A piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A line without its newline.
    Line(Vec<u8>),
    /// A line was longer than allowed; it has been thrown away.
    Overlong,
}

impl Lines {
    /// Lines of at most `bytes_max` bytes, newline not counted.
    pub fn new(bytes_max: usize) -> Self {
        Lines { partial: Vec::new(), bytes_max, is_overlong: false }
    }

    /// Takes bytes and gives the lines that they complete. Empty lines are left out.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, is_end) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            self.append(text);
            if is_end {
                pieces.extend(self.finish());
            }
        }
        pieces
    }

    /// Forgets a line that has begun.
    pub fn clear(&mut self) {
        self.partial.clear();
        self.is_overlong = false;
    }

    fn append(&mut self, text: &[u8]) {
        self.is_overlong |= self.partial.len() + text.len() > self.bytes_max;
        if self.is_overlong {
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(text);
        }
    }

    fn finish(&mut self) -> Option<Piece> {
        let line = std::mem::take(&mut self.partial);
        match (std::mem::take(&mut self.is_overlong), line.is_empty()) {
            (true, _) => Some(Piece::Overlong),
            (false, true) => None,
            (false, false) => Some(Piece::Line(line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, Piece};

    fn line(text: &str) -> Piece {
        Piece::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_cut_wherever_the_stream_was() {
        let mut lines = Lines::new(8);
        assert_eq!(lines.feed(b"\nab"), []);
        assert_eq!(lines.feed(b"c\n\nd\ne"), [line("abc"), line("d")]);
        assert_eq!(lines.feed(b"\n"), [line("e")]);
    }

    #[test]
    fn an_overlong_line_is_dropped_and_the_next_is_read() {
        let mut lines = Lines::new(4);
        assert_eq!(lines.feed(b"1234\n12345\nok\n"), [line("1234"), Piece::Overlong, line("ok")]);
        assert_eq!(lines.feed(b"123"), []);
        assert_eq!(lines.feed(b"456"), []);
        assert_eq!(lines.feed(b"\nok\n"), [Piece::Overlong, line("ok")]);
    }

    #[test]
    fn what_has_begun_can_be_forgotten() {
        let mut lines = Lines::new(4);
        lines.feed(b"ab");
        lines.clear();
        assert_eq!(lines.feed(b"c\n"), [line("c")]);
    }
}
