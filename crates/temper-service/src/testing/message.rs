//! Messages by their descriptors: each field absent, meant, or as hostile as its type allows.

use std::collections::HashMap;

use proptest::{
    collection::{hash_map, vec},
    prelude::*,
    sample::{select, subsequence},
    strategy::BoxedStrategy,
};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// Bytes of a list of equal values at most: more than one such must fit into a request.
const REPEATED_BYTES: usize = 2 << 20;

/// How much of a message is not meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wildness {
    /// Only words that fit, and what has none left out.
    Tame,
    /// Here and there a field.
    Slight,
    /// All that has no word, and half of what has.
    Wild,
}

/// Values that fields of a name are given where they are meant; of a field that holds a message,
/// that it is there.
#[derive(Debug, Clone, Default)]
pub struct Words(HashMap<String, Vec<String>>);

impl Words {
    /// Adds values for fields of this name: of a map entries, `KEY=VALUE`.
    #[must_use]
    pub fn with(mut self, field: &str, words: &[&str]) -> Self {
        let known = self.0.entry(field.to_owned()).or_default();
        known.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    fn of(&self, field: &FieldDescriptor) -> Option<&[String]> {
        self.0.get(field.name()).map(Vec::as_slice)
    }
}

/// A field that is set, or not.
type Set = Option<(FieldDescriptor, Value)>;

/// Messages of a kind.
pub fn message(
    of: &MessageDescriptor,
    words: &Words,
    wildness: Wildness,
) -> BoxedStrategy<DynamicMessage> {
    let fields: Vec<_> = of.fields().map(|one| field(one, words, wildness)).collect();
    let of = of.clone();
    // In any order, because the last of a oneof's fields has its way.
    let fields = fields.prop_shuffle();
    fields
        .prop_map(move |fields| {
            let mut message = DynamicMessage::new(of.clone());
            for (field, value) in fields.into_iter().flatten() {
                message.set_field(&field, value);
            }
            message
        })
        .boxed()
}

fn field(of: FieldDescriptor, words: &Words, wildness: Wildness) -> BoxedStrategy<Set> {
    let inner = match of.kind() {
        Kind::Message(inner) if !of.is_map() => {
            let messages = message(&inner, words, wildness);
            Some(messages.prop_map(Value::Message).boxed())
        }
        _ => None,
    };
    let meant = meant(&of, words, inner.as_ref());
    let hostile = hostile(&of, inner);
    let is_known = words.of(&of).is_some();
    // Weights of absent, meant and hostile.
    let (absent, right, wrong) = match (wildness, is_known) {
        (Wildness::Tame, true) => (1, 19, 0),
        (Wildness::Tame, false) => (4, 1, 0),
        (Wildness::Slight, true) => (1, 18, 1),
        (Wildness::Slight, false) => (18, 5, 1),
        (Wildness::Wild, true) => (1, 2, 2),
        (Wildness::Wild, false) => (1, 0, 1),
    };
    let set = move |value| Some((of.clone(), value));
    let mut choices = vec![(absent, Just(None).boxed())];
    if let Some(meant) = meant.filter(|_| right > 0) {
        choices.push((right, meant.prop_map(set.clone()).boxed()));
    }
    if wrong > 0 {
        choices.push((wrong, hostile.prop_map(set).boxed()));
    }
    proptest::strategy::Union::new_weighted(choices).boxed()
}

/// Values that a field might well have; none for a field of which nobody knows any. `inner` are
/// messages for a field that takes such.
fn meant(
    of: &FieldDescriptor,
    words: &Words,
    inner: Option<&BoxedStrategy<Value>>,
) -> Option<BoxedStrategy<Value>> {
    let one = match (of.kind(), inner) {
        _ if of.is_map() => {
            let entries = words.of(of)?.iter().filter_map(|word| word.split_once('='));
            let entry = |(key, value): (&str, &str)| {
                (
                    MapKey::String(key.to_owned()),
                    Value::String(value.to_owned()),
                )
            };
            let entries: Vec<_> = entries.map(entry).collect();
            let most = entries.len();
            let maps = subsequence(entries, 1..=most);
            return Some(
                maps.prop_map(|some| Value::Map(some.into_iter().collect()))
                    .boxed(),
            );
        }
        (_, Some(inner)) => inner.clone(),
        (Kind::Bool, _) => any::<bool>().prop_map(Value::Bool).boxed(),
        (Kind::Enum(numbers), _) => {
            let numbers: Vec<_> = numbers.values().map(|value| value.number()).collect();
            select(numbers).prop_map(Value::EnumNumber).boxed()
        }
        (kind, _) => {
            let values = words.of(of)?.iter();
            let values: Vec<_> = values.filter_map(|word| read(&kind, word)).collect();
            let most = values.len();
            return match most {
                0 => None,
                _ if of.is_list() => {
                    Some(subsequence(values, 1..=most).prop_map(Value::List).boxed())
                }
                _ => Some(select(values).boxed()),
            };
        }
    };
    Some(if of.is_list() {
        vec(one, 1..3).prop_map(Value::List).boxed()
    } else {
        one
    })
}

/// A word as a value of a kind.
fn read(kind: &Kind, word: &str) -> Option<Value> {
    match kind {
        Kind::String => Some(Value::String(word.to_owned())),
        Kind::Double => word.parse().ok().map(Value::F64),
        Kind::Int32 => word.parse().ok().map(Value::I32),
        Kind::Int64 => word.parse().ok().map(Value::I64),
        Kind::Uint32 => word.parse().ok().map(Value::U32),
        Kind::Uint64 => word.parse().ok().map(Value::U64),
        _ => None,
    }
}

fn hostile(of: &FieldDescriptor, inner: Option<BoxedStrategy<Value>>) -> BoxedStrategy<Value> {
    if of.is_map() {
        let labels = hash_map(text(), text(), 0..80);
        let entry = |(key, value)| (MapKey::String(key), Value::String(value));
        let labels = labels.prop_map(move |map| Value::Map(map.into_iter().map(entry).collect()));
        return labels.boxed();
    }
    let is_message = inner.is_some();
    let one = inner.unwrap_or_else(|| match of.kind() {
        Kind::Enum(_) => prop_oneof![select(vec![-1, 99, i32::MIN, i32::MAX]), any::<i32>()]
            .prop_map(Value::EnumNumber)
            .boxed(),
        Kind::Double => double().prop_map(Value::F64).boxed(),
        Kind::Float => any::<f32>().prop_map(Value::F32).boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::String => text().prop_map(Value::String).boxed(),
        Kind::Bytes => vec(any::<u8>(), 0..99)
            .prop_map(|bytes| Value::Bytes(bytes.into()))
            .boxed(),
        kind => integer(kind),
    });
    if !of.is_list() {
        return one;
    }
    // A value many times over is as many mistakes, or as much work.
    let repeated = (one.clone(), 2..2000_usize).prop_map(|(value, times)| {
        let most = 1 + REPEATED_BYTES / bytes(&value);
        vec![value; times.min(most)]
    });
    let lists = prop_oneof![
        20 => vec(one, 0..4),
        if is_message { 1 } else { 4 } => repeated,
    ];
    lists.prop_map(Value::List).boxed()
}

/// About as many bytes as a value takes on the wire, at least 1.
fn bytes(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len(),
        Value::Message(message) => message.encoded_len(),
        _ => 0,
    }
}

fn double() -> impl Strategy<Value = f64> + Clone {
    let edges = vec![
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        1e308,
        -1e308,
        f64::MIN_POSITIVE,
        5e-324,
        -0.0,
        0.0,
        1.0,
        -1.0,
    ];
    prop_oneof![3 => select(edges), 1 => any::<f64>(), 1 => 0.0..1.0]
}

/// Integers at and around every bound that a width or a column has.
fn integer(kind: Kind) -> BoxedStrategy<Value> {
    let edges: Vec<i128> = [0, 1_i128 << 31, 1 << 32, 1 << 53, 1 << 63, 1 << 64]
        .into_iter()
        .flat_map(|edge| [edge - 1, edge, edge + 1, -edge, -edge - 1])
        .chain([2, 64, 1000, 1_000_000])
        .collect();
    let numbers = prop_oneof![3 => select(edges), 1 => any::<i64>().prop_map(i128::from)];
    numbers
        .prop_filter_map("beyond the width", move |number| {
            Some(match kind {
                Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number.try_into().ok()?),
                Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number.try_into().ok()?),
                Kind::Uint32 | Kind::Fixed32 => Value::U32(number.try_into().ok()?),
                _ => Value::U64(number.try_into().ok()?),
            })
        })
        .boxed()
}

/// Texts that are no name, no number, or no text for a database; rarely a megabyte of one.
fn text() -> impl Strategy<Value = String> + Clone {
    let known = [
        "",
        " ",
        "\0",
        "a\0b",
        "*",
        "%",
        "\u{feff}",
        "💥",
        "NaN",
        "inf",
        "-1",
        "1e308",
        "1/0",
        "999999999999/1",
        "-1/255",
        "0/1",
        "256/255",
        "1/1000000",
        "1/1000001",
        "4294967295ep",
        "0ep",
        "../../etc/passwd",
        "a/1/b",
        "'; DROP TABLE temper.sweep; --",
        "sweeps/",
        "jobs/0",
        "jobs/-1",
        "jobs/9223372036854775807",
        "sweeps/00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-000000000000",
        "00",
        "5b5d",
        "two-hinge(3/4,1/4)",
        "auto(0,1)",
    ];
    let known = known.map(str::to_owned).to_vec();
    let any_text = vec(any::<char>(), 0..40).prop_map(|all| all.into_iter().collect::<String>());
    let long =
        (any::<char>(), 200..5000_usize).prop_map(|(one, times)| one.to_string().repeat(times));
    let huge = Just(()).prop_map(|()| "m".repeat(1 << 20));
    prop_oneof![300 => select(known), 80 => any_text, 20 => long, 1 => huge]
}
