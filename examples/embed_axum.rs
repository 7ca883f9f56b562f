//! TESLA inside a web service of your own: your routes, your rules, the model as one more value.
//!
//! `cargo run --release --example embed_axum` starts it, asks it twice and stops it;
//! `cargo run --release --example embed_axum -- --serve` keeps it running.

use std::sync::Arc;

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use examples::post as ask;
use serde_json::{Value, json};
use tesla::{DeviceChoice, Model, ingest, train};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<()> {
    // Training belongs elsewhere; a service only opens the file.
    let file = std::env::temp_dir().join("embed_axum.tesla");
    train_once(&file)?;
    let model = Arc::new(Model::load(&file, DeviceChoice::Flex)?);

    let app = Router::new().route("/patients", post(progression)).with_state(model);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("a route of this program, with a model behind it: POST http://{address}/patients");
    let service = tokio::spawn(async move { axum::serve(listener, app).await });

    let patient = json!({
        "age": 52, "sex": 1, "bmi": 28.4, "bp": 98, "s1": 190,
        "s2": 115.2, "s3": 49, "s4": 4, "s5": 4.7, "s6": 93,
    });
    let mut wrong = patient.clone();
    wrong["bmi"] = json!("tall");
    for (why, body) in [
        ("a patient: the number is the model's, the advice this program's", patient),
        ("a patient whose `bmi` is a word: the model's sentence is the answer", wrong),
    ] {
        let (address, body) = (address.to_string(), body.to_string());
        let (status, answer) = ask(&address, "/patients", "application/json", &body).await?;
        println!("{why}\n  {status}: {answer}");
    }
    if std::env::args().any(|arg| arg == "--serve") {
        service.await??;
    }
    Ok(())
}

/// `POST /patients`: a patient in, the predicted progression and what this service makes of it out.
async fn progression(
    State(model): State<Arc<Model>>,
    Json(patient): Json<Value>,
) -> (StatusCode, Json<Value>) {
    // A prediction computes; computing threads do it, so that the network threads stay free.
    let predicted = tokio::task::spawn_blocking(move || model.predict_json(&[patient])).await;
    match predicted {
        Ok(Ok(predicted)) => {
            let value = predicted.to_strings()[0].parse::<f64>().unwrap_or(f64::NAN);
            let advice = if value > 150.0 {
                "see a doctor soon"
            } else {
                "come back in a year"
            };
            (StatusCode::OK, Json(json!({ "progression": value.round(), "advice": advice })))
        }
        // The model refuses what breaks its rules, in one sentence that is fit to be shown.
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "try again" }))),
    }
}

fn train_once(file: &std::path::Path) -> Result<()> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/diabetes/diabetes.csv");
    let model = train::linear_regression(&ingest::load_csv(data)?, "progression")?;
    Ok(model.save(file)?)
}
