//! Writes a sample report into the folder given as the only argument, to look at the page without any trace.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os().nth(1).ok_or("name the folder to write into")?;
    pagesieve_reports::write(&fixture::sample(), dir.as_ref(), &pagesieve_reports::FileFormat::ALL)?;
    Ok(())
}
