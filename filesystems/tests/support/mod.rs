//! Images made with e2fsprogs, and what dumpe2fs and debugfs say of them.
#![allow(dead_code)]

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::request::ByteRange;
use blkstay_filesystems::Map;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// An image in a directory that goes away.
pub struct Image {
    dir: TempDir,
}

impl Image {
    /// A new filesystem of `blocks` kibibytes with some files in it.
    pub fn new(kibibytes: u64, options: &[&str]) -> Image {
        let image = Image::empty(kibibytes, options);
        image.fill();
        image
    }

    /// A new filesystem without files.
    pub fn empty(kibibytes: u64, options: &[&str]) -> Image {
        let image = Image { dir: TempDir::new().expect("a directory") };
        let file = std::fs::File::create(image.path()).expect("an image");
        file.set_len(kibibytes * 1024).expect("as long as that");
        let size = (kibibytes).to_string() + "k";
        run("mkfs.ext4", &[&["-q", "-F"], options, &[&*image.path().to_string_lossy(), &size]].concat(), "");
        image
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("an image")
    }

    /// A copy of it.
    pub fn copy(&self) -> Image {
        let copy = Image { dir: TempDir::new().expect("a directory") };
        std::fs::copy(self.path(), copy.path()).expect("a copy");
        copy
    }

    /// What it becomes with these bytes.
    pub fn of(bytes: &[u8]) -> Image {
        let image = Image { dir: TempDir::new().expect("a directory") };
        std::fs::write(image.path(), bytes).expect("an image");
        image
    }

    /// Runs commands of debugfs on it. `@name` is the path of a file beside the image.
    pub fn debugfs(&self, commands: &str) -> String {
        let commands = commands.replace('@', &format!("{}/", self.dir.path().display()));
        run("debugfs", &["-w", "-f", "-", &*self.path().to_string_lossy()], &commands)
    }

    /// Makes a file beside the image.
    pub fn beside(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).expect("a file");
    }

    /// Makes files and directories of all kinds: small, large, with holes, with many extents, long links,
    /// large attributes, deleted ones.
    fn fill(&self) {
        self.beside("small", b"some words");
        self.beside("large", &vec![7; 2_000_000]);
        self.beside("value", &[b'v'; 700]);
        self.debugfs(&commands());
    }
}

/// Makes what [`Image::fill`] says.
fn commands() -> String {
    let mut text = String::new();
    for index in 0..150 {
        text += &format!("write @small small{index}\n");
    }
    text += "write @large large\nmkdir sub\ncd sub\n";
    text += &(0..40).map(|index| format!("mkdir dir{index}\n")).collect::<String>();
    text += "cd /\nmkdir gone\nrmdir gone\n";
    text += &format!("symlink long {}\nsymlink short x\n", "x".repeat(150));
    text += "write @large torn\n";
    text += &(1..400).map(|index| format!("punch torn {0} {0}\n", index * 3)).collect::<String>();
    text += "write @small high\nfallocate high 70000 70100\n";
    text += "write @small many\n";
    text += &(1..30).map(|index| format!("fallocate many {0} {0}\n", index * 9000)).collect::<String>();
    text += "ea_set -f @value small1 user.big\nea_set -f @value torn user.big\n";
    text += "mknod pipe p\nrm small3\nrm small4\n";
    text
}

fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("DEBUGFS_PAGER", "cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} (e2fsprogs): {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("its end");
    writer.join().expect("a thread").expect("all is read");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Learns what is in an image.
pub fn learn(bytes: &[u8]) -> Map {
    Map::learn(bytes.len() as u64, &mut reader(bytes))
}

/// Reads bytes.
pub fn reader(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> bool + '_ {
    |offset, into| {
        let from = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)?.get(..into.len()));
        from.map(|from| into.copy_from_slice(from)).is_some()
    }
}

/// A disk, the map of it, and writes to both.
pub struct Bench {
    pub disk: Vec<u8>,
    pub map: Map,
}

impl Bench {
    pub fn new(disk: Vec<u8>) -> Bench {
        Bench { map: learn(&disk), disk }
    }

    /// Writes; the disk has it only after the map was told.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> ClassSet {
        let range = ByteRange { offset, length: data.len() as u64 };
        let set = self.map.write(range, &mut reader(data), &mut reader(&self.disk));
        self.disk[offset as usize..][..data.len()].copy_from_slice(data);
        set
    }

    /// Writes a block of another image.
    pub fn write_block_of(&mut self, image: &[u8], block: u64, size: u64) -> ClassSet {
        let start = (block * size) as usize;
        self.write(block * size, &image[start..start + size as usize])
    }
}

/// The class of every block as the map tells a reader.
pub fn classes(map: &Map, bytes: u64, size: u64) -> Vec<ClassSet> {
    (0..bytes / size).map(|block| map.read(ByteRange { offset: block * size, length: size })).collect()
}

/// The blocks in which two images differ.
pub fn difference(before: &[u8], after: &[u8], size: u64) -> Vec<u64> {
    let pairs = before.chunks(size as usize).zip(after.chunks(size as usize));
    pairs.enumerate().filter(|(_, (before, after))| before != after).map(|(block, _)| block as u64).collect()
}

/// The class of every block by what dumpe2fs and debugfs say.
pub struct Oracle {
    classes: BTreeMap<u64, Class>,
    pub block_size: u64,
    blocks: u64,
}

impl Oracle {
    pub fn of(image: &Image) -> Oracle {
        let dump = run("dumpe2fs", &[&*image.path().to_string_lossy()], "");
        let mut oracle = Oracle {
            classes: BTreeMap::new(),
            block_size: field(&dump, "Block size:"),
            blocks: field(&dump, "Block count:"),
        };
        let (_, groups) = dump.split_once("\n\nGroup 0:").expect("groups");
        let free = ranges_of(groups, "Free inodes:");
        let bytes = image.bytes();
        let inodes = field(&dump, "Inode count:");
        let used = (2..=inodes).filter(|inode| !free.iter().any(|range| range.contains(inode)));
        let stats: String = used.map(|inode| format!("stat <{inode}>\n")).collect();
        let journal = dump.lines().find_map(|line| line.strip_prefix("Journal inode:"));
        let journal = journal.map_or(0, |number| number.trim().parse().expect("a number"));
        for stat in image.debugfs(&stats).split("debugfs: stat").skip(1) {
            oracle.add_file(stat, journal, &bytes);
        }
        oracle.add_groups(groups);
        oracle
    }

    /// Compares with what the map tells.
    pub fn assert_is(&self, map: &Map) {
        let seen = classes(map, self.blocks * self.block_size, self.block_size);
        let wrong: Vec<String> = (0..self.blocks)
            .filter_map(|block| {
                let right = self.at(block);
                let seen = seen[block as usize];
                (seen != ClassSet::of(&[right])).then(|| format!("{block}: {seen}, not {}", right.name()))
            })
            .collect();
        let some = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        assert!(wrong.is_empty(), "{} blocks are wrong:\n{some}", wrong.len());
    }

    /// The class of a block.
    pub fn at(&self, block: u64) -> Class {
        self.classes.get(&block).copied().unwrap_or(Class::Unknown)
    }

    /// How many blocks are of each class.
    pub fn count(&self, class: Class) -> usize {
        self.classes.values().filter(|seen| **seen == class).count()
    }

    /// Takes what dumpe2fs says of each group.
    fn add_groups(&mut self, groups: &str) {
        for part in groups.lines().filter(|line| line.starts_with("  ")).flat_map(|line| line.split(", ")) {
            let Some((what, place)) = part.trim().split_once(" at ") else { continue };
            let class = match what {
                "Primary superblock" | "Backup superblock" => Class::Superblock,
                "Group descriptor" | "Group descriptors" | "Reserved GDT blocks" => Class::GroupDescriptor,
                "Block bitmap" => Class::BlockBitmap,
                "Inode bitmap" => Class::InodeBitmap,
                "Inode table" => Class::InodeTable,
                _ => continue,
            };
            let range = range(place.split(' ').next().expect("a place"));
            range.for_each(|block| _ = self.classes.insert(block, class));
        }
    }

    /// Takes what debugfs says of an inode.
    fn add_file(&mut self, stat: &str, journal: u64, image: &[u8]) {
        let inode: u64 = word(stat, "Inode: ").and_then(|word| word.parse().ok()).expect("an inode");
        let attributes: u64 = word(stat, "File ACL: ").and_then(|word| word.parse().ok()).expect("a block");
        if attributes != 0 {
            self.classes.insert(attributes, Class::Xattr);
        }
        let class = match word(stat, "Type: ") {
            Some("directory") => Class::Directory,
            Some("regular") if inode == 7 => Class::GroupDescriptor,
            Some("regular") if inode == journal => Class::JournalBlock,
            Some("regular" | "symlink") => Class::FileData,
            _ => return,
        };
        let blocks = ["BLOCKS:\n", "EXTENTS:\n"].into_iter().find_map(|head| stat.split_once(head));
        let Some((_, blocks)) = blocks else { return };
        for part in blocks.lines().next().unwrap_or("").split(", ") {
            let Some((logical, place)) = part.split_once("):") else { continue };
            let class = match logical.trim_start_matches('(') {
                "IND" | "DIND" | "TIND" => Class::Indirect,
                tree if tree.starts_with("ETB") => Class::Extent,
                _ => class,
            };
            for block in range(place) {
                let class =
                    if class == Class::JournalBlock { self.journal_class(image, block) } else { class };
                self.classes.insert(block, class);
            }
        }
    }

    fn journal_class(&self, image: &[u8], block: u64) -> Class {
        let bytes = &image[(block * self.block_size) as usize..][..8];
        match (&bytes[..4] == b"\xC0\x3B\x39\x98").then_some(bytes[7]) {
            Some(1) => Class::JournalDescriptor,
            Some(2) => Class::JournalCommit,
            Some(3 | 4) => Class::JournalSuperblock,
            Some(5) => Class::JournalRevoke,
            _ => Class::JournalBlock,
        }
    }
}

fn field(dump: &str, name: &str) -> u64 {
    let line = dump.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{name} of dumpe2fs"))
}

fn word<'a>(text: &'a str, after: &str) -> Option<&'a str> {
    text.split_once(after)?.1.split_whitespace().next()
}

fn range(text: &str) -> std::ops::RangeInclusive<u64> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("`{text}` is no number"));
    number(first)..=number(last)
}

fn ranges_of(dump: &str, name: &str) -> Vec<std::ops::RangeInclusive<u64>> {
    let lines = dump.lines().filter_map(|line| line.trim().strip_prefix(name));
    lines.flat_map(|line| line.split(',')).filter(|part| !part.trim().is_empty()).map(range).collect()
}

/// Blocks in another order: as they are for 0, the last first for 1, else by chance.
pub fn shuffle(mut blocks: Vec<u64>, seed: u64) -> Vec<u64> {
    let mut state = seed;
    match seed {
        0 => {}
        1 => blocks.reverse(),
        _ => blocks.sort_by_cached_key(|block| {
            state = (state ^ block).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            state
        }),
    }
    blocks
}
