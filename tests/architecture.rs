//! The folder map of ARCHITECTURE.md as a test: dependencies point down, and what must stay free of the kernel and of a
//! runtime does. Only normal and build dependencies count; tests may use what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of our crates may depend on. A crate that is missing here is an error, so a new one has to be
/// given its place.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "pagesieve",
        &[
            "pagesieve-convert",
            "pagesieve-core",
            "pagesieve-live",
            "pagesieve-recorder",
            "pagesieve-replayer",
            "pagesieve-reports",
            "pagesieve-traces",
        ],
    ),
    ("pagesieve-recorder", &["pagesieve-core", "pagesieve-ebpf", "pagesieve-traces"]),
    ("pagesieve-convert", &["pagesieve-core", "pagesieve-traces"]),
    ("pagesieve-replayer", &["pagesieve-core", "pagesieve-traces"]),
    ("pagesieve-live", &["pagesieve-core"]),
    ("pagesieve-reports", &["pagesieve-core"]),
    ("pagesieve-traces", &["pagesieve-core"]),
    ("pagesieve-core", &[]),
    ("pagesieve-ebpf", &["pagesieve-ebpf-abi"]),
    ("pagesieve-ebpf-abi", &[]),
    ("pagesieve-benches", &["pagesieve-core", "pagesieve-ebpf", "pagesieve-recorder", "pagesieve-traces"]),
    ("pagesieve-guest", &[]),
];

/// What may not be in the closure of a crate: the loader of kernel programs, and the asynchronous runtime.
const FREE_OF: &[(&str, &[&str])] = &[
    ("pagesieve-core", &["aya", "tokio"]),
    ("pagesieve-traces", &["aya", "tokio"]),
    ("pagesieve-replayer", &["aya", "tokio"]),
    ("pagesieve-convert", &["aya", "tokio"]),
    // Letters must come from the program, not from the fonts of a machine.
    ("pagesieve-reports", &["aya", "tokio", "font-kit", "fontdb"]),
    ("pagesieve-live", &["aya"]),
    ("pagesieve-recorder", &["tokio"]),
];

/// Packages by name, each with the names of those it depends on.
#[derive(Default)]
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    ours: BTreeSet<String>,
}

impl Graph {
    fn from_metadata(metadata: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text in the output of cargo metadata").to_owned();
        let list = |value: &Value| value.as_array().expect("a list in the output of cargo metadata").clone();
        let name_of: BTreeMap<String, String> =
            list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let mut graph = Self {
            ours: list(&metadata["workspace_members"]).iter().map(|id| name_of[&text(id)].clone()).collect(),
            ..Self::default()
        };
        for node in list(&metadata["resolve"]["nodes"]) {
            let edges = graph.edges.entry(name_of[&text(&node["id"])].clone()).or_default();
            for dependency in list(&node["deps"]) {
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev") {
                    edges.insert(name_of[&text(&dependency["pkg"])].clone());
                }
            }
        }
        graph
    }

    fn of_this_workspace() -> Self {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let run = |arguments: &[&str]| {
            let output = Command::new(&cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
            let output = output.expect("cargo runs");
            assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let version = String::from_utf8(run(&["-vV"])).expect("cargo's version is text");
        // Without the filter cargo would fetch packages of other platforms in the middle of a test.
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
        let metadata = run(&["metadata", "--format-version", "1", "--locked", "--filter-platform", host]);
        Self::from_metadata(&serde_json::from_slice(&metadata).expect("cargo metadata prints JSON"))
    }

    fn below(&self, package: &str) -> BTreeSet<&str> {
        self.edges.get(package).into_iter().flatten().map(String::as_str).collect()
    }

    fn closure(&self, package: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open = self.below(package);
        while let Some(next) = open.pop_first() {
            if found.insert(next) {
                open.extend(self.below(next));
            }
        }
        found
    }

    /// Every breach of [`ALLOWED`] and [`FREE_OF`], one sentence each.
    fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for package in &self.ours {
            let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == package) else {
                breaches.push(format!("{package} has no place in the table of allowed dependencies"));
                continue;
            };
            let wrong = self.below(package).into_iter().filter(|below| self.ours.contains(*below) && !allowed.contains(below));
            breaches.extend(wrong.map(|wrong| format!("{package} may not depend on {wrong}")));
        }
        for (package, banned) in FREE_OF {
            let closure = self.closure(package);
            let found = banned.iter().filter(|banned| closure.contains(**banned));
            breaches.extend(found.map(|banned| format!("{package} must be free of {banned}")));
        }
        breaches
    }
}

#[test]
fn dependencies_point_down() {
    let graph = Graph::of_this_workspace();
    assert!(graph.breaches().is_empty(), "{:#?}", graph.breaches());
    let members: BTreeSet<&str> = graph.ours.iter().map(String::as_str).collect();
    assert_eq!(members, ALLOWED.iter().map(|(name, _)| *name).collect(), "the table names the members and nothing else");
}

/// The checks above would pass on an empty graph too; this shows that the graph is not empty.
#[test]
fn the_graph_holds_what_the_manifests_say() {
    let graph = Graph::of_this_workspace();
    assert!(graph.below("pagesieve-replayer").contains("pagesieve-traces"));
    assert!(graph.closure("pagesieve").contains("aya"), "the command records, so it needs the loader");
    assert!(graph.closure("pagesieve-live").contains("tokio"));
    let of_ours = |package: &str| graph.closure(package).into_iter().filter(|name| graph.ours.contains(*name)).count();
    assert_eq!(of_ours("pagesieve-core"), 0, "core depends on nothing of ours");
}

/// Output of `cargo metadata` for these edges: `dev` ones count as dev-dependencies.
fn metadata(ours: &[&str], edges: &[(&str, &str)], dev: &[(&str, &str)]) -> Value {
    let names: BTreeSet<&str> = edges.iter().chain(dev).flat_map(|(from, to)| [*from, *to]).chain(ours.iter().copied()).collect();
    let of = |edges: &[(&str, &str)], name: &str, kind: Value| -> Vec<Value> {
        let to = edges.iter().filter(|(from, _)| *from == name).map(|(_, to)| *to);
        to.map(|to| serde_json::json!({ "pkg": format!("id:{to}"), "dep_kinds": [{ "kind": kind }] })).collect()
    };
    let node = |name: &&str| {
        let deps = [of(edges, name, Value::Null), of(dev, name, "dev".into())].concat();
        serde_json::json!({ "id": format!("id:{name}"), "deps": deps })
    };
    serde_json::json!({
        "packages": names.iter().map(|name| serde_json::json!({ "id": format!("id:{name}"), "name": name })).collect::<Vec<_>>(),
        "workspace_members": ours.iter().map(|name| format!("id:{name}")).collect::<Vec<_>>(),
        "resolve": { "nodes": names.iter().map(node).collect::<Vec<_>>() },
    })
}

#[test]
fn a_planted_edge_is_found() {
    let breaches = |ours: &[&str], edges: &[(&str, &str)]| Graph::from_metadata(&metadata(ours, edges, &[])).breaches();
    let ours = ["pagesieve-core", "pagesieve-traces", "pagesieve-replayer", "pagesieve-recorder"];
    let good = [("pagesieve-traces", "pagesieve-core"), ("pagesieve-replayer", "pagesieve-traces")];
    assert_eq!(breaches(&ours, &good), [""; 0]);
    let upward = [good[0], ("pagesieve-core", "pagesieve-traces")];
    assert_eq!(breaches(&ours, &upward), ["pagesieve-core may not depend on pagesieve-traces"]);
    let sideways = [("pagesieve-replayer", "pagesieve-recorder")];
    assert_eq!(breaches(&ours, &sideways), ["pagesieve-replayer may not depend on pagesieve-recorder"]);
    let deep = [good[0], good[1], ("pagesieve-core", "elsewhere"), ("elsewhere", "tokio")];
    assert_eq!(
        breaches(&ours, &deep),
        ["pagesieve-core", "pagesieve-traces", "pagesieve-replayer"].map(|name| format!("{name} must be free of tokio"))
    );
    assert_eq!(breaches(&["newcomer"], &[]), ["newcomer has no place in the table of allowed dependencies"]);
}

#[test]
fn dev_dependencies_do_not_count() {
    let dev = [("pagesieve-core", "pagesieve-traces")];
    assert_eq!(Graph::from_metadata(&metadata(&["pagesieve-core", "pagesieve-traces"], &[], &dev)).breaches(), [""; 0]);
}
