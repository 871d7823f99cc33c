//! Policies from disk, with the files that they include and what was given for their parameters.

use crate::misuse::Misuse;
use crate::out;
use anyhow::anyhow;
use blkstay_engine::diagnostic::{Diagnostic, Diagnostics, File, Spot};
use blkstay_engine::policy::{Checked, Policy, Settings};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

/// Why there is no policy.
#[derive(Debug)]
pub enum Unusable {
    /// The file cannot be read: why.
    Unread(String),
    /// It has mistakes.
    Mistakes(Diagnostics),
}

impl Unusable {
    /// As a person reads it, with ANSI colours or plain.
    pub fn render(&self, colour: bool) -> String {
        match self {
            Unusable::Unread(why) => why.clone(),
            Unusable::Mistakes(mistakes) => mistakes.render(colour),
        }
    }
}

/// Reads a policy and what it includes; paths in it are seen from the directory of the file that they are in. For a
/// case, the guest's script is looked at, too; one that is missing is what its user tells.
///
/// # Errors
/// Every mistake, in one pass.
pub fn load(path: &Path, settings: &Settings) -> Result<Checked, Unusable> {
    read(path, settings, &mut |name| find_script(path, name).ok().and_then(read_script))
}

/// The same, with a warning of a script that is not there.
///
/// # Errors
/// Every mistake, in one pass.
pub fn load_with_script(path: &Path, settings: &Settings) -> Result<Checked, Unusable> {
    read(path, settings, &mut |name| match find_script(path, name) {
        Ok(script) => read_script(script),
        Err([here, there]) => Some(Err(format!(
            "the guest script `{name}` is neither {} nor {}",
            here.display(),
            there.display()
        ))),
    })
}

fn read(
    path: &Path,
    settings: &Settings,
    script: &mut dyn FnMut(&str) -> Option<Result<String, String>>,
) -> Result<Checked, Unusable> {
    let origin = path.display().to_string();
    let bytes =
        read_bytes(path).map_err(|error| Unusable::Unread(format!("{origin}: cannot read it: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| Unusable::Mistakes(no_text(&origin, &error)))?;
    let mut include = |path: &str| read_text(Path::new(path)).map_err(|error| error.to_string());
    Policy::check(&origin, &text, settings, &mut include, script).map_err(Unusable::Mistakes)
}

fn read_script(path: PathBuf) -> Option<Result<String, String>> {
    let read = read_text(&path);
    Some(read.map_err(|error| format!("the guest script {} cannot be read: {error}", path.display())))
}

/// Most bytes in a file of a policy.
const TEXT_BYTES_MAX: u64 = 64 << 20;

fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        ..=TEXT_BYTES_MAX => Ok(bytes),
        _ => Err(std::io::Error::other("it has more than 64 MiB, which no policy needs")),
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read_bytes(path)?).map_err(|error| std::io::Error::other(not_utf8(&error)))
}

/// The mistake of a policy that is not UTF-8, in its text as far as that can be shown.
fn no_text(origin: &str, error: &FromUtf8Error) -> Diagnostics {
    let start = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let span = start..start + char::REPLACEMENT_CHARACTER.len_utf8();
    let byte = error.as_bytes().get(start).copied().unwrap_or_default();
    let mistake = Diagnostic::error(Spot { file: 0, span }, "the file is not UTF-8")
        .label(format!("byte 0x{byte:02x}"))
        .help("save it as UTF-8");
    Diagnostics { files: vec![File { origin: origin.to_owned(), text }], list: vec![mistake] }
}

/// Where a text is not UTF-8.
fn not_utf8(error: &FromUtf8Error) -> String {
    let (good, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
    let good = String::from_utf8_lossy(good);
    let line = good.matches('\n').count() + 1;
    let column = good.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let byte = rest.first().copied().unwrap_or_default();
    format!("line {line}, column {column} is not UTF-8 (byte 0x{byte:02x}): save it as UTF-8")
}

/// Reads a policy to use it; shows warnings on standard error.
///
/// # Errors
/// It cannot be used; every mistake is in the message.
pub fn usable(path: &Path, settings: &Settings) -> anyhow::Result<Policy> {
    checked(path, settings).map(|checked| checked.policy)
}

/// The same, with the warnings that were shown.
///
/// # Errors
/// It cannot be used; every mistake is in the message.
pub fn checked(path: &Path, settings: &Settings) -> anyhow::Result<Checked> {
    let checked = load(path, settings).map_err(|unusable| match unusable {
        Unusable::Unread(why) => anyhow!(why),
        Unusable::Mistakes(mistakes) => {
            let shown = mistakes.render(out::colour());
            match are_of_options(&mistakes) {
                true => Misuse(format!("the policy cannot be given that\n{shown}")).into(),
                false => anyhow!("the policy has mistakes\n{shown}"),
            }
        }
    })?;
    warn(&checked.warnings);
    Ok(checked)
}

/// Whether nothing is wrong but what was given with `--set`.
fn are_of_options(mistakes: &Diagnostics) -> bool {
    let origin = |one: &Diagnostic| mistakes.files.get(one.at.file).map(|file| file.origin.as_str());
    mistakes.list.iter().all(|one| origin(one) == Some("--set"))
}

/// Shows what is doubtful about a policy that is used all the same.
pub fn warn(warnings: &Diagnostics) {
    if !warnings.list.is_empty() {
        crate::out::tell(format_args!("{}", warnings.render(out::colour())));
    }
}

/// Where the script of a case is: beside its policy, or in `guest-scripts` beside the policy's directory.
///
/// # Errors
/// The two places where it is not.
pub fn find_script(policy: &Path, name: &str) -> Result<PathBuf, [PathBuf; 2]> {
    let directory = policy.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let places = [directory.join(name), directory.join("../guest-scripts").join(name)];
    match places.iter().position(|path| path.is_file()) {
        Some(found) => Ok(places[found].clone()),
        None => Err(places),
    }
}
