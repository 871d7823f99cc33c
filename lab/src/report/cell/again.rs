//! How a cell is made again.

use super::Cell;
use crate::run::lab::CPUS;
use blkstay_engine::journal::Arm;

impl Cell {
    /// The command that makes this cell again, as a shell reads it, each option by itself; of a Debian kernel, the very build.
    pub fn command(&self) -> Vec<String> {
        let written = self.story.as_ref().and_then(|story| story.written.as_ref());
        let case = written.map_or(self.case.as_str(), |written| &written.origin);
        let times = Some(self.attempts(Arm::Forced)).filter(|times| *times > 0);
        let cpus = self.result.cpus.filter(|cpus| *cpus != CPUS);
        let seed = written.and_then(|written| written.seed);
        let option = |name: &str, value: &str| format!("{name} {}", quoted(value));
        let number = |name, value: Option<u64>| value.map(|value| option(name, &value.to_string()));
        let set = self.settings().into_iter().map(|setting| option("--set", &setting));
        [format!("blkstay run {}", quoted(case))]
            .into_iter()
            .chain(self.exact_spec().map(|kernel| option("--kernel", &kernel)))
            .chain(number("--times", times))
            .chain(self.result.natural.iter().map(|_| "--natural".to_owned()))
            .chain(number("--cpus", cpus.map(u64::from)))
            .chain(set)
            .chain(number("--seed", seed))
            .collect()
    }

    /// `debian:6.12/generic` or `variant:fix` with the version of the package that it was, or was made of.
    fn exact_spec(&self) -> Option<String> {
        let spec = self.result.spec.clone()?;
        let version =
            self.result.package.as_ref().and_then(|package| package.rsplit_once(' ').map(|(_, it)| it));
        match (spec.strip_prefix("debian:"), version) {
            (Some(rest), Some(version)) => {
                let flavour = rest.find('/').map_or("", |at| &rest[at..]);
                Some(format!("debian:{version}{flavour}"))
            }
            (None, Some(version)) if self.variant().is_some() => {
                let name = spec.rsplit_once("@debian:").map_or(&*spec, |(name, _)| name);
                Some(format!("{name}@debian:{version}"))
            }
            _ => Some(spec),
        }
    }
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
