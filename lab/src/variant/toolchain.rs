//! The tools of this machine that a variant is built with.

use crate::kernel::process;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Programs, with the Debian package of each; `make setup-variants` installs them.
const PROGRAMS: [(&str, &str); 6] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("xz", "xz-utils"),
    ("diff", "diffutils"),
    ("spatch", "coccinelle"),
];

/// What a kernel's configuration takes for granted of its compiler and an older one may lack: without the option the
/// kernel's own makefiles do without the flag. None of them changes how data lies in memory.
const OPTIONAL: [(&str, &str); 1] = [("CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT", "-fmin-function-alignment=16")];

/// A compiler.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiler {
    /// Its command.
    pub command: String,
    /// What it says it is.
    pub version: String,
}

/// The programs that are not on the `PATH`.
///
/// # Errors
/// There are some; the message says how to have them.
pub fn check(spatch: bool) -> Result<()> {
    let wanted = PROGRAMS.iter().filter(|(program, _)| spatch || *program != "spatch");
    let missing: Vec<&(&str, &str)> = wanted.filter(|(program, _)| !on_path(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<String> = missing.iter().map(|(program, _)| format!("`{program}`")).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    bail!(
        "a variant is built with {}: not installed; `make setup-variants` installs what Debian calls {}",
        programs.join(", "),
        packages.join(", ")
    )
}

fn on_path(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join(program).is_file())
}

/// The version of Coccinelle, in its own words.
///
/// # Errors
/// It cannot be run.
pub fn spatch_version() -> Result<String> {
    first_line(Command::new("spatch").arg("--version"))
}

impl Compiler {
    /// The very compiler that the headers ask for (`gcc-14`) if it is here, else `gcc`.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn for_headers(headers: &Path) -> Result<Compiler> {
        let variables = std::fs::read_to_string(headers.join(".kernelvariables")).unwrap_or_default();
        let own = asked_for(&variables).filter(|name| on_path(name));
        let command = own.unwrap_or_else(|| "gcc".to_owned());
        let version = first_line(Command::new(&command).arg("--version"))?;
        Ok(Compiler { command, version })
    }

    /// Settings on make's command line that let this compiler do what the headers ask of theirs.
    pub fn settings(&self) -> Vec<String> {
        let lacks = |flag: &str| {
            let mut trial = Command::new(&self.command);
            trial.args([flag, "-x", "c", "-c", "/dev/null", "-o", "/dev/null"]).stdin(Stdio::null());
            !process::output(&mut trial).is_ok_and(|output| output.status.success())
        };
        let lacking = OPTIONAL.iter().filter(|(_, flag)| lacks(flag));
        lacking.map(|(option, _)| format!("{option}=")).collect()
    }
}

/// The compiler in a line like `CC = … $(CROSS_COMPILE)gcc-14` of Debian's `.kernelvariables`.
fn asked_for(variables: &str) -> Option<String> {
    let line = variables.lines().find(|line| line.starts_with("CC ="))?;
    let (_, name) = line.rsplit_once("$(CROSS_COMPILE)")?;
    let plain = name.starts_with("gcc") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    plain.then(|| name.to_owned())
}

fn first_line(command: &mut Command) -> Result<String> {
    Ok(process::stdout(command)?.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_say_which_compiler_they_want() {
        let variables = "CCACHE = ccache\nCC = $(if $(USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-14\nX = y\n";
        assert_eq!(asked_for(variables).as_deref(), Some("gcc-14"));
        assert_eq!(asked_for("CC = clang\n"), None);
    }

    #[test]
    fn what_the_compiler_lacks_is_switched_off() {
        let none = Compiler { command: "false".into(), version: String::new() };
        assert_eq!(none.settings(), ["CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT="]);
        let all = Compiler { command: "true".into(), version: String::new() };
        assert!(all.settings().is_empty());
    }
}
