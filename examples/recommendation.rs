//! Which film next? Ratings in, lists of films out, with reasons, and an answer for people nobody
//! knows yet.
//!
//! `cargo run --release --example recommendation`

use std::path::Path;

use anyhow::Result;
use tesla::ingest::{self, InteractionsConfig};
use tesla::train::{self, BprConfig};
use tesla::{Config, DeviceChoice, Model, ModelConfig, Seen};

fn main() -> Result<()> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/ratings"));
    let ratings = ingest::load(folder.join("ratings.csv"))?;

    // A user who gave a film three stars or more should see films like it before others.
    let mut config = Config {
        model: Some(ModelConfig::Bpr(BprConfig {
            factors: 16,
            ..Default::default()
        })),
        ..Default::default()
    };
    config.data.interactions = Some(InteractionsConfig {
        user: "user".into(),
        item: "film".into(),
        rating: Some("stars".into()),
        time: None,
        threshold: Some(3.0),
        keep_seen: false,
    });
    config.train.epochs = 20;
    config.train.batch_size = 256;
    config.train.learning_rate = 5e-3;
    let model = train::with_config(&config, &ratings, DeviceChoice::Flex)?;
    if let Some(test) = model.test() {
        let (name, value) = test.headline();
        println!("{name} on held-out ratings: {value:.3}");
        let popular = test.baselines.iter().find_map(|b| b.figures.get("ndcg"));
        println!("showing everybody the most popular films: {:.3}", popular.unwrap_or(&0.0));
    }

    // The model holds no rating of anybody. Who has seen what comes from where it is kept, and is
    // left out of the lists.
    let seen = model.seen(&ratings)?;
    show(&model, "u007", &seen)?;

    // Nobody knows this person yet: the most popular films, and the list says so.
    show(&model, "somebody new", &seen)?;
    Ok(())
}

fn show(model: &Model, user: &str, seen: &Seen) -> Result<()> {
    let lists = model.recommend(&[user.to_string()], 5, seen)?;
    for list in &lists {
        match list.known {
            true => println!("\n{user} should see next:"),
            false => println!("\n{user} is unknown, so what most people see:"),
        }
        for (film, score) in &list.items {
            // People who like the one like the others: a reason that can be shown.
            let like: Vec<String> =
                model.neighbours(film, 2)?.into_iter().map(|(film, _)| film).collect();
            println!("  {film:<16} {score:>6.2}   like {}", like.join(" and "));
        }
    }
    Ok(())
}
