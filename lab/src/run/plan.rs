//! Which cells there are, and what each is the result of.

use super::case::Case;
use super::document::LeftOut;
use super::initramfs;
use super::lab::Lab;
use super::schedule::Times;
use super::store::Key;
use super::subject::{self, Subject};
use crate::digest;
use crate::kernel::{self, Kernel};
use anyhow::Result;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A case on a kernel.
pub struct Planned<'c> {
    /// The case.
    pub case: &'c Case,
    /// What was written after `--kernel`.
    pub spec: &'c str,
    /// Whether it is left out if there is no such kernel.
    pub optional: bool,
    /// Attempts that it makes.
    pub times: Times,
    /// Processors of its guest.
    pub cpus: u16,
    /// The kernel, if there is one.
    pub kernel: Option<Kernel>,
    /// The kernel with what the case's guests load of it, or why there is none.
    pub subject: Result<Subject, String>,
    /// Where the guest's files are kept, if they are.
    pub keep: Option<PathBuf>,
}

impl Planned<'_> {
    /// Why it is left out, if it is.
    pub fn left_out(&self) -> Option<LeftOut> {
        let why = self.subject.as_ref().err().filter(|_| self.optional)?;
        Some(LeftOut { case: self.case.name.clone(), spec: self.spec.to_owned(), why: why.clone() })
    }

    /// What its result hangs on; none if it cannot be run.
    pub fn key(&self) -> Option<Key> {
        let subject = self.subject.as_ref().ok()?;
        let variant = subject.kernel.variant.as_ref().map(|variant| format!(" with {}", variant.name));
        Some(Key {
            case: self.case.name.clone(),
            kernel: subject.kernel.title().to_owned() + &variant.unwrap_or_default(),
            times: self.times,
            made_of: digest::of([
                self.case.digest(),
                subject.digest.clone(),
                initramfs::own_digest(),
                self.cpus.to_string(),
            ]),
        })
    }
}

/// Cases of which each runs on every kernel, with what is planned of them.
pub struct Product<'c> {
    /// The cases.
    pub cases: &'c [Case],
    /// The kernels, and whether they may be left out.
    pub kernels: Vec<(&'c str, bool)>,
    /// Attempts of each.
    pub times: Times,
    /// Where guests' files are kept; of several cases in directories of their own.
    pub keep: Option<(&'c Path, bool)>,
}

/// Finds all kernels before the first is booted. One that is not to be had is told, and does not stop the others.
///
/// # Errors
/// A spec is none.
pub async fn plan<'c>(
    product: Product<'c>,
    taken: &mut HashSet<PathBuf>,
    lab: &Lab,
) -> Result<Vec<Planned<'c>>> {
    let Product { cases, kernels: wanted, times, keep } = product;
    wanted.iter().try_for_each(|(spec, _)| kernel::check_spec(spec))?;
    let mut kernels = Vec::new();
    for (spec, optional) in &wanted {
        let found = subject::find(spec, lab).await;
        if let Err(error) = &found
            && wanted.len() > 1
            && !optional
        {
            lab.progress.tell(&format!("blkstay: {error:#}"));
        }
        kernels.push((*spec, *optional, found));
    }
    let mut planned = Vec::new();
    let mut read: Vec<(usize, &str, Result<Subject, String>)> = Vec::new();
    for case in cases {
        let filesystem = case.recipe.image.filesystem.as_str();
        for (index, (spec, optional, found)) in kernels.iter().enumerate() {
            let known = read.iter().find(|(kernel, of, _)| (*kernel, *of) == (index, filesystem));
            let subject = match (known, found) {
                (Some((_, _, subject)), _) => subject.clone(),
                (None, Err(error)) => Err(format!("{error:#}")),
                (None, Ok(kernel)) => {
                    lab.progress.say(&format!("reading {}", kernel.title()));
                    subject::read(kernel, filesystem).await.map_err(|error| format!("{error:#}"))
                }
            };
            read.push((index, filesystem, subject.clone()));
            let kernel = found.as_ref().ok().cloned();
            let keep = keep.map(|(keep, several)| {
                let within = if several { keep.join(plain(&case.name)) } else { keep.to_owned() };
                let name = kernel.as_ref().and_then(|kernel| kernel.release.as_deref()).unwrap_or(spec);
                free(&within, &plain(name), taken)
            });
            let (optional, cpus) = (*optional, lab.cpus);
            planned.push(Planned { case, spec, optional, times, cpus, kernel, subject, keep });
        }
    }
    Ok(planned)
}

/// A name that nothing in it makes a path of.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' }).collect()
}

/// The second of the same name gets `-2`.
fn free(directory: &Path, name: &str, taken: &mut HashSet<PathBuf>) -> PathBuf {
    let mut path = directory.join(name);
    let mut number = 1;
    while !taken.insert(path.clone()) {
        number += 1;
        path = directory.join(format!("{name}-{number}"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_two_kernels_of_one_release_lies_apart() {
        let mut taken = HashSet::new();
        let names = ["a", "a", "b", "a"].map(|name| free(Path::new("keep"), name, &mut taken));
        assert_eq!(names, ["keep/a", "keep/a-2", "keep/b", "keep/a-3"].map(PathBuf::from));
        assert_eq!(plain("../path/to bz"), ".._path_to_bz");
    }
}
