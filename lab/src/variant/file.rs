//! Variants as they are written: TOML, with every mistake shown where it is.

use super::mistake;
use anyhow::{Context, Result, anyhow, bail};
use blkstay_engine::diagnostic::{Diagnostic, File, Spot, list};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A variant, read with its changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name: its file's without `.toml`.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// Spec of the kernel that it is made of.
    pub kernel: String,
    /// Directory of the module in the kernel's source, such as `fs/ext4`.
    pub module: String,
    /// What is changed, in order.
    pub changes: Vec<Change>,
}

/// A change of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// How it is written.
    pub kind: Kind,
    /// The file it comes from.
    pub origin: String,
    /// Its text.
    pub text: String,
    /// How many separate places a semantic patch changes.
    pub places: usize,
}

/// How a change is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A semantic patch, for Coccinelle.
    Semantic,
    /// A unified diff.
    Diff,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    about: String,
    #[serde(default)]
    kernel: Option<String>,
    module: Spanned<String>,
    change: Spanned<Vec<WrittenChange>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenChange {
    file: Spanned<String>,
    #[serde(default)]
    places: Option<Spanned<usize>>,
}

/// The kernel that a variant is made of if nobody names one.
const KERNEL: &str = "debian:6.12";

/// Where named variants are.
pub const DIRECTORY: &str = "variants";

/// Finds a variant's file by its path, or by its name in `variants/`.
///
/// # Errors
/// There is none; the message lists those that are there.
pub fn find(wanted: &str) -> Result<PathBuf> {
    let path = Path::new(wanted);
    if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
        return Ok(path.to_owned());
    }
    let named = Path::new(DIRECTORY).join(format!("{wanted}.toml"));
    if !wanted.contains('/') && named.is_file() {
        return Ok(named);
    }
    let known = names();
    match known.as_slice() {
        [] => bail!("no variant `{wanted}`: no such file, nor is there {}", named.display()),
        known => bail!("no variant `{wanted}`; {DIRECTORY}/ has {}", list(known)),
    }
}

/// The names of the variants in `variants/`, sorted.
pub fn names() -> Vec<String> {
    let entries = std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        Some(entry.file_name().to_str()?.strip_suffix(".toml").filter(|name| !name.is_empty())?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

/// Reads a variant and the files that its changes are in, which are seen from its directory.
///
/// # Errors
/// It cannot be read or has a mistake.
pub fn read(path: &Path) -> Result<Variant> {
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {origin}"))?;
    let file = File { origin, text };
    let wrong = |span, message: String| Diagnostic::error(Spot { file: 0, span }, message);
    let written: Written = toml::from_str(&file.text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let help = "a variant has `about`, `module`, `[[change]]` with `file`, and maybe `kernel`";
        mistake(vec![file.clone()], vec![wrong(span, error.message().to_owned()).help(help)])
    })?;
    let mut found = Vec::new();
    if let Some(message) = bad_module(written.module.get_ref()) {
        found.push(wrong(written.module.span(), message).help("write it like `module = \"fs/ext4\"`"));
    }
    if written.change.get_ref().is_empty() {
        found.push(wrong(written.change.span(), "a variant changes something".to_owned()));
    }
    let mut changes = Vec::new();
    for change in written.change.get_ref() {
        match read_change(change, path) {
            Ok(change) => changes.push(change),
            Err((span, message)) => found.push(wrong(span, message)),
        }
    }
    if !found.is_empty() {
        return Err(mistake(vec![file], found));
    }
    Ok(Variant {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        about: written.about,
        kernel: written.kernel.unwrap_or_else(|| KERNEL.to_owned()),
        module: written.module.into_inner(),
        changes,
    })
}

/// It becomes part of paths and of a command line for `make`.
fn bad_module(module: &str) -> Option<String> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    let good = module.contains('/') && module.split('/').all(part);
    (!good).then(|| format!("`{module}` is not a directory of the kernel's source"))
}

type Wrong = (std::ops::Range<usize>, String);

fn read_change(written: &WrittenChange, variant: &Path) -> Result<Change, Wrong> {
    let name = written.file.get_ref();
    let wrong = |message: String| (written.file.span(), message);
    let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("cocci") => Kind::Semantic,
        Some("diff" | "patch") => Kind::Diff,
        _ => return Err(wrong("a change is a `.cocci`, a `.diff` or a `.patch`".to_owned())),
    };
    let places = match &written.places {
        Some(places) if kind == Kind::Diff => {
            return Err((places.span(), "a diff says itself which places it changes".to_owned()));
        }
        Some(places) if *places.get_ref() == 0 => {
            return Err((places.span(), "a change changes at least one place".to_owned()));
        }
        places => places.as_ref().map_or(1, |places| *places.get_ref()),
    };
    let path = variant.parent().unwrap_or(Path::new("")).join(name);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let why = anyhow!(error).context(format!("cannot read {}", path.display()));
        wrong(format!("{why:#}"))
    })?;
    Ok(Change { kind, origin: path.display().to_string(), text, places })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Result<Variant, String> {
        let directory = tempfile::tempdir().unwrap();
        for name in ["fix.cocci", "fix.diff"] {
            std::fs::write(directory.path().join(name), "text of it").unwrap();
        }
        let path = directory.path().join("mine.toml");
        std::fs::write(&path, text).unwrap();
        let shown = directory.path().display().to_string();
        read(&path).map_err(|error| format!("{error:#}").replace(&shown, "DIR"))
    }

    #[test]
    fn a_variant_is_named_by_its_file_and_has_a_kernel_by_default() {
        let text = "about = \"A fix\"\nmodule = \"fs/ext4\"\n[[change]]\nfile = \"fix.cocci\"\nplaces = 2\n\
                    [[change]]\nfile = \"fix.diff\"\n";
        let variant = reading(text).unwrap();
        assert_eq!((variant.name.as_str(), variant.kernel.as_str()), ("mine", "debian:6.12"));
        let kinds: Vec<_> = variant.changes.iter().map(|change| (change.kind, change.places)).collect();
        assert_eq!(kinds, [(Kind::Semantic, 2), (Kind::Diff, 1)]);
        assert_eq!(variant.changes[0].text, "text of it");
    }

    #[test]
    fn mistakes_are_shown_where_they_are_and_in_one_pass() {
        let text = "about = \"A fix\"\nmodule = \"../ext4\"\n[[change]]\nfile = \"none.cocci\"\n\
                    [[change]]\nfile = \"fix.diff\"\nplaces = 2\n[[change]]\nfile = \"fix.txt\"\n";
        assert_eq!(
            reading(text).unwrap_err(),
            "the variant has mistakes
error: `../ext4` is not a directory of the kernel's source
 --> DIR/mine.toml:2:10
  |
2 | module = \"../ext4\"
  |          ^^^^^^^^^
  |
  = help: write it like `module = \"fs/ext4\"`

error: cannot read DIR/none.cocci: No such file or directory (os error 2)
 --> DIR/mine.toml:4:8
  |
4 | file = \"none.cocci\"
  |        ^^^^^^^^^^^^

error: a diff says itself which places it changes
 --> DIR/mine.toml:7:10
  |
7 | places = 2
  |          ^

error: a change is a `.cocci`, a `.diff` or a `.patch`
 --> DIR/mine.toml:9:8
  |
9 | file = \"fix.txt\"
  |        ^^^^^^^^^"
        );
    }

    #[test]
    fn unknown_and_missing_keys_are_mistakes() {
        let unknown = reading("about = \"x\"\nmodul = \"fs/ext4\"\n").unwrap_err();
        assert!(unknown.contains("unknown field `modul`") && unknown.contains("mine.toml:2:1"), "{unknown}");
        let missing = reading("about = \"x\"\nmodule = \"fs/ext4\"\n").unwrap_err();
        assert!(missing.contains("missing field `change`"), "{missing}");
        let empty = reading("about = \"x\"\nmodule = \"fs/ext4\"\nchange = []\n").unwrap_err();
        assert!(empty.contains("a variant changes something"), "{empty}");
    }
}
