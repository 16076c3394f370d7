//! `pagesieve synth`.

use pagesieve_traces::{CreateOptions, SynthConfig, Writer, synth};

use crate::cli::Synth;
use crate::{output, units};

pub(crate) fn run(options: &Synth) -> anyhow::Result<()> {
    super::check_output(&options.output)?;
    let frames = synth(SynthConfig {
        class: options.class,
        memory: options.memory,
        seed: options.seed,
        duration: options.duration.into(),
        epoch: options.epoch.into(),
        fingerprints: !options.no_fingerprints,
    })?;
    let mut writer = Writer::create_with(&options.output, frames.header(), CreateOptions { force: options.force })?;
    for frame in frames {
        writer.write_frame(&frame)?;
    }
    let frames = writer.frames_written();
    let bytes = writer.finish()?;
    output::line(format_args!("{}: {frames} frames, {}", options.output.display(), units::show_bytes(bytes)))
}
