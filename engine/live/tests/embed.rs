//! The example of a virtual machine monitor that embeds the engine.

#[path = "../examples/embed.rs"]
mod embed;

#[test]
fn the_example_moves_its_guest() {
    embed::main().unwrap();
}
