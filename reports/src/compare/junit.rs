//! For what shows test results: JUnit XML, a suite for each trace and a case for each group of quantities.

use std::collections::BTreeSet;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::Comparison;
use super::judge::{Change, Outcome};
use super::quantity::{Group, Quantity};
use super::words::line;

/// The comparison as JUnit XML. A case fails if one of its quantities is a regression, and says which. What is worse without being
/// a regression stands in the output of its case.
///
/// # Errors
/// The XML cannot be written, which does not happen in memory.
pub fn junit(comparison: &Comparison) -> Result<String, SerializeError> {
    let mut report = Report::new("pagesieve compare");
    let mut seen = BTreeSet::new();
    for trace in comparison.traces.iter().filter(|trace| seen.insert(*trace)) {
        report.add_test_suite(suite(comparison, trace));
    }
    report.to_string()
}

fn suite(comparison: &Comparison, trace: &str) -> TestSuite {
    let mut suite = TestSuite::new(trace);
    let changes: Vec<_> = comparison.changes.iter().filter(|change| change.trace == trace).collect();
    // That all is there is a case of every trace, with or without something missing.
    let groups: BTreeSet<Group> = changes.iter().map(|change| change.quantity.group()).chain([Group::Present]).collect();
    for group in groups {
        let of_group: Vec<_> = changes.iter().filter(|change| change.quantity.group() == group).copied().collect();
        suite.add_test_case(case(trace, group, &of_group));
    }
    let strangers = comparison.strangers.iter().filter(|stranger| stranger.trace == trace);
    let warnings: Vec<_> = strangers.map(|stranger| format!("different recordings: {}", stranger.line())).collect();
    if !warnings.is_empty() {
        suite.set_system_err(warnings.join("\n"));
    }
    suite
}

fn case(trace: &str, group: Group, changes: &[&Change]) -> TestCase {
    let lines = |wanted: fn(&Change) -> bool| {
        changes.iter().filter(|change| wanted(change)).map(|change| line(change)).collect::<Vec<_>>()
    };
    let worse = lines(|change| change.outcome == Outcome::Regression);
    let mut status = TestCaseStatus::success();
    if let Some(first) = worse.first() {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type("regression").set_message(first.as_str()).set_description(worse.join("\n"));
    }
    let mut case = TestCase::new(group.label(), status);
    case.set_classname(trace);
    case.set_assertions(changes.iter().filter(|change| change.quantity != Quantity::Present).count());
    let told = lines(|change| change.outcome != Outcome::Regression && change.differs());
    if !told.is_empty() {
        case.set_system_out(told.join("\n"));
    }
    case
}
