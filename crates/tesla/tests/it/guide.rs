//! Every command of the user guide (`docs/guide`) is run, and prints what the guide says it prints.
//!
//! A comment above a block says what to do with it; `docs/guide/refresh.py` reads the same ones, and says what
//! they mean: `<!-- file: NAME -->`, `<!-- not run: WHY -->`, `<!-- exit: 1 -->`, `<!-- keep: 4 3 -->`,
//! `<!-- background: stop -->`.

use std::collections::BTreeMap;
#[cfg(unix)]
use std::io::{BufRead, BufReader, PipeReader};
#[cfg(unix)]
use std::path::Path;
#[cfg(unix)]
use std::process::{Child, Command};

use crate::support::repo;

/// Where the guide links to what is not part of it.
const REPOSITORY: &str = "https://github.com/tesla-ml/tesla/blob/main/";

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

/// A line without what may differ between machines: numbers, hashes and the `·` of a zero become `0`, runs of
/// blanks one, and a time has no unit, since it may be one second or two.
fn shape(line: &str) -> String {
    let masked = |word: &str| {
        let hash = word.trim_end_matches([')', ',']);
        if hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit()) {
            return word.replace(hash, "0");
        }
        if ["second", "seconds", "minute", "minutes", "µs", "ms", "s"].contains(&word) {
            return "time".into();
        }
        let mut out = String::new();
        let mut number = false;
        let mut chars = word.chars().peekable();
        while let Some(c) = chars.next() {
            // `0.00003` on one processor may be `9e-6` on another.
            let next = chars.peek().copied();
            let is_power =
                number && c == 'e' && next.is_some_and(|c| c == '-' || c.is_ascii_digit());
            if is_power {
                chars.next_if_eq(&'-');
                continue;
            }
            let digit = c.is_ascii_digit() || c == '·' || (number && c == '.');
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
    assert_eq!(shape("{\"a\":1.5e-10,\"b\":2e3}"), "{\"a\":0,\"b\":0}");
    assert_eq!(shape("7  ·  12  1 second left"), shape("0  3  ·  2 seconds left"));
}

#[test]
fn all_lines_are_compared_and_dots_stand_for_any() {
    let none = None::<String>;
    assert_eq!(differs(&["a 1", "b"], &["a 2", "b"]), none);
    assert_eq!(differs(&["a", "...", "c"], &["a", "x", "y", "c"]), none);
    assert_eq!(differs(&["a", "..."], &["a"]), none);
    for (shown, printed) in [
        (&["a", "b", "c"][..], &["a", "x", "c"][..]),
        (&["a", "c"], &["a", "b", "c"]),
        (&["a", "...", "c"], &["a", "b"]),
        (&["a", "...", "a"], &["a"]),
        (&["a", "b"], &["a"]),
    ] {
        assert!(differs(shown, printed).is_some(), "{shown:?} {printed:?}");
    }
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
            let file = match path.strip_prefix(REPOSITORY) {
                Some(inside) => repo(inside),
                None if path.is_empty() || path.contains("://") => continue,
                None => folder.join(path),
            };
            assert!(file.exists(), "{name}: nothing is at `{link}`");
        }
    }
}

/// Keys that were added or described anew: `docs/guide/keys.py` writes the page.
#[test]
fn the_page_of_keys_has_every_key_and_every_description() {
    let page = std::fs::read_to_string(repo("docs/guide/src/configuration.md")).expect("the page");
    let folder = crate::support::folder();
    let schema = crate::support::succeeds(folder.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("a schema");
    let mut missing = Vec::new();
    for (name, table) in schema["$defs"].as_object().expect("definitions") {
        described(table, name, &page, &mut missing);
    }
    assert!(missing.is_empty(), "run docs/guide/keys.py again: not on the page: {missing:#?}");
}

/// The keys and descriptions below a node of the schema that the page lacks, as `keys.py` would write them.
fn described(node: &serde_json::Value, at: &str, page: &str, missing: &mut Vec<String>) {
    if let Some(text) = node["description"].as_str() {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // In a cell of a table a bar is escaped.
        if !page.contains(&words) && !page.contains(&words.replace('|', "\\|")) {
            missing.push(format!("{at}: {words}"));
        }
    }
    for (key, child) in node["properties"].as_object().into_iter().flatten() {
        let is_row = page.contains(&format!("| `{key}` |"));
        // The word that says which of several alternatives stands here, and the only key of one.
        let is_tag =
            page.contains(&format!("**`{key} = ")) || page.contains(&format!("`{{ {key} = "));
        if !is_row && !is_tag {
            missing.push(format!("{at}.{key}"));
        }
        described(child, &format!("{at}.{key}"), page, missing);
    }
    for key in ["anyOf", "oneOf"] {
        for child in node[key].as_array().into_iter().flatten() {
            described(child, at, page, missing);
        }
    }
}

/// A book has only what lies in its folder: what lies elsewhere is named by its address, and has to be there too.
#[test]
fn links_of_the_guide_stay_in_the_book() {
    let folder = repo("docs/guide/src");
    for name in crate::support::files(&folder) {
        let text = std::fs::read_to_string(folder.join(&name)).expect("the chapter can be read");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(
                !link.starts_with("../"),
                "{name}: `{link}` leaves the book: say `{REPOSITORY}…`"
            );
        }
    }
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
        let mut server: Option<Background> = None;
        for block in &blocks {
            if let Some(file) = block.notes.get("file") {
                let text = block.lines.join("\n") + "\n";
                std::fs::write(folder.path().join(file), text).expect("the file is written");
            } else if !block.is_run() {
            } else if let Some(last) = block.notes.get("background") {
                // Two would want the same port, on the page.
                drop(server.take());
                match Background::start(block, folder.path(), last, &name) {
                    Ok(started) => server = Some(started),
                    Err(difference) => wrong.push(difference),
                }
            } else {
                let port = server.as_ref().map(|server| server.port.as_str());
                wrong.extend(run(block, folder.path(), &name, port));
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

/// `tesla` on the CPU: `auto` would look for a GPU each time; `curl` without its meter. `refresh.py` has the same
/// lines.
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
curl() { command curl -sS "$@"; }
"#;

/// Where the servers of the guide listen; in the test it is a free port.
#[cfg(unix)]
const ADDRESS: &str = "127.0.0.1:";
#[cfg(unix)]
const PORT: &str = "8080";

/// A command that goes on while those below it run.
#[cfg(unix)]
struct Background {
    child: Child,
    port: String,
    /// Its log would break the pipe if nobody held it.
    _output: BufReader<PipeReader>,
}

#[cfg(unix)]
impl Background {
    /// Starts the command of a block on a free port, waits for its line that begins with `last`, and compares
    /// what it has said up to there.
    fn start(block: &Block, folder: &Path, last: &str, chapter: &str) -> Result<Self, String> {
        let commands = block.commands();
        let [(command, shown)] = commands.as_slice() else {
            return Err(format!("{chapter} line {}: expected one command", block.line));
        };
        let at = format!("{chapter} line {}: `{command}`", block.line);
        let words = command.strip_prefix("tesla ").map(str::split_whitespace);
        let words = words.ok_or_else(|| format!("{at} is not run: expected `tesla …`"))?;
        let (output, input) = std::io::pipe().expect("a pipe");
        let child = Command::new(env!("CARGO_BIN_EXE_tesla"))
            .args(words)
            .args(["--addr", "127.0.0.1:0", "--device", "flex"])
            .current_dir(folder)
            .env("XDG_RUNTIME_DIR", folder)
            .stdout(input.try_clone().expect("a pipe has two ends"))
            .stderr(input)
            .spawn()
            .expect("the program starts");
        let mut server = Self {
            child,
            port: String::new(),
            _output: BufReader::new(output),
        };
        let mut printed: Vec<String> = Vec::new();
        while !printed.last().is_some_and(|line| line.starts_with(last)) {
            let mut line = String::new();
            let read = server._output.read_line(&mut line).expect("lines of text");
            if read == 0 {
                return Err(format!("{at} ended:\n{}", printed.join("\n")));
            }
            if let Some((_, rest)) = line.split_once(&format!("http://{ADDRESS}")) {
                server.port = rest.chars().take_while(char::is_ascii_digit).collect();
            }
            printed.push(line.trim_end().to_string());
        }
        let lines: Vec<&str> = printed.iter().map(String::as_str).collect();
        match differs(shown, &lines) {
            Some(difference) => Err(format!("{at} {difference}\n{}", printed.join("\n"))),
            None => Ok(server),
        }
    }
}

#[cfg(unix)]
impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command wants that not every machine has, and this one does not.
#[cfg(unix)]
fn absent_program(command: &str) -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| std::env::split_paths(&path).any(|at| at.join(name).exists());
    let wanted = |name: &&str| command.split_whitespace().any(|word| word == *name);
    ["curl", "python3"]
        .into_iter()
        .filter(wanted)
        .find(|name| !is_there(name))
}

/// Runs the commands of a block one by one and says what differs from the guide.
#[cfg(unix)]
fn run(block: &Block, folder: &Path, chapter: &str, port: Option<&str>) -> Vec<String> {
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
        let at = format!("{chapter} line {}: `{command}`", block.line);
        if let Some(absent) = absent_program(command) {
            eprintln!("skipped {at}: {absent} is not here");
            continue;
        }
        let command = match port {
            Some(port) => command.replace(&format!("{ADDRESS}{PORT}"), &format!("{ADDRESS}{port}")),
            None => command.to_string(),
        };
        let output = Command::new("sh")
            .args(["-c", &format!("{SHELL}\n{{ {command}\n}} 2>&1")])
            .current_dir(folder)
            .env("PATH", &path)
            .env("XDG_RUNTIME_DIR", folder)
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let printed: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if output.status.code() != Some(code) {
            wrong.push(format!("{at} ended with {:?} instead of {code}:\n{text}", output.status));
        } else if let Some(difference) = differs(&shown, &printed) {
            wrong.push(format!("{at} {difference}\n{text}"));
        }
    }
    wrong
}

/// Holds every line of the guide against what was printed; where the guide says `...`, what stands before and
/// what stands behind.
fn differs(shown: &[&str], printed: &[&str]) -> Option<String> {
    let gap = shown.iter().position(|line| *line == "...");
    let (head, tail) = match gap {
        Some(gap) => (&shown[..gap], &shown[gap + 1..]),
        None => (shown, &shown[..0]),
    };
    if printed.len() < head.len() + tail.len() || (gap.is_none() && printed.len() > head.len()) {
        let (printed, shown) = (printed.len(), head.len() + tail.len());
        return Some(format!("prints {printed} lines instead of {shown}"));
    }
    let ends = std::iter::zip(head, printed);
    let ends = ends.chain(std::iter::zip(tail, &printed[printed.len() - tail.len()..]));
    ends.into_iter()
        .find(|(shown, printed)| shape(shown) != shape(printed))
        .map(|(shown, printed)| format!("prints `{printed}` instead of `{shown}`"))
}
