//! The closed list of constructors. A pickle that names anything else is refused.

use super::value::{Heap, Id, Node, Read};

/// A constructor or type that means data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    // Carried out at once, by `call`, into plain values.
    Bytes,
    ByteArray,
    Dict,
    Encode,
    FrozenSet,
    /// Only as `getattr(ZoneInfo, "_unpickle")`, which is how time zones are written.
    GetAttr,
    List,
    OrderedDict,
    DefaultDict,
    PyBuffer,
    Reconstructor,
    Set,
    Tuple,
    // Types that only stand as arguments.
    Object,
    Type,
    Record,
    // Written down, and read where a table is made of them.
    ArrowArray,
    ArrowChunks,
    ArrowStringArray,
    ArrowType,
    Slice,
    Complex,
    Date,
    DateTime,
    Time,
    TimeDelta,
    TimeZone,
    Decimal,
    NdArray,
    Dtype,
    FromBuffer,
    Reconstruct,
    Scalar,
    BlockManager,
    BooleanArray,
    Categorical,
    CategoricalDtype,
    CategoricalIndex,
    DataFrame,
    DatetimeArray,
    DatetimeTzDtype,
    ExtensionDtype,
    Index,
    MaskedArray,
    MissingNa,
    MissingNat,
    MultiIndex,
    NewIndex,
    NumpyExtensionArray,
    Offset,
    PandasTimedelta,
    RangeIndex,
    Series,
    StringArray,
    TimedeltaArray,
    Timestamp,
    UnpickleBlock,
    UnpickleNdArrayBacked,
}

impl Global {
    /// Looks `module.name` up in the list.
    ///
    /// The module is followed loosely within NumPy and pandas, which move their types about from
    /// release to release: nothing is imported, so only the meaning of the name matters.
    pub(super) fn find(module: &str, name: &str) -> Read<Self> {
        let package = module.split('.').next().unwrap_or_default();
        let found = match package {
            "builtins" | "__builtin__" => builtin(name),
            "_codecs" => (name == "encode").then_some(Global::Encode),
            "copyreg" | "copy_reg" => (name == "_reconstructor").then_some(Global::Reconstructor),
            "collections" => match name {
                "OrderedDict" | "Counter" => Some(Global::OrderedDict),
                "defaultdict" => Some(Global::DefaultDict),
                "deque" => Some(Global::List),
                _ => None,
            },
            "datetime" => match name {
                "date" => Some(Global::Date),
                "datetime" => Some(Global::DateTime),
                "time" => Some(Global::Time),
                "timedelta" => Some(Global::TimeDelta),
                "timezone" => Some(Global::TimeZone),
                _ => None,
            },
            "decimal" | "_decimal" | "cdecimal" => (name == "Decimal").then_some(Global::Decimal),
            "pytz" => matches!(name, "_UTC" | "_p").then_some(Global::TimeZone),
            "zoneinfo" => {
                matches!(name, "ZoneInfo" | "ZoneInfo._unpickle").then_some(Global::TimeZone)
            }
            // What `load_iris()` and its like return: a dict.
            "sklearn" => (name == "Bunch").then_some(Global::OrderedDict),
            "numpy" => numpy(name),
            "pandas" if module.ends_with("offsets") => Some(Global::Offset),
            "pandas" => pandas(name),
            "pyarrow" => pyarrow(name),
            _ => None,
        };
        found.ok_or_else(|| refused(module, name))
    }
}

fn refused(module: &str, name: &str) -> String {
    let full = format!("{module}.{name}");
    let shown: String = full.chars().take(120).flat_map(char::escape_debug).collect();
    if module.starts_with("pyarrow") || name == "ArrowExtensionArray" {
        return format!(
            "calls for `{shown}`: of the arrays of pyarrow only columns of texts are read from a \
             pickle; write it again with `df.to_parquet(…)`, or after `df.astype(object)`"
        );
    }
    format!(
        "calls for `{shown}`, which is not data that TESLA reads from a pickle (plain Python \
         values, arrays, data frames), and nothing is ever run: write the data again with \
         `df.to_parquet(…)`, `df.to_csv(…)` or `np.savez(…)`"
    )
}

fn builtin(name: &str) -> Option<Global> {
    Some(match name {
        "bytearray" => Global::ByteArray,
        "bytes" => Global::Bytes,
        "complex" => Global::Complex,
        "dict" => Global::Dict,
        "frozenset" => Global::FrozenSet,
        "getattr" => Global::GetAttr,
        "list" => Global::List,
        "object" => Global::Object,
        "set" => Global::Set,
        "slice" => Global::Slice,
        "tuple" => Global::Tuple,
        "bool" | "float" | "int" | "long" | "str" | "unicode" => Global::Type,
        _ => return None,
    })
}

fn numpy(name: &str) -> Option<Global> {
    Some(match name {
        "_frombuffer" => Global::FromBuffer,
        "_reconstruct" => Global::Reconstruct,
        "dtype" => Global::Dtype,
        "memmap" | "ndarray" | "recarray" => Global::NdArray,
        "record" => Global::Record,
        "scalar" => Global::Scalar,
        _ => return None,
    })
}

fn pandas(name: &str) -> Option<Global> {
    Some(match name {
        "ArrowStringArray" | "ArrowStringArrayNumpySemantics" => Global::ArrowStringArray,
        "BlockManager" | "SingleBlockManager" => Global::BlockManager,
        "BooleanArray" => Global::BooleanArray,
        "Categorical" => Global::Categorical,
        "CategoricalDtype" => Global::CategoricalDtype,
        "CategoricalIndex" => Global::CategoricalIndex,
        "DataFrame" => Global::DataFrame,
        "DatetimeArray" => Global::DatetimeArray,
        "DatetimeTZDtype" => Global::DatetimeTzDtype,
        "BooleanDtype" | "Float32Dtype" | "Float64Dtype" | "Int8Dtype" | "Int16Dtype"
        | "Int32Dtype" | "Int64Dtype" | "NumpyEADtype" | "PandasDtype" | "StringDtype"
        | "UInt8Dtype" | "UInt16Dtype" | "UInt32Dtype" | "UInt64Dtype" => Global::ExtensionDtype,
        "DatetimeIndex" | "Float64Index" | "Index" | "Int64Index" | "NumericIndex"
        | "TimedeltaIndex" | "UInt64Index" => Global::Index,
        "FloatingArray" | "IntegerArray" => Global::MaskedArray,
        "C_NA" | "NA" => Global::MissingNa,
        "_nat_unpickle" => Global::MissingNat,
        "MultiIndex" => Global::MultiIndex,
        "_new_DatetimeIndex" | "_new_Index" => Global::NewIndex,
        "NumpyExtensionArray" | "PandasArray" => Global::NumpyExtensionArray,
        "_timedelta_unpickle" => Global::PandasTimedelta,
        "RangeIndex" => Global::RangeIndex,
        "Series" => Global::Series,
        "StringArray" | "StringArrayNumpySemantics" => Global::StringArray,
        "TimedeltaArray" => Global::TimedeltaArray,
        "_unpickle_timestamp" => Global::Timestamp,
        "_unpickle_block" | "make_block" | "new_block" => Global::UnpickleBlock,
        "__pyx_unpickle_NDArrayBacked" => Global::UnpickleNdArrayBacked,
        _ => return None,
    })
}

fn pyarrow(name: &str) -> Option<Global> {
    Some(match name {
        "_restore_array" => Global::ArrowArray,
        "chunked_array" => Global::ArrowChunks,
        "py_buffer" => Global::PyBuffer,
        "type_for_alias" => Global::ArrowType,
        _ => return None,
    })
}

/// Carries out a constructor of plain values; writes down any other.
pub(super) fn call<'a>(heap: &mut Heap<'a>, function: Global, args: Id) -> Read<Id> {
    let Node::Tuple(given) = heap.get(args) else {
        return Err("is not a valid pickle: the arguments of a call are not a tuple".into());
    };
    let given = given.clone();
    heap.charge(16 * given.len())?;
    let bad = |heap: &Heap| {
        let given: Vec<String> = given.iter().take(4).map(|id| heap.describe(*id)).collect();
        format!("is not a valid pickle: {function:?} does not take ({})", given.join(", "))
    };
    match function {
        Global::Set | Global::FrozenSet | Global::List | Global::Tuple => {
            let items = match given[..] {
                [] => Vec::new(),
                // A deque has its length as a second argument.
                [items] | [items, _] => match heap.get(items) {
                    Node::List(items) | Node::Tuple(items) | Node::Set(items) => items.clone(),
                    _ => return Err(bad(heap)),
                },
                _ => return Err(bad(heap)),
            };
            heap.charge(4 * items.len())?;
            heap.push(match function {
                Global::List => Node::List(items),
                Global::Tuple => Node::Tuple(items),
                _ => Node::Set(items),
            })
        }
        // The argument of a defaultdict is what it makes of an absent key.
        Global::DefaultDict => heap.push(Node::Dict(Vec::new())),
        Global::Dict | Global::OrderedDict => {
            let entries = match given[..] {
                [] => Vec::new(),
                [entries, ..] => match heap.get(entries) {
                    Node::Dict(entries) => entries.clone(),
                    Node::List(pairs) | Node::Tuple(pairs) => pairs
                        .iter()
                        .map(|pair| match heap.items(*pair) {
                            Some([key, value]) => Ok((*key, *value)),
                            _ => Err(bad(heap)),
                        })
                        .collect::<Read<_>>()?,
                    _ => return Err(bad(heap)),
                },
            };
            heap.charge(8 * entries.len())?;
            heap.push(Node::Dict(entries))
        }
        Global::Encode => match given[..] {
            [text, ref encoding @ ..] => {
                let encoding = encoding.first().and_then(|id| heap.text(*id));
                let encoding = encoding.unwrap_or("utf-8".into()).to_lowercase();
                let Node::Str(text) = heap.get(text) else {
                    return Err(bad(heap));
                };
                let bytes = encode(text, &encoding).ok_or_else(|| bad(heap))?;
                heap.charge(bytes.len())?;
                heap.push(Node::Bytes(bytes.into()))
            }
            _ => Err(bad(heap)),
        },
        Global::Bytes | Global::ByteArray => {
            let bytes = match given[..] {
                [] => Vec::new(),
                [bytes] | [bytes, _] => match heap.get(bytes) {
                    Node::Bytes(bytes) => bytes.to_vec(),
                    Node::Str(text) => encode(text, "latin-1").ok_or_else(|| bad(heap))?,
                    Node::List(items) => items
                        .iter()
                        .map(|id| heap.int(*id).and_then(|i| u8::try_from(i).ok()))
                        .collect::<Option<_>>()
                        .ok_or_else(|| bad(heap))?,
                    _ => return Err(bad(heap)),
                },
                _ => return Err(bad(heap)),
            };
            heap.charge(bytes.len())?;
            heap.push(Node::Bytes(bytes.into()))
        }
        // Names the memory of its argument.
        Global::PyBuffer => match given[..] {
            [bytes] if matches!(heap.get(bytes), Node::Bytes(_)) => Ok(bytes),
            _ => Err(bad(heap)),
        },
        Global::Reconstructor => match given[..] {
            [class, base, state] => match (heap.get(class), heap.get(base)) {
                (Node::Global(class), Node::Global(Global::Object)) => {
                    let function = *class;
                    let args = heap.push(Node::Tuple(Vec::new()))?;
                    call(heap, function, args)
                }
                (Node::Global(class), Node::Global(_)) => {
                    let function = *class;
                    let args = heap.push(Node::Tuple(vec![state]))?;
                    match function {
                        Global::Reconstructor => Err(bad(heap)),
                        _ => call(heap, function, args),
                    }
                }
                _ => Err(bad(heap)),
            },
            _ => Err(bad(heap)),
        },
        Global::GetAttr => match given[..] {
            [class, name]
                if matches!(heap.get(class), Node::Global(Global::TimeZone))
                    && heap.text(name).is_some_and(|name| name == "_unpickle") =>
            {
                Ok(class)
            }
            _ => Err(refused("builtins", "getattr")),
        },
        Global::Object | Global::Type | Global::Record => Err(bad(heap)),
        _ => heap.push(Node::Call {
            function,
            args,
            state: None,
        }),
    }
}

fn encode(text: &str, encoding: &str) -> Option<Vec<u8>> {
    match encoding {
        "latin1" | "latin-1" | "iso-8859-1" | "ascii" => {
            text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
        }
        "utf8" | "utf-8" => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}
