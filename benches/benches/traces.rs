//! The trace format: events a second, written and read.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pagesieve_benches::{events, guest};
use pagesieve_traces::{Class, Frame, Header, Reader, Writer};

fn write(header: &Header, frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, header).expect("memory takes a header");
    for frame in frames {
        writer.write_frame(frame).expect("memory takes a frame");
    }
    writer.finish().expect("memory takes an index");
    file
}

fn read(file: &[u8]) -> u64 {
    let mut reader = Reader::new(file).expect("the file begins well");
    reader.frames().map(|frame| frame.expect("the frame is whole").events.len() as u64).sum()
}

fn traces(c: &mut Criterion) {
    let mut group = c.benchmark_group("trace");
    for class in [Class::Mixed, Class::HeavyIo] {
        let (header, frames) = guest(class);
        let file = write(&header, &frames);
        assert_eq!(read(&file), events(&frames), "what is read is what was written");
        group.throughput(Throughput::Elements(events(&frames)));
        group.bench_function(format!("write, {class}"), |b| b.iter(|| write(&header, black_box(&frames))));
        group.bench_function(format!("read, {class}"), |b| b.iter(|| read(black_box(&file))));
    }
    group.finish();
}

criterion_group!(benches, traces);
criterion_main!(benches);
