//! `[case]`: how a policy is run in a guest.

use super::place::DISK_BYTES_MAX;
use super::witness;
use crate::diagnostic::Diagnostic;
use crate::policy::quantity::{parse_bytes, parse_some_time};
use crate::policy::table::{Mistakes, Table, names, one_of, quantity, string};
use crate::policy::tree::{Node, Value};
use crate::policy::{Case, CaseDevice, ImageRecipe, LIMIT_NS_DEFAULT, grammar};

/// Smallest and largest disk that a recipe can ask for, in bytes.
const IMAGE_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=DISK_BYTES_MAX;

/// Filesystems that a recipe can ask for.
const FILESYSTEMS: [&str; 2] = ["ext4", "xfs"];

pub fn read(node: &Node, mistakes: &mut Mistakes) -> Option<Case> {
    let table = Table::of("[case]", grammar::CASE, node, mistakes)?;
    let about = table.need_str("about", mistakes);
    let guest = table.need_str("guest", mistakes);
    let (witness, waits) =
        table.get("witness").map_or((false, Vec::new()), |node| witness::read(node, mistakes));
    let variables = table.get("variables").map(|node| read_variables(node, mistakes)).unwrap_or_default();
    let limit_ns = table.get_quantity("limit", parse_some_time, mistakes).unwrap_or(LIMIT_NS_DEFAULT);
    let image = table.need("image", mistakes);
    let device = table.get("device").and_then(|node| read_device(node, mistakes)).unwrap_or_default();
    if let Some(name) = guest
        && name.contains('/')
        && let Some(node) = table.get("guest")
    {
        let message = format!("`{name}` is a path, but a guest script is named by its file name");
        mistakes.push(
            Diagnostic::error(node.at.clone(), message)
                .help("scripts are in guest-scripts/, or beside the policy"),
        );
    }
    let image = image.and_then(|node| read_image(node, mistakes))?;
    // What names points and events is read where these are known.
    let (direct, phases) = Default::default();
    let (about, guest) = (about?.to_owned(), guest?.to_owned());
    Some(Case { about, guest, witness, waits, direct, variables, phases, limit_ns, image, device })
}

/// What the script finds in its environment: names as shells have them.
fn read_variables(node: &Node, mistakes: &mut Mistakes) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for entry in names("[case.variables]", node, mistakes).unwrap_or_default() {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !entry.name.chars().all(is_name) || entry.name.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`{}` is no name of a variable: use A to Z, 0 to 9 and _", entry.name);
            mistakes.push(Diagnostic::error(entry.at.clone(), message));
        }
        match &entry.node.value {
            Value::String(text) if !text.contains(['\n', '\0']) => {
                variables.push((entry.name.clone(), text.clone()));
            }
            Value::Integer(number) => variables.push((entry.name.clone(), number.to_string())),
            _ => {
                let message = format!("variable `{}` must be a line of text or a whole number", entry.name);
                mistakes.push(Diagnostic::error(entry.node.at.clone(), message));
            }
        }
    }
    variables
}

fn read_image(node: &Node, mistakes: &mut Mistakes) -> Option<ImageRecipe> {
    let table = Table::of("[case.image]", grammar::IMAGE, node, mistakes)?;
    let size = table.need("size", mistakes);
    let filesystem = table.need("filesystem", mistakes);
    let filesystem = filesystem.and_then(|node| one_of("filesystem", node, &FILESYSTEMS, mistakes));
    let size_bytes = size.and_then(|node| read_size(node, mistakes));
    let options = table.get("options").map(|node| read_strings("options", node, mistakes));
    let filesystem = FILESYSTEMS[filesystem?].to_owned();
    Some(ImageRecipe { size_bytes: size_bytes?, filesystem, options: options.unwrap_or(Some(Vec::new()))? })
}

fn read_size(node: &Node, mistakes: &mut Mistakes) -> Option<u64> {
    let size_bytes = quantity(node, parse_bytes, mistakes)?;
    let good = IMAGE_BYTES.contains(&size_bytes) && size_bytes % 4096 == 0;
    if !good {
        let message = "an image is 1M to 1T, a multiple of 4096 bytes";
        mistakes.push(Diagnostic::error(node.at.clone(), message));
    }
    good.then_some(size_bytes)
}

pub(super) fn read_strings(what: &str, node: &Node, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let Value::Array(items) = &node.value else {
        mistakes.push(Diagnostic::error(node.at.clone(), format!("`{what}` must be a list of strings")));
        return None;
    };
    let each = format!("each of `{what}`");
    let strings: Vec<_> = items.iter().map(|item| string(&each, item, mistakes).map(str::to_owned)).collect();
    strings.into_iter().collect()
}

fn read_device(node: &Node, mistakes: &mut Mistakes) -> Option<CaseDevice> {
    let table = Table::of("[case.device]", grammar::DEVICE, node, mistakes)?;
    let queue_size = table.get_number("queue-size", 2, 1024, mistakes);
    if let (Some(size), Some(node)) = (queue_size, table.get("queue-size"))
        && !size.is_power_of_two()
    {
        let message = "`queue-size` must be a power of 2";
        mistakes.push(Diagnostic::error(node.at.clone(), message).help(format!(
            "{} is one, and {}",
            size.next_power_of_two() / 2,
            size.next_power_of_two()
        )));
    }
    let num_queues = table.get_number("num-queues", 1, 16, mistakes);
    let short = |number: u64| u16::try_from(number).ok();
    Some(CaseDevice { queue_size: queue_size.and_then(short), num_queues: num_queues.and_then(short) })
}
