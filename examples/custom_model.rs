//! A network of your own, trained by the same engine: a Burn module, one trait, and a name.
//!
//! `cargo run --release --example custom_model`

use tesla::burn::module::Module;
use tesla::burn::nn::{Linear, LinearConfig};
use tesla::burn::tensor::{Tensor, activation};
use tesla::train::{CustomConfig, CustomNetwork, register, with_model};
use tesla::{Batch, DeviceChoice, Model, ModelConfig, burn, ingest};

/// A gated linear unit (Dauphin et al. 2017): one half of the hidden layer decides how much of the other
/// half passes.
#[derive(Module, Debug)]
struct Gated {
    values: Linear,
    gates: Linear,
    out: Linear,
}

impl CustomNetwork for Gated {
    fn forward(&self, batch: Batch) -> Tensor<2> {
        let rows = batch.flat();
        let open = activation::sigmoid(self.gates.forward(rows.clone()));
        self.out.forward(self.values.forward(rows) * open)
    }
}

fn main() -> tesla::Result<()> {
    // From here on `kind = "custom"` with `name = "gated"` in `[model]` means this network.
    register("gated", |signature, settings, device| {
        let inputs = signature.input.iter().product();
        let hidden = settings["hidden"].as_u64().unwrap_or(32) as usize;
        let layer = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device.burn());
        Ok(Gated {
            values: layer(inputs, hidden),
            gates: layer(inputs, hidden),
            out: layer(hidden, signature.outputs),
        })
    });
    println!("`gated` is registered: 13 numbers of a wine go in, scores of 3 cultivars come out");

    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/wine/wine.csv");
    let data = ingest::load_csv(data)?;
    let gated = ModelConfig::Custom(CustomConfig {
        name: "gated".into(),
        settings: serde_json::json!({ "hidden": 16 }),
    });
    let model = with_model(&data, "cultivar", gated)?;
    if let Some(test) = model.test() {
        let (name, value) = test.headline();
        println!("{name} on {} wines it has never seen: {value:.4}", test.rows);
    }

    // It is sealed and opened like every other model; a program that opens it registers `gated` first.
    let path = std::env::temp_dir().join("gated.tesla");
    model.save(&path)?;
    let loaded = Model::load(&path, DeviceChoice::Auto)?;
    let predicted = loaded.predict(&data.frame.to_batch()?)?.to_strings();
    println!("the first wine, from the stored model: {}", predicted[0]);
    Ok(())
}
