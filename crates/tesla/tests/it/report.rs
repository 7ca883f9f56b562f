//! Reports, explanations and runs.

use serde_json::Value;

use crate::support::{fails, files, folder, iris, repo, succeeds};

/// The tags of a page, in order, or what is wrong with it.
fn tags(page: &str) -> Result<Vec<&str>, String> {
    let empty =
        ["meta", "img", "br", "path", "rect", "line", "polyline", "polygon", "circle", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut all = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>').ok_or("a tag does not end")? + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag
            .trim_start_matches('/')
            .split([' ', '\n', '/'])
            .next()
            .unwrap_or_default();
        if tag.starts_with('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("</{name}> ends {last:?}"));
            }
        } else if !tag.ends_with('/') && !empty.contains(&name) {
            open.push(name);
        }
        all.push(name);
    }
    match open.is_empty() {
        true => Ok(all),
        false => Err(format!("{open:?} are not closed")),
    }
}

fn check(page: &str) {
    let tags = tags(page).unwrap_or_else(|error| panic!("{error}"));
    for outside in ["script", "link", "iframe", "object", "embed", "base", "form"] {
        assert!(!tags.contains(&outside), "<{outside}>");
    }
    for outside in ["http:", "https:", "url(", "@import", "javascript:", "src=\"/"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    let count = |text: &str| page.matches(text).count();
    assert_eq!(count("<svg class=\"chart\""), count("<desc>"), "a chart without words");
    assert_eq!(count("<img"), count("<img src=\"data:image/png;base64,"));
    assert_eq!(count("<img"), count(" alt=\"The picture:"));
    assert_eq!(count("<th>"), 0, "a header without a scope");
    assert_eq!(count("<h1>"), 1);
}

#[test]
fn a_run_leaves_a_report_as_page_text_and_json() {
    let folder = folder();
    iris(folder.path());
    let run = folder.path().join("run");
    let read = |file: &str| std::fs::read_to_string(run.join(file)).unwrap();
    let (page, text) = (read("report.html"), read("report.md"));
    check(&page);
    for part in [
        "How good it is",
        "What is taken for what",
        "Class by class",
        "ROC curve",
        "Calibration",
        "What the predictions rest on",
        "Where the predictions go",
        "Data and contract",
        "Where it comes from",
        "tesla train run&#x2f;tesla.toml",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["| accuracy |", "## What the predictions rest on", "| petal_length |", "```toml"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Value = serde_json::from_str(&read("report.json")).unwrap();
    let columns = json["explanations"]["importances"]["columns"].as_array().unwrap();
    assert_eq!(columns.len(), 4);
    assert!(["petal_length", "petal_width"].contains(&columns[0]["column"].as_str().unwrap()));
    assert!(json["test"]["metrics"]["accuracy"].is_number());

    // The same again, from what the run left; and without the data, all but what rests on rows.
    succeeds(folder.path(), &["report", "run", "--device", "flex"]);
    assert_eq!(read("report.html"), page);
    let program = read("tesla.toml").replace("iris.csv", "gone.csv");
    std::fs::write(run.join("tesla.toml"), program).unwrap();
    succeeds(folder.path(), &["report", "run", "--device", "flex"]);
    let without = read("report.html");
    check(&without);
    assert!(without.contains("Importances and mistakes are missing"), "{without}");
    assert!(without.contains("ROC curve") && !without.contains("The worst mistakes"));
}

#[test]
fn the_report_of_an_evaluation_escapes_what_comes_from_data() {
    let folder = folder();
    let hostile = "<script>alert(1)</script>";
    let mut table = format!("\"x{hostile}\",c,y\n");
    for i in 0..120 {
        let (x, noise) = (i * 7 % 23, i * i % 11);
        let class = [hostile, "b"][usize::from(x + noise > 16)];
        table += &format!("{x},\"<img src=x>{}|\",\"{class}\"\n", i % 3);
    }
    std::fs::write(folder.path().join("t.csv"), table).unwrap();
    let train = [
        "train", "t.csv", "--target", "y", "--model", "logistic", "--device", "flex", "--out",
        "run", "-q",
    ];
    succeeds(folder.path(), &train);
    succeeds(
        folder.path(),
        &["evaluate", "run/model.tesla", "t.csv", "--device", "flex", "--html", "e.html"],
    );
    for file in ["e.html", "run/report.html"] {
        let page = std::fs::read_to_string(folder.path().join(file)).unwrap();
        check(&page);
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }
    let text = std::fs::read_to_string(folder.path().join("run/report.md")).unwrap();
    assert!(!text.split("```").next().unwrap().contains("<script"), "{text}");
}

#[test]
fn pictures_of_mistakes_are_in_the_page_and_not_in_the_model() {
    let folder = folder();
    let digits = repo("datasets/digits/tesla.toml");
    let train = [
        "train",
        digits.to_str().unwrap(),
        "--model",
        "mlp",
        "--device",
        "flex",
        "--epochs",
        "1",
        "--out",
        "run",
        "-q",
    ];
    succeeds(folder.path(), &train);
    let page = std::fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    check(&page);
    assert!(page.contains("<img src=\"data:image/png;base64,"), "no picture");
    let model = std::fs::read(folder.path().join("run/model.tesla")).unwrap();
    assert!(!String::from_utf8_lossy(&model).contains("\"worst\""));
}

#[test]
fn explain_says_what_each_column_added() {
    let folder = folder();
    let model = iris(folder.path());
    let rows = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n6.9,,6.0,2.3\n";
    std::fs::write(folder.path().join("new.csv"), rows).unwrap();
    let args = ["explain", model.to_str().unwrap(), "new.csv", "--device", "flex", "--json"];
    let out = succeeds(folder.path(), &args);
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&rows[0]["of"], &rows[1]["of"]], ["setosa", "virginica"]);
    for row in &rows {
        assert_eq!(row["method"], "exact");
        let number = |value: &Value| value.as_f64().unwrap();
        let sum: f64 = row["contributions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| number(&c["amount"]))
            .sum();
        let whole = number(&row["output"]) - number(&row["baseline"]);
        assert!((sum - whole).abs() < 1e-4, "{row}");
    }
    let text = succeeds(folder.path(), &args[..5]);
    assert!(text.contains("line 2: setosa") && text.contains("petal_length = 1.4"), "{text}");
}

#[test]
fn runs_are_listed_filtered_sorted_and_compared() {
    let folder = folder();
    iris(folder.path());
    std::fs::create_dir(folder.path().join("runs")).unwrap();
    std::fs::rename(folder.path().join("run"), folder.path().join("runs/good")).unwrap();
    let data = repo("datasets/iris/iris.csv");
    let train = [
        "train",
        data.to_str().unwrap(),
        "--target",
        "species",
        "--model",
        "mlp",
        "--device",
        "flex",
        "--epochs",
        "1",
        "--out",
        "runs/short",
        "-q",
    ];
    succeeds(folder.path(), &train);
    let table = succeeds(folder.path(), &["runs"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("run ") && table.contains("accuracy"), "{table}");
    let sorted = succeeds(folder.path(), &["runs", "--sort", "log_loss"]);
    assert!(sorted.lines().nth(1).unwrap().starts_with("good"), "{sorted}");
    let some = succeeds(folder.path(), &["runs", "--where", "model=mlp", "--json"]);
    let some: Value = serde_json::from_str(&some).unwrap();
    assert_eq!((some.as_array().unwrap().len(), &some[0]["run"]), (1, &Value::from("short")));
    let settings = succeeds(folder.path(), &["runs", "runs/good", "runs/short", "--settings"]);
    assert!(settings.contains("train.epochs") && settings.contains("model.kind"), "{settings}");
    succeeds(folder.path(), &["runs", "--html", "runs.html"]);
    check(&std::fs::read_to_string(folder.path().join("runs.html")).unwrap());
    let error = fails(folder.path(), &["runs", "--where", "acuracy>0.9"]);
    assert!(error.contains("did you mean `accuracy`?"), "{error}");
    assert!(files(&folder.path().join("runs/good")).contains(&"report.html".to_string()));
}
