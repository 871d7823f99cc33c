//! Values that are not tables: words of the language, quantities, and parameters in place of any of them.

use blkstay_engine::class::ClassSet;
use blkstay_engine::request::{Op, Status};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::marker::PhantomData;

/// A type whose schema is `$schema`, which may use `$generator`.
macro_rules! described {
    ($(#[doc = $doc:literal])* $name:ident, $schema:expr) => {
        $(#[doc = $doc])*
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema: Schema = $schema;
                schema.insert("description".to_owned(), [$($doc),*].concat().trim().into());
                schema
            }
        }
    };
}

described!(
    /// The value of a parameter: `$NAME`, or a text with `${NAME}` in it.
    ParameterUse,
    json_schema!({ "type": "string", "pattern": "\\$" })
);

described!(
    /// Bytes: a whole number, or `"4k"`, `"64M"`, `"1G"`; powers of 1024.
    Size,
    json_schema!({ "anyOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": "^\\s*[0-9]+\\s*[kKMGT]?\\s*$" },
    ] })
);

described!(
    /// A time: `"50us"`, `"10ms"`, `"2s"`.
    Duration,
    json_schema!({ "type": "string", "pattern": "^\\s*[0-9]+\\s*(ns|us|µs|ms|s)\\s*$" })
);

described!(
    /// Bytes, more than none: a whole number, or `"4k"`, `"64M"`, `"1G"`; powers of 1024.
    SomeBytes,
    json_schema!({ "anyOf": [
        { "type": "integer", "minimum": 1 },
        { "type": "string", "pattern": "^\\s*0*[1-9][0-9]*\\s*[kKMGT]?\\s*$" },
    ] })
);

described!(
    /// A time above none: `"50us"`, `"10ms"`, `"2s"`.
    SomeTime,
    json_schema!({ "type": "string", "pattern": "^\\s*0*[1-9][0-9]*\\s*(ns|us|µs|ms|s)\\s*$" })
);

described!(
    /// Bytes of a block: 512 or a power of 2 more.
    BlockSize,
    json_schema!({ "anyOf": [
        { "type": "integer", "enum": (9..41).map(|bits| 1_u64 << bits).collect::<Vec<_>>() },
        { "type": "string", "pattern": "^\\s*0*(512|1024|2048|4096|8192|16384|32768|65536|131072|262144|524288|1048576|(1|2|4|8|16|32|64|128|256|512|1024)\\s*[kKMGT])\\s*$" },
    ] })
);

described!(
    /// Always `true`: without it, nothing is said.
    OnlyTrue,
    json_schema!({ "const": true })
);

described!(
    /// The size of an image: 1M to 1T, a multiple of 4k.
    ImageSize,
    json_schema!({ "anyOf": [
        { "type": "integer", "minimum": 1 << 20, "maximum": 1_u64 << 40, "multipleOf": 4096 },
        { "type": "string", "pattern": "^\\s*0*([1-9][0-9]{6,}|[1-9][0-9]{3,}\\s*[kK]|[1-9][0-9]*\\s*[MGT])\\s*$" },
    ] })
);

described!(
    /// What the script finds in its environment: names of A to Z, 0 to 9 and _, with lines of text or whole numbers.
    Variables,
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": "^[A-Z_][A-Z0-9_]*$" },
        "additionalProperties": { "anyOf": [{ "type": "string" }, { "type": "integer" }] },
    })
);

described!(
    /// One or more texts.
    Texts,
    json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
);

described!(
    /// Requests that fit into a ring: a power of 2, 2 to 1024.
    QueueSize,
    json_schema!({ "type": "integer", "enum": (1..=10).map(|bits| 1_u32 << bits).collect::<Vec<_>>() })
);

described!(
    /// A number of rings, 1 to 16.
    QueueNumber,
    json_schema!({ "type": "integer", "minimum": 1, "maximum": 16 })
);

described!(
    /// How many are collected, 2 or more.
    Window,
    json_schema!({ "type": "integer", "minimum": 2 })
);

described!(
    /// Bytes in hexadecimal, two digits for each, blanks allowed.
    HexBytes,
    json_schema!({ "type": "string", "pattern": "^\\s*([0-9A-Fa-f]\\s*[0-9A-Fa-f]\\s*)+$|\\$" })
);

described!(
    /// The name of a rule.
    RuleName,
    json_schema!({ "anyOf": [
        { "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*$", "not": { "enum": RESERVED } },
        { "type": "string", "pattern": "\\$" },
    ] })
);

described!(
    /// `POINT.submit` or `POINT.complete`.
    GateOfPoint,
    json_schema!({ "type": "string", "pattern": "^[^.]+\\.(submit|complete)$|\\$" })
);

described!(
    /// The file name of a guest script; not a path.
    ScriptName,
    json_schema!({ "type": "string", "pattern": "^[^/]*$|\\$" })
);

described!(
    /// An event (`A.done`, `guest.NAME`), a state (`state.NAME`), or a comparison (`in-flight >= 8`, `W.arrived >= 3`).
    Leaf,
    json_schema!({ "type": "string", "anyOf": [
        { "pattern": "^\\s*(guest|control|policy|state)\\.[A-Za-z][A-Za-z0-9_-]*\\s*$" },
        { "pattern": "^\\s*attempt\\.(finished|stalled)\\s*$" },
        { "pattern": "^\\s*[A-Za-z][A-Za-z0-9_-]*\\.(arrived|submitted|done|completed)\\s*$" },
        { "pattern": "^\\s*(in-flight|held|attempt\\.(finished|stalled)|(guest|control|policy)\\.[A-Za-z][A-Za-z0-9_-]*|[A-Za-z][A-Za-z0-9_-]*\\.(arrived|submitted|done|completed))\\s*(>=\\s*0*[1-9][0-9]*|<\\s*0*[1-9][0-9]*|(>|<=|==)\\s*[0-9]+)\\s*$" },
        { "pattern": "\\$" },
    ] })
);

described!(
    /// What a request asks of the drive.
    Operation,
    json_schema!({ "type": "string", "enum": Op::ALL.map(Op::name) })
);

described!(
    /// Any operation.
    AnyOperation,
    json_schema!({ "const": "any" })
);

described!(
    /// What a block is to the filesystem, or a group of such classes.
    ClassName,
    json_schema!({ "type": "string", "enum": ClassSet::names().collect::<Vec<_>>() })
);

described!(
    /// How a request ends instead of as the drive says.
    Failure,
    json_schema!({
        "type": "string",
        "enum": Status::ALL.into_iter().filter(|status| *status != Status::Ok).map(Status::name).collect::<Vec<_>>()
    })
);

described!(
    /// A number above 0.
    Positive,
    json_schema!({ "type": "number", "exclusiveMinimum": 0 })
);

described!(
    /// A probability above 0, at most 1.
    Probability,
    json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 })
);

/// Words that begin names of the language, and so name nothing else.
const RESERVED: [&str; 5] = ["guest", "control", "policy", "state", "attempt"];

/// A value, or a parameter that has it.
pub struct Given<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Given<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_parameter", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (value, parameter) = (generator.subschema_for::<T>(), generator.subschema_for::<ParameterUse>());
        json_schema!({ "anyOf": [value, parameter] })
    }
}

/// One of something, or a list of them.
pub struct OneOrMore<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_list", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// A table whose keys are names.
pub struct Named<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}_by_name", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "additionalProperties": value,
            "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_-]*$", "not": { "enum": RESERVED } },
        })
    }
}
