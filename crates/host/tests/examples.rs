//! The examples are what the documents show, and print what the documents say.

mod kernel;

#[path = "../examples/partial_unmap.rs"]
#[expect(dead_code, reason = "the example's own main")]
mod partial_unmap;

const README: &str = include_str!("../../../README.md");
const PARTIAL_UNMAP: &str = include_str!("../../../docs/partial-unmap.md");
const INCREMENT: &str = include_str!("../examples/increment.rs");

#[test]
fn partial_unmap_prints_what_its_page_shows() {
    if !kernel::grants("partial_unmap_prints_what_its_page_shows", kernel::SHARED) {
        return;
    }
    let told = partial_unmap::tell().expect("both ways work, and no byte is lost");
    assert!(PARTIAL_UNMAP.contains(&told), "the page does not show:\n{told}");
}

#[test]
fn readme_shows_the_example_of_a_kernel() {
    let (_, code) = INCREMENT.split_once("\n\n").expect("a heading before the code");
    assert!(README.contains(&format!("```rust\n{code}```\n")), "the README does not show:\n{code}");
}
