//! Which film next? Ratings in, lists of films out, with reasons, and an answer for people nobody
//! knows yet.
//!
//! `cargo run --release --example recommendation`, on made-up ratings that ship with TESLA. With
//! `-- --data DIR`, on MovieLens-100K in `DIR/movielens-100k` (`tesla datasets get movielens-100k --out DIR`).

use anyhow::{Context, Result};
use examples::{full_data, open, out, serve};
use serde_json::json;
use tesla::evaluate::Metrics;
use tesla::{Dataset, DeviceChoice, Model, train};

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

    // The model holds no rating of anybody. Who has seen what comes from where it is kept: it is left out
    // of the lists, and the reasons for what is in them.
    let user = if full_data()?.is_some() {
        "196"
    } else {
        "u007"
    };
    let films = films_of(&model, user, &ratings)?;
    println!("\n{user} has seen {} films, and should see next:", films.len());
    let seen = model.seen(&ratings)?;
    for (film, score) in &model.recommend(&[user.into()], 5, &seen)?[0].items {
        // Of the films that this user has seen, those that are liked by the same people.
        let reasons = model.predictor().reasons(film, &films, 2)?;
        println!("  {film:<16} {score:>6.2}   because of {}", names(reasons));
    }

    // Nobody knows this person yet: the most popular films, and the list says so. There are no films of
    // theirs to give as reasons, so what is near in everybody's eyes.
    println!("\nsomebody new is unknown, so what most people see:");
    for (film, score) in &model.recommend(&["somebody new".into()], 5, &seen)?[0].items {
        println!("  {film:<16} {score:>6.0}   like {}", names(model.neighbours(film, 2)?));
    }

    println!();
    let file = out("recommendation")?.join("films.tesla");
    model.save(&file)?;
    let seen: Vec<_> = films
        .iter()
        .map(|film| json!({ "user": user, "film": film }))
        .collect();
    let body = json!({ "user": user, "top": 3, "seen": seen });
    serve(&file, "application/json", &body.to_string())?;
    println!("{line}");
    Ok(())
}

/// What a user has seen, by name.
fn films_of(model: &Model, user: &str, ratings: &Dataset) -> Result<Vec<String>> {
    let column = |name: &str| -> Result<_> {
        let values = ratings.frame.column(name)?;
        Ok(model.bundle().contract.names(name, &values)?)
    };
    let (users, films) = (column("user")?, column("film")?);
    let rows = std::iter::zip(&users, &films).filter(|(of, _)| *of == Some(user));
    Ok(rows.filter_map(|(_, film)| film.map(String::from)).collect())
}

fn names(near: Vec<(String, f64)>) -> String {
    let names: Vec<String> = near.into_iter().map(|(film, _)| film).collect();
    names.join(" and ")
}
