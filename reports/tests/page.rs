//! What holds for every page, whatever is in the report.

#[path = "fixture/mod.rs"]
mod fixture;

use fixture::{Shape, sample, trace};
use pagesieve_core::series::{EpochPoint, Heatmap, RedirtyIntervals, Timeline};
use pagesieve_reports::figures::{DirtyRate, Figure, PageHeatmap, png_file, svg_file};
use pagesieve_reports::view::PageView;
use pagesieve_reports::{FileFormat, Report, csv, format, html, json, markdown, write};

/// Names and commands come out of files that anyone may have made.
const HOSTILE: &str = "<script>alert('x')</script>&\"|`*_[a](b)\u{1b}[31m\n# heading";

fn hostile() -> Report {
    let mut report = sample();
    report.tool = HOSTILE.into();
    report.command = HOSTILE.into();
    for trace in &mut report.traces {
        trace.name = HOSTILE.into();
        trace.notes = vec![HOSTILE.into()];
        trace.provenance.hooks = vec![HOSTILE.into()];
        trace.provenance.target = HOSTILE.into();
        trace.provenance.cpu = HOSTILE.into();
        trace.provenance.source = HOSTILE.into();
        trace.verify.violations = vec![HOSTILE.into()];
        trace.verify.unknown_by_reason = [(HOSTILE.into(), 1)].into();
        trace.class = Some(HOSTILE.into());
        for replay in &mut trace.replays {
            replay.scenario = HOSTILE.into();
        }
        for slot in &mut trace.heatmap.slots {
            slot.label = HOSTILE.into();
        }
    }
    report
}

/// A trace of which nothing is known: no epoch, no replay, no map.
fn bare() -> Report {
    let mut bare = trace("bare", Some("idle"), "ebpf", Shape::Idle, [0; 6]);
    bare.replays.clear();
    bare.timeline = Timeline::default();
    bare.heatmap = Heatmap::default();
    bare.duration_ns = 0;
    bare.guest_bytes = 0;
    // And one whose replays passed no verdict at all.
    let empty = trace("empty", Some("light"), "ebpf", Shape::Light, [0; 6]);
    Report::new("", "", vec![bare, empty])
}

/// The whole text of every `<tag ...>...</tag>` in a page.
fn elements<'a>(page: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag} "), format!("</{tag}>"));
    page.match_indices(&open)
        .map(|(at, _)| {
            let rest = &page[at..];
            &rest[..rest.find(&close).expect("every element is closed")]
        })
        .collect()
}

#[test]
fn hostile_text_stays_text() {
    let report = hostile();
    let page = html(&report);
    assert_eq!(page.matches("<script").count(), 1, "no name may open an element; the page has a script of its own");
    assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"), "the name is shown, escaped");
    assert!(!page.contains('\u{1b}') || elements(&page, "svg").iter().all(|svg| !svg.contains('\u{1b}')));
    let text = markdown(&report);
    assert!(!text.contains("<script"), "Markdown passes HTML through");
    assert!(!text.lines().any(|line| line.starts_with("# heading")), "a line feed in a name starts no line");
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    for rows in text.split("\n\n").filter(|part| part.starts_with("| ")) {
        let first = columns(rows.lines().next().expect("a part has a line"));
        assert!(rows.lines().all(|line| columns(line) == first), "a bar in a name adds no column: {rows}");
    }
}

#[test]
fn the_page_needs_nothing_else() {
    for report in [sample(), hostile(), bare()] {
        let page = html(&report).replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for outside in ["http:", "https:", "src=", "<link", "@import", "url(", "eval(", "<iframe"] {
            assert!(!page.contains(outside), "the page has {outside}");
        }
        for (at, _) in page.match_indices("href=\"") {
            assert!(page[at + 6..].starts_with("#trace-"), "a link leads out of the page");
        }
    }
}

#[test]
fn every_figure_has_a_text_alternative_and_its_data() {
    let report = sample();
    let page = html(&report);
    let drawings = elements(&page, "svg");
    // All traces, all classes, a grid for each class; for each trace two scenarios of policies and seven more.
    let figures: Vec<String> = PageView::of(&report).figures().map(|figure| figure.id.clone()).collect();
    assert_eq!(figures.len(), 2 + 4 + 9 * report.traces.len());
    assert_eq!(drawings.len(), 2 * figures.len(), "wide and narrow");
    let shown: Vec<&str> = page.split("<figure id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(shown, figures, "each is in the page, in its order");
    let mut ids = std::collections::BTreeSet::new();
    for svg in drawings {
        let (head, body) = svg.split_once('>').expect("an opening tag ends");
        let label =
            head.split("aria-labelledby=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("the drawing is labelled");
        assert!(head.contains("role=\"img\""));
        for id in label.split(' ') {
            assert!(ids.insert(id.to_owned()), "{id} is used twice");
            let text = body.split(&format!(" id=\"{id}\">")).nth(1).and_then(|rest| rest.split('<').next());
            assert!(text.is_some_and(|text| text.len() > 10), "{id} leads to no text");
        }
        assert!(!svg.contains("\"#"), "a fixed colour does not follow the reader's colour scheme: {svg}");
    }
    for figure in elements(&page, "figure") {
        assert_eq!(figure.matches("<table class=\"data\">").count(), 1, "its data stand beside it: {figure}");
    }
}

#[test]
fn html_and_markdown_show_the_numbers_of_the_json() {
    let report = sample();
    let (page, text) = (html(&report), markdown(&report));
    let document: serde_json::Value = serde_json::from_str(&json(&report)).expect("the JSON is well formed");
    for trace in document["traces"].as_array().expect("traces are a list") {
        let name = trace["name"].as_str().expect("a name is text");
        let number = |value: &serde_json::Value| value.as_u64().expect("a count is a whole number");
        let pages = number(&trace["guest_bytes"]) / 4096;
        let section = |whole: &str, start: &str, end: &str| -> String {
            let from = whole.find(start).expect("each trace has a section") + start.len();
            whole[from..].split(end).next().unwrap_or_default().to_owned()
        };
        let in_page = section(&page, &format!("\">{name}</h2>"), "</section>");
        let in_text = section(&text, &format!("\n## {}\n", name.replace('_', "\\_")), "\n## ");
        for replay in trace["replays"].as_array().expect("replays are a list") {
            let share = |key: &str| format::percent(replay["skip_rate"][key].as_f64().expect("a rate is a number"));
            let lost = format!("{} of {}", format::count(number(&replay["lost_pages"])), format::count(pages));
            for shown in [share("total"), share("resident"), lost, format::bytes(number(&replay["bytes"]["wire"]))] {
                assert!(in_page.contains(&shown), "{name}: {shown} is not in the page");
                assert!(in_text.contains(&shown), "{name}: {shown} is not in the Markdown");
            }
        }
        for count in [&trace["events"], &trace["lost_events"], &trace["verify"]["dirty_log"]] {
            let shown = format::count(number(count));
            assert!(in_page.contains(&shown) && in_text.contains(&shown), "{name}: {shown} is missing");
        }
    }
}

#[test]
fn the_report_can_be_read_back_from_its_json() {
    for report in [sample(), bare()] {
        let back: Report = serde_json::from_str(&json(&report)).expect("the JSON is a report");
        assert_eq!(back, report);
    }
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    assert_eq!(html(&sample()), html(&sample()));
    assert_eq!(markdown(&sample()), markdown(&sample()));
    assert_eq!(json(&sample()), json(&sample()));
}

#[test]
fn nothing_measured_is_said_and_not_computed() {
    for report in [bare(), Report::new("", "", Vec::new())] {
        for text in [html(&report), markdown(&report)] {
            for wrong in ["NaN", "inf ", "infinity"] {
                assert!(!text.contains(wrong), "{wrong} in {text}");
            }
            assert!(text.contains("No recorded trace has both a claimed skip rate and a measured one"));
        }
    }
    let page = html(&bare());
    assert!(page.contains("There is no replay of this trace."));
    assert!(page.contains("There is no heatmap for this trace."));
    assert!(page.contains("The trace has no closed epoch"));
    assert!(page.contains("passed no verdict on any block"));
}

#[test]
fn rates_that_are_no_numbers_are_shown_as_a_dash() {
    let mut report = sample();
    report.traces[0].replays[1].skip_rate.total = f64::NAN;
    report.traces[0].verify.recall.log_in_events = f64::INFINITY;
    let page = html(&report);
    assert!(!page.contains("NaN") && !page.contains("inf\u{a0}"));
    assert!(serde_json::from_str::<serde_json::Value>(&json(&report)).is_ok());
}

#[test]
fn extreme_numbers_neither_panic_nor_leave_the_page() {
    let mut report = sample();
    let trace = &mut report.traces[0];
    let huge = EpochPoint {
        end_ns: u64::MAX,
        dirty_pages: u64::MAX,
        unknown_pages: u64::MAX,
        events: u64::MAX,
        lost: u64::MAX,
        resident_pages: 0,
        write_events: u64::MAX,
        scan_ns: u64::MAX,
        stopped: true,
    };
    // Time that runs backwards, and more of everything than there can be.
    trace.timeline.epochs = vec![huge, EpochPoint::default(), huge];
    trace.heatmap.cells.fill(u32::MAX);
    (trace.heatmap.start_ns, trace.heatmap.end_ns) = (u64::MAX, 0);
    (trace.events, trace.lost_events, trace.guest_bytes) = (u64::MAX, u64::MAX, u64::MAX);
    trace.heatmap.slots[0].end_row = u32::MAX;
    for point in &mut trace.working_sets.points {
        (point.written, point.touched) = ([u64::MAX; 2], [u64::MAX; 2]);
    }
    trace.redirty =
        RedirtyIntervals { epochs: u64::MAX, never: u64::MAX, once: u64::MAX, again: u64::MAX, intervals: vec![u64::MAX; 100] };
    for link in &mut trace.links {
        (link.bandwidth, link.total_time_ns, link.downtime_ns) = (u64::MAX, u64::MAX, 0);
    }
    for rate in &mut trace.grid {
        (rate.block_size, rate.interval_ns) = (u64::MAX, u64::MAX);
    }
    trace.trace_bytes = u64::MAX;
    for replay in &mut trace.replays {
        replay.bytes.sent = u64::MAX;
        replay.bytes.resent = u64::MAX;
        replay.blocks.sent = u64::MAX;
        replay.block_size = u64::MAX;
        replay.lost_pages = u64::MAX;
        replay.downtime = Some(u64::MAX);
    }
    let page = html(&report);
    assert!(!page.contains("NaN") && !page.contains("inf,"));
}

#[test]
fn long_timelines_and_large_maps_are_made_coarser_without_losing_a_page() {
    let epochs = (1..=1_001).map(|at| EpochPoint { end_ns: at * 1_000, dirty_pages: at, lost: 1, ..EpochPoint::default() });
    let drawing = DirtyRate::of("long", &Timeline { epochs: epochs.collect() });
    assert!(drawing.intervals.len() <= 300);
    assert_eq!(drawing.intervals.iter().map(|at| at.dirty).sum::<u64>(), 1_001 * 1_002 / 2);
    assert_eq!(drawing.intervals.iter().map(|at| at.lost).sum::<u64>(), 1_001);
    assert_eq!(drawing.intervals.last().map(|at| at.end), Some(1_001_000));
    let map = Heatmap { rows: 1_000, cols: 1_000, cells: vec![3; 1_000_000], end_ns: 9, pages_per_row: 4, ..Heatmap::default() };
    let figure = Figure::of(PageHeatmap::of("large", &map), "large");
    assert!(figure.wide.len() < 200_000, "{} bytes", figure.wide.len());
    let counts =
        figure.table.rows.iter().flat_map(|row| &row[1..]).map(|cell| cell.replace(',', "").parse::<u64>().expect("a count"));
    assert_eq!(counts.sum::<u64>(), 3_000_000);
}

#[test]
fn writing_makes_the_folder_and_names_a_file_that_is_in_the_way() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let target = dir.path().join("a/b");
    let files = write(&sample(), &target, &FileFormat::DEFAULT).expect("the report is written");
    let names: Vec<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, ["index.html", "summary.json", "summary.md"]);
    assert_eq!(std::fs::read_to_string(&files[0]).expect("the page is there"), html(&sample()));
    let error = write(&sample(), &files[2], &FileFormat::DEFAULT).expect_err("a file is no folder").to_string();
    assert!(error.starts_with("make the folder ") && error.contains("summary.md"), "{error}");
}

#[test]
fn tables_for_programs_have_the_columns_that_are_described() {
    let report = sample();
    let described = include_str!("../METHODOLOGY.md");
    for (name, text) in csv(&report) {
        assert!(described.contains(&format!("| `{name}` |")), "{name} is not described");
        let mut lines = text.lines();
        let heads: Vec<&str> = lines.next().expect("a table has a line of names").split(',').collect();
        for head in &heads {
            assert!(described.contains(&format!("`{head}`")), "the column {head} of {name} is not described");
        }
        let mut rows = 0;
        for line in lines {
            assert_eq!(line.split(',').count(), heads.len(), "{name}: {line}");
            rows += 1;
        }
        assert!(rows >= report.traces.len(), "{name} has a row for each trace at least");
    }
    let mut named = report;
    named.traces[0].name = "a,\"b\"\nc".into();
    let (_, text) = csv(&named).swap_remove(0);
    assert!(text.contains("\n\"a,\"\"b\"\"\nc\",idle,ebpf,"), "{text}");
}

#[test]
fn figures_as_files_are_complete_by_themselves() {
    let page = PageView::of(&sample());
    for figure in page.figures() {
        let svg = svg_file(&figure.picture, &figure.id);
        assert!(svg.starts_with("<?xml ") && svg.ends_with("</svg>\n"), "{}", figure.id);
        assert!(!svg.contains("var(--") && !svg.contains("This drawing failed"), "{}", figure.id);
        assert!(svg.matches("<text ").count() > figure.wide.matches("<text ").count(), "its title is drawn: {}", figure.id);
    }
    let figure = page.figures().next().expect("the sample has figures");
    let png = png_file(&figure.picture).expect("it can be drawn");
    assert_eq!(png, png_file(&figure.picture).expect("it can be drawn"), "the same figure gives the same bytes");
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let size = |at: usize| u32::from_be_bytes([png[at], png[at + 1], png[at + 2], png[at + 3]]);
    assert_eq!(size(16), 2 * (880 + 32));
}
