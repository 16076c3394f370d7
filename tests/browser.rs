//! The report's page in a real browser: light and dark, on a phone and on a desk.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use support::*;
use tempfile::TempDir;

/// A script that looks at the page from inside and writes down what is wrong.
const INSPECTION: &str = include_str!("support/inspect.js");

/// The browser, or `None` if there is none; then the test is skipped by name.
fn browser(test: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let found = std::env::split_paths(&folders).flat_map(|dir| names.map(|name| dir.join(name))).find(|path| path.is_file());
    if found.is_none() {
        pagesieve_ebpf::testing::skipped(test, "there is no chromium");
    }
    found
}

/// A window of a browser.
#[derive(Clone, Copy)]
struct Window {
    width: u32,
    dark: bool,
}

const WINDOWS: [Window; 4] = [
    Window { width: 400, dark: false },
    Window { width: 1400, dark: false },
    Window { width: 400, dark: true },
    Window { width: 1400, dark: true },
];

/// A window may not be narrower than some 500 pixels, so the page is shown in a frame of the width that is wanted. What the page
/// inside tells is written down.
const AROUND: &str = "<!DOCTYPE html><meta name=\"color-scheme\" content=\"light dark\"><title>around</title>
<script>addEventListener('message', (event) => { document.getElementById('found').textContent = event.data; });</script>
<pre id=\"found\"></pre>
<iframe src=\"page.html\" style=\"border:0;color-scheme:light dark\" width=\"WIDTH\" height=\"1000\"></iframe>";

/// Opens a page and returns what is wrong with it, a line each.
fn inspect(browser: &Path, page: &str, window: Window) -> Vec<String> {
    let dir = scratch();
    let file = dir.path().join("page.html");
    let expected = format!("const EXPECTED = {{ width: {}, dark: {} }};", window.width, window.dark);
    let script = format!("<head><script>{expected}\n{INSPECTION}</script>");
    assert!(page.contains("<head>"), "the page has no head to put the inspection into");
    fs::write(&file, page.replacen("<head>", &script, 1)).unwrap();
    let around = dir.path().join("around.html");
    fs::write(&around, AROUND.replace("WIDTH", &window.width.to_string())).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--virtual-time-budget=20000", "--timeout=60000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg("--window-size=1600,1200")
        .arg(format!("--blink-settings=preferredColorScheme={}", if window.dark { 0 } else { 1 }))
        .arg(format!("file://{}", around.display()))
        .stdin(Stdio::null())
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    let found = dom.split_once("<pre id=\"found\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let Some((found, _)) = found.filter(|(found, _)| !found.is_empty()) else { panic!("the inspection did not end: {said}") };
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let mut found: Vec<String> = serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error} in {found}"));
    found.extend(said.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned));
    found
}

/// A report on two synthetic traces and a real one. It is made once for all tests.
fn report() -> &'static str {
    static REPORT: OnceLock<(TempDir, String)> = OnceLock::new();
    let (_, page) = REPORT.get_or_init(|| {
        let dir = scratch();
        let long = dir.path().join(format!("{}.trace", "a-long-name-without-any-place-to-break-it".repeat(3)));
        fs::rename(synth(dir.path(), "b.trace", 2), &long).unwrap();
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/corpus/light-512m.trace");
        let folder = dir.path().join("report");
        let files = [synth(dir.path(), "a.trace", 1), long, real];
        let names = files.iter().map(|file| text(file));
        run(["report", "--format", "html", "-o", text(&folder)].into_iter().chain(names)).expect_quiet_success();
        let page = fs::read_to_string(folder.join("index.html")).unwrap();
        (dir, page)
    });
    page
}

#[test]
fn a_report_is_right_in_a_browser() {
    let Some(browser) = browser("a_report_is_right_in_a_browser") else { return };
    for window in WINDOWS {
        let found = inspect(&browser, report(), window);
        assert_eq!(found, [""; 0], "at {} pixels, dark: {}", window.width, window.dark);
    }
}

#[test]
fn tables_are_sorted_and_values_read_out() {
    let Some(browser) = browser("tables_are_sorted_and_values_read_out") else { return };
    // Points at the middle of a drawing, then presses the head of a column twice; the first and last cell after each time.
    let press = "<script>addEventListener('load', () => {
        const svg = document.querySelector('[data-axis] svg'), box = svg.getBoundingClientRect();
        svg.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + box.width / 2 }));
        const line = svg.closest('figure').querySelector('.readout').textContent;
        const table = document.querySelector('table.data'), head = table.tHead.rows[0].cells[1].querySelector('button');
        const ends = () => [0, table.tBodies[0].rows.length - 1].map((at) => table.tBodies[0].rows[at].cells[1].textContent);
        const seen = [line.includes('dirty pages: ')];
        for (let time = 0; time < 2; time += 1) { head.click(); seen.push(ends()); }
        const note = document.createElement('pre');
        note.id = 'sorted';
        note.textContent = JSON.stringify(seen);
        document.body.append(note);
    });</script></body>";
    let table = "<table class=\"data\"><thead><tr><th>a</th><th class=\"n\">b</th></tr></thead><tbody>\
                 <tr><td>x</td><td>1.5 GiB</td></tr><tr><td>y</td><td>900.0 MiB</td></tr><tr><td>z</td><td>2,000 B</td></tr>\
                 </tbody></table>";
    let page = report().replacen("<main>", &format!("<main>{table}"), 1).replacen("</body>", press, 1);
    let dir = scratch();
    let file = dir.path().join("page.html");
    fs::write(&file, page).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8_lossy(&output.stdout);
    let seen = dom.split_once("<pre id=\"sorted\">").and_then(|(_, rest)| rest.split_once("</pre>")).expect("it was pressed").0;
    let seen: Value = serde_json::from_str(seen).unwrap();
    assert_eq!(seen, serde_json::json!([true, ["1.5 GiB", "2,000 B"], ["2,000 B", "1.5 GiB"]]));
}

/// The inspection itself: each fault that is put into a page must be found.
#[test]
fn the_inspection_finds_what_is_wrong() {
    let Some(browser) = browser("the_inspection_finds_what_is_wrong") else { return };
    let page = report();
    let into_body = |html: &str| page.replacen("<main>", &format!("<main>{html}"), 1);
    let first_title = page.split_once("<title id=").expect("figures have titles").1.split_once("</title>").unwrap().0;
    let first_title = format!("<title id={first_title}</title>");
    let faults = [
        ("is wider than the window", into_body("<div style=\"width:3000px\">wide</div>")),
        ("nothing_there", into_body("<script>nothing_there()</script>")),
        ("a complaint", into_body("<script>console.error('a complaint')</script>")),
        ("has no title", page.replacen(&first_title, "", 1)),
        ("127.0.0.1", into_body("<img src=\"http://127.0.0.1:9/x.png\" alt=\"\">")),
        ("127.0.0.1", into_body("<script>fetch('http://127.0.0.1:9/x').catch(() => 0)</script>")),
        ("contrast", into_body("<p style=\"color:#888;background:#999\">hardly to be read</p>")),
        ("overlap", page.replacen("</text>", "</text><text x=\"0\" y=\"14\">over the first label of all</text>", 1)),
        ("leaves its drawing", page.replacen("<text x=\"", "<text x=\"99", 1)),
    ];
    for (words, page) in faults {
        let found = inspect(&browser, &page, WINDOWS[1]);
        assert!(found.iter().any(|line| line.contains(words)), "no `{words}` in {found:?}");
    }
    let found = inspect(&browser, page, Window { width: 900, dark: true });
    assert_eq!(found, [""; 0], "nothing is wrong with the page itself");
}
