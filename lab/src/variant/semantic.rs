//! Semantic patches: what Coccinelle's `spatch` makes of a source.

use super::diff::{self, FileDiff};
use super::file::Change;
use super::tree::Tree;
use crate::kernel::process;
use anyhow::{Context, Result, bail};
use std::ops::Range;
use std::process::{Command, Stdio};

/// Has spatch say what a semantic patch changes: a diff without context for each file, named as in the tree.
///
/// # Errors
/// The semantic patch is wrong, which spatch explains, or spatch cannot be run.
pub fn transform(change: &Change, tree: &Tree) -> Result<Vec<FileDiff>> {
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let source = scratch.path().join("source");
    tree.write(&source)?;
    let rules = scratch.path().join("change.cocci");
    std::fs::write(&rules, &change.text).context("cannot write a temporary file")?;
    let mut spatch = Command::new("spatch");
    spatch.args(["--very-quiet", "--no-includes", "-U", "0", "--sp-file"]).arg(&rules);
    spatch.args(tree.c_files()).current_dir(&source).stdin(Stdio::null());
    let output = process::output(&mut spatch)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let complaint = complaint.replace(&rules.display().to_string(), &change.origin);
        bail!("{}: spatch cannot use it: {}", change.origin, complaint.trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    diff::parse(&text)
        .map_err(|wrong| anyhow::anyhow!("{}: spatch printed no diff: {}", change.origin, wrong.message))
}

/// The line with which the first rule begins.
pub fn first_rule(text: &str) -> Range<usize> {
    let start = text.find("\n@").map_or(0, |at| at + 1);
    start..start + text[start..].lines().next().map_or(0, str::len)
}

/// The functions that a semantic patch matches by their names, each with the place of its name.
pub fn functions(text: &str) -> Vec<(Range<usize>, String)> {
    let mut found: Vec<(Range<usize>, String)> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        // A definition is written without indentation; its first column is that of `+` and `-`.
        let head = line.get(..line.find('(').unwrap_or(0)).unwrap_or("");
        let name = head.rsplit([' ', '*']).next().unwrap_or("");
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let defines = !line.starts_with(['+', '\t', '@', '/']) && !line.starts_with("  ");
        if defines && plain && found.iter().all(|(_, known)| known != name) {
            let at = start + head.len() - name.len();
            found.push((at..at + name.len(), name.to_owned()));
        }
        start += line.len();
    }
    found
}

/// The line (from 0) on which a function is defined, as the kernel is written.
pub fn definition(text: &str, function: &str) -> Option<usize> {
    let call = format!("{function}(");
    text.lines().position(|line| {
        let Some(at) = line.find(&call) else { return false };
        let begins = !line.starts_with([' ', '\t', '#', '*', '/']) && !line.trim_end().ends_with(';');
        begins && (at == 0 || line[..at].ends_with([' ', '*']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str =
        "// why\n@@\nidentifier inode;\n@@\n f(...)\n {\n inode_lock(inode);\n+wait(inode);\n ...\n }\n";

    #[test]
    fn the_first_rule_and_the_functions_are_found() {
        assert_eq!(&RULES[first_rule(RULES)], "@@");
        let names: Vec<_> =
            functions(RULES).into_iter().map(|(at, name)| (RULES[at].to_owned(), name)).collect();
        assert_eq!(names[0], ("f".to_owned(), "f".to_owned()));
        assert!(names.iter().all(|(_, name)| name != "wait"));
    }

    #[test]
    fn a_definition_is_told_from_a_call_and_a_declaration() {
        let text = "static int f(void);\nint g(void)\n{\n\treturn f();\n}\nstatic int\nf(void)\n{\n}\nu32 *h(int a,\n";
        assert_eq!(definition(text, "f"), Some(6));
        assert_eq!(definition(text, "g"), Some(1));
        assert_eq!(definition(text, "h"), Some(9));
        assert_eq!(definition(text, "i"), None);
    }
}
