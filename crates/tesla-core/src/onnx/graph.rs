//! A graph that grows node by node.

use std::collections::HashSet;

use super::proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, NodeProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, element, kind,
};

/// Nodes so far. A tensor goes by its name.
#[derive(Default)]
pub(super) struct Graph {
    proto: GraphProto,
    taken: HashSet<String>,
}

/// The name of a tensor.
pub(super) type Name = String;

impl Graph {
    /// An input of one row each; `shape` is that of one row.
    pub(super) fn input(&mut self, name: &str, kind: i32, shape: &[usize], doc: String) -> Name {
        self.taken.insert(name.into());
        self.proto.input.push(value(name, kind, shape, doc));
        name.into()
    }

    /// Makes the tensor `from` the output `name`.
    pub(super) fn output(&mut self, name: &str, from: &str, kind: i32, shape: &[usize], doc: &str) {
        self.proto.output.push(value(name, kind, shape, doc.into()));
        self.push("Identity", &[from], name.into(), Vec::new());
    }

    /// Adds an operation of one output.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str]) -> Name {
        self.node_with(op, inputs, Vec::new())
    }

    /// Adds an operation of one output with attributes.
    pub(super) fn node_with(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Name {
        let name = self.fresh(op);
        self.push(op, inputs, name.clone(), attributes);
        name
    }

    fn push(&mut self, op: &str, inputs: &[&str], output: Name, attribute: Vec<AttributeProto>) {
        let domain = match op {
            "LabelEncoder" => super::ML,
            _ => "",
        };
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|name| name.to_string()).collect(),
            name: format!("make {output}"),
            output: vec![output],
            op_type: op.into(),
            attribute,
            domain: domain.into(),
        });
    }

    /// A name that no tensor has.
    fn fresh(&mut self, what: &str) -> Name {
        let mut at = self.proto.node.len() + self.proto.initializer.len();
        loop {
            let name = format!("{what}:{at}");
            if self.taken.insert(name.clone()) {
                return name;
            }
            at += 1;
        }
    }

    fn constant(&mut self, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> Name {
        let name = self.fresh("constant");
        self.proto.initializer.push(TensorProto {
            dims: shape.iter().map(|side| *side as i64).collect(),
            data_type,
            name: name.clone(),
            raw_data,
        });
        name
    }

    pub(super) fn floats(&mut self, shape: &[usize], values: &[f32]) -> Name {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(shape, element::FLOAT, bytes)
    }

    pub(super) fn doubles(&mut self, shape: &[usize], values: &[f64]) -> Name {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(shape, element::DOUBLE, bytes)
    }

    pub(super) fn integers(&mut self, shape: &[usize], values: &[i64]) -> Name {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(shape, element::INT64, bytes)
    }

    /// One number.
    pub(super) fn double(&mut self, value: f64) -> Name {
        self.doubles(&[], &[value])
    }

    /// `op` of a tensor and a number.
    pub(super) fn with(&mut self, op: &str, x: &str, value: f64) -> Name {
        let value = self.double(value);
        self.node(op, &[x, &value])
    }

    pub(super) fn cast(&mut self, x: &str, to: i32) -> Name {
        self.node_with("Cast", &[x], vec![int("to", i64::from(to))])
    }

    /// Without the axis 1, whose length is 1.
    pub(super) fn squeeze(&mut self, x: &str) -> Name {
        let axes = self.integers(&[1], &[1]);
        self.node("Squeeze", &[x, &axes])
    }

    /// The given columns of a table.
    pub(super) fn columns(&mut self, table: &str, at: &[usize]) -> Name {
        let at: Vec<i64> = at.iter().map(|at| *at as i64).collect();
        let at = self.integers(&[at.len()], &at);
        self.node_with("Gather", &[table, &at], vec![int("axis", 1)])
    }

    /// Tables side by side.
    pub(super) fn beside(&mut self, tables: &[Name]) -> Name {
        match tables {
            [only] => only.clone(),
            _ => {
                let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
                self.node_with("Concat", &tables, vec![int("axis", 1)])
            }
        }
    }

    pub(super) fn finish(self, name: &str) -> GraphProto {
        GraphProto {
            name: name.into(),
            ..self.proto
        }
    }
}

fn value(name: &str, elem_type: i32, shape: &[usize], doc_string: String) -> ValueInfoProto {
    let rows = Dimension::Param("rows".into());
    let sides = shape.iter().map(|side| Dimension::Value(*side as i64));
    let dim = std::iter::once(rows).chain(sides);
    let dim = dim.map(|value| DimensionProto { value: Some(value) }).collect();
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
        doc_string,
    }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: Some(value),
        r#type: kind::INT,
        ..Default::default()
    }
}

pub(super) fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: values,
        r#type: kind::INTS,
        ..Default::default()
    }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        f: Some(value),
        r#type: kind::FLOAT,
        ..Default::default()
    }
}

pub(super) fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        s: Some(value.into()),
        r#type: kind::STRING,
        ..Default::default()
    }
}

pub(super) fn strings<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        strings: values.into_iter().map(|value| value.as_bytes().to_vec()).collect(),
        r#type: kind::STRINGS,
        ..Default::default()
    }
}
