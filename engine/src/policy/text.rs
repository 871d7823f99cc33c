//! The texts that a policy is read from.

use super::{Policy, read};
use crate::diagnostic::Diagnostics;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A policy's text and everything else that it is read from: enough to read it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Where the text came from.
    pub origin: String,
    /// The text.
    pub text: String,
    /// The files that it includes, directly or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included: Vec<Included>,
    /// Parameters that do not have their defaults, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// The seed, if it is not the policy's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A file that a policy includes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Included {
    /// Its path: as written, seen from the directory of the file that includes it.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What a policy is read with beside its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Values of parameters, by name.
    pub set: BTreeMap<String, String>,
    /// The seed, instead of the policy's own.
    pub seed: Option<u64>,
}

/// A policy that has no mistakes, and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The policy.
    pub policy: Policy,
    /// What probably is not meant; the list may be empty.
    pub warnings: Diagnostics,
}

impl Policy {
    /// Reads a policy that includes no other file and has its defaults.
    ///
    /// # Errors
    /// Every mistake in the text, in one pass.
    pub fn parse(origin: &str, text: &str) -> Result<Policy, Diagnostics> {
        let mut none = |_: &str| Err("files can't be included here".to_owned());
        Policy::read(origin, text, &Settings::default(), &mut none).map(|checked| checked.policy)
    }

    /// Reads a policy. `include` gets the path of a file that is included, seen from where `origin` is seen
    /// from, and returns its text or why it can't be read.
    ///
    /// # Errors
    /// Every mistake in the texts, in one pass.
    pub fn read(
        origin: &str,
        text: &str,
        settings: &Settings,
        include: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Checked, Diagnostics> {
        read::read(origin, text, settings, include, &mut |_| None)
    }

    /// The same, with an eye on the guest script of a case: `script` gets its name and returns its text or why there is
    /// none, or `None` if it has not looked. A script that is not there, or does not do what the policy counts on, is
    /// warned of.
    ///
    /// # Errors
    /// Every mistake in the texts, in one pass.
    pub fn check(
        origin: &str,
        text: &str,
        settings: &Settings,
        include: &mut dyn FnMut(&str) -> Result<String, String>,
        script: &mut dyn FnMut(&str) -> Option<Result<String, String>>,
    ) -> Result<Checked, Diagnostics> {
        read::read(origin, text, settings, include, script)
    }

    /// Reads a policy again from what it was read from.
    ///
    /// # Errors
    /// It is not a policy that was read before.
    pub fn reread(written: &Written) -> Result<Policy, Diagnostics> {
        Policy::recheck(written).map(|checked| checked.policy)
    }

    /// The same, with what is doubtful about it.
    ///
    /// # Errors
    /// It is not a policy that was read before.
    pub fn recheck(written: &Written) -> Result<Checked, Diagnostics> {
        let settings = Settings { set: written.set.clone(), seed: written.seed };
        let mut include = |path: &str| {
            let file = written.included.iter().find(|file| file.path == path);
            file.map(|file| file.text.clone()).ok_or_else(|| "it was not there".to_owned())
        };
        Policy::read(&written.origin, &written.text, &settings, &mut include)
    }
}
