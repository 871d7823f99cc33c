//! Times that say nothing.

use super::{Look, at};
use crate::policy::{Close, Wait};

impl Look<'_> {
    pub(super) fn times(&mut self) {
        for (rule, node) in self.rules().collect::<Vec<_>>() {
            let wait = rule.verdict.as_ref().and_then(|verdict| verdict.wait.as_ref());
            let longer = "the watchdog ends it before";
            let help = "give the rule a longer `watchdog`";
            match wait {
                None if node.get("watchdog").is_some() => {
                    let message = format!("rule `{}` has a watchdog, but nothing to wait for", rule.name);
                    self.warn(at(node, "watchdog"), message, "", "leave `watchdog` out");
                }
                Some(Wait::Reorder(reorder)) => {
                    if let Close::Window { within_ns: Some(within_ns), .. } = reorder.close
                        && within_ns > rule.watchdog_ns
                    {
                        let message =
                            format!("rule `{}` collects for longer than its watchdog lets it", rule.name);
                        self.warn(at(node, "within"), message, longer, help);
                    }
                }
                Some(Wait::Stall(stall)) if stall.for_ns > rule.watchdog_ns => {
                    let message = format!("rule `{}` stalls for longer than its watchdog lets it", rule.name);
                    self.warn(at(node, "stall"), message, longer, help);
                }
                _ => {}
            }
        }
    }
}
