//! `index.html`: one file that needs nothing else.

use askama::Template;

use crate::Report;
use crate::figures::ink;
use crate::view::PageView;

#[derive(Template)]
#[template(path = "index.html")]
struct Page {
    view: PageView,
    light: String,
    dark: String,
}

/// The report as one HTML file: nothing from outside, light and dark. Its one script only sorts tables; without it nothing is missing.
#[must_use]
pub fn html(report: &Report) -> String {
    let page = Page { view: PageView::of(report), light: ink::css(false), dark: ink::css(true) };
    // A template fails only when its writer does, and a string does not.
    page.render().expect("writing to a string does not fail")
}
