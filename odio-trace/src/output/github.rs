//! What a policy came to as workflow commands: GitHub Actions shows each beside the policy's rule.

use std::{fmt, path::Path};

use super::{
    judgement::{Judgement, lines},
    text::printable_lines,
};
use crate::check::Verdict;

/// A line for each rule that is no PASS, and one for what was lost or not seen of the run.
pub(crate) struct Commands<'a>(pub(crate) &'a Judgement<'a>);

impl fmt::Display for Commands<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for judged in &self.0.rules {
            let Some(command) = command(judged.verdict()) else {
                continue;
            };
            let place = judged.rule.place();
            writeln!(
                f,
                "::{command} file={},line={},col={},title={}::{}",
                property(&shown(self.0.policy)),
                place.line,
                place.column,
                property(&printable_lines(judged.rule.name())),
                data(&lines(judged).join("\n"))
            )?;
        }
        if let Some(command) = command(self.0.of_run()) {
            let gaps = printable_lines(&self.0.gaps.join("\n"));
            writeln!(
                f,
                "::{command} title=the run was not seen whole::{}",
                data(&gaps)
            )?;
        }
        Ok(())
    }
}

fn command(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Pass => None,
        Verdict::Inconclusive => Some("warning"),
        Verdict::Fail => Some("error"),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What comes after the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// What comes after a `=`.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::tests::write,
        policy::{Judge, Policy},
    };

    #[test]
    fn a_command_for_each_rule_that_does_not_hold() {
        let text = "[[rule]]\nname = \"a, 100%: b\"\ncache = \"buffered\"\n[[rule]]\nno_punt = true\nname = \"kept\"\n\
            [[rule]]\nat_least = 2\nno_punt = true\n  name = \"few\\n::error::x\"\n";
        let policy = Policy::read(text, "x,y/p:1.toml".as_ref()).unwrap();
        let mut judge = Judge::new(&policy);
        judge.add(&crate::op::Op {
            file: Some("/50%\n::error::x".into()),
            ..write()
        });
        let gaps = vec![
            "3 records lost".into(),
            "the command ended with status 7".into(),
        ];
        let judgement = Judgement::new(&policy, judge, gaps, Vec::new());
        let told = Commands(&judgement).to_string();
        let told: Vec<&str> = told.lines().collect();
        let broken = "::error file=x%2Cy/p%3A1.toml,line=2,col=8,title=a%2C 100%25%3A b::\
                      cache = \"buffered\": 1 ops were direct%0A  the first: write of 4096 bytes at 8192 of /50%25\\n::error::x, ";
        assert!(told[0].starts_with(broken), "{}", told[0]);
        assert!(
            told[0].ends_with("%0A  to mend it: open the file without O_DIRECT"),
            "{}",
            told[0]
        );
        assert_eq!(
            told[1..],
            [
                "::warning file=x%2Cy/p%3A1.toml,line=10,col=10,title=few%0A%3A%3Aerror%3A%3Ax::\
                 1 ops matched; at_least 2 are asked for",
                "::warning title=the run was not seen whole::3 records lost%0Athe command ended with status 7",
            ]
        );
    }
}
