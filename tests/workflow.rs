//! # A workflow of GitHub Actions
//!
//! Reads as much of one as the recipes use, and refuses the rest: what is not read would not be tried.

use std::{collections::BTreeMap, path::Path};

use saphyr::{LoadableYamlNode, Yaml};

/// What a job runs, for one value of its matrix.
#[derive(Debug)]
pub struct Job {
    /// The value of the matrix.
    pub of: String,
    /// In order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug)]
pub struct Step {
    /// When it runs; empty where it says nothing of that.
    condition: String,
    /// What it does.
    pub action: Action,
}

/// What a step does.
#[derive(Debug)]
pub enum Action {
    /// A script.
    Run(String),
    /// Somebody else's action, and what it is given.
    Uses(String, BTreeMap<String, String>),
}

impl Step {
    /// Whether it runs in a job of which a step has failed or not.
    ///
    /// # Panics
    ///
    /// Where its condition has a part that is not known here.
    #[must_use]
    pub fn runs(&self, has_failed: bool, workspace: &Path) -> bool {
        if self.condition.is_empty() {
            return !has_failed;
        }
        let expression = self.condition.strip_prefix("${{ ");
        let expression = expression.and_then(|rest| rest.strip_suffix(" }}"));
        let expression = expression.unwrap_or_else(|| panic!("{}", self.condition));
        // Without a function that asks for the state of the job, it is success().
        let mut parts = expression.split(" && ");
        assert_eq!(parts.next(), Some("!cancelled()"), "{expression}");
        parts.all(|part| {
            let file = part.strip_prefix("hashFiles('");
            let file = file.and_then(|rest| rest.strip_suffix("') != ''"));
            let file = file.unwrap_or_else(|| panic!("{part}"));
            workspace.join(file).is_file()
        })
    }
}

/// The jobs that the only job of a workflow becomes.
///
/// # Panics
///
/// Where it is no workflow, or one with what is not known here.
#[must_use]
pub fn jobs(text: &str) -> Vec<Job> {
    let plain = load(text);
    only(&plain, &["name", "on", "permissions", "defaults", "jobs"]);
    // Else it would be sh in a container.
    assert_eq!(plain["defaults"]["run"]["shell"].as_str(), Some("bash"));
    let jobs = plain["jobs"].as_mapping().expect("jobs");
    assert_eq!(jobs.len(), 1, "one job is tried");
    let name = jobs.keys().next().and_then(Yaml::as_str);
    let name = name.expect("a name");
    only(
        &plain["jobs"][name],
        &["runs-on", "container", "strategy", "steps"],
    );
    let matrix = &plain["jobs"][name]["strategy"]["matrix"];
    only(matrix, &["kernel"]);
    let values = matrix["kernel"].as_vec().expect("a list");
    assert!(!values.is_empty(), "no job at all");
    values
        .iter()
        .map(|value| {
            let of = value.as_str().expect("a quoted value").to_owned();
            let text = text.replace("${{ matrix.kernel }}", &of);
            let steps = load(&text)["jobs"][name]["steps"]
                .as_vec()
                .expect("steps")
                .iter()
                .map(step)
                .collect();
            Job { of, steps }
        })
        .collect()
}

fn load(text: &str) -> Yaml<'_> {
    let mut documents = Yaml::load_from_str(text).expect("YAML");
    assert_eq!(documents.len(), 1, "one document");
    documents.remove(0)
}

fn step(of: &Yaml<'_>) -> Step {
    only(of, &["name", "if", "run", "uses", "with"]);
    let condition = text(of, "if").unwrap_or_default();
    let action = match (text(of, "run"), text(of, "uses")) {
        (Some(script), None) => {
            assert!(!script.contains("${{"), "an expression is left: {script}");
            Action::Run(script)
        }
        (None, Some(action)) => {
            let with = of.as_mapping_get("with").and_then(Yaml::as_mapping);
            let with = with.into_iter().flatten().map(|(key, value)| {
                let value = match value.as_bool() {
                    Some(value) => value.to_string(),
                    None => value.as_str().expect("a text").to_owned(),
                };
                (key.as_str().expect("a text").to_owned(), value)
            });
            Action::Uses(action, with.collect())
        }
        _ => panic!("neither run nor uses: {of:?}"),
    };
    Step { condition, action }
}

fn text(of: &Yaml<'_>, key: &str) -> Option<String> {
    let value = of.as_mapping_get(key)?;
    Some(value.as_str().expect("a text").to_owned())
}

fn only(of: &Yaml<'_>, known: &[&str]) {
    for key in of.as_mapping().expect("a mapping").keys() {
        let key = key.as_str().expect("a text");
        assert!(known.contains(&key), "{key} is not known here");
    }
}
