//! What a policy came to as a JUnit file: a test case for each rule, and one for the run itself.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::judgement::{Judgement, lines};
use crate::check::Verdict;

/// The file. A verdict that is INCONCLUSIVE is an error there, a broken rule a failure.
pub(crate) fn report(judgement: &Judgement<'_>) -> Report {
    let mut suite = TestSuite::new("odio-trace verify");
    for judged in &judgement.rules {
        suite.add_test_case(case(judged.rule.name(), judged.verdict(), &lines(judged)));
    }
    let whole = judgement.of_run();
    suite.add_test_case(case("the run was seen whole", whole, &judgement.gaps));
    let mut report = Report::new("odio-trace verify");
    report.add_test_suite(suite);
    report
}

fn case(name: &str, verdict: Verdict, lines: &[String]) -> TestCase {
    let status = match verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Inconclusive => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let mut case = TestCase::new(name, status);
    if verdict != Verdict::Pass {
        case.status.set_type(verdict.name());
        case.status
            .set_message(lines.first().map_or(verdict.name(), String::as_str));
        case.status.set_description(lines.join("\n"));
    }
    case
}

#[cfg(test)]
mod tests;
