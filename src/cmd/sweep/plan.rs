//! What to sweep: the options given, then those of the file, then the defaults.

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use pagesieve_core::Nanos;
use pagesieve_replayer::sweep::{Best, Grid};
use serde::Deserialize;
use toml::Value;

use crate::cli::{BestBy, Sweep, SweepFormat};
use crate::units;

/// What to sweep and how to print it.
pub(super) struct Plan {
    pub(super) grid: Grid,
    pub(super) best: Option<Best>,
    pub(super) format: SweepFormat,
    pub(super) output: Option<PathBuf>,
}

/// The file: a key for each option. Values are kept as they stand, so that an error can name the key.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PlanFile {
    policy: Option<Value>,
    scenario: Option<Value>,
    block_size: Option<Value>,
    aging: Option<Value>,
    interval: Option<Value>,
    bandwidth: Option<Value>,
    min_access: Option<Value>,
    best: Option<Value>,
    format: Option<Value>,
    output: Option<Value>,
}

impl Plan {
    pub(super) fn new(options: &Sweep) -> anyhow::Result<Self> {
        let Some(path) = &options.sweep else { return Self::merge(options, &PlanFile::default()) };
        let merge = || Self::merge(options, &parse(path)?);
        merge().with_context(|| format!("read {}", path.display()))
    }

    fn merge(options: &Sweep, file: &PlanFile) -> anyhow::Result<Self> {
        let default = Grid::default();
        let times = |times: &[Duration]| times.iter().copied().map(Nanos::from).collect::<Vec<_>>();
        let span = |text: &str| units::span(text).map(Nanos::from);
        let duration = |text: &str| units::duration(text).map(Nanos::from);
        let grid = Grid {
            policies: list("policy", &options.policy, &file.policy, by_name, default.policies)?,
            scenarios: list("scenario", &options.scenario, &file.scenario, by_name, default.scenarios)?,
            block_sizes: list("block-size", &options.block_size, &file.block_size, units::block_size, default.block_sizes)?,
            agings: list("aging", &times(&options.aging), &file.aging, duration, default.agings)?,
            intervals: list("interval", &times(&options.interval), &file.interval, span, default.intervals)?,
            bandwidths: list("bandwidth", &options.bandwidth, &file.bandwidth, units::bandwidth, default.bandwidths)?,
            min_access: one("min-access", options.min_access, &file.min_access, count)?.unwrap_or(default.min_access),
        };
        let path = |text: &str| Ok(PathBuf::from(text));
        Ok(Self {
            grid,
            best: one("best", options.best, &file.best, by_value::<BestBy>)?.map(Best::from),
            format: one("format", options.format, &file.format, by_value)?.unwrap_or_default(),
            output: one("output", options.output.clone(), &file.output, path)?,
        })
    }
}

fn parse(path: &Path) -> anyhow::Result<PlanFile> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("there is no such file; check its name and path"),
        _ => error.into(),
    })?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        anyhow!("line {}: {}", before.matches('\n').count() + 1, error.message())
    })
}

/// The values given, or else those of the file, or else the default. What the file says has to make sense in any case.
fn list<T: Clone>(
    key: &str,
    given: &[T],
    file: &Option<Value>,
    parse: impl Fn(&str) -> Result<T, String>,
    default: Vec<T>,
) -> anyhow::Result<Vec<T>> {
    let file = match file {
        None => default,
        Some(Value::Array(values)) if values.is_empty() => bail!("key `{key}`: the list is empty; leave it out for the default"),
        Some(Value::Array(values)) => values.iter().map(|value| parsed(key, value, &parse)).collect::<Result<_, _>>()?,
        // As it would stand behind the option.
        Some(Value::String(text)) => {
            text.split(',').map(|text| parse(text).map_err(|error| wrong(key, error))).collect::<Result<_, _>>()?
        }
        Some(value) => vec![parsed(key, value, &parse)?],
    };
    Ok(if given.is_empty() { file } else { given.to_vec() })
}

/// The value given, or else that of the file.
fn one<T>(
    key: &str,
    given: Option<T>,
    file: &Option<Value>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> anyhow::Result<Option<T>> {
    let file = file.as_ref().map(|value| parsed(key, value, &parse)).transpose()?;
    Ok(given.or(file))
}

fn parsed<T>(key: &str, value: &Value, parse: impl Fn(&str) -> Result<T, String>) -> anyhow::Result<T> {
    let found = match value {
        Value::String(text) => parse(text),
        // As on the command line, a number without a unit is bytes or seconds.
        Value::Integer(number) => parse(&number.to_string()),
        other => {
            Err(format!("a value of type {} has no meaning here; write it in quotes, as on the command line", other.type_str()))
        }
    };
    found.map_err(|error| wrong(key, error))
}

fn wrong(key: &str, error: String) -> anyhow::Error {
    anyhow!("key `{key}`: {error}")
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is no count: write a whole number from 0 up, such as 1"))
}

fn by_name<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("`{text}`: {error}"))
}

fn by_value<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
        format!("`{text}` is none of {}", names.join(", "))
    })
}
