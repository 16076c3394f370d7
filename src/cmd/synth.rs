//! `pagesieve synth`.

use pagesieve_traces::{SynthConfig, Writer, synth};

use super::place::Place;
use crate::cli::Synth;
use crate::{output, units};

pub(crate) fn run(options: &Synth) -> anyhow::Result<()> {
    let place = Place::new(&options.output, &[], options.force)?;
    let frames = synth(SynthConfig {
        class: options.class,
        memory: options.memory,
        seed: options.seed,
        duration: options.duration.into(),
        epoch: options.epoch.into(),
        fingerprints: !options.no_fingerprints,
    })?;
    let mut writer = Writer::new(place.output()?, frames.header())?;
    for frame in frames {
        writer.write_frame(&frame)?;
    }
    let frames = writer.frames_written();
    let bytes = writer.finish()?;
    place.keep()?;
    output::line(format_args!("{}: {frames} frames, {}", options.output.display(), units::show_bytes(bytes)))
}
