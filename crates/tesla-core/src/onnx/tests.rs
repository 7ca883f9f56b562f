use std::collections::HashSet;

use super::*;

/// Logistic regression on iris: four numbers, three classes.
fn iris() -> Bundle {
    let bytes = include_bytes!("../../../tesla/tests/golden/format-1.tesla");
    Bundle::from_bytes("golden", bytes).unwrap()
}

fn message(bundle: &Bundle) -> String {
    export(bundle, Options::default()).unwrap_err().to_string()
}

#[test]
fn raw_columns_go_in_and_every_tensor_is_made_before_it_is_used() {
    let bytes = export(&iris(), Options::default()).unwrap();
    let model = ModelProto::decode(bytes.as_slice()).unwrap();
    let graph = model.graph.unwrap();
    let names = |values: &[proto::ValueInfoProto]| -> Vec<String> {
        values.iter().map(|value| value.name.clone()).collect()
    };
    assert_eq!(names(&graph.input), ["sepal_length", "sepal_width", "petal_length", "petal_width"]);
    assert_eq!(names(&graph.output), ["prediction", "probability"]);
    let mut made: HashSet<String> = names(&graph.input).into_iter().collect();
    for constant in &graph.initializer {
        assert!(made.insert(constant.name.clone()), "{} is there twice", constant.name);
    }
    for node in &graph.node {
        for input in &node.input {
            assert!(made.contains(input), "{} takes {input}, which is not there", node.name);
        }
        assert!(made.insert(node.output[0].clone()), "{} is there twice", node.output[0]);
    }
    assert!(names(&graph.output).iter().all(|name| made.contains(name)));
    // The same model gives the same bytes.
    assert!(export(&iris(), Options::default()).unwrap() == bytes);
}

#[test]
fn what_cannot_be_expressed_is_refused_by_name() {
    use tesla_data::prepare::FittedColumn;
    let mut bundle = iris();
    if let FittedColumn::Numeric(column) = &mut bundle.pipeline.features[2] {
        column.forward_fill = true;
    }
    assert!(
        message(&bundle).starts_with(
            "ONNX cannot express `impute = \"forward_fill\"` of column `petal_length`"
        )
    );

    let mut bundle = iris();
    bundle.model = crate::ModelConfig::from_kind("lstm").unwrap();
    assert!(message(&bundle).starts_with("ONNX cannot express the model `lstm`"));

    let mut bundle = iris();
    bundle.contract.columns[0].limits.range = Some([0.0, 10.0]);
    assert!(message(&bundle).contains("`range` of column `sepal_length`"));
    let options = Options {
        without_limits: true,
    };
    assert!(export(&bundle, options).is_ok());

    let mut bundle = iris();
    if let FittedColumn::Numeric(column) = &mut bundle.pipeline.features[0] {
        column.name = "prediction".into();
    }
    assert!(message(&bundle).contains("rename the column"));
}
