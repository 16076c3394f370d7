//! Pure renderers: HTML, SVG, Markdown, JSON.
