//! Every key that a table of a policy can have. The reader knows no others; the schema is held against this.

/// The policy itself.
pub const POLICY: &[&str] = &[
    "include",
    "seed",
    "watchdog",
    "parameter",
    "case",
    "place",
    "event",
    "state",
    "point",
    "hold",
    "rule",
    "sign",
];

/// An element of `include` that is a table.
pub const INCLUDE: &[&str] = &["path", "set"];

/// A parameter that is a table.
pub const PARAMETER: &[&str] = &["about", "default"];

/// `[case]`.
pub const CASE: &[&str] =
    &["about", "guest", "witness", "direct", "variables", "phases", "limit", "image", "device"];

/// A process in `witness` that says what its waiting means.
pub const WITNESS: &[&str] = &["in", "means"];

/// `[case.image]`.
pub const IMAGE: &[&str] = &["size", "filesystem", "options"];

/// `[case.device]`.
pub const DEVICE: &[&str] = &["queue-size", "num-queues"];

/// A range of the disk in any of its forms.
pub const RANGE: &[&str] = &["offset", "length", "sector", "sectors", "block", "blocks", "block-size"];

/// A range in bytes.
pub const RANGE_BYTES: &[&str] = &["offset", "length"];

/// A range in sectors of 512 bytes.
pub const RANGE_SECTORS: &[&str] = &["sector", "sectors"];

/// A range in blocks.
pub const RANGE_BLOCKS: &[&str] = &["block", "blocks", "block-size"];

/// A point: which requests are meant.
pub const POINT: &[&str] = &[
    "op",
    "place",
    "length",
    "queue",
    "class",
    "payload",
    "flush-follows",
    "after",
    "before",
    "when",
    "nth",
    "from",
    "every",
    "count",
    "probability",
];

/// `length` that is a table.
pub const LENGTH: &[&str] = &["min", "max"];

/// `payload` that is a table.
pub const PAYLOAD: &[&str] = &["offset", "bytes", "text"];

/// `[[hold]]`.
pub const HOLD: &[&str] = &["gate", "until", "watchdog"];

/// `[[rule]]`: the keys of a point and those of its own.
pub const RULE: &[&str] = &[
    "name",
    "gate",
    "point",
    "op",
    "place",
    "length",
    "queue",
    "class",
    "payload",
    "flush-follows",
    "after",
    "before",
    "when",
    "nth",
    "from",
    "every",
    "count",
    "probability",
    "set",
    "clear",
    "emit",
    "until",
    "delay",
    "reorder",
    "window",
    "within",
    "limit",
    "stall",
    "pause",
    "fail",
    "pass",
    "watchdog",
];

/// Keys of `[[rule]]` that are kept for effects on data.
pub const RESERVED: &[&str] = &["tear", "corrupt", "lose", "misdirect"];

/// `delay` that is a table.
pub const DELAY: &[&str] = &["uniform", "normal", "lognormal", "pareto", "table", "min", "max"];

/// `delay.normal`.
pub const NORMAL: &[&str] = &["mean", "deviation"];

/// `delay.lognormal`.
pub const LOGNORMAL: &[&str] = &["median", "p99"];

/// `delay.pareto`.
pub const PARETO: &[&str] = &["least", "shape"];

/// `limit`.
pub const LIMIT: &[&str] = &["iops", "bandwidth", "burst"];

/// `stall`.
pub const STALL: &[&str] = &["every", "for"];

/// `[sign]` NAME.
pub const SIGN: &[&str] = &["kernel-log", "per-boot-max", "report", "is"];

/// An expression that is a table; it has exactly one of them.
pub const EXPRESSION: &[&str] = &["any", "all", "not"];
