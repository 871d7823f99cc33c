//! Points and rules as they are written: which requests, and what becomes of them.
#![allow(dead_code, reason = "nothing is read into these types: they describe")]

use super::together;
use super::words::{
    AnyOperation, ClassName, Duration, Failure, Given, HexBytes, Leaf as ExpressionLeaf, OneOrMore, OnlyTrue,
    Operation, Positive, Probability, RuleName, Size, SomeBytes, SomeTime, Window,
};
use super::written::Range;
use schemars::JsonSchema;
use std::num::NonZeroU64;

/// A table that says which requests are meant: the keys of its own, then those that all such tables share.
macro_rules! matching {
    ($transform:path; $(#[$about:meta])* struct $name:ident { $($(#[$key:meta])* $own:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(JsonSchema)]
        #[schemars(rename_all = "kebab-case", deny_unknown_fields, transform = $transform)]
        pub struct $name {
            $($(#[$key])* $own: $kind,)*
            /// Which operations; default any.
            op: Option<Operations>,
            /// It shares a byte with this place or range.
            place: Option<PlaceUsed>,
            /// How many bytes it addresses.
            length: Option<Length>,
            /// Index of the queue that it comes through.
            queue: Option<Given<u16>>,
            /// What its blocks are to the filesystem; any of these.
            class: Option<OneOrMore<Given<ClassName>>>,
            /// What its data is; of a read it is known when the drive has done it.
            payload: Option<Payload>,
            /// It is a write that a flush follows.
            flush_follows: Option<Given<OnlyTrue>>,
            /// What has to be true then.
            after: Option<Expression>,
            /// What must not be true yet.
            before: Option<Expression>,
            /// What has to be true then.
            when: Option<Expression>,
            /// Only the n-th of those that match, in each attempt.
            nth: Option<Given<NonZeroU64>>,
            /// The first of those that match that counts.
            from: Option<Given<NonZeroU64>>,
            /// From there on, every so many.
            every: Option<Given<NonZeroU64>>,
            /// At most so many in an attempt.
            count: Option<Given<NonZeroU64>>,
            /// How probable it is that one of these is meant.
            probability: Option<Given<Probability>>,
        }
    };
}

matching! { together::point;
    /// A request with a name, or several: those of an attempt that match.
    struct Point {}
}

matching! { together::rule;
    /// For every request that matches: what becomes of it at a gate. The first rule that decides has the say.
    struct Rule {
        /// Its name; default `rule-N`.
        name: Option<RuleName>,
        /// Where it decides: `submit`, before the drive has the request, or `complete`, when it is done and the guest
        /// has not been told.
        gate: Given<Gate>,
        /// It is this point.
        point: Option<String>,
        /// States to turn on.
        set: Option<OneOrMore<String>>,
        /// States to turn off.
        clear: Option<OneOrMore<String>>,
        /// Events that happen: `policy.NAME`.
        emit: Option<OneOrMore<String>>,
        /// Hold it until this is true; with `reorder` or `pause`: when that ends.
        until: Option<Expression>,
        /// Let it wait for a time.
        delay: Option<Delay>,
        /// Collect requests and let them go on in another order.
        reorder: Option<Order>,
        /// How many are collected.
        window: Option<Given<Window>>,
        /// How long the first waits for the window to fill.
        within: Option<Given<SomeTime>>,
        /// Let it wait for its share of what a slow disk can do.
        limit: Option<Limit>,
        /// Let it wait while the disk stalls.
        stall: Option<Stall>,
        /// From this request on, everything on the disk or of its ring stands.
        pause: Option<Given<Scope>>,
        /// The status that it ends with.
        fail: Option<Given<Failure>>,
        /// It goes on at once, and later rules have no say.
        pass: Option<Given<bool>>,
        /// How long it may wait at most; default is that of the file.
        watchdog: Option<Given<SomeTime>>,
    }
}

/// Operations: one, a list, or any.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Operations {
    Some(OneOrMore<Given<Operation>>),
    Any(AnyOperation),
}

/// A place by its name, or a range.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum PlaceUsed {
    /// Name of a place.
    Name(String),
    /// Where.
    Range(Range),
}

/// How many bytes a request addresses: exactly, or bounds.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Length {
    Exactly(Given<Size>),
    Between(LengthBounds),
}

/// Bounds of a length.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields, extend("minProperties" = 1))]
struct LengthBounds {
    /// At least.
    min: Option<Given<Size>>,
    /// At most.
    max: Option<Given<Size>>,
}

/// What a request's data is.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Payload {
    Zero(Given<Zero>),
    Bytes(PayloadBytes),
    Text(PayloadText),
}

/// Nothing but zeros.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Zero {
    Zero,
}

/// Data that has these bytes there.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PayloadBytes {
    /// Offset in the request's data.
    offset: Given<Size>,
    /// In hexadecimal, blanks allowed: `"c0 3b 39 98"`.
    bytes: HexBytes,
}

/// Data that has this text there.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PayloadText {
    /// Offset in the request's data.
    offset: Given<Size>,
    /// The text.
    #[schemars(length(min = 1))]
    text: String,
}

/// An event (`A.done`, `guest.NAME`), a state (`state.NAME`), a comparison (`in-flight >= 8`, `W.arrived >= 3`), or
/// several of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Expression {
    Leaf(ExpressionLeaf),
    Any(AnyOf),
    All(AllOf),
    Not(NotSo),
}

/// True when one of them is.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AnyOf {
    /// The alternatives.
    #[schemars(length(min = 1))]
    any: Vec<Expression>,
}

/// True when each of them is.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AllOf {
    /// The parts.
    #[schemars(length(min = 1))]
    all: Vec<Expression>,
}

/// True when it is not.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NotSo {
    /// The part.
    not: Box<Expression>,
}

/// Where a rule decides.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Gate {
    /// Before the drive has the request.
    Submit,
    /// When the drive has done it and the guest has not been told.
    Complete,
}

/// How long a request is delayed: a time, or how it is drawn.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Delay {
    Fixed(Given<Duration>),
    Drawn(DelayDrawn),
}

/// How a delay is drawn: one of `uniform`, `normal`, `lognormal`, `pareto`, `table`, and bounds.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields, transform = together::delay)]
struct DelayDrawn {
    /// Least and most; anything between is as likely.
    uniform: Option<(Given<Duration>, Given<Duration>)>,
    /// The normal distribution.
    normal: Option<Normal>,
    /// The lognormal distribution.
    lognormal: Option<LogNormal>,
    /// The Pareto distribution.
    pareto: Option<Pareto>,
    /// Delays, and how often each comes.
    #[schemars(length(min = 1))]
    table: Option<Vec<(Given<Duration>, Given<Positive>)>>,
    /// Less counts as this.
    min: Option<Given<Duration>>,
    /// More counts as this.
    max: Option<Given<SomeTime>>,
}

/// The normal distribution.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Normal {
    /// Its mean.
    mean: Given<Duration>,
    /// Its standard deviation.
    deviation: Given<Duration>,
}

/// The lognormal distribution.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct LogNormal {
    /// Half are less.
    median: Given<SomeTime>,
    /// Of a hundred, 99 are less.
    p99: Given<SomeTime>,
}

/// The Pareto distribution.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Pareto {
    /// Its least value.
    least: Given<SomeTime>,
    /// The smaller, the heavier the tail.
    shape: Given<Positive>,
}

/// In which order collected requests go on.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Order {
    Word(Given<OrderWord>),
    /// Positions, counted from 1: `[3, 1, 2]` lets the third go first.
    Written(#[schemars(length(min = 2))] Vec<Given<NonZeroU64>>),
}

/// In which order collected requests go on.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum OrderWord {
    /// The youngest first.
    LastFirst,
    /// Drawn from the seed.
    Random,
    /// By where they are on the disk.
    BySector,
}

/// What a slow disk can do.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Limit {
    Requests(LimitRequests),
    Bytes(LimitBytes),
}

/// So many requests a second.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct LimitRequests {
    /// Requests a second.
    iops: Given<NonZeroU64>,
    /// How many at once after idling; default 1.
    burst: Option<Given<NonZeroU64>>,
}

/// So many bytes a second.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct LimitBytes {
    /// Bytes a second.
    bandwidth: Given<SomeBytes>,
    /// How many at once after idling; default 1.
    burst: Option<Given<SomeBytes>>,
}

/// Now and then nothing goes on for some time.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Stall {
    /// From the beginning of one stall to that of the next.
    every: Given<SomeTime>,
    /// How long each takes; less than `every`.
    r#for: Given<SomeTime>,
}

/// What a pause is for.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Scope {
    /// Every request.
    Disk,
    /// Those of the ring of the request that began it.
    Ring,
}
