//! Which film next? Ratings in, lists of films out, with reasons, and an answer for people nobody
//! knows yet.
//!
//! `cargo run --release --example recommendation`, on made-up ratings that ship with TESLA. With
//! `-- --data DIR`, on MovieLens-100K in `DIR/movielens-100k` (`tesla datasets get movielens-100k --out DIR`).

use anyhow::{Context, Result};
use examples::{full_data, open, out};
use tesla::evaluate::Metrics;
use tesla::{DeviceChoice, Model, Seen, train};

fn main() -> Result<()> {
    // A film that a user chose should stand above others in a list: the model learns from pairs, one film
    // that was chosen and one that was not.
    let (config, ratings) = open("ratings", "movielens-bpr")?;
    let model = train::with_config(&config, &ratings, DeviceChoice::Flex)?;
    let test = model.test().context("the settings keep ratings to judge by")?;
    let Metrics::Ranking(figures) = &test.metrics else {
        anyhow::bail!("the model ranks");
    };
    println!(
        "  {:.0} of 100 people have a film they did choose among their first {}",
        100.0 * figures.hit_rate,
        figures.k
    );
    let popular = test.baselines.iter().find_map(|b| b.figures.get("ndcg"));
    let line = format!(
        "NDCG@{} {:.3}; showing everybody the most popular films: {:.3}",
        figures.k,
        figures.ndcg,
        popular.unwrap_or(&f64::NAN)
    );

    // The model holds no rating of anybody. Who has seen what comes from where it is kept, and is
    // left out of the lists.
    let seen = model.seen(&ratings)?;
    let user = if full_data().is_some() { "196" } else { "u007" };
    show(&model, user, &seen)?;

    // Nobody knows this person yet: the most popular films, and the list says so.
    show(&model, "somebody new", &seen)?;

    let file = out("recommendation")?.join("model.tesla");
    model.save(&file)?;
    println!("\nserve it: tesla serve {}", file.display());
    println!("{line}");
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
