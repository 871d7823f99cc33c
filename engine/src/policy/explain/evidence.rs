//! What a case says about the evidence of its guest, in words.

use crate::policy::Case;

impl Case {
    /// Adds what counts as closed, and what is counted.
    pub(super) fn explain_evidence(&self, items: &mut Vec<String>) {
        for wait in &self.waits {
            let functions = wait.functions.join("`, `");
            items.push(format!(
                "An attempt may be closed because {} sleeps in `{functions}`: {}. A sleep anywhere else tells nothing.",
                wait.process, wait.means
            ));
        }
        for direct in &self.direct {
            let (point, seen) = (&direct.point, &direct.seen);
            items.push(format!(
                "{point} is a direct write. If `guest.{seen}` happens before {point} is complete, and `{point}-pages` says \
                 that its pages are dirty or being written, it went through the page cache: there is nothing to race with."
            ));
        }
        if !self.variables.is_empty() {
            let each = self.variables.iter().map(|(name, value)| format!("`{name}={value}`"));
            items.push(format!("The script has {}.", each.collect::<Vec<_>>().join(", ")));
        }
        if !self.phases.is_empty() {
            let each = self.phases.iter().map(|phase| format!("`guest.{phase}`"));
            items.push(format!(
                "What the disk does between one and the next of these is counted: {}.",
                each.collect::<Vec<_>>().join(", ")
            ));
        }
    }
}
