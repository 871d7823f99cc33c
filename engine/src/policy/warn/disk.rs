//! What asks for requests that the case's own disk does not have.

use super::never::NEVER;
use super::{Look, at};
use crate::class::{Class, ClassSet};
use crate::policy::Filter;
use crate::policy::tree::Node;

/// Features of ext4, in all spellings, without which blocks of a group of classes do not exist.
const FEATURES: [(&[&str], &str); 2] = [(&["has_journal"], "journal"), (&["extents", "extent"], "extent")];

impl Look<'_> {
    /// What the case's own disk does not have.
    pub(super) fn of_case(&mut self, what: &str, filter: &Filter, node: &Node) {
        let Some(case) = self.policy.case.as_ref().filter(|_| self.sound.is_case) else { return };
        let (size, filesystem) = (case.image.size_bytes, case.image.filesystem.as_str());
        if let (Some(queue), Some(queues)) = (filter.queue, self.queues())
            && queue >= queues
        {
            let message = format!("{what} is of requests of queue {queue}, which the case does not have");
            let help = match queues {
                1 => "its disk has one queue, 0: give [case.device] a `num-queues`".to_owned(),
                many => format!("its disk has queues 0 to {}: `num-queues` in [case.device]", many - 1),
            };
            self.warn(at(node, "queue"), message, NEVER, help);
        }
        if filter.length_min > size && filter.length_min <= filter.length_max {
            let message = format!("{what} is of requests that are longer than the disk");
            let help = format!("the disk of the case has {size} bytes");
            self.warn(at(node, "length"), message, NEVER, help);
        }
        let class = filter.class.unwrap_or(ClassSet::of(&[Class::Unknown]));
        let found = match filesystem {
            "ext4" => {
                without(&case.image.options).find(|(_, lacking)| lacking.contains(class)).map(|(word, _)| {
                    let message =
                        format!("{what} is of classes that the filesystem of the case does not have");
                    (message, format!("it is made with `^{word}`: `options` in [case.image]"))
                })
            }
            _ if class.meets(ClassSet::of(&[Class::Unknown])) => None,
            _ => {
                let message = format!("{what} is of classes that no block of {filesystem} has");
                let help = "classes are learned of ext2, ext3 and ext4: of";
                Some((message, format!("{help} {filesystem}, all is `unknown`")))
            }
        };
        if let Some((message, help)) = found {
            self.warn(at(node, "class"), message, NEVER, help);
        }
    }
}

/// Features that `mkfs.ext4` is told to leave out, and the classes that are not there then. Where options may contradict
/// each other, nobody knows.
fn without(options: &[String]) -> impl Iterator<Item = (&str, ClassSet)> {
    let at = |option: &&String| option.starts_with("-O");
    let is_open = |option: &String| option.starts_with("-j") || option.starts_with("-J");
    let several = options.iter().filter(at).count() > 1 || options.iter().any(is_open);
    let first = options.iter().position(|option| option.starts_with("-O")).filter(|_| !several);
    let list = first.and_then(|at| match options[at].strip_prefix("-O") {
        Some("") => options.get(at + 1).map(String::as_str),
        attached => attached,
    });
    let words: Vec<&str> = list.unwrap_or_default().split(',').map(str::trim).collect();
    FEATURES.into_iter().filter_map(move |(names, classes)| {
        let named = |word: &&&str| names.contains(&word.trim_start_matches('^'));
        let last = words.iter().rfind(named)?.strip_prefix('^')?;
        Some((last, ClassSet::from_name(classes)?))
    })
}
