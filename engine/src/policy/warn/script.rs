//! Whether a guest script does what a policy waits for.

use crate::diagnostic::Diagnostic;
use crate::policy::Checked;

impl Checked {
    /// Adds a warning for each event of the guest that its script, called `name`, does not name.
    pub fn warn_of_script(&mut self, name: &str, script: &str) {
        let unnamed = self.guest_events.iter().filter(|(event, _)| !names(script, event));
        let warnings = unnamed.map(|(event, at)| {
            Diagnostic::warning(
                at.clone(),
                format!("guest event `{event}` is never emitted: `{name}` does not name it"),
            )
            .help(format!("write `stay emit {event}` where it happens"))
        });
        self.warnings.list.extend(warnings);
        self.warnings.list.sort_by_key(|one| (one.at.file, one.at.span.start));
    }
}

/// Whether a word stands in a text by itself.
fn names(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(start, _)| {
        !text[..start].ends_with(part_of_word) && !text[start + word.len()..].starts_with(part_of_word)
    })
}
