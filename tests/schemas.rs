//! The schemas in `reports/schema` say what the command writes, and refuse what it would never write.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};
use support::{run, scratch, synth, text};

const SCHEMAS: [&str; 6] = ["common", "summary", "compare", "sweep", "replay", "verify"];

fn schema(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("reports/schema/{name}.schema.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Where the schemas would be found if they were files of a web server; nothing is fetched.
fn uri(name: &str) -> String {
    format!("https://pagesieve.invalid/{name}.schema.json")
}

/// The schemas, ready to be asked. Building one takes longer than asking it.
fn validator(name: &str) -> &'static Validator {
    static ALL: OnceLock<BTreeMap<&str, Validator>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let registry = SCHEMAS.iter().try_fold(Registry::new(), |all, name| all.add(uri(name), schema(name)));
        let registry = registry.unwrap().prepare().unwrap();
        let build = |name| {
            let options = jsonschema::options().with_registry(&registry).with_base_uri(uri(name));
            (name, options.build(&schema(name)).unwrap())
        };
        SCHEMAS.map(build).into()
    });
    &all[name]
}

/// What is wrong with a document, a line each.
fn errors(name: &str, document: &Value) -> Vec<String> {
    validator(name).iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[track_caller]
fn accepts(name: &str, document: &Value) {
    assert_eq!(errors(name, document), Vec::<String>::new(), "{name}");
}

/// Real documents: each with the name of its schema.
fn documents(dir: &Path) -> Vec<(&'static str, Value)> {
    let (one, two) = (synth(dir, "one.trace", 1), synth(dir, "two.trace", 2));
    let report = |file: &PathBuf, name: &str| {
        let folder = dir.join(name);
        run(["report", text(file), "-o", text(&folder)]).expect_quiet_success();
        folder.join("summary.json")
    };
    let (base, new) = (report(&one, "base"), report(&one, "new"));
    let summary: Value = serde_json::from_str(&fs::read_to_string(&base).unwrap()).unwrap();
    let mut worse = summary.clone();
    worse["traces"][0]["replays"][1]["lost_pages"] = 1.into();
    worse["traces"][0]["replays"].as_array_mut().unwrap().pop();
    worse["traces"][0]["grid"].as_array_mut().unwrap().pop();
    worse["traces"][0]["verify"]["lost_pages"]["proven"] = 1.into();
    worse["traces"][0]["events"] = 1.into();
    fs::write(&new, worse.to_string()).unwrap();
    let compare = |options: &[&str], base: &Path, new: &Path| -> Value {
        let args = ["compare", "--format", "json"].into_iter().chain(options.iter().copied());
        serde_json::from_str(&run(args.chain([text(base), text(new)])).stdout).unwrap()
    };
    let json = |args: &[&str]| run(args.iter().copied().chain([text(&one)])).expect_json();
    let explain = ["replay", "--json", "--scenario", "precopy", "--policy", "predictive", "--explain", "0x10"];
    let sweep = ["sweep", "--format", "json", "--scenario", "sync,precopy", "--policy", "proven,aging", "--best", "wire"];
    vec![
        ("summary", summary),
        ("compare", compare(&["--all"], &base, &new)),
        ("compare", compare(&[], &new, &base)),
        ("compare", compare(&[], &base, &base)),
        ("sweep", json(&sweep)),
        ("replay", json(&["replay", "--json"])),
        ("replay", json(&explain)),
        ("verify", run(["verify", "--json", text(&two)]).expect_json()),
    ]
}

#[test]
fn what_the_command_writes_is_what_the_schemas_say() {
    let dir = scratch();
    for (name, document) in documents(dir.path()) {
        accepts(name, &document);
        // A minor version that adds fields is no reason to refuse anything.
        let mut later = document.clone();
        later["schema"]["version"] = "1.99".into();
        later["new_field"] = json!({"in": ["a", "later", "minor"]});
        accepts(name, &later);
        for version in ["2.0", "1", "01.0", "1.x"] {
            later["schema"]["version"] = version.into();
            assert!(!errors(name, &later).is_empty(), "{name} {version}");
        }
        let others = SCHEMAS[1..].iter().filter(|other| **other != name);
        assert!(others.into_iter().all(|other| !errors(other, &document).is_empty()), "{name} is taken for another one");
    }
}

/// Every schema is a schema: one with a wrong keyword value would accept more than it says.
#[test]
fn the_schemas_themselves_are_valid() {
    for name in SCHEMAS {
        let found = schema(name);
        assert_eq!(found["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert!(jsonschema::meta::is_valid(&found), "{name}: {:?}", jsonschema::meta::validate(&found).err());
    }
}

/// The schema of the value at a place, with references followed; `None` below what is not described.
fn described(mut file: Value, mut at: Value, path: &[String]) -> Option<Value> {
    for key in path.iter().map(Some).chain([None]) {
        while let Some(reference) = at.get("$ref").and_then(Value::as_str).map(str::to_owned) {
            let (name, pointer) = reference.split_once('#').unwrap_or((&reference, ""));
            if let Some((name, _)) = name.split_once('.') {
                file = schema(name);
            }
            at = file.pointer(pointer)?.clone();
        }
        let Some(key) = key else { break };
        let next = [at.get("properties").and_then(|all| all.get(key)), at.get("items"), at.get("additionalProperties")];
        let next = next.into_iter().flatten().next()?.clone();
        at = next;
    }
    Some(at)
}

/// Told of an object: its path and its fields.
type Visit<'a> = dyn FnMut(&[String], &serde_json::Map<String, Value>) + 'a;

/// Calls `visit` with the path of every object of the document; of arrays only the first element.
fn each_object(document: &Value, path: &mut Vec<String>, visit: &mut Visit<'_>) {
    match document {
        Value::Object(fields) => {
            visit(path, fields);
            for (key, value) in fields {
                path.push(key.clone());
                each_object(value, path, visit);
                path.pop();
            }
        }
        Value::Array(elements) => {
            if let Some(first) = elements.first() {
                path.push("0".into());
                each_object(first, path, visit);
                path.pop();
            }
        }
        _ => {}
    }
}

fn pointer(path: &[String], key: &str) -> String {
    path.iter().map(String::as_str).chain([key]).map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Fields that need not be there: what a later minor added, what only some documents have, what tells parts of a comparison.
/// Everything else that is written and described has to be.
const OPTIONAL: [&str; 25] = [
    "causes",
    "times_sent",
    "nodes",
    "forecast",
    "redirty",
    "explained",
    "without_event",
    "best",
    "grid",
    "working_sets",
    "links",
    "trace_bytes",
    "clock",
    "epoch_ns",
    "fingerprints",
    "format",
    "write_events",
    "scan_ns",
    "stopped",
    "policy",
    "scenario",
    "block_size",
    "interval_ns",
    "bandwidth",
    "interval",
];

/// Of every object in real documents: each field that has to be there is taken away, and each field that is described becomes
/// something of another type. All of that must be refused.
#[test]
fn what_is_damaged_is_refused() {
    let dir = scratch();
    let (mut removed, mut replaced) = (0, 0);
    for (name, document) in documents(dir.path()) {
        let mut wrong = Vec::new();
        each_object(&document, &mut Vec::new(), &mut |path, fields| {
            let Some(of) = described(schema(name), schema(name), path) else { return };
            let required = of.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            let required: BTreeSet<_> = required.iter().map(|key| key.as_str().unwrap()).collect();
            let known = |key: &&str| of.get("properties").is_some_and(|all| all.get(key).is_some());
            let written = fields.keys().map(String::as_str).filter(|key| known(key) && !OPTIONAL.contains(key));
            for key in required.iter().copied().chain(written).collect::<BTreeSet<_>>() {
                let mut damaged = document.clone();
                let object = path.iter().fold(&mut damaged, |at, key| match at {
                    Value::Array(elements) => &mut elements[key.parse::<usize>().unwrap()],
                    other => &mut other[key],
                });
                object.as_object_mut().unwrap().remove(key).unwrap();
                wrong.push((format!("without {}", pointer(path, key)), damaged));
                removed += 1;
            }
            for key in fields.keys() {
                let path: Vec<_> = path.iter().cloned().chain([key.clone()]).collect();
                if described(schema(name), schema(name), &path).is_none() {
                    continue;
                }
                let mut damaged = document.clone();
                *damaged.pointer_mut(pointer(&path, "").trim_end_matches('/')).unwrap() = json!([["wrong"]]);
                wrong.push((format!("another type at {}", path.join("/")), damaged));
                replaced += 1;
            }
        });
        for (what, damaged) in wrong {
            assert!(!errors(name, &damaged).is_empty(), "{name} accepts a document {what}");
        }
    }
    assert!(removed > 300 && replaced > 300, "{removed} {replaced}");
}

/// Values of the right type that cannot be.
#[test]
fn what_cannot_be_is_refused() {
    let dir = scratch();
    let documents = documents(dir.path());
    let refuses = |name: &str, pointer: &str, value: Value| {
        let (_, document) = documents.iter().find(|(of, _)| *of == name).unwrap();
        let mut damaged = document.clone();
        let place = damaged.pointer_mut(pointer).unwrap_or_else(|| panic!("{name} has no {pointer}"));
        assert_ne!(*place, value, "{pointer}");
        *place = value.clone();
        assert!(!errors(name, &damaged).is_empty(), "{name} accepts {value} at {pointer}");
    };
    refuses("summary", "/traces/0/events", json!(-1));
    refuses("summary", "/traces/0/events", json!(1.5));
    refuses("summary", "/traces/0/replays/0/scenario", json!("teleport"));
    refuses("summary", "/traces/0/replays/0/skip_rate/total", json!(1.01));
    refuses("summary", "/traces/0/replays/0/block_size", json!(512));
    refuses("summary", "/traces/0/replays/0/downtime", json!(5));
    refuses("summary", "/traces/0/replays/0/schema/name", json!("pagesieve.verify"));
    refuses("summary", "/traces/0/verify/ok", json!(false));
    refuses("summary", "/traces/0/verify/violations", json!(["lost"]));
    refuses("summary", "/traces/0/grid/0/blocks/skipped/unchanged", json!(-3));
    refuses("summary", "/traces/0/heatmap/cells/0", json!("0"));
    refuses("summary", "/classes/0/claimed_low", json!(60));
    refuses("compare", "/verdict", json!("fine"));
    refuses("compare", "/verdict", json!("ok"));
    refuses("compare", "/counts/regressions", json!(0));
    refuses("compare", "/changes/0/quantity", json!("speed"));
    refuses("compare", "/changes/0/outcome", json!("worse"));
    refuses("compare", "/base/schema/name", json!("pagesieve.doctor"));
    refuses("sweep", "/rows/0/policy", json!("Proven"));
    refuses("sweep", "/rows/0/bytes/wire", json!(-1));
    refuses("replay", "/trace", json!(""));
    refuses("replay", "/tracker/unused_percent", json!(101));
    refuses("verify", "/recall/content_in_log", json!(2));
}
