//! A case: its policy and the script that its guest runs.

use crate::digest;
use crate::policy::{find_script, usable};
use anyhow::{Context, Result, anyhow, bail};
use blkstay_engine::policy::{self, Policy, Settings};
use std::path::{Path, PathBuf};

/// A case that is ready to run.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name: the policy's file name without `.toml`.
    pub name: String,
    /// Its policy.
    pub policy: Policy,
    /// What the policy says about running it.
    pub recipe: policy::Case,
    /// Text of the guest script.
    pub script: String,
    /// Name and text of each file that it takes in from `/lib`.
    pub shared: Vec<(String, String)>,
}

impl Case {
    /// Finds a case by the path of its policy, or by its name in `policies/`.
    ///
    /// # Errors
    /// There is none, its policy has mistakes, it has no `[case]`, or its script is missing.
    pub fn find(wanted: &Path, settings: &Settings) -> Result<Case> {
        let path = policy_path(wanted)?;
        let origin = path.display().to_string();
        let policy = usable(&path, settings)?;
        let Some(recipe) = policy.case.clone() else {
            bail!("{origin}: it has no [case], so there is nothing to run; use it with `blkstayd --policy`");
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let script = read_script(&path, &recipe.guest)?;
        let shared = shared(&script).map(|name| Ok((name.to_owned(), read_script(&path, name)?)));
        let shared = shared.collect::<Result<_>>()?;
        Ok(Case { name, policy, recipe, script, shared })
    }

    /// Hash of what it does: its policy's text with what that includes and was given, and its script.
    pub fn digest(&self) -> String {
        let written = &self.policy.written;
        let mut parts = vec![written.text.clone(), self.script.clone(), format!("{:?}", written.seed)];
        parts.extend(self.shared.iter().flat_map(|(name, text)| [name.clone(), text.clone()]));
        parts.extend(written.included.iter().map(|file| file.text.clone()));
        parts.extend(written.set.iter().map(|(name, value)| format!("{name}={value}")));
        digest::of(parts)
    }
}

fn policy_path(wanted: &Path) -> Result<PathBuf> {
    if wanted.is_file() {
        return Ok(wanted.to_owned());
    }
    let named = Path::new("policies").join(wanted).with_extension("toml");
    if wanted.components().count() == 1 && named.is_file() {
        return Ok(named);
    }
    bail!("{}: no such policy file, nor is there {}", wanted.display(), named.display())
}

/// Names of the files that a script takes in: lines `. /lib/NAME`.
fn shared(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter_map(|line| line.trim().strip_prefix(". /lib/")).map(str::trim)
}

fn read_script(policy: &Path, name: &str) -> Result<String> {
    let path = find_script(policy, name).map_err(|[here, there]| {
        let (policy, here, there) = (policy.display(), here.display(), there.display());
        anyhow!("{policy}: its guest script `{name}` is neither {here} nor {there}")
    })?;
    std::fs::read_to_string(&path).with_context(|| format!("{}: cannot read it", path.display()))
}
