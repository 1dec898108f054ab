use super::*;
use crate::policy::{Judge, Policy};

#[test]
fn a_case_for_each_rule_and_one_for_the_run() {
    let text = "[[rule]]\nname = \"a <\\u0001>\"\nno_punt = true\n[[rule]]\nname = \"b\"\ncache = \"direct\"\n";
    let policy = Policy::read(text, "p".as_ref()).unwrap();
    let judgement = Judgement::new(
        &policy,
        Judge::new(&policy),
        vec!["3 records lost".into()],
        Vec::new(),
    );
    let file = report(&judgement).to_string().unwrap();
    for wanted in [
        "name=\"odio-trace verify\" tests=\"3\" skipped=\"0\" failures=\"0\" errors=\"3\"",
        "<testcase name=\"a &lt;",
        "<error message=\"0 ops matched; at_least 1 are asked for\" type=\"INCONCLUSIVE\">",
        "<error message=\"3 records lost\" type=\"INCONCLUSIVE\">",
    ] {
        assert!(file.contains(wanted), "{wanted} is not in\n{file}");
    }
    assert!(!file.contains('\u{1}'), "{file}");
}
