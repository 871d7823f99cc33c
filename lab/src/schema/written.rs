//! The tables of a policy as they are written; doc comments are what editors show.
#![allow(dead_code, reason = "nothing is read into these types: they describe")]

use super::rules::{Expression, Point, Rule};
use super::words::{
    BlockSize, GateOfPoint, Given, ImageSize, Named, QueueNumber, QueueSize, ScriptName, Size, SomeBytes,
    SomeTime, Texts, Variables,
};
use schemars::JsonSchema;
use std::num::NonZeroU64;

/// A policy of blkstay: which requests on a disk have to wait for what, or fail.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Policy {
    /// Files whose tables are added to this one's; paths are seen from this file.
    include: Option<Vec<Include>>,
    /// What chance is drawn from; default 0.
    seed: Option<Given<u64>>,
    /// How long anything may wait for something to happen; default 10 s.
    watchdog: Option<Given<SomeTime>>,
    /// Values that can be given from outside, and their defaults.
    parameter: Option<Named<Parameter>>,
    /// What it takes to run the policy in a guest.
    case: Option<Case>,
    /// Ranges of the disk.
    place: Option<Named<Place>>,
    /// Events, and who makes them happen.
    event: Option<Named<Given<Source>>>,
    /// States that rules turn on and off, and whether each is on when an attempt begins.
    state: Option<Named<Given<bool>>>,
    /// Requests that have a name.
    point: Option<Named<Point>>,
    /// What has to wait for what.
    hold: Option<Vec<Hold>>,
    /// What becomes of requests; of those that match, the first that decides.
    rule: Option<Vec<Rule>>,
    /// How the symptom is seen.
    sign: Option<Named<Sign>>,
}

/// A file that is included.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Include {
    /// Its path.
    Path(String),
    /// Its path and values of its parameters.
    File(IncludedFile),
}

/// A file that is included, with values of its parameters.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct IncludedFile {
    /// Its path.
    path: String,
    /// Values of its parameters.
    set: Option<Named<Scalar>>,
}

/// A value that a parameter can have.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Scalar {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
}

/// A parameter: its default, or a table.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Parameter {
    /// Its default.
    Default(Scalar),
    /// What it is for, and its default.
    Described(DescribedParameter),
}

/// A parameter that says what it is for.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct DescribedParameter {
    /// What it is for.
    about: Option<String>,
    /// Its default; without one it has to be set.
    default: Option<Scalar>,
}

/// How a policy is run in a guest.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Case {
    /// What it shows, in a line or two.
    about: String,
    /// File name of the guest's script, in guest-scripts/ or beside the policy.
    guest: ScriptName,
    /// Whether the script waits for `attempt.stalled` and reports as `stuck` where the guest stands.
    witness: Option<Witness>,
    /// Points that are direct writes, each with the event by which the guest tells that it has seen it complete.
    direct: Option<Named<String>>,
    /// What the script finds in its environment.
    variables: Option<Variables>,
    /// Events of the guest that divide an attempt: what the disk does between one and the next is counted.
    phases: Option<Texts>,
    /// How long an attempt may take, beside its holds, before the guest counts as lost; default 60 s.
    limit: Option<Given<SomeTime>>,
    /// How the disk is made.
    image: Image,
    /// What QEMU is told of the disk.
    device: Option<Device>,
}

/// Whether there is a witness, and where it must see the guest stand.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Witness {
    /// Whether there is one; the guest may sleep anywhere.
    Is(Given<bool>),
    /// The processes that `stuck` may name.
    Processes(Named<WitnessPlace>),
}

/// Where a process has to sleep.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum WitnessPlace {
    /// The innermost kernel function is one of these.
    Functions(Texts),
    /// The same, and what it means.
    Meant(WitnessMeant),
}

/// Where a process has to sleep, and what that means.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct WitnessMeant {
    /// The innermost kernel function is one of these.
    r#in: Texts,
    /// What it means, for people.
    means: Option<String>,
}

/// How the disk of a case is made.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Image {
    /// Its size, 1M to 1T, a multiple of 4k.
    size: Given<ImageSize>,
    /// Which filesystem is made on it.
    filesystem: Given<Filesystem>,
    /// Options of mkfs.
    options: Option<Vec<String>>,
}

/// A filesystem.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Filesystem {
    Ext4,
    Xfs,
}

/// What QEMU is told of the disk.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Device {
    /// Requests that fit into a ring: a power of 2.
    queue_size: Option<Given<QueueSize>>,
    /// How many rings there are.
    num_queues: Option<Given<QueueNumber>>,
}

/// A place: where it is, or that the guest says where.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Place {
    /// The guest binds it at run time, with `stay place`.
    Guest(Given<ByGuest>),
    /// Where it is.
    Range(Range),
}

/// The guest binds it at run time.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum ByGuest {
    Guest,
}

/// A range of the disk.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Range {
    Bytes(RangeBytes),
    Sectors(RangeSectors),
    Blocks(RangeBlocks),
}

/// A range of the disk in bytes.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RangeBytes {
    /// First byte.
    offset: Given<Size>,
    /// Number of bytes.
    length: Given<SomeBytes>,
}

/// A range of the disk in sectors of 512 bytes.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RangeSectors {
    /// First sector.
    sector: Given<u64>,
    /// Number of sectors.
    sectors: Given<NonZeroU64>,
}

/// A range of the disk in blocks.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RangeBlocks {
    /// First block.
    block: Given<u64>,
    /// Number of blocks.
    blocks: Given<NonZeroU64>,
    /// Bytes in a block; default 4k.
    block_size: Option<Given<BlockSize>>,
}

/// Who makes an event happen.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Source {
    /// The guest: `stay emit NAME`.
    Guest,
    /// A client of the control socket.
    Control,
    /// A rule's `emit`.
    Policy,
}

/// Keeps a point at a gate until something is true.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Hold {
    /// `POINT.submit`: its data does not reach the media; `POINT.complete`: it does, but the guest is not told.
    gate: GateOfPoint,
    /// What ends it.
    until: Expression,
    /// How long it may stand; default is that of the file.
    watchdog: Option<Given<SomeTime>>,
}

/// How the symptom is seen.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Sign {
    KernelLog(SignInLog),
    Report(SignReported),
}

/// A line of the guest's kernel log.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct SignInLog {
    /// Text that such a line has.
    #[schemars(length(min = 1))]
    kernel_log: String,
    /// How many such lines a kernel prints in one boot before it falls silent.
    per_boot_max: Option<Given<NonZeroU64>>,
}

/// A value that the guest reports.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct SignReported {
    /// Name of the report.
    report: String,
    /// The value that is a sign.
    is: String,
}
