//! Every command of the user guide (`docs/guide`) is run, and prints what the guide says it prints.
//!
//! A comment above a block says what to do with it; `docs/guide/refresh.py` reads the same ones:
//! `<!-- file: NAME -->`, `<!-- not run: WHY -->`, `<!-- exit: 1 -->`, `<!-- keep: 4 3 -->`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::repo;

/// What stands between "```LANGUAGE" and "```".
struct Block {
    line: usize,
    language: String,
    notes: BTreeMap<String, String>,
    lines: Vec<String>,
}

impl Block {
    fn is_run(&self) -> bool {
        self.language == "sh" && !self.notes.contains_key("not run")
    }

    /// The commands, each with the lines below it.
    fn commands(&self) -> Vec<(&str, Vec<&str>)> {
        let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in &self.lines {
            if let Some(command) = line.strip_prefix("$ ") {
                commands.push((command, Vec::new()));
            } else if let Some((_, shown)) = commands.last_mut()
                && !line.is_empty()
            {
                shown.push(line);
            }
        }
        commands
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut notes = BTreeMap::new();
    let mut inside = false;
    for (at, line) in text.lines().enumerate() {
        let note = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
        if inside {
            if line == "```" {
                inside = false;
            } else if let Some(block) = blocks.last_mut() {
                block.lines.push(line.to_string());
            }
        } else if let Some(language) = line.strip_prefix("```") {
            inside = true;
            blocks.push(Block {
                line: at + 1,
                language: language.to_string(),
                notes: std::mem::take(&mut notes),
                lines: Vec::new(),
            });
        } else if let Some((name, value)) = note.and_then(|note| note.split_once(": ")) {
            notes.insert(name.to_string(), value.to_string());
        } else if !line.is_empty() {
            notes.clear();
        }
    }
    assert!(!inside, "a block has no end");
    blocks
}

/// A line without what may differ between machines: numbers and hashes become `0`, runs of blanks one.
fn shape(line: &str) -> String {
    let masked = |word: &str| {
        let hash = word.trim_end_matches([')', ',']);
        if hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit()) {
            return word.replace(hash, "0");
        }
        let mut out = String::new();
        let mut number = false;
        for c in word.chars() {
            let digit = c.is_ascii_digit() || (number && c == '.');
            if digit && !number {
                out.push('0');
            } else if !digit {
                out.push(c);
            }
            number = digit;
        }
        out
    };
    line.split_whitespace().map(masked).collect::<Vec<_>>().join(" ")
}

#[test]
fn shapes_do_not_depend_on_numbers() {
    assert_eq!(shape("  rmse   12.58  (9.2 to 15.6, 95 %)"), "rmse 0 (0 to 0, 0 %)");
    assert_eq!(shape("model m (623 kB, sha256 d7d3919fb547)"), "model m (0 kB, sha0 0)");
}

#[test]
fn blocks_have_their_notes() {
    let text = "<!-- exit: 1 -->\n```sh\n$ tesla x\nerror: y\n\n$ ls\na\n```\n\ntext\n```toml\na = 1\n```\n";
    let blocks = blocks(text);
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[0].notes["exit"], "1");
    assert_eq!(blocks[0].commands(), [("tesla x", vec!["error: y"]), ("ls", vec!["a"])]);
    assert!(blocks[0].is_run() && !blocks[1].is_run() && blocks[1].notes.is_empty());
}

/// Every page can be reached, and every page that is named exists.
#[test]
fn the_summary_names_all_chapters() {
    let folder = repo("docs/guide/src");
    let summary = std::fs::read_to_string(folder.join("SUMMARY.md")).expect("a summary");
    let mut named: Vec<&str> = summary
        .lines()
        .filter_map(|line| line.split_once("](")?.1.strip_suffix(')'))
        .collect();
    named.sort_unstable();
    let mut files = crate::support::files(&folder);
    files.retain(|name| name != "SUMMARY.md");
    assert_eq!(named, files);
}

/// Links within the repository lead somewhere.
#[test]
fn links_of_the_guide_lead_somewhere() {
    let folder = repo("docs/guide/src");
    for name in crate::support::files(&folder) {
        let text = std::fs::read_to_string(folder.join(&name)).expect("the chapter can be read");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let inside = !path.is_empty() && !path.contains("://");
            assert!(!inside || folder.join(path).exists(), "{name}: nothing is at `{link}`");
        }
    }
}

/// Keys that were added or described anew: `docs/guide/keys.py` writes the page.
#[test]
fn the_page_of_keys_has_every_key() {
    let page = std::fs::read_to_string(repo("docs/guide/src/configuration.md")).expect("the page");
    let folder = crate::support::folder();
    let schema = crate::support::succeeds(folder.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("a schema");
    let mut missing = Vec::new();
    for (name, table) in schema["$defs"].as_object().expect("definitions") {
        for key in table["properties"]
            .as_object()
            .into_iter()
            .flat_map(|keys| keys.keys())
        {
            if !page.contains(&format!("| `{key}` |")) {
                missing.push(format!("{name}.{key}"));
            }
        }
    }
    assert!(missing.is_empty(), "run docs/guide/keys.py again: {missing:?} are not on the page");
}

#[cfg(unix)]
#[test]
fn every_command_of_the_guide_runs() {
    let folder = repo("docs/guide/src");
    let mut wrong = Vec::new();
    for name in crate::support::files(&folder) {
        let text = std::fs::read_to_string(folder.join(&name)).expect("the chapter can be read");
        let blocks = blocks(&text);
        if let Some(absent) = absent_data(&blocks) {
            eprintln!("skipped {name}: datasets/{absent} is not here");
            continue;
        }
        let folder = crate::support::folder();
        std::os::unix::fs::symlink(repo("datasets"), folder.path().join("datasets"))
            .expect("a link to the data sets");
        for block in &blocks {
            if let Some(file) = block.notes.get("file") {
                let text = block.lines.join("\n") + "\n";
                std::fs::write(folder.path().join(file), text).expect("the file is written");
            } else if block.is_run() {
                wrong.extend(run(block, folder.path(), &name));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/guide/refresh.py may help:\n\n{}", wrong.join("\n\n"));
}

/// The first data set that a chapter asks for and that this copy of the repository does not have.
#[cfg(unix)]
fn absent_data(blocks: &[Block]) -> Option<String> {
    let lines = blocks
        .iter()
        .filter(|block| block.is_run())
        .flat_map(|block| &block.lines);
    lines
        .filter(|line| line.starts_with("$ "))
        .flat_map(|line| line.split("datasets/").skip(1))
        .filter_map(|rest| rest.split(['/', ' ']).next())
        .find(|name| !repo("datasets").join(name).exists())
        .map(str::to_string)
}

/// `tesla` on the CPU: `auto` would look for a GPU each time. `refresh.py` has the same lines.
#[cfg(unix)]
const SHELL: &str = r#"
tesla() {
  case "$1" in
    train | evaluate | compare | predict | explain | serve)
      case " $* " in
        *" --device "* | *" --resume "* | *" --help "*) command tesla "$@" ;;
        *) command tesla "$@" --device flex ;;
      esac ;;
    *) command tesla "$@" ;;
  esac
}
"#;

/// Runs the commands of a block one by one and says what differs from the guide.
#[cfg(unix)]
fn run(block: &Block, folder: &Path, chapter: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_tesla"));
    let mut path = std::ffi::OsString::from(program.parent().expect("the folder of the program"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let code = block
        .notes
        .get("exit")
        .map_or(0, |code| code.parse().expect("an exit code"));
    let mut wrong = Vec::new();
    for (command, shown) in block.commands() {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("{SHELL}\n{{ {command}\n}} 2>&1")])
            .current_dir(folder)
            .env("PATH", &path)
            .env("XDG_RUNTIME_DIR", folder)
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let printed: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let at = format!("{chapter} line {}: `{command}`", block.line);
        if output.status.code() != Some(code) {
            wrong.push(format!("{at} ended with {:?} instead of {code}:\n{text}", output.status));
        } else if let Some(difference) = differs(&shown, &printed) {
            wrong.push(format!("{at} {difference}\n{text}"));
        }
    }
    wrong
}

/// Holds the first and the last line against what was printed, and whether there are others.
#[cfg(unix)]
fn differs(shown: &[&str], printed: &[&str]) -> Option<String> {
    let ends = [(shown.first(), printed.first()), (shown.last(), printed.last())];
    for (shown, printed) in ends {
        let printed = printed.copied().unwrap_or_default();
        match shown.copied() {
            Some("...") => {}
            shown if shape(shown.unwrap_or_default()) == shape(printed) => {}
            shown => {
                return Some(format!(
                    "prints `{printed}` instead of `{}`",
                    shown.unwrap_or_default()
                ));
            }
        }
    }
    None
}
